/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Builds channel names from the request. */

#ifndef WS_HANDLERS_CHANNEL_NAMES_H
#define WS_HANDLERS_CHANNEL_NAMES_H

#include "websocket_parse.h"

/** Get an argument in the query string. @return the same as ws_query_next() */
int channel_argument(ws_conn *c, const char *name, char *out, apr_size_t size);

/**
 * Expand %{...} for a connection. If c is NULL, use sample values.
 * @return whether the name is valid and fits
 */
int channel_expand(ws_conn *c, const char *pattern, char *out, apr_size_t size);

#endif
