/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** What the application has answered, and what of it can be used. */

#ifndef HTTP_ANSWER_H
#define HTTP_ANSWER_H

#include <curl/curl.h>
#include <stddef.h>

#include "mod_websocket.h"

/** What can become of a request. */
typedef enum {
    ANSWER_GOOD,
    ANSWER_REFUSAL, /* a status of 400 to 499 */
    ANSWER_BAD,     /* it cannot be used */
    ANSWER_DOWN     /* there is none: the application does not run, or not in time */
} answer_kind;

/** Zeroed at first. Texts are malloc'ed. */
typedef struct {
    answer_kind kind;
    long status;           /* 0: none */
    char error[160];       /* why it is not good */
    char *body;            /* NUL-terminated beyond its length */
    size_t len, size, max; /* bytes; max: a longer one is refused */
    size_t head;           /* of all header lines, bytes */
    ws_type type;
    int html;  /* the body is HTML */
    int lines; /* each line of the body is a message */
    int close;
    char *reason;
    char *publish, *protocol;
    struct curl_slist *cookies, *subscribe, *unsubscribe;
    char *state; /* NULL: as it was */
} answer;

/** Have the body read into a. */
void answer_expect(answer *a, CURL *easy, size_t max);

/** The request is over. */
void answer_read(answer *a, CURL *easy, CURLcode code);

void answer_fail(answer *a, answer_kind kind, const char *why);
void answer_free(answer *a);

#endif
