/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Events on their way to the loops. [any thread] */

#ifndef WS_CHANNELS_DISPATCH_H
#define WS_CHANNELS_DISPATCH_H

#include "channels/subscriptions.h"

/**
 * Post an event to one loop: a message to the channel's subscribers there, or a change of members to those
 * that watch. Takes a reference to m; m->server and m->except are the member's.
 * @return 0; -1: the loop has ended, or there is no memory
 */
int ws_dispatch(ws_channels *h, unsigned loop, ws_channel *ch, ws_event_kind kind, ws_message *m);

/** Post a message to all loops that have subscribers. A loop that is full reads it from the history later, or
 *  reports a gap. @param ch  or NULL  @return the number of subscribers */
apr_uint32_t ws_dispatch_message(ws_channels *h, ws_channel *ch, ws_message *m);

/** Whether a loop that has subscribers is full, and is not yet considered stopped. @param ch  or NULL */
int ws_dispatch_must_wait(ws_channels *h, const ws_channel *ch, const ws_message *m);

#endif
