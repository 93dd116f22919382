/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The keys of a `WebSocketHandler ws_proxy.so` line. */

#ifndef WS_HANDLERS_PROXY_CONFIG_H
#define WS_HANDLERS_PROXY_CONFIG_H

#include <httpd.h>
#include <ap_expr.h>
#include <apr_tables.h>

#include "mod_websocket.h"

/** A server listed in to=. */
typedef struct {
    const char *url;      /* as configured; without the path if that is an expression */
    const char *socket;   /* path of a unix socket, or NULL */
    ap_expr_info_t *path; /* an expression, or NULL */
    const char *shown;    /* without password, for the log */
    apr_time_t failed;    /* time of its last failure in this process, 0: never; atomic */
} proxy_server;

typedef struct {
    int proxypass;               /* to=proxypass: the servers are mod_proxy's */
    apr_array_header_t *servers; /* proxy_server, in order of preference */
    apr_array_header_t *headers; /* const char *: names of request headers that are passed on */
    const char *origin;          /* NULL: the client's; "": none */
    const char *user_header;     /* header with the name of the user, or NULL */
    int forwarded;               /* add X-Forwarded-For, -Host and -Server */
    int preserve_host;
    int compression;      /* value of compression= */
    int pass_compression; /* if the server agrees to it, pass on compressed messages unchanged */
    apr_uint32_t retry;   /* for this time after a failure, a server is tried last, milliseconds */
    ws_connect_options options;
} proxy_config;

const char *proxy_configure(apr_pool_t *pconf, const char *key, const char *value, void **data);

/** @return the request headers for the server: name, value ..., NULL. From r->pool. */
const char *const *proxy_headers(ws_request *rq, const proxy_config *config);

/**
 * Build a server's URL. If it ends in a slash, the path after the section's path is appended; if it
 * has no query string, the client's is added.
 * @return NULL: the expression of its path cannot be evaluated; this has been logged
 */
const char *proxy_url(ws_request *rq, const proxy_server *server);

#endif
