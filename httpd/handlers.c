/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Starts and stops the handlers of a child. If a handler cannot start, the child continues, and the
 * server answers handshakes for this handler with 503.
 */

#include "httpd/handlers.h"

#include <http_log.h>

#include "httpd/config.h"

APLOG_USE_MODULE(websocket);

apr_status_t ws_handlers_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options)
{
    (void)options;
    for (int i = 0; i < ws_handler_lines->nelts; i++) {
        ws_handler_line *line = APR_ARRAY_IDX(ws_handler_lines, i, ws_handler_line *);
        const ws_handler *h = line->location.handler;
        line->started =
            h->start ? h->start(pchild, line->location.config, &line->location) : APR_SUCCESS;
        if (line->started != APR_SUCCESS) {
            ap_log_error(
                APLOG_MARK, APLOG_ERR, line->started, s,
                "websocket: handler %s could not start: its handshakes are refused with 503 in "
                "this child",
                line->location.name);
        }
    }
    return APR_SUCCESS;
}

void ws_handlers_child_exit(void)
{
    for (int i = 0; i < ws_handler_lines->nelts; i++) {
        const ws_handler_line *line = APR_ARRAY_IDX(ws_handler_lines, i, ws_handler_line *);
        if (line->started == APR_SUCCESS && line->location.handler->stop) {
            line->location.handler->stop(line->location.config);
        }
    }
}
