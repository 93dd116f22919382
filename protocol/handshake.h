/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The server's opening handshake: RFC 6455, section 4, and the drafts hybi-07 to hybi-16 (versions
 * 7 and 8), which differ only in the name of the Origin header. Requests of versions 76 and 75 are
 * detected here and handled by hixie.h.
 */

#ifndef WS_PROTOCOL_HANDSHAKE_H
#define WS_PROTOCOL_HANDSHAKE_H

#include <stddef.h>

/** Protocol versions, as bits. */
enum { WS_V13 = 0x1, WS_V8 = 0x2, WS_V7 = 0x4, WS_V76 = 0x8, WS_V75 = 0x10 };

/** The fields of a client's handshake request. Absent headers are NULL; repeated ones are joined
 *  with ", ". */
typedef struct ws_handshake {
    const char *method;
    int http;               /**< 1001 for HTTP/1.1 */
    const char *host;       /**< Host, or :authority */
    const char *upgrade;    /**< Upgrade */
    const char *connection; /**< Connection */
    const char *key;        /**< Sec-WebSocket-Key */
    const char *version;    /**< Sec-WebSocket-Version */
    const char *draft;      /**< Sec-WebSocket-Draft (hybi-01 to -03) */
    const char *key1;       /**< Sec-WebSocket-Key1 (version 76) */
    const char *key2;       /**< Sec-WebSocket-Key2 */
} ws_handshake;

/** Whether a request asks for a WebSocket connection: its Upgrade header contains "websocket". */
int ws_handshake_wanted(const char *upgrade);

/**
 * Check a handshake request: RFC 6455, section 4.2.1. A request without Sec-WebSocket-Version has
 * version 76 if it has the keys of that version, and version 75 if it has no key at all.
 * @param versions  the enabled versions, WS_V13...
 * @param version   set to the request's version if it is enabled
 * @param problem   set to the error for the log, a static string that names the header
 * @return 0, 400, or 426 if the version is missing or not enabled
 */
int ws_handshake_check(const ws_handshake *h, unsigned versions, int *version,
                       const char **problem);

/** Write the Sec-WebSocket-Version of a 426 response: "13, 8, 7", newest first. Omits versions 76
 *  and 75, which predate the header. out: 32 bytes. */
const char *ws_versions_text(unsigned versions, char *out);

/** Get the bit of a version number such as "13". @return 0: unknown version */
unsigned ws_version_bit(const char *number, size_t len);

/** Size of a Sec-WebSocket-Accept with its NUL, bytes. */
#define WS_ACCEPT_SIZE 29

/** Compute the Sec-WebSocket-Accept of a Sec-WebSocket-Key: RFC 6455, section 4.2.2. */
void ws_accept_key(const char *key, char out[WS_ACCEPT_SIZE]);

/**
 * Iterate over a comma-separated header value (RFC 9110, section 5.6.1). Skips whitespace and empty
 * elements. Advances *list past the element.
 * @return the element, *len characters long; NULL at the end
 */
const char *ws_header_list_next(const char **list, size_t *len);

/** Whether a list contains this element. nocase: ignore case */
int ws_header_list_has(const char *list, const char *element, size_t len, int nocase);

/** Whether len characters form a token (RFC 9110, section 5.6.2). */
int ws_is_token(const char *s, size_t len);

/** Maximum number of subprotocols in one offer. */
#define WS_PROTOCOLS_MAX 100

/**
 * Whether Sec-WebSocket-Protocol is well formed: 1 to WS_PROTOCOLS_MAX distinct tokens (RFC 6455,
 * section 4.1).
 */
int ws_protocols_valid(const char *list);

/**
 * Whether an Origin ("https://example.org:8443") has the host and port of a Host header. A missing
 * port in either of them stands for the default port of the origin's scheme, because a proxy may
 * terminate TLS.
 */
int ws_origin_same(const char *origin, const char *host);

/**
 * Whether two origins are equal, ignoring the case of scheme and host and filling in default ports.
 */
int ws_origin_equal(const char *a, const char *b);

/** Whether a string is an origin as browsers send it: scheme "://" host [":" port], or "null". */
int ws_origin_valid(const char *origin);

/** Whether a string is a pattern for origins: an origin, or an origin whose host begins with "*."
 *  and stands for all hosts below that domain. */
int ws_origin_pattern_valid(const char *pattern);

/** Whether an origin matches a pattern: the two are equal; or scheme and port are equal, the
 *  pattern's host begins with "*.", and the origin's host is below that domain, at any depth. */
int ws_origin_matches(const char *origin, const char *pattern);

#endif
