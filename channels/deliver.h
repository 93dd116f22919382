/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Delivers events to a list's subscriptions. */

#ifndef WS_CHANNELS_DELIVER_H
#define WS_CHANNELS_DELIVER_H

#include "channels/subscriptions.h"

/** Deliver to all live subscriptions in a list. @param only  if not NULL, deliver only to this one
 *  [loop] */
void ws_deliver_now(ws_channels *h, ws_loop *loop, ws_channel *ch, ws_event_kind kind,
                    ws_message *m, ws_sub *only);

#endif
