/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Receives and checks an application's answer. */

#ifndef HTTP_ANSWER_H
#define HTTP_ANSWER_H

#include <curl/curl.h>
#include <stddef.h>

#include "mod_websocket.h"

/** Outcome of a request. */
typedef enum {
    ANSWER_GOOD,
    ANSWER_REFUSAL, /* a status of 400 to 499 */
    ANSWER_BAD,     /* the answer is invalid */
    ANSWER_DOWN     /* no answer in time, or no connection */
} answer_kind;

/** Initially zeroed. Texts are malloc'ed. */
typedef struct {
    answer_kind kind;
    long status;           /* 0: none */
    long asked;            /* bytes of the request that were sent */
    char error[160];       /* for the log, unless kind is ANSWER_GOOD */
    char *body;            /* followed by a NUL */
    size_t len, size, max; /* bytes; a body longer than `max` is refused */
    size_t head;           /* size of all header lines, bytes */
    int head_ended;        /* the empty line after the headers has arrived */
    ws_type type;
    int html;  /* the body is HTML */
    int lines; /* each line of the body is a message */
    int close;
    char *reason;
    char *publish, *protocol;
    struct curl_slist *headers; /* "NAME: VALUE", for the handshake's answer */
    struct curl_slist *subscribe, *unsubscribe;
    char *state; /* NULL: unchanged */

    /* style=grip */
    int control;             /* the first answer selected the extension "grip" */
    char *prefix;            /* prefix of messages, if `control` is set */
    struct curl_slist *meta; /* "Meta-NAME: VALUE", fields to be set; an empty VALUE removes it */
    unsigned metas;
    long keepalive; /* seconds; 0: off; -1: unchanged */
} answer;

/** Set up a transfer so that its answer is read into a. */
void answer_expect(answer *a, CURL *easy, size_t max);

/** Read the status of a finished request. @return 1: it is 200 to 299; the caller reads the rest
 *  according to the style */
int answer_read(answer *a, CURL *easy, CURLcode code);

/** Read the rest of a good answer, style=form. */
void answer_read_form(answer *a, CURL *easy);

/** @return the header's value, or NULL */
const char *answer_header(CURL *easy, const char *name, size_t index);

/** Whether a Content-Type is this one. */
int answer_is(const char *type, const char *name);

/** Whether a Close frame may have this code (RFC 6455, section 7.4). */
int answer_close_code_valid(long code);

/** Add to one of a's lists. If memory is exhausted, the answer becomes bad. */
void answer_append(answer *a, struct curl_slist **list, const char *value);

void answer_fail(answer *a, answer_kind kind, const char *why);
void answer_free(answer *a);

#endif
