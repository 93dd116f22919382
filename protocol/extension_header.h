/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The value of Sec-WebSocket-Extensions: RFC 6455, section 9.1. */

#ifndef WS_PROTOCOL_OFFER_H
#define WS_PROTOCOL_OFFER_H

#include "include/websocket_extension.h"

/** An extension and its parameters, as one side names it. */
typedef struct ws_offer {
    const char *name;
    apr_size_t count; /**< more than WS_PARAMETERS_MAX: only so many are there */
    ws_parameter parameters[WS_PARAMETERS_MAX];
} ws_offer;

/**
 * Step through the value. *list moves behind the offer, whose strings stand in it, with NULs where
 * there were delimiters.
 * @return 1; 0 at the end; -1 if it is malformed
 */
int ws_offer_next(char **list, ws_offer *offer);

#endif
