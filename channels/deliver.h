/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Events on their way to the seats of a room. */

#ifndef WS_CHANNELS_DELIVER_H
#define WS_CHANNELS_DELIVER_H

#include "channels/subscriptions.h"

/**
 * Have an event delivered in a loop: a message to those who live there, members' news to those who watch.
 * m is referenced; m->server and m->except are the member's.  [any thread]
 * @return 0; -1: the loop has ended, or there is no memory
 */
int ws_deliver(ws_channels *h, unsigned loop, ws_channel *ch, ws_event_kind kind, ws_message *m);

/** Deliver to all live seats of a room, or to one.  [loop] */
void ws_deliver_now(ws_channels *h, ws_loop *loop, ws_channel *ch, ws_event_kind kind,
                    ws_message *m, ws_sub *only);

/** A subscription is in place: bring it to where the room is, behind what it resumes.  [loop] */
void ws_catch_up(ws_channels *h, ws_sub *seat);

/** The same for one that is there: from the position on, or only WS_EVENT_LIVE once more.  [loop] */
void ws_catch_up_again(ws_channels *h, ws_sub *seat, const ws_position *after);

/** Its client has read what it was sent: go on with that.  [loop] */
void ws_catch_up_drained(ws_conn *c);

/** Deliver a message that has a position when it is its turn.  [loop] */
void ws_deliver_in_order(ws_channels *h, ws_loop *loop, ws_channel *ch, ws_message *m);

/** Have a loop look into all histories for what it may have missed.  [any thread] */
void ws_look_again(ws_channels *h, unsigned loop);

#endif
