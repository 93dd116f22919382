/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements the hooks that map requests to this module, before mod_proxy, mod_rewrite and
 *  mod_cache. */

#include "httpd/mapping.h"

#include <apr_strings.h>
#include <http_core.h>
#include <http_request.h>
#include <string.h>

#include "httpd/channel_http.h"
#include "httpd/child.h"
#include "httpd/sockjs.h"
#include "httpd/upgrade.h"
#include "protocol/handshake.h"

/* Whether this module answers a request. When the hook runs, ap_process_request_internal() has
 * reset per_dir_config to that of the server. So this function walks the Locations again; httpd
 * caches the result. */
static int mapping_is_ours(request_rec *r)
{
    ap_conf_vector_t *before = r->per_dir_config;
    int ours = 0;
    if (apr_table_get(r->headers_in, "Upgrade") || ws_channel_http_used() || ws_sockjs_used()) {
        ours = ap_location_walk(r) == OK
               && ((!(r->proxyreq && ws_upgrade_is_asked(r)) && ws_upgrade_wanted(r))
                   || ws_sockjs_wanted(r) || ws_channel_http_wanted(r));
        r->per_dir_config = before;
    }
    return ours;
}

/* Claim the request, because it has no file, and mod_dir must not redirect it to a directory. */
static int mapping_map_to_storage(request_rec *r)
{
    if (!mapping_is_ours(r)) {
        return DECLINED;
    }
    if (r->proxyreq) { /* set by ProxyPass, or by RewriteRule [P] in the server's configuration */
        ws_upgrade_restore_args(r);
        r->proxyreq = PROXYREQ_NONE;
        r->filename = apr_pstrcat(r->pool, ap_document_root(r), r->uri, NULL);
    }
    r->handler = "websocket"; /* otherwise mod_dir's FallbackResource would apply */
    return OK;
}

/* mod_cache looks up a page for the URL before the location walk. To bypass mod_cache, process a
 * handshake here in the same way as httpd does if no quick handler answers
 * (ap_process_async_request() in http_request.c). */
static int mapping_quick_handler(request_rec *r, int lookup)
{
    int status;
    if (lookup || r->main || !ws_child_engine()
        || !ws_handshake_wanted(apr_table_get(r->headers_in, "Upgrade"))) {
        return DECLINED;
    }
    status = ap_process_request_internal(r);
    return status == OK ? ap_invoke_handler(r) : status;
}

/* If a Location has both WebSocketHandler and WebSocketChannelHTTP, a handshake goes to the
 * WebSocket handler. */
static int mapping_handler(request_rec *r)
{
    /* Requests with other methods for a SockJS WebSocket URL get the response that the SockJS
     * protocol requires, whatever their headers. */
    int status = r->method_number == M_GET ? ws_upgrade_handler(r) : ws_sockjs_handler(r);
    if (status == DECLINED && r->method_number != M_GET) {
        status = ws_upgrade_handler(r);
    }
    if (status == DECLINED) {
        status = ws_sockjs_handler(r);
    }
    return status == DECLINED ? ws_channel_http_handler(r) : status;
}

void ws_mapping_register(apr_pool_t *p)
{
    /* Run before these handlers: the core's, which answers "Upgrade: h2c"; mod_cache's, which sends
     * a cached page; and mod_proxy's, which forwards the request. */
    static const char *const before[] = {"core.c", "mod_cache.c", "mod_proxy.c", NULL};
    (void)p;
    ap_hook_quick_handler(mapping_quick_handler, NULL, before, APR_HOOK_FIRST);
    ap_hook_map_to_storage(mapping_map_to_storage, NULL, before, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(mapping_handler, NULL, before, APR_HOOK_REALLY_FIRST);
}
