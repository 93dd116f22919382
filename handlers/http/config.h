/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** What stands behind `WebSocketHandler ws_http.so`. */

#ifndef HTTP_CONFIG_H
#define HTTP_CONFIG_H

#include "mod_websocket.h"

typedef struct courier courier;

typedef struct {
    const char *to;          /* a path of this server, or an absolute URL */
    const char *unix_socket; /* NULL: none */
    apr_uint32_t timeout;    /* of a request, milliseconds */
    apr_uint32_t retry; /* how long an application that has failed is left alone, milliseconds */
    apr_int64_t concurrency; /* requests at once, in a child process */
    apr_int64_t queue;       /* connections that wait for one */
    apr_int64_t longest;     /* of an answer's body, bytes */
    int keepalive;    /* connections of this server's own are kept: its MPM is asynchronous */
    courier *courier; /* the child's; NULL in the parent */
} http_config;

const char *http_configure(apr_pool_t *p, const char *key, const char *value, void **data);

#endif
