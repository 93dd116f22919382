/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A server's answer to the handshake, and the parts of it that the client receives. */

#ifndef WS_HANDLERS_PROXY_ANSWER_H
#define WS_HANDLERS_PROXY_ANSWER_H

#include <apr_tables.h>

#include "mod_websocket.h"

/** Longest body of a refusal that is passed on, bytes. */
#define PROXY_BODY_MAX (256 * 1024)

/** Strings are from pool. */
typedef struct {
    apr_pool_t *pool;     /* of the request; its thread waits while the loop uses it */
    int status;           /* 0: no answer, or an invalid one */
    apr_table_t *headers; /* for the client */
    const char *extensions;
    const char *type, *body;
    apr_size_t body_len; /* bytes */
    int body_cut;        /* the body is longer than PROXY_BODY_MAX, or broke off */
} proxy_answer;

/** Initialize as an answer that has not arrived. */
void proxy_answer_clear(proxy_answer *a, apr_pool_t *pool);

/** Copy a response, but not an interim one.  [on the loop, while the request's thread waits] */
void proxy_answer_copy(proxy_answer *a, const ws_response *response);

/** Add the headers to what the client gets. */
void proxy_answer_headers(ws_request *rq, const proxy_answer *a);

/**
 * Refuse as the server has refused.
 * @param page  whether httpd's page or ErrorDocument replaces the server's body
 * @return the status for on_request: 502 for a status below 300 whose body is not whole
 */
int proxy_answer_refuse(ws_request *rq, const proxy_answer *a, int page);

#endif
