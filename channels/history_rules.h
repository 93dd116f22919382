/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The rules that determine which channels have a history, and how many messages each keeps. Every
 *  store applies them. */

#ifndef WS_CHANNELS_HISTORY_RULES_H
#define WS_CHANNELS_HISTORY_RULES_H

#include "engine/engine.h"

/** Minimum size of a history file, bytes. */
#define WS_HISTORY_SIZE_MIN (1024 * 1024)

/** Writes a store's log lines.  [any thread] */
typedef void ws_history_log_fn(ws_log_level level, const char *text);

/** Limits of a channel's history. */
typedef struct ws_keep {
    apr_uint32_t count; /**< messages, at least 1 */
    apr_uint32_t age;   /**< maximum age, seconds; 0: no limit */
} ws_keep;

/** The limits of the channels whose names match a pattern. The first matching rule applies. */
typedef struct ws_history_rule {
    const char *pattern; /**< pattern of apr_fnmatch() without flags: a star also matches slashes */
    ws_keep keep;        /**< count 0: no history */
} ws_history_rule;

/** Get the limits of a channel's history. @return NULL: the channel has no history  [any thread] */
WS_API const ws_keep *ws_history_rule_of(const ws_history_rule *rules, unsigned count,
                                         const char *channel);

#endif
