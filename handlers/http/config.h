/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The keys of a line `WebSocketHandler ws_http.so`. */

#ifndef HTTP_CONFIG_H
#define HTTP_CONFIG_H

#include "mod_websocket.h"
#include "websocket_loopback.h"

typedef struct courier courier;

/** Value of `to` for WebSocketHtaccess: each .htaccess file names its own page. */
#define HTTP_TO_HTACCESS ".htaccess"

typedef struct {
    const char *to;           /* a path on this server, or an absolute URL; HTTP_TO_HTACCESS */
    const char *unix_socket;  /* NULL: none */
    apr_uint32_t timeout;     /* timeout of a request, milliseconds */
    apr_uint32_t retry;       /* pause after failures, milliseconds */
    apr_int64_t concurrency;  /* simultaneous requests per child process */
    apr_int64_t queue;        /* maximum number of connections waiting for a request */
    apr_int64_t longest;      /* maximum size of an answer's body, bytes */
    int grip;                 /* style=grip: the WebSocket-over-HTTP protocol */
    const char *issuer, *key; /* for Grip-Sig; key NULL: do not send it */
    apr_size_t key_len;
    const char *ca; /* file of CA certificates for https://; NULL: the system's */
    APR_OPTIONAL_FN_TYPE(ws_loopback_sign) * sign; /* the child's */
    int keepalive;    /* keep loopback connections alive, because the MPM is asynchronous */
    courier *courier; /* the child's; NULL in the parent */
} http_config;

const char *http_configure(apr_pool_t *p, const char *key, const char *value, void **data);

#endif
