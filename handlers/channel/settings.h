/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Holds the values of the keys on a line `WebSocketHandler ws_channel.so`. */

#ifndef WS_HANDLERS_CHANNEL_SETTINGS_H
#define WS_HANDLERS_CHANNEL_SETTINGS_H

#include "mod_websocket.h"

typedef struct names {
    struct names *next;
    const char *pattern; /**< channel name with placeholders, see channel_expand() */
} names;

typedef struct settings {
    names *channels, **last;
    int publish, echo, presence;
    apr_int64_t heartbeat; /**< milliseconds; 0: no heartbeat */
    const char *beat;      /**< text for clients without a subprotocol */
} settings;

/** The handler's configure function. */
const char *channel_configure(apr_pool_t *pconf, const char *key, const char *value, void **config);

#endif
