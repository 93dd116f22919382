/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** WS_SNAPSHOT: delivers the current members before any changes. */

#ifndef WS_CHANNELS_SNAPSHOT_H
#define WS_CHANNELS_SNAPSHOT_H

#include "channels/subscriptions.h"

/** If `how` has WS_WATCH and WS_SNAPSHOT, deliver a WS_EVENT_JOIN for each current member, then
 *  WS_EVENT_MEMBERS. Until then the subscription receives no other member events.  [loop] */
void ws_snapshot_begin(ws_channels *h, ws_sub *sub, const ws_subscription *how);

#endif
