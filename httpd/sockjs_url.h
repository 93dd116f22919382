/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses SockJS URLs, which name a resource and a session. [the request's thread] */

#ifndef WS_HTTPD_SOCKJS_URL_H
#define WS_HTTPD_SOCKJS_URL_H

#include <httpd.h>

#include "sockjs/session.h"

typedef enum {
    SOCKJS_NOTHING, /**< the URL does not belong to the protocol */
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
    /** The path before the protocol's segments; the handler sees only this part. */
    const char *base;
    const char *session; /**< name of the session in the URL, or NULL */
} sockjs_url;

void ws_sockjs_url_parse(request_rec *r, sockjs_url *url);

/**
 * Compute a session's key. The key depends on the virtual host, the base URL and the user, so that
 * requests of other users cannot reach the session. In sections with tokens, the user is the one in
 * the request's token.
 * @return OK; HTTP_UNAUTHORIZED: the token is refused
 */
int ws_sockjs_url_key(request_rec *r, const sockjs_url *url, ws_sockjs_key *key);

#endif
