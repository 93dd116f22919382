/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Holds the values of the keys on a line `WebSocketHandler ws_http.so`. */

#ifndef HTTP_CONFIG_H
#define HTTP_CONFIG_H

#include "mod_websocket.h"
#include "websocket_loopback.h"

typedef struct courier courier;

/** Value of `to` if the line is WebSocketHtaccess, because each .htaccess file names its own
 *  page. */
#define HTTP_TO_HTACCESS ".htaccess"

typedef struct {
    const char *to;           /* path on this server, absolute URL, or HTTP_TO_HTACCESS */
    const char *unix_socket;  /* path of a unix socket; NULL: none */
    apr_uint32_t timeout;     /* timeout of a request, milliseconds */
    apr_uint32_t retry;       /* how long handshakes are refused after several failures,
                               * milliseconds */
    apr_int64_t concurrency;  /* maximum number of simultaneous requests per child process */
    apr_int64_t queue;        /* maximum number of connections waiting for a request */
    apr_int64_t longest;      /* maximum size of an answer's body, bytes */
    int grip;                 /* 1: style=grip, which is the WebSocket-over-HTTP protocol */
    const char *issuer, *key; /* used for the header Grip-Sig; if key is NULL, it is not sent */
    apr_size_t key_len;
    const char *ca; /* file of CA certificates for https://; NULL: use the system's certificates */
    APR_OPTIONAL_FN_TYPE(ws_loopback_sign) * sign; /* function in this child process */
    int keepalive;    /* 1: keep loopback connections alive, because the MPM is asynchronous */
    courier *courier; /* courier of this child process; NULL in the parent */
} http_config;

const char *http_configure(apr_pool_t *p, const char *key, const char *value, void **data);

#endif
