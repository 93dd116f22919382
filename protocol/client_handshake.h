/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The client's side of the opening handshake: RFC 6455, section 4.1, and hybi-07 to hybi-12 for version
 * 8. The request is written, and what the server answers is read and checked.
 */

#ifndef WS_PROTOCOL_ANSWER_H
#define WS_PROTOCOL_ANSWER_H

#include <stddef.h>

/** Length of a Sec-WebSocket-Key, with its NUL. */
#define WS_KEY_SIZE 25

/** A key of 16 random bytes. */
void ws_key_text(const unsigned char random[16], char out[WS_KEY_SIZE]);

/** What is asked for. All but host, target, key and version may be NULL. */
typedef struct ws_client_request {
    const char *host;   /**< for Host, with the port */
    const char *target; /**< path and query */
    const char *key;
    int version;                /**< 13 or 8 */
    const char *protocols;      /**< "a, b" */
    const char *extensions;     /**< the offers */
    const char *origin;         /**< Sec-WebSocket-Origin in version 8 */
    const char *authorization;  /**< "Basic ..." */
    const char *const *headers; /**< further ones: name, value, name, value ..., NULL */
} ws_client_request;

/** What is wrong with a further header: its name is no token, is the handshake's own, or its value has
 *  control characters. Static, or NULL. */
const char *ws_header_wrong(const char *name, const char *value);

/** Write the request. @return its length; if that is not below size, nothing useful was written */
size_t ws_client_request_write(const ws_client_request *ask, char *out, size_t size);

/** Most header lines of an answer. */
#define WS_CLIENT_RESPONSE_LINES 128

/** A parsed answer. Strings stand in the head that was parsed. */
typedef struct ws_client_response {
    int status;
    size_t count;
    struct {
        const char *name, *value;
    } lines[WS_CLIENT_RESPONSE_LINES];
} ws_client_response;

/** Length of the head at the beginning of the input, with its empty line; 0 if that is not there. */
size_t ws_client_response_head(const char *data, size_t len);

/**
 * Take a head apart, in place: what ws_client_response_head has found.
 * @param wrong  set to what is wrong, static
 * @return 0, or -1
 */
int ws_client_response_parse(ws_client_response *answer, char *head, size_t len,
                             const char **wrong);

/** The value of the header of a name from line *at on, NULL if there is none; *at moves behind it. */
const char *ws_client_response_header(const ws_client_response *answer, const char *name,
                                      size_t *at);

/**
 * Check an answer with status 101; which extensions were agreed on is looked at elsewhere.
 * @param protocol  set to the subprotocol that was chosen, or NULL
 * @param wrong     set to what is wrong, static
 * @return 0, or -1
 */
int ws_client_response_check(const ws_client_response *answer, const ws_client_request *ask,
                             const char **protocol, const char **wrong);

#endif
