/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Holds the values of the keys on a `WebSocketHandler ws_proxy.so` line. */

#ifndef WS_HANDLERS_PROXY_CONFIG_H
#define WS_HANDLERS_PROXY_CONFIG_H

#include <httpd.h>
#include <ap_expr.h>
#include <apr_tables.h>

#include "mod_websocket.h"

/** A server listed in to=. */
typedef struct {
    const char *url;      /* URL as configured, without the path if the path is an expression */
    const char *socket;   /* path of a unix socket, or NULL */
    ap_expr_info_t *path; /* expression for the path, or NULL */
    const char *shown;    /* the URL without password, for the log */
    apr_time_t failed;    /* atomic; time of the server's last failure in this process; 0: never */
} proxy_server;

typedef struct {
    int proxypass;               /* 1: to=proxypass, so mod_proxy selects the server */
    apr_array_header_t *servers; /* array of proxy_server, in order of preference */
    apr_array_header_t *headers; /* const char *; names of the request headers that are passed on */
    const char *origin;          /* Origin to send; NULL: the client's origin; "": none */
    const char *user_header;     /* header with the name of the user, or NULL */
    /* 1: add X-Forwarded-For, X-Forwarded-Host and X-Forwarded-Server. */
    int forwarded;
    int preserve_host;
    int compression; /* value of compression= */
    /* 1: if the server agrees to compression, pass on compressed messages unchanged. */
    int pass_compression;
    apr_uint32_t retry; /* time after a failure during which a server is tried after all others,
                         * milliseconds */
    ws_connect_options options;
} proxy_config;

const char *proxy_configure(apr_pool_t *pconf, const char *key, const char *value, void **data);

/** Build the request headers for the server, from r->pool. @return names and values in turn, then
 *  NULL */
const char *const *proxy_headers(ws_request *rq, const proxy_config *config);

/**
 * Build a server's URL. If the configured URL ends in a slash, the path after the section's path is
 * appended. If it has no query string, the client's query string is added.
 * @return NULL: the expression of the path cannot be evaluated, which has been logged
 */
const char *proxy_url(ws_request *rq, const proxy_server *server);

#endif
