/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Which channels have a history, and how much of each is kept: the rules that every store obeys. */

#ifndef WS_CHANNELS_HISTORY_RULES_H
#define WS_CHANNELS_HISTORY_RULES_H

#include "engine/engine.h"

/** Smallest size of a file of histories, bytes. */
#define WS_HISTORY_SIZE_MIN (1024 * 1024)

/** Where a store's lines for the log go.  [any thread] */
typedef void ws_history_log_fn(ws_log_level level, const char *text);

/** How much of a channel is kept. */
typedef struct ws_keep {
    apr_uint32_t count; /**< messages, at least 1 */
    apr_uint32_t age;   /**< seconds, 0: any */
} ws_keep;

/** What is kept of the channels that match. The first rule that matches a name applies. */
typedef struct ws_history_rule {
    const char *pattern; /**< with the wildcards of apr_fnmatch(): a star matches slashes, too */
    ws_keep keep;        /**< count 0: nothing is kept */
} ws_history_rule;

/** @return what is kept of a channel, or NULL if nothing is  [any thread] */
WS_API const ws_keep *ws_history_rule_of(const ws_history_rule *rules, unsigned count,
                                         const char *channel);

#endif
