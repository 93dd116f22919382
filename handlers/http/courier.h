/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Declares the courier, which is the thread that sends all requests of a WebSocketHandler line in
 *  this child process. */

#ifndef HTTP_COURIER_H
#define HTTP_COURIER_H

#include <curl/curl.h>
#include <pthread.h>

#include "answer.h"
#include "config.h"

/** The state of a connection that the courier needs. It is allocated with malloc(). The connection
 *  and each job have a reference. */
typedef struct session {
    int refs;
    int grip; /* 1: style=grip */
    courier *courier;
    char *url;
    struct curl_slist *headers, *connect_to; /* constant, like url and claims */
    char *claims; /* claims of the loopback credential; NULL: the requests go to another server */
    char id[33];
    ws_id conn; /* id of the connection; set before the second job is added */

    /* Used by the courier's thread only. */
    char *state; /* the application's last WebSocket-State, allocated with malloc() */
    /* Fields "Meta-NAME: VALUE", which replace the state with style=grip. */
    struct curl_slist *meta;
    struct job *first, *last;
    int running;
} session;

typedef enum { JOB_OPEN, JOB_MESSAGES, JOB_CLOSE } job_kind;

/** A job: one event, or several messages for one request. Allocated with malloc(). */
typedef struct job {
    job_kind kind;
    session *session;
    /* Allocated with malloc(); NULL: empty. With style=form, the courier appends the state. */
    char *body;
    size_t len;
    void (*done)(struct job *job); /* called on the courier's thread; takes ownership of the job */
    void *arg;
    answer answer; /* the result, for done() */

    /* Used by the courier's thread only. */
    struct job *next, *next_ready;
    CURL *easy;
    char *sent; /* with style=form, the body with the state */
    struct curl_slist *headers;
    unsigned tries;
    long long due, expires; /* times of the monotonic clock, milliseconds */
} job;

session *session_new(courier *c);
void session_ref(session *s);
void session_unref(session *s);

/** Start the thread. @return NULL: out of memory, or the thread cannot start */
courier *courier_start(http_config *config);

/** Stop the thread. Remaining jobs have a few seconds to finish, and then fail. For each of them,
 *  done() is called. */
void courier_stop(courier *c);

/** Whether the queue has room for another connection. [any thread] */
int courier_has_room(courier *c);

/** Whether the circuit breaker is open, because too many consecutive requests have failed. [any
 *  thread] */
int courier_is_open(courier *c);

/** Add a job. It starts after the earlier jobs of its session. [any thread] */
void courier_take(job *j);

void job_free(job *j);

#endif
