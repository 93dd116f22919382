/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Creates, stops and destroys the channels of a process. This is the top layer of this folder: no
 *  other file here calls it. */

#include "channels/channels.h"

#include <stdlib.h>

#include "channels/listing.h"
#include "channels/presence.h"

#define QUEUE_DEFAULT (8 * 1024 * 1024)

ws_channels *ws_channels_create(const ws_channels_options *options, apr_pool_t *pool)
{
    ws_channels *h = apr_pcalloc(pool, sizeof(*h));
    h->options = *options;
    h->pool = pool;
    h->loops = ws_engine_loops(options->engine);
    if (!h->options.queue) {
        h->options.queue = QUEUE_DEFAULT;
    }
    if (apr_thread_mutex_create(&h->lock, APR_THREAD_MUTEX_DEFAULT, pool) != APR_SUCCESS
        || ws_presence_init(h, pool) < 0 || ws_listing_init(h, pool) < 0) {
        return NULL;
    }
    ws_engine_channels(options->engine, &ws_channels_for_engine);
    ws_channels_set_current(h);
    return h;
}

void ws_channels_stop(ws_channels *h)
{
    __atomic_store_n(&h->stopped, 1, __ATOMIC_RELEASE);
}

void ws_channels_finish(ws_channels *h)
{
    ws_listeners_end(h);
    ws_presence_end(h);
}

void ws_channels_destroy(ws_channels *h)
{
    ws_channels_set_current(NULL);
    free(h->table);
}

apr_uint64_t ws_server(void)
{
    ws_channels *h = ws_channels_current();
    return h ? h->options.self.server : 0;
}
