/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Who is a member of which channel, here and in other processes. */

#ifndef WS_CHANNELS_PRESENCE_H
#define WS_CHANNELS_PRESENCE_H

#include "channels/subscriptions.h"

/** @return 0, or -1 when there is no memory */
int ws_presence_init(ws_channels *h, apr_pool_t *pool);
void ws_presence_end(ws_channels *h);

/** A connection of this process is a member, or has new data.  [loop] */
void ws_presence_join(ws_channels *h, const ws_channel *ch, const ws_conn *c,
                      const ws_subscription *how);
/** It is none any more. */
void ws_presence_leave(ws_channels *h, const ws_channel *ch, ws_id id);

/** How many connections of this process are members.  [any thread] */
unsigned ws_presence_own(ws_channels *h, const char *channel);

/** One more connection, or one less, of this process is told of members. */
void ws_presence_watch(ws_channels *h, const ws_channel *ch, int change);

/** As ws_presence(), but fn is called under the lock of presence: it must not call presence. */
ws_status ws_presence_take(ws_channels *h, const ws_channel *ch, ws_presence_fn fn, void *arg);

/** JOIN, LEAVE, WHO and HERE of others. */
void ws_presence_receive(ws_channels *h, const ws_packet *p);

/** Packets were lost: ask again. */
void ws_presence_again(ws_channels *h);

#endif
