/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The opening handshake of RFC 6455, section 4, and of the drafts hybi-07 to hybi-16 (versions 7 and
 * 8), which differ from it in the name of the Origin header alone. Requests of the oldest drafts, 76
 * and 75, are told apart from them here; hixie.h has the rest of theirs.
 */

#ifndef WS_PROTOCOL_HANDSHAKE_H
#define WS_PROTOCOL_HANDSHAKE_H

#include <stddef.h>

/** Bits of the versions that a server may speak. */
enum { WS_V13 = 0x1, WS_V8 = 0x2, WS_V7 = 0x4, WS_V76 = 0x8, WS_V75 = 0x10 };

/** What a client's handshake request says; headers are NULL where it has none of that name, and
 *  several of one name are joined with ", ". */
typedef struct ws_handshake {
    const char *method;
    int http;               /**< 1001 for HTTP/1.1 */
    const char *host;       /**< Host, or :authority */
    const char *upgrade;    /**< Upgrade */
    const char *connection; /**< Connection */
    const char *key;        /**< Sec-WebSocket-Key */
    const char *version;    /**< Sec-WebSocket-Version */
    const char *draft;      /**< Sec-WebSocket-Draft, of hybi-01 to -03 */
    const char *key1;       /**< Sec-WebSocket-Key1, of version 76 */
    const char *key2;       /**< Sec-WebSocket-Key2 */
} ws_handshake;

/** Whether a request wants to become a WebSocket connection: its Upgrade header names "websocket". */
int ws_handshake_wanted(const char *upgrade);

/**
 * Check a handshake request: RFC 6455, section 4.2.1. A request without Sec-WebSocket-Version is of
 * version 76 if it has that version's keys, and of 75 if it has no key at all.
 * @param versions  the versions spoken here, WS_V13...
 * @param version   set to the request's version if that is one of them
 * @param problem   set to what is wrong, for the log: names the header, static
 * @return 0 if it is right; 400; or 426 for a version that is not spoken (an absent one included)
 */
int ws_handshake_check(const ws_handshake *h, unsigned versions, int *version,
                       const char **problem);

/** The value of a 426's Sec-WebSocket-Version: "13, 8, 7", newest first; versions that are not told
 *  by that header do not stand in it. out: 32 bytes. */
const char *ws_versions_text(unsigned versions, char *out);

/** The bit of a version's number ("13"), or 0. */
unsigned ws_version_bit(const char *number, size_t len);

/** Length of Sec-WebSocket-Accept, with its NUL. */
#define WS_ACCEPT_SIZE 29

/** Sec-WebSocket-Accept for a Sec-WebSocket-Key: RFC 6455, section 4.2.2. */
void ws_accept_key(const char *key, char out[WS_ACCEPT_SIZE]);

/**
 * Step through a comma-separated list of HTTP (RFC 9110, section 5.6.1): skips blanks and empty
 * elements. *list moves behind the element.
 * @return the element's first character and its length, or NULL at the end
 */
const char *ws_connections_next(const char **list, size_t *len);

/** Whether a list has this element; without regard to case if nocase. */
int ws_connections_has(const char *list, const char *element, size_t len, int nocase);

/** Whether len characters are a token: RFC 9110, section 5.6.2; at least one. */
int ws_is_token(const char *s, size_t len);

/** Most subprotocols that one offer may name. */
#define WS_PROTOCOLS_MAX 100

/**
 * Whether the offer of subprotocols (Sec-WebSocket-Protocol) is well formed: a list of 1 to
 * WS_PROTOCOLS_MAX tokens, each once (section 4.1).
 */
int ws_protocols_valid(const char *list);

/**
 * Whether an Origin ("https://example.org:8443") names the host and port of a Host header. A port
 * that is not there is the default of the origin's scheme, on both sides, since TLS may end in front
 * of this server.
 */
int ws_origin_same(const char *origin, const char *host);

/** Whether two origins are the same: scheme and host without regard to case, default ports filled in. */
int ws_origin_equal(const char *a, const char *b);

/** Whether a text is an origin as a browser sends it: scheme "://" host [":" port], or "null". */
int ws_origin_valid(const char *origin);

#endif
