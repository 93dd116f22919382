/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The thread that sends all requests of a WebSocketHandler line in this child process. */

#ifndef HTTP_COURIER_H
#define HTTP_COURIER_H

#include <curl/curl.h>
#include <pthread.h>

#include "answer.h"
#include "config.h"

/** The state of a connection that the courier needs. malloc'ed; the connection and each job hold a
 *  reference. */
typedef struct session {
    int refs;
    int grip; /* style=grip */
    courier *courier;
    char *url;
    struct curl_slist *headers, *connect_to; /* constant, like url and claims */
    char *claims; /* claims of the loopback credential; NULL: the requests go to another server */
    char id[33];
    ws_id conn; /* set before the second job is added */

    /* Used by the courier's thread only. */
    char *state;             /* malloc'ed; the application's last WebSocket-State */
    struct curl_slist *meta; /* the same with style=grip: "Meta-NAME: VALUE" */
    struct job *first, *last;
    int running;
} session;

typedef enum { JOB_OPEN, JOB_MESSAGES, JOB_CLOSE } job_kind;

/** One event, or several messages for one request. malloc'ed. */
typedef struct job {
    job_kind kind;
    session *session;
    char *body; /* malloc'ed; NULL: empty. With style=form, the state is added later */
    size_t len;
    void (*done)(struct job *job); /* called on the courier's thread; takes ownership of the job */
    void *arg;
    answer answer; /* read by done */

    /* Used by the courier's thread only. */
    struct job *next, *next_ready;
    CURL *easy;
    char *sent; /* body and state, with style=form */
    struct curl_slist *headers;
    unsigned tries;
    long long due, expires; /* milliseconds of the monotonic clock */
} job;

session *session_new(courier *c);
void session_ref(session *s);
void session_unref(session *s);

/** @return NULL: no memory, or no thread */
courier *courier_start(http_config *config);

/** Stop the thread. Remaining jobs have a few seconds to finish, and then fail. `done` is called
 *  for each. */
void courier_stop(courier *c);

/** Whether the queue has room for another connection. [any] */
int courier_has_room(courier *c);

/** Whether the circuit breaker is open: too many consecutive requests have failed. [any] */
int courier_is_open(courier *c);

/** Add a job; it starts after the earlier jobs of its session. [any] */
void courier_take(job *j);

void job_free(job *j);

#endif
