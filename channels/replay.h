/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Replay of what a history has kept, and its order. */

#ifndef WS_CHANNELS_REPLAY_H
#define WS_CHANNELS_REPLAY_H

#include "channels/subscriptions.h"

/** A subscription is in its list: deliver what it resumes, then make it live.  [loop] */
void ws_catch_up(ws_channels *h, ws_sub *sub, const ws_subscription *how);

/** The same for one that is there: without WS_RESUME, only WS_EVENT_LIVE comes once more.  [loop] */
void ws_catch_up_again(ws_channels *h, ws_sub *sub, const ws_subscription *how);

/** Its client has read what it was sent: go on with that.  [loop] */
void ws_catch_up_drained(ws_conn *c);

/** Deliver a message that has a position when it is its turn.  [loop] */
void ws_deliver_in_order(ws_channels *h, ws_loop *loop, ws_channel *ch, ws_message *m);

/** Have a loop look into all histories for what it may have missed.  [any thread] */
void ws_look_again(ws_channels *h, unsigned loop);

#endif
