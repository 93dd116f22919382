/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Sends the responses of SockJS that need no session, and adds headers to the others. [the
 *  request's thread] */

#ifndef WS_HTTPD_SOCKJS_ANSWERS_H
#define WS_HTTPD_SOCKJS_ANSWERS_H

#include <httpd.h>

/** Send a complete response. text may be "". @return the return value for httpd's handler */
int ws_sockjs_say(request_rec *r, int status, const char *type, const char *text);

/** Refuse a request with 405. @param allow  the permitted methods */
int ws_sockjs_wrong_method(request_rec *r, const char *allow);

/** Add CORS headers, which the protocol requires for all responses to scripts. */
void ws_sockjs_add_cors(request_rec *r);
void ws_sockjs_add_no_cache(request_rec *r);

/** Add the cookie JSESSIONID, if it is configured. */
void ws_sockjs_add_cookie(request_rec *r);

/** Answer a request with the method OPTIONS. Browsers may cache the response. */
int ws_sockjs_preflight(request_rec *r, const char *methods);

int ws_sockjs_greeting(request_rec *r);
int ws_sockjs_info(request_rec *r);
int ws_sockjs_iframe(request_rec *r);

/**
 * Whether the request may have been sent by a page whose origin WebSocketOrigin does not permit.
 * @param script  1: a request that browsers send without Origin for pages on any site (JSONP,
 *                iframe)
 */
int ws_sockjs_foreign(request_rec *r, int script);

#endif
