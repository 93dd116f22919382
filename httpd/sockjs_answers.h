/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Answers of SockJS that need no session, and headers of those that do. [the request's thread] */

#ifndef WS_HTTPD_SOCKJS_ANSWERS_H
#define WS_HTTPD_SOCKJS_ANSWERS_H

#include <httpd.h>

/** A whole answer. text may be "". @return as a handler of httpd */
int ws_sockjs_say(request_rec *r, int status, const char *type, const char *text);

/** 405, with the methods that are allowed. */
int ws_sockjs_wrong_method(request_rec *r, const char *allow);

/** Cross-origin headers: the protocol demands them for every answer to a script. */
void ws_sockjs_add_cors(request_rec *r);
void ws_sockjs_add_no_cache(request_rec *r);

/** JSESSIONID, where it is switched on. */
void ws_sockjs_add_cookie(request_rec *r);

/** OPTIONS, an answer that browsers may keep. */
int ws_sockjs_preflight(request_rec *r, const char *methods);

int ws_sockjs_greeting(request_rec *r);
int ws_sockjs_info(request_rec *r);
int ws_sockjs_iframe(request_rec *r);

/**
 * Whether the request may come from a page of an origin that WebSocketOrigin does not let in.
 * @param script  it is one that browsers send without Origin for pages of any site: JSONP, an iframe
 */
int ws_sockjs_foreign(request_rec *r, int script);

#endif
