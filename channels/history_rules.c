/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Finds a channel's history rule. The first matching rule applies. */

#include "channels/history_rules.h"

#include <apr_fnmatch.h>

const ws_keep *ws_history_rule_of(const ws_history_rule *rules, unsigned count, const char *channel)
{
    for (unsigned i = 0; i < count; i++) {
        if (apr_fnmatch(rules[i].pattern, channel, 0) == APR_SUCCESS) {
            return rules[i].keep.count ? &rules[i].keep : NULL;
        }
    }
    return NULL;
}
