/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses the keys on a line `WebSocketHandler ws_channel.so`. */

#include "settings.h"

#include <apr_strings.h>
#include <string.h>

#include "names.h"
#include "websocket_parse.h"

/* Minimum and maximum interval of heartbeats, milliseconds. */
#define HEARTBEAT_MIN 1000
#define HEARTBEAT_MAX (3600 * 1000)

static const char *settings_set_flag(const char *value, int *flag)
{
    *flag = !strcmp(value, "on");
    return *flag || !strcmp(value, "off") ? NULL : "takes on or off";
}

static const char *settings_add_channel(apr_pool_t *pconf, settings *s, const char *value)
{
    char name[WS_CHANNEL_MAX + 1];
    names *n = apr_pcalloc(pconf, sizeof(*n));
    n->pattern = apr_pstrdup(pconf, value);
    *s->last = n;
    s->last = &n->next;
    return channel_expand(NULL, value, name, sizeof(name)) && ws_channel_valid(name)
               ? NULL
               : "takes a channel's name, 1 to 200 of the characters A-Z a-z 0-9 - _ . ~ : / @ + "
                 "= !, which may contain %{user}, %{path:N} (N from 1 to 100) and %{arg:NAME}";
}

const char *channel_configure(apr_pool_t *pconf, const char *key, const char *value, void **config)
{
    settings *s = *config;
    if (!s) {
        s = *config = apr_pcalloc(pconf, sizeof(*s));
        s->last = &s->channels;
        s->echo = 1;
    }
    if (!key) {
        return s->beat && !s->heartbeat
                   ? "beat= is sent at each heartbeat: add heartbeat=, or remove beat="
                   : NULL;
    }
    if (!strcmp(key, "channel")) {
        return settings_add_channel(pconf, s, value);
    }
    if (!strcmp(key, "heartbeat")) {
        return ws_parse_interval(pconf, value, HEARTBEAT_MIN, HEARTBEAT_MAX, &s->heartbeat);
    }
    if (!strcmp(key, "beat")) {
        s->beat = apr_pstrdup(pconf, value);
        return ws_text_prefix(value, strlen(value), strlen(value)) == strlen(value)
                   ? NULL
                   : "takes a text in UTF-8";
    }
    return !strcmp(key, "publish")    ? settings_set_flag(value, &s->publish)
           : !strcmp(key, "echo")     ? settings_set_flag(value, &s->echo)
           : !strcmp(key, "presence") ? settings_set_flag(value, &s->presence)
                                      : "unknown key; the keys are channel=, publish=, echo=, "
                                        "presence=, heartbeat= and beat=";
}
