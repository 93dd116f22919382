/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Hands events to the loops. [any thread] */

#ifndef WS_CHANNELS_DISPATCH_H
#define WS_CHANNELS_DISPATCH_H

#include "channels/subscriptions.h"

/**
 * Post an event to one loop: a message for its subscribers of the channel, or a change of members
 * for the subscribers that watch the members. Takes a reference to m. For a change of members,
 * m->server and m->except identify the member.
 * @return 0; -1: the loop has ended, or memory is exhausted
 */
int ws_dispatch(ws_channels *h, unsigned loop, ws_channel *ch, ws_event_kind kind, ws_message *m);

/** Post a message to all loops that have subscribers. A loop whose queue is full reads the message
 *  from the history later, or reports a gap. @param ch  NULL: there are no subscribers
 *  @return the number of subscribers */
apr_uint32_t ws_dispatch_message(ws_channels *h, ws_channel *ch, ws_message *m);

/** Whether any loop with subscribers has a full queue. A loop whose queue has been full for too
 *  long is considered stopped, and does not count. @param ch  NULL: there are no subscribers */
int ws_dispatch_must_wait(ws_channels *h, const ws_channel *ch, const ws_message *m);

#endif
