/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** What stands behind ws_proxy.so on its line. */

#ifndef WS_HANDLERS_PROXY_CONFIG_H
#define WS_HANDLERS_PROXY_CONFIG_H

#include <httpd.h>
#include <ap_expr.h>
#include <apr_tables.h>

#include "mod_websocket.h"

/** A server that can be connected to. */
typedef struct {
    const char *url;      /* as it is written; without the path where that is an expression */
    const char *socket;   /* path of a unix socket, or NULL */
    ap_expr_info_t *path; /* an expression, or NULL */
    const char *shown;    /* without password, for the log */
    apr_time_t failed;    /* of this process, atomic; 0: not lately */
} proxy_server;

typedef struct {
    int proxypass;               /* to=proxypass: the servers are mod_proxy's */
    apr_array_header_t *servers; /* proxy_server, in order of preference */
    apr_array_header_t *headers; /* const char *: names of request headers that are passed on */
    const char *origin;          /* NULL: the client's; "": none */
    const char *user_header;     /* tells the server the user, or NULL */
    int forwarded;               /* X-Forwarded-For and its like are added */
    int preserve_host;
    int compression;      /* of compression= */
    int pass_compression; /* compressed messages pass without being decoded, if the server agrees */
    apr_uint32_t retry;   /* a server that has failed comes last for so long, milliseconds */
    ws_connect_options options;
} proxy_config;

const char *proxy_configure(apr_pool_t *pconf, const char *key, const char *value, void **data);

/** Request headers for the server: name, value ..., NULL. From r->pool. */
const char *const *proxy_headers(ws_request *rq, const proxy_config *config);

/** A server's URL: with what follows the section's path, if it ends in a slash, and with the client's query string if
 *  it has none of its own. NULL: the expression of its path cannot be evaluated, which is logged. */
const char *proxy_url(ws_request *rq, const proxy_server *server);

#endif
