/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Receives and checks an application's answer. */

#ifndef HTTP_ANSWER_H
#define HTTP_ANSWER_H

#include <curl/curl.h>
#include <stddef.h>

#include "mod_websocket.h"

/** The outcome of a request. */
typedef enum {
    ANSWER_GOOD,
    ANSWER_REFUSAL, /* the application has refused with a status of 400 to 499 */
    ANSWER_BAD,     /* the answer is invalid */
    ANSWER_DOWN     /* the application did not answer in time, or could not be reached */
} answer_kind;

/** An answer. The caller sets all members to zero before the first use. Texts are allocated with
 *  malloc(). */
typedef struct {
    answer_kind kind;
    long status;           /* HTTP status; 0: none */
    long asked;            /* number of bytes of the request that were sent */
    char error[160];       /* error text for the log; not set if kind is ANSWER_GOOD */
    char *body;            /* followed by a NUL */
    size_t len, size, max; /* bytes; a body longer than `max` is refused */
    size_t head;           /* size of all header lines, bytes */
    int head_ended;        /* 1: the empty line after the headers has arrived */
    ws_type type;
    int html;  /* 1: the body is HTML */
    int lines; /* 1: each line of the body is a message */
    int close;
    char *reason;
    char *publish, *protocol;
    struct curl_slist *headers; /* "NAME: VALUE", headers for the response to the handshake */
    struct curl_slist *subscribe, *unsubscribe;
    char *state; /* new WebSocket-State; NULL: unchanged */

    /* Used with style=grip: */
    int control;  /* 1: the first answer has selected the extension "grip" */
    char *prefix; /* prefix of messages, if `control` is set */
    /* "Meta-NAME: VALUE", fields to set; an empty VALUE removes the field. */
    struct curl_slist *meta;
    unsigned metas;
    long keepalive; /* interval of empty requests, seconds; 0: off; -1: unchanged */
} answer;

/** Set up a transfer so that libcurl reads its answer into a. */
void answer_expect(answer *a, CURL *easy, size_t max);

/** Read the status of a finished request. @return 1: the status is 200 to 299, so the caller must
 *  read the rest according to style= */
int answer_read(answer *a, CURL *easy, CURLcode code);

/** Read the rest of a good answer with style=form. */
void answer_read_form(answer *a, CURL *easy);

/** Get the value of the index-th header of this name. @return the value, or NULL */
const char *answer_header(CURL *easy, const char *name, size_t index);

/** Whether a Content-Type names this type. */
int answer_is(const char *type, const char *name);

/** Whether a Close frame may have this code (RFC 6455, section 7.4). */
int answer_close_code_valid(long code);

/** Add a value to one of a's lists. If memory is exhausted, the answer becomes ANSWER_BAD. */
void answer_append(answer *a, struct curl_slist **list, const char *value);

void answer_fail(answer *a, answer_kind kind, const char *why);
void answer_free(answer *a);

#endif
