/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** WebSocket URLs: RFC 6455, section 3; and those of HTTP proxies, which look alike. */

#ifndef WS_PROTOCOL_URL_H
#define WS_PROTOCOL_URL_H

#include <stddef.h>

/** Longest URL, with its NUL. */
#define WS_URL_SIZE 8192

/** Room for the strings of a URL of len characters. */
#define WS_URL_ROOM(len) ((len) + 8)

/** A URL's parts. Strings stand in the room that the caller gave. */
typedef struct ws_url {
    int secure;           /**< wss, or https */
    int http;             /**< the scheme is http or https */
    const char *user;     /**< decoded, or NULL */
    const char *password; /**< decoded; "" with a user and without a colon */
    const char *host;     /**< an IPv6 address without its brackets */
    int ipv6;
    unsigned port;      /**< the scheme's default if the URL has none */
    int port_given;     /**< it is not the default */
    const char *target; /**< path and query, at least "/" */
} ws_url;

/**
 * Take a URL apart: ws, wss, and also http and https (redirects and proxies have these).
 * @param room   WS_URL_ROOM(strlen(text)) bytes
 * @param wrong  set to what is wrong, static
 * @return 0, or -1
 */
int ws_url_parse(ws_url *url, const char *text, char *room, const char **wrong);

/** The URL that a Location header leads to, seen from another: RFC 9110, section 10.2.2.
 *  @return 0, or -1 if it is longer than WS_URL_SIZE */
int ws_url_resolve(const ws_url *from, const char *location, char out[WS_URL_SIZE]);

/** Longest host and port with brackets and colon, with its NUL. */
#define WS_AUTHORITY_SIZE (WS_URL_SIZE + 16)

/** "host:port" as in Host; without the port if that is the default, unless always. */
const char *ws_url_authority(const ws_url *url, int always, char out[WS_AUTHORITY_SIZE]);

#endif
