/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The members of channels, in this process and in others. */

#ifndef WS_CHANNELS_PRESENCE_H
#define WS_CHANNELS_PRESENCE_H

#include "channels/subscriptions.h"

/** Initialize h->presence. @return 0; -1: out of memory */
int ws_presence_init(ws_channels *h, apr_pool_t *pool);
void ws_presence_end(ws_channels *h);

/** Add a connection of this process to the members, or change its data.  [loop] */
void ws_presence_join(ws_channels *h, const ws_channel *ch, const ws_conn *c,
                      const ws_subscription *how);
/** Remove a connection of this process from the members. */
void ws_presence_leave(ws_channels *h, const ws_channel *ch, ws_id id);

/** Number of members among the connections of this process.  [any thread] */
unsigned ws_presence_own(ws_channels *h, const char *channel);

/** Count a subscription of this process that watches the members, or stop counting it.
 *  @param change  1 or -1 */
void ws_presence_watch(ws_channels *h, const ws_channel *ch, int change);

/** Like ws_presence(), but calls fn with the presence lock held. fn must not call functions in this
 *  file. */
ws_status ws_presence_take(ws_channels *h, const ws_channel *ch, ws_presence_fn fn, void *arg);

/** Handle JOIN, LEAVE, WHO and HERE from another process. */
void ws_presence_receive(ws_channels *h, const ws_packet *p);

/** After a loss of packets, ask again for the members of a watched channel, or of all watched
 *  channels if ch is NULL. */
void ws_presence_again(ws_channels *h, const ws_channel *ch);

#endif
