/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * permessage-deflate (RFC 7692) with zlib, implemented through the public extension API.
 *
 * With context takeover (RFC 7692, section 7.1.1), a compressed message may refer to earlier
 * messages, so each direction of a connection owns a zlib state. Without it, a connection borrows a
 * state from its event loop for the duration of a message.
 */

#ifndef WS_PROTOCOL_DEFLATE_H
#define WS_PROTOCOL_DEFLATE_H

#include "include/websocket_extension.h"

/** Range of LZ77 window bits: RFC 7692, sections 7.1.2.1 and 7.1.2.2. */
#define WS_DEFLATE_BITS_MIN 8
#define WS_DEFLATE_BITS_MAX 15

/** The memory limit for zlib states, shared by all connections in all processes. */
typedef struct ws_deflate_memory {
    apr_uint64_t limit;         /**< bytes */
    apr_uint64_t *mine;         /**< memory that this process uses, bytes; atomic */
    apr_uint64_t (*used)(void); /**< returns the memory in use in all processes, bytes */
} ws_deflate_memory;

/** The extension's configuration. */
typedef struct ws_deflate_config {
    int level;                       /**< 1 (fastest) to 9 (smallest output) */
    int window;                      /**< maximum window bits for outgoing messages */
    int client_window;               /**< maximum for incoming messages, if the client allows one */
    int takeover;                    /**< allow context takeover */
    apr_size_t threshold;            /**< do not compress messages shorter than this, bytes */
    const ws_deflate_memory *memory; /**< NULL: no limit */
} ws_deflate_config;

struct ws_offer;

/** Get a client's offer: an element of Sec-WebSocket-Extensions. takeover: allow context
 * takeover */
const char *ws_deflate_offer(int takeover);

/**
 * Check the server's response to the offer of ws_deflate_offer().
 * @param agreed  set to the agreed parameters from the client's view, for ws_negotiation.agreed
 * @return NULL, or a static error text
 */
const char *ws_deflate_agree(const ws_deflate_config *config, int takeover,
                             const struct ws_offer *answer, apr_uint64_t *agreed);

/**
 * Check another server's answer to a client's offers, without using the extension.
 * @param offers  value of the client's Sec-WebSocket-Extensions; overwritten
 * @param answer  value of the server's Sec-WebSocket-Extensions; overwritten
 * @return whether the answer accepts one offer of permessage-deflate, and no other
 *         extension
 */
int ws_deflate_answers(char *offers, char *answer);

#define WS_DEFLATE_NAME "permessage-deflate"

extern const ws_extension ws_deflate;

#endif
