/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Serves subscribers over HTTP, which use EventSource or long polling. As with a WebSocket, the
 * engine takes over the connection after the request. The connection uses raw framing, so the
 * engine sends the handler's data unchanged.
 */

#ifndef WS_HTTPD_SSE_H
#define WS_HTTPD_SSE_H

#include <httpd.h>

/** Add the handler of these connections to ws_handler_lines, while httpd reads the
 *  configuration. */
void ws_sse_register(apr_pool_t *pconf);

/** Whether a GET request subscribes, because it accepts text/event-stream or has an argument
 *  after=. */
int ws_sse_wanted(request_rec *r);

/**
 * Answer a GET request that subscribes to channels.
 * @param names  const char *, at least one
 * @return the return value for httpd's handler
 */
int ws_sse_serve(request_rec *r, const apr_array_header_t *names);

#endif
