/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Subscribers that speak HTTP: EventSource, and clients that ask again and again (long polling). Like a
 * WebSocket, the connection leaves httpd when the request has been read: to the engine it is one that
 * sends what its handler says, as it is.
 */

#ifndef WS_HTTPD_EVENTSTREAM_H
#define WS_HTTPD_EVENTSTREAM_H

#include <httpd.h>

/** Configuration is read, and needs the handler of such connections: it becomes one of ws_handler_lines. */
void ws_sse_register(apr_pool_t *pconf);

/** Whether a GET wants to subscribe: text/event-stream is accepted, or there is an argument after=. */
int ws_sse_wanted(request_rec *r);

/** Answer a GET that subscribes to these channels (const char *), at least one. @return as a handler of
 *  httpd */
int ws_sse_serve(request_rec *r, const apr_array_header_t *names);

#endif
