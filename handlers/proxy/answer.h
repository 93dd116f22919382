/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Keeps a server's answer to the handshake, and passes parts of it to the client. */

#ifndef WS_HANDLERS_PROXY_ANSWER_H
#define WS_HANDLERS_PROXY_ANSWER_H

#include <apr_tables.h>

#include "mod_websocket.h"

/** Longest body of a refusal that is passed on, bytes. */
#define PROXY_BODY_MAX (256 * 1024)

/** A server's answer. Strings are allocated from `pool`. */
typedef struct {
    apr_pool_t *pool;     /* pool of the request, whose thread waits while the loop uses the pool */
    int status;           /* HTTP status; 0: the server sent no answer, or an invalid one */
    apr_table_t *headers; /* headers for the client */
    const char *extensions;
    const char *type, *body;
    apr_size_t body_len; /* bytes */
    int body_cut;        /* 1: the body is longer than PROXY_BODY_MAX, or incomplete */
} proxy_answer;

/** Set `a` to an answer that has not arrived. */
void proxy_answer_clear(proxy_answer *a, apr_pool_t *pool);

/** Copy a response if it is not an interim response.  [on the loop, while the request waits] */
void proxy_answer_copy(proxy_answer *a, const ws_response *response);

/** Add the headers to the response for the client. */
void proxy_answer_headers(ws_request *rq, const proxy_answer *a);

/**
 * Refuse the client's handshake in the same way as the server has refused.
 * @param page  1: httpd's page or ErrorDocument replaces the server's body
 * @return the status for on_request. If the server's status is below 300 and its body is
 *         incomplete, this is 502
 */
int proxy_answer_refuse(ws_request *rq, const proxy_answer *a, int page);

#endif
