/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Parses the directives for the settings of connections, and applies their defaults. Connections
 * with equal settings share one copy.
 */

#include "httpd/settings.h"

#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <http_log.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "httpd/arguments.h"
#include "httpd/connection_log.h"
#include "httpd/limits.h"
#include "protocol/handshake.h"

APLOG_USE_MODULE(websocket);

#define DEFAULT_MESSAGE (1024 * 1024)
#define DEFAULT_SEND_QUEUE (1024 * 1024)
#define DEFAULT_FRAGMENT (16 * 1024)
#define DEFAULT_PING_INTERVAL 20000
#define DEFAULT_PING_GRACE 10000
#define DEFAULT_CLOSE_TIMEOUT 5000
#define DEFAULT_MESSAGE_TIMEOUT 60000
#define DEFAULT_MESSAGE_RATE 500
#define MESSAGE_RATE_MAX (1 << 30)
#define DEFAULT_SUBSCRIPTIONS 100
#define DEFAULT_TOKEN_LEEWAY 10000
#define SUBSCRIPTIONS_MAX 100000

/* ---- Directives ---- */

const char *ws_set_fragment(cmd_parms *cmd, void *config, const char *arg)
{
    ws_dir_config *d = config;
    if (!strcasecmp(arg, "off") || !strcasecmp(arg, "on")) {
        d->fragment = strcasecmp(arg, "on") ? 0 : DEFAULT_FRAGMENT;
        return NULL;
    }
    return ws_refused(cmd, arg, ws_parse_size(cmd->pool, arg, 1, WS_SIZE_MAX, &d->fragment),
                      ", or on (16K) or off");
}

const char *ws_set_ping(cmd_parms *cmd, void *config, const char *interval, const char *grace)
{
    ws_dir_config *d = config;
    const char *error;
    if (!strcasecmp(interval, "off")) {
        d->ping_interval = 0;
        return grace ? ws_wrong(cmd, grace, "nothing after off") : NULL;
    }
    error = ws_parse_interval(cmd->pool, interval, 100, WS_INTERVAL_MAX, &d->ping_interval);
    if (error) {
        return ws_refused(cmd, interval, error, "; or off");
    }
    if (grace && !strcasecmp(grace, "off")) {
        d->ping_grace = 0; /* 0 means that a client that does not answer pings stays connected */
        return NULL;
    }
    return grace ? ws_refused(
               cmd, grace,
               ws_parse_interval(cmd->pool, grace, 100, WS_INTERVAL_MAX, &d->ping_grace),
               ", as the time to answer a ping; or off, to keep clients that do not")
                 : NULL;
}

const char *ws_set_message_timeout(cmd_parms *cmd, void *config, const char *time, const char *rate)
{
    ws_dir_config *d = config;
    const char *error;
    if (!strcasecmp(time, "off")) {
        d->message_timeout = 0;
        return rate ? ws_wrong(cmd, rate, "nothing after off") : NULL;
    }
    error = ws_parse_interval(cmd->pool, time, 100, WS_INTERVAL_MAX, &d->message_timeout);
    if (error) {
        return ws_refused(cmd, time, error, "; or off");
    }
    return rate ? ws_refused(cmd, rate,
                             ws_parse_size(cmd->pool, rate, 0, MESSAGE_RATE_MAX, &d->message_rate),
                             ", as bytes per second; or 0")
                : NULL;
}

const char *ws_set_slow_reader(cmd_parms *cmd, void *config, const char *policy,
                               const char *max_delay)
{
    static const char *const policies[] = {"close", "drop-newest", "drop-oldest", "keep-latest"};
    ws_dir_config *d = config;
    int i = 0;
    while (i < 4 && strcasecmp(policy, policies[i])) {
        i++;
    }
    if (i == 4) {
        return ws_wrong(cmd, policy, "close, drop-newest, drop-oldest or keep-latest");
    }
    d->slow = i;
    if (max_delay && !strcasecmp(max_delay, "off")) {
        d->max_delay = 0;
        return NULL;
    }
    return max_delay ? ws_refused(
               cmd, max_delay,
               ws_parse_interval(cmd->pool, max_delay, 1, WS_INTERVAL_MAX, &d->max_delay),
               ", as the time that a message may wait; or off")
                     : NULL;
}

const char *ws_set_versions(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    ws_dir_config *d = config;
    static const char takes[] = "one or more of 13, 8, 7, 76 and 75";
    if (argc == 0) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, " takes ", takes, NULL);
    }
    d->versions = 0;
    for (int i = 0; i < argc; i++) {
        unsigned bit = ws_version_bit(argv[i], strlen(argv[i]));
        if (!bit) {
            return ws_wrong(cmd, argv[i], takes);
        }
        d->versions |= bit;
    }
    return ws_check_repeated(cmd, argc, argv, strcmp);
}

