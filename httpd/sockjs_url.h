/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The URLs of SockJS: what is asked for, and of which session. [the request's thread] */

#ifndef WS_HTTPD_SOCKJS_URL_H
#define WS_HTTPD_SOCKJS_URL_H

#include <httpd.h>

#include "sockjs/session.h"

typedef enum {
    SOCKJS_NOTHING, /**< no URL of the protocol's */
    SOCKJS_GREETING,
    SOCKJS_INFO,
    SOCKJS_IFRAME,
    SOCKJS_RAW_WEBSOCKET,
    SOCKJS_WEBSOCKET,
    SOCKJS_XHR,
    SOCKJS_XHR_STREAMING,
    SOCKJS_EVENTSOURCE,
    SOCKJS_HTMLFILE,
    SOCKJS_JSONP,
    SOCKJS_XHR_SEND,
    SOCKJS_JSONP_SEND
} sockjs_what;

typedef struct sockjs_url {
    sockjs_what what;
    const char *base;    /**< what precedes the protocol's part, which the handler sees */
    const char *session; /**< from the URL, or NULL */
} sockjs_url;

void ws_sockjs_url_parse(request_rec *r, sockjs_url *url);

/** The session's key: it is bound to the virtual host, the base URL and the user, so that no other user's request
 *  reaches it. */
ws_sockjs_key ws_sockjs_url_key(request_rec *r, const sockjs_url *url);

#endif
