/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Delivers events to the subscriptions of a channel in one loop. */

#ifndef WS_CHANNELS_DELIVER_H
#define WS_CHANNELS_DELIVER_H

#include "channels/subscriptions.h"

/** Deliver an event to all live subscriptions (ws_sub.live) of a channel in a loop.
 *  @param only  if not NULL, deliver only to this subscription  [loop] */
void ws_deliver_now(ws_channels *h, ws_loop *loop, ws_channel *ch, ws_event_kind kind,
                    ws_message *m, ws_sub *only);

#endif
