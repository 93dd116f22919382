/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Replays messages from a history, and keeps messages in order. */

#ifndef WS_CHANNELS_REPLAY_H
#define WS_CHANNELS_REPLAY_H

#include "channels/subscriptions.h"

/** Start a subscription that has been added to its list: replay the stored messages that it asks
 *  for, then make it live.  [loop] */
void ws_catch_up(ws_channels *h, ws_sub *sub, const ws_subscription *how);

/** Replay messages for an existing subscription. If `how` has neither WS_RESUME nor WS_RESUME_LAST,
 *  only send WS_EVENT_LIVE again.  [loop] */
void ws_catch_up_again(ws_channels *h, ws_sub *sub, const ws_subscription *how);

/** Continue the replays of a connection whose client has read all that was sent.  [loop] */
void ws_catch_up_drained(ws_conn *c);

/** Deliver a message if it is the next one of its channel, drop it if it has been delivered, or
 *  read the missing messages before it.  [loop] */
void ws_deliver_in_order(ws_channels *h, ws_loop *loop, ws_channel *ch, ws_message *m);

/** Make a loop read missed messages from all histories. Channels without a history report a gap.
 *  [any thread] */
void ws_look_again(ws_channels *h, unsigned loop);

/** Make a loop read missed messages of one channel from its history.  [any thread] */
void ws_look_again_at(ws_channels *h, unsigned loop, ws_channel *ch);

#endif