const char *ws_set_subscriptions(cmd_parms *cmd, void *config, const char *arg)
{
    return ws_refused(cmd, arg,
                      ws_parse_count(cmd->pool, arg, 1, SUBSCRIPTIONS_MAX,
                                     &((ws_dir_config *)config)->subscriptions),
                      ", of channels");
}

unsigned ws_versions_of(const ws_dir_config *d)
{
    return d->versions ? d->versions : WS_V13 | WS_V8 | WS_V7;
}

/* ---- Settings of a request ---- */

static apr_uint64_t settings_or_default(apr_int64_t value, apr_uint64_t otherwise)
{
    return value < 0 ? otherwise : (apr_uint64_t)value;
}

ws_token_rules ws_token_rules_of(const ws_dir_config *d)
{
    ws_token_rules rules = {
        .keys = d->token_keys && d->token_keys->nelts ? d->token_keys : NULL,
        .audiences = d->token_audiences,
        .issuers = d->token_issuers,
        .leeway = (apr_int64_t)settings_or_default(d->token_leeway, DEFAULT_TOKEN_LEEWAY)};
    return rules;
}

/* A merged section is freed with its request, so connections need a copy of its settings. Equal
 * settings share one copy, so the number of copies is bounded by the configuration. */
static struct interned {
    struct interned *next;
    ws_settings settings;
} * interned;
static apr_thread_mutex_t *interned_lock;

apr_status_t ws_settings_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options)
{
    (void)s, (void)options;
    return apr_thread_mutex_create(&interned_lock, APR_THREAD_MUTEX_DEFAULT, pchild);
}

const ws_settings *ws_settings_of(request_rec *r)
{
    const ws_dir_config *d = ws_dir_config_of(r);
    struct interned *i;
    ws_token_rules rules;
    ws_settings s;

    memset(&s, 0, sizeof(s)); /* also clear the padding, because memcmp() compares it */
    s.max_message = settings_or_default(d->max_message, DEFAULT_MESSAGE);
    s.max_frame = settings_or_default(d->max_frame, s.max_message);
    s.send_queue = settings_or_default(d->send_queue, DEFAULT_SEND_QUEUE);
    s.fragment = settings_or_default(d->fragment, 0);
    s.ping_interval = (apr_uint32_t)settings_or_default(d->ping_interval, DEFAULT_PING_INTERVAL);
    s.ping_grace = (apr_uint32_t)settings_or_default(d->ping_grace, DEFAULT_PING_GRACE);
    s.message_timeout =
        (apr_uint32_t)settings_or_default(d->message_timeout, DEFAULT_MESSAGE_TIMEOUT);
    s.message_rate = (apr_uint32_t)settings_or_default(d->message_rate, DEFAULT_MESSAGE_RATE);
    s.close_timeout = (apr_uint32_t)settings_or_default(d->close_timeout, DEFAULT_CLOSE_TIMEOUT);
    s.slow = d->slow < 0 ? WS_SLOW_CLOSE : (apr_uint32_t)d->slow;
    s.max_delay = (apr_uint32_t)settings_or_default(d->max_delay, 0);
    s.recheck = (apr_uint32_t)settings_or_default(d->reauthorize, 0);
    s.subscriptions = (apr_uint32_t)settings_or_default(d->subscriptions, DEFAULT_SUBSCRIPTIONS);
    ws_limits_bounds(d->limits, s.bounds);
    s.may[WS_MAY_SUBSCRIBE] = d->may[WS_MAY_SUBSCRIBE];
    s.may[WS_MAY_PUBLISH] = d->may[WS_MAY_PUBLISH];
    s.wildcards = d->wildcards;
    rules = ws_token_rules_of(d);
    s.token_keys = rules.keys;
    s.token_audiences = rules.audiences;
    s.token_issuers = rules.issuers;
    s.token_leeway = rules.leeway;
    s.vhost = r->server->server_hostname;
    s.server = r->server;
    s.log = d->log == &ws_connection_log_off ? NULL : d->log;
    s.trace = APLOG_IS_LEVEL(r->server, APLOG_TRACE6)   ? 2
              : APLOG_IS_LEVEL(r->server, APLOG_TRACE4) ? 1
                                                        : 0;

    apr_thread_mutex_lock(interned_lock);
    for (i = interned; i && memcmp(&i->settings, &s, sizeof(s)); i = i->next) {
    }
    if (!i && (i = malloc(sizeof(*i)))) {
        i->settings = s;
        i->next = interned;
        interned = i;
    }
    apr_thread_mutex_unlock(interned_lock);
    return i ? &i->settings : NULL;
}
