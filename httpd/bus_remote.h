/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Defines the provider interface for a bus that carries channel messages to other machines. */

#ifndef WS_HTTPD_BUS_REMOTE_H
#define WS_HTTPD_BUS_REMOTE_H

#include <httpd.h>

#include "channels/channels.h"
#include "channels/history_rules.h"

/** ap_register_provider(p, WS_REMOTE_BUS_GROUP, "remote", WS_REMOTE_BUS_VERSION, &table) */
#define WS_REMOTE_BUS_GROUP "websocket_bus"
#define WS_REMOTE_BUS_VERSION "1"

typedef struct ws_remote_bus {
    /**
     * Whether the bus is configured. A configured bus also stores the histories.
     * [post_config, child_init]
     */
    int (*configured)(void);
    /**
     * child_init: set options->remote and options->history. The function may use options->self and
     * options->queue, which are already set. Logs its own errors.
     */
    void (*child_init)(apr_pool_t *pchild, server_rec *s, ws_channels_options *options,
                       const ws_history_rule *rules, unsigned rule_count);
    /** Called after ws_engine_stop(). */
    void (*child_exit)(void);
} ws_remote_bus;

#endif
