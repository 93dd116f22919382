/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Decides which requests may stay on HTTP/2. The engine cannot take over an HTTP/2 stream from
 * httpd. Until the stream ends, it occupies a mod_http2 worker, and its connection occupies an MPM
 * thread. A WebSocket over HTTP/1.1 occupies neither, so the server tells clients to use HTTP/1.1.
 */

#ifndef WS_HTTPD_HTTP2_H
#define WS_HTTPD_HTTP2_H

#include <httpd.h>

/** Whether a request came over HTTP/2 and the client must repeat it over HTTP/1.1. */
int ws_http2_unwanted(const request_rec *r);

/**
 * Count a WebSocket if its connection uses HTTP/2. After each call, the caller must call
 * ws_http2_end(). [any thread]
 * @return whether the limits allow the WebSocket
 */
int ws_http2_begin(const request_rec *r);
void ws_http2_end(const request_rec *r);

/**
 * Respond to a request so that the client repeats it over HTTP/1.1.
 * @param what  the kind of request, for the log
 * @return the value for the handler to return
 */
int ws_http2_send_to_http_1_1(request_rec *r, const char *what);

#endif
