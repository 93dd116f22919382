/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The list of channels that have subscribers, in all processes: ws_list_channels(). */

#ifndef WS_CHANNELS_LISTING_H
#define WS_CHANNELS_LISTING_H

#include "channels/subscriptions.h"

/** Initialize h->listing. @return 0; -1: out of memory */
int ws_listing_init(ws_channels *h, apr_pool_t *pool);

/** Handle WS_PACKET_LIST and WS_PACKET_LISTED from another process. */
void ws_listing_receive(ws_channels *h, const ws_packet *p);

#endif
