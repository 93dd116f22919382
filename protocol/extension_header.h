/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses the value of Sec-WebSocket-Extensions: RFC 6455, section 9.1. */

#ifndef WS_PROTOCOL_EXTENSION_HEADER_H
#define WS_PROTOCOL_EXTENSION_HEADER_H

#include "include/websocket_extension.h"

/** One element: an extension's name and its parameters. */
typedef struct ws_offer {
    const char *name;
    /** May exceed WS_PARAMETERS_MAX; parameters[] holds only the first WS_PARAMETERS_MAX. */
    apr_size_t count;
    ws_parameter parameters[WS_PARAMETERS_MAX];
} ws_offer;

/**
 * Parse the next element. Advances *list past it, and overwrites delimiters with NULs. The strings
 * of the offer point into the list.
 * @return 1; 0 at the end of the list; -1 if the element is malformed
 */
int ws_offer_next(char **list, ws_offer *offer);

#endif
