/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses WebSocket URLs (RFC 6455, section 3) and proxies' URLs. */

#ifndef WS_PROTOCOL_URL_H
#define WS_PROTOCOL_URL_H

#include <stddef.h>

/** Maximum size of a URL with its NUL, bytes. */
#define WS_URL_SIZE 8192

/** Size of the buffer for the strings of a URL of len characters, bytes. */
#define WS_URL_ROOM(len) ((len) + 8)

/** The parts of a URL. The strings point into the caller's buffer. */
typedef struct ws_url {
    int secure;           /**< wss, or https */
    int http;             /**< the scheme is http or https */
    int socks;            /**< the scheme is socks5 or socks5h */
    const char *user;     /**< decoded, or NULL */
    const char *password; /**< decoded; "" if there is a user, but no colon after it */
    const char *host;     /**< an IPv6 address has no brackets */
    int ipv6;
    int international;  /**< 1: the host has characters beyond ASCII, so it must be converted */
    unsigned port;      /**< the scheme's default if the URL has none */
    int port_given;     /**< 1: the port differs from the scheme's default */
    const char *target; /**< path and query, at least "/" */
} ws_url;

/**
 * Parse a URL with the scheme ws, wss, http, https (as redirects and proxies use), socks5 or
 * socks5h.
 * @param room   buffer of WS_URL_ROOM(strlen(text)) bytes
 * @param wrong  set to the error, a static string
 * @return 0, or -1
 */
int ws_url_parse(ws_url *url, const char *text, char *room, const char **wrong);

/** Resolve a Location header against a URL: RFC 9110, section 10.2.2.
 *  @return 0, or -1 if the result exceeds WS_URL_SIZE */
int ws_url_resolve(const ws_url *from, const char *location, char out[WS_URL_SIZE]);

/** Maximum size of "[host]:port" with its NUL, bytes. */
#define WS_AUTHORITY_SIZE (WS_URL_SIZE + 16)

/** Write "host:port" as in Host. Omits a default port unless always is set. */
const char *ws_url_authority(const ws_url *url, int always, char out[WS_AUTHORITY_SIZE]);

#endif
