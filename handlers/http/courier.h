/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The thread that asks the application: all requests of a WebSocketHandler line in this child process. */

#ifndef HTTP_COURIER_H
#define HTTP_COURIER_H

#include <curl/curl.h>
#include <pthread.h>

#include "answer.h"
#include "config.h"

/** A connection, as the courier knows it. malloc'ed; counted: the connection's, and one for each job. */
typedef struct session {
    int refs;
    int grip; /* style=grip */
    courier *courier;
    char *url;
    struct curl_slist *headers, *connect_to; /* never changed, nor are url and claims */
    char *claims; /* of the credential for the server itself; NULL: another is asked */
    char id[33];
    ws_id conn; /* set before the first job behind the opening one */

    /* The courier's. */
    char *state;             /* malloc'ed; what the application has said that it wants back */
    struct curl_slist *meta; /* the same with style=grip: "Meta-NAME: VALUE" */
    struct job *first, *last;
    int running;
} session;

typedef enum { JOB_OPEN, JOB_MESSAGES, JOB_CLOSE } job_kind;

/** One event, or messages that came together. malloc'ed. */
typedef struct job {
    job_kind kind;
    session *session;
    char *body; /* malloc'ed, with style=form without the state; NULL: empty */
    size_t len;
    void (*done)(
        struct job *job); /* on the courier's thread; the job is the callee's from then on */
    void *arg;
    answer answer; /* of which done reads */

    /* The courier's. */
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

/** What is left is asked for some seconds, and then given up: done is called for each. */
void courier_stop(courier *c);

/** Whether the queue has room for one more. [any] */
int courier_has_room(courier *c);

/** Whether the application has failed so often that it is not asked now. [any] */
int courier_is_open(courier *c);

/** A job of the session, behind its earlier ones. [any] */
void courier_take(job *j);

void job_free(job *j);

#endif
