/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** WS_SNAPSHOT: the members that are there, before those that come and go. */

#ifndef WS_CHANNELS_SNAPSHOT_H
#define WS_CHANNELS_SNAPSHOT_H

#include "channels/subscriptions.h"

/** Tell a subscription that watches, if `how` says so: members that are there as WS_EVENT_JOIN, then
 *  WS_EVENT_MEMBERS. Until then it gets no others.  [loop] */
void ws_snapshot_begin(ws_channels *h, ws_sub *sub, const ws_subscription *how);

#endif
