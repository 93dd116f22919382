/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * permessage-deflate (RFC 7692) on zlib, as an extension like any other.
 *
 * Without context takeover a connection holds a zlib state only while it is inside a message; the
 * states belong to the event loop. With it, each direction keeps its own.
 */

#ifndef WS_PROTOCOL_DEFLATE_H
#define WS_PROTOCOL_DEFLATE_H

#include "include/websocket_extension.h"

/** Bits of the LZ77 window: RFC 7692, sections 7.1.2.1 and 7.1.2.2. */
#define WS_DEFLATE_BITS_MIN 8
#define WS_DEFLATE_BITS_MAX 15

/** What zlib may use: all connections of all processes together. */
typedef struct ws_deflate_memory {
    apr_uint64_t limit;         /**< bytes */
    apr_uint64_t *mine;         /**< of this process, bytes; atomic */
    apr_uint64_t (*used)(void); /**< of all, bytes */
} ws_deflate_memory;

/** The extension's configuration. */
typedef struct ws_deflate_config {
    int level;            /**< 1 (fast) to 9 (small) */
    int window;           /**< bits of our window at most */
    int client_window;    /**< bits of the client's window at most, if the client lets us choose */
    int takeover;         /**< windows are kept from message to message */
    apr_size_t threshold; /**< shorter messages are not compressed, bytes */
    const ws_deflate_memory *memory; /**< NULL: without limit */
} ws_deflate_config;

struct ws_offer;

/** What a client with this configuration offers, whole; takeover: whether windows may be kept. */
const char *ws_deflate_offer(int takeover);

/**
 * A server's answer to that offer.
 * @param agreed  set to what was agreed on, seen from the client: for ws_negotiation.agreed
 * @return NULL; or what is wrong, static
 */
const char *ws_deflate_agree(const ws_deflate_config *config, int takeover,
                             const struct ws_offer *answer, apr_uint64_t *agreed);

#define WS_DEFLATE_NAME "permessage-deflate"

extern const ws_extension ws_deflate;

#endif
