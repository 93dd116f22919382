/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The client's opening handshake: RFC 6455, section 4.1, and hybi-07 to hybi-12 for version 8.
 * Writes the request, then parses and checks the server's response.
 */

#ifndef WS_PROTOCOL_CLIENT_HANDSHAKE_H
#define WS_PROTOCOL_CLIENT_HANDSHAKE_H

#include <stddef.h>

/** Maximum number of interim responses, so that a server cannot prolong a handshake with them. */
#define WS_INTERIM_MAX 32

/** Size of a Sec-WebSocket-Key with its NUL, bytes. */
#define WS_KEY_SIZE 25

/** Encode 16 random bytes as a Sec-WebSocket-Key. */
void ws_key_text(const unsigned char random[16], char out[WS_KEY_SIZE]);

/** The fields of a request. All but host, target, key and version may be NULL. */
typedef struct ws_client_request {
    const char *host;           /**< value of Host, with the port */
    const char *target;         /**< path and query */
    const char *key;            /**< Sec-WebSocket-Key, see ws_key_text() */
    int version;                /**< 13 or 8 */
    const char *protocols;      /**< "a, b" */
    const char *extensions;     /**< value of Sec-WebSocket-Extensions */
    const char *origin;         /**< Sec-WebSocket-Origin in version 8 */
    const char *authorization;  /**< "Basic ..." */
    const char *const *headers; /**< additional headers: name, value, name, value ..., NULL */
} ws_client_request;

/**
 * Check an additional header. Its name must be a token that the handshake itself does not use. Its
 * value must not contain control characters.
 * @return NULL, or a static error text
 */
const char *ws_header_wrong(const char *name, const char *value);

/** Write the request. @return its length, bytes. If that is size or more, out is incomplete. */
size_t ws_client_request_write(const ws_client_request *ask, char *out, size_t size);

/** Maximum number of header lines in a response. */
#define WS_CLIENT_RESPONSE_LINES 128

/** A parsed response. The strings point into the parsed head. */
typedef struct ws_client_response {
    int status;
    const char *reason; /**< the reason phrase: any bytes but NUL and line ends, or "" */
    size_t count;
    struct {
        const char *name, *value;
    } lines[WS_CLIENT_RESPONSE_LINES];
} ws_client_response;

/**
 * Get the length of the response head, including the empty line at its end. @return 0: the empty
 * line has not arrived
 */
size_t ws_client_response_head(const char *data, size_t len);

/**
 * Parse a head in place.
 * @param len    as returned by ws_client_response_head()
 * @param wrong  set to the error, a static string
 * @return 0, or -1
 */
int ws_client_response_parse(ws_client_response *answer, char *head, size_t len,
                             const char **wrong);

/** Find the next header of this name at line *at or later. Advances *at past it.
 *  @return its value, or NULL */
const char *ws_client_response_header(const ws_client_response *answer, const char *name,
                                      size_t *at);

/**
 * Check a response with status 101. The caller checks the accepted extensions.
 * @param protocol  set to the chosen subprotocol, or NULL
 * @param wrong     set to the error, a static string
 * @return 0, or -1
 */
int ws_client_response_check(const ws_client_response *answer, const ws_client_request *ask,
                             const char **protocol, const char **wrong);

#endif
