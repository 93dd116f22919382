/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * What may stay on HTTP/2. A stream cannot leave httpd: it holds a worker of mod_http2 and its connection holds a
 * thread of the MPM, until it ends. Over HTTP/1.1 the same connection holds neither, so the client is sent there.
 */

#ifndef WS_HTTPD_HTTP2_H
#define WS_HTTPD_HTTP2_H

#include <httpd.h>

/** Whether a request came over HTTP/2 and is not to be answered there. */
int ws_http2_unwanted(const request_rec *r);

/**
 * Count a WebSocket on the HTTP/2 connection that it came over, if it did. Every call needs a
 * ws_http2_end().  [any thread]
 * @return whether there is room for it
 */
int ws_http2_begin(const request_rec *r);
void ws_http2_end(const request_rec *r);

/**
 * Answer a request so that the client sends it again over HTTP/1.1.
 * @param what  it is about, for the log
 * @return as a handler of httpd
 */
int ws_http2_send_to_http_1_1(request_rec *r, const char *what);

#endif
