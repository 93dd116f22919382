/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Answers the request "history" of channel.v1.json. */

#ifndef WS_HANDLERS_CHANNEL_HISTORY_H
#define WS_HANDLERS_CHANNEL_HISTORY_H

#include "request.h"

/** Answer with the messages before a position. The caller must have checked that the client may
 *  subscribe. @return the same as ws_read_history() */
ws_status channel_history(ws_conn *c, const char *channel, const cJSON *o, const cJSON *number);

#endif
