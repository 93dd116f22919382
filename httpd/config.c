/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The directives: parsing, merging of sections, and the settings of connections. An invalid
 * argument is an error at start-up that names the accepted values.
 */

#include "httpd/config.h"

#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <http_log.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "httpd/channel_http.h"
#include "httpd/channel_acl.h"
#include "httpd/child.h"
#include "httpd/handler_directory.h"
#include "httpd/limits.h"
#include "httpd/policy_file.h"
#include "httpd/extensions.h"
#include "httpd/history.h"
#include "httpd/htaccess.h"
#include "httpd/reauthorize.h"
#include "httpd/token_config.h"
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
#define CHANNELS_MAX 10000000
#define BUS_QUEUE_MIN (64 * 1024)

void *ws_create_dir_config(apr_pool_t *p, char *dir)
{
    ws_dir_config *d = apr_pcalloc(p, sizeof(*d));
    (void)dir;
    d->site_handlers = d->relay = d->slow = d->status_close = d->control_open = -1;
    d->relay = d->slow = d->status_close = d->control_open = d->token_required = -1;
    d->behind = d->reauthorize = -1;
    d->max_frame = d->max_message = d->send_queue = -1;
    d->sockjs = (ws_sockjs_config)WS_SOCKJS_UNSET;
    d->compression = (ws_compression){-1, -1, -1, -1, -1, -1};
    d->subscriptions = d->fragment = d->ping_interval = d->ping_grace = d->close_timeout = -1;
    d->message_timeout = d->message_rate = d->token_leeway = -1;
    return d;
}

#define MERGE(field, unset) d->field = a->field != (unset) ? a->field : b->field

void *ws_merge_dir_config(apr_pool_t *p, void *base, void *add)
{
    const ws_dir_config *b = base, *a = add, *o = a->origins ? a : b;
    ws_dir_config *d = apr_pcalloc(p, sizeof(*d));
    MERGE(handlers, NULL);
    d->directory = a->handlers ? a->directory : b->directory;
    MERGE(site_handlers, -1);
    d->site_line = a->site_handlers != -1 ? a->site_line : b->site_line;
    MERGE(site_page, NULL);
    d->site_dir = a->site_page ? a->site_dir : b->site_dir;
    MERGE(extensions, NULL);
    ws_merge_compression(&d->compression, &b->compression, &a->compression);
    MERGE(versions, 0);
    MERGE(relay, -1);
    MERGE(channel_http, NULL);
    MERGE(log, NULL);
    MERGE(transports, NULL);
    ws_sockjs_merge(&d->sockjs, &b->sockjs, &a->sockjs);
    MERGE(max_frame, -1);
    MERGE(max_message, -1);
    MERGE(send_queue, -1);
    MERGE(fragment, -1);
    MERGE(ping_interval, -1);
    MERGE(subscriptions, -1);
    MERGE(may[WS_MAY_SUBSCRIBE], NULL);
    MERGE(may[WS_MAY_PUBLISH], NULL);
    MERGE(wildcards, NULL);
    MERGE(token_keys, NULL);
    MERGE(token_audiences, NULL);
    MERGE(token_issuers, NULL);
    MERGE(token_leeway, -1);
    MERGE(token_required, -1);
    MERGE(ping_grace, -1);
    MERGE(close_timeout, -1);
    MERGE(message_timeout, -1);
    MERGE(message_rate, -1);
    MERGE(slow, -1);
    MERGE(behind, -1);
    MERGE(reauthorize, -1);
    d->ssl_proxy = ws_ssl_proxy_merge(&b->ssl_proxy, &a->ssl_proxy);
    d->access = ws_access_merge(&b->access, &a->access);
    MERGE(status_close, -1);
    MERGE(control, NULL);
    MERGE(control_open, -1);
    d->limits = ws_limits_merge(p, b->limits, a->limits);
    d->origins = o->origins;
    d->origin_same = o->origin_same;
    d->origin_any = o->origin_any;
    return d;
}

void *ws_create_server_config(apr_pool_t *p, server_rec *s)
{
    (void)s;
    return apr_pcalloc(p, sizeof(ws_server_config));
}

/* ---- Settings of a request ---- */

static apr_uint64_t or_default(apr_int64_t value, apr_uint64_t otherwise)
{
    return value < 0 ? otherwise : (apr_uint64_t)value;
}

/* A merged section is freed with its request, so connections need a copy of its settings. Equal
 * settings share one copy; the configuration bounds their number. */
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

    memset(&s, 0, sizeof(s)); /* clears the padding for memcmp() */
    s.max_message = or_default(d->max_message, DEFAULT_MESSAGE);
    s.max_frame = or_default(d->max_frame, s.max_message);
    s.send_queue = or_default(d->send_queue, DEFAULT_SEND_QUEUE);
    s.fragment = or_default(d->fragment, 0);
    s.ping_interval = (apr_uint32_t)or_default(d->ping_interval, DEFAULT_PING_INTERVAL);
    s.ping_grace = (apr_uint32_t)or_default(d->ping_grace, DEFAULT_PING_GRACE);
    s.message_timeout = (apr_uint32_t)or_default(d->message_timeout, DEFAULT_MESSAGE_TIMEOUT);
    s.message_rate = (apr_uint32_t)or_default(d->message_rate, DEFAULT_MESSAGE_RATE);
    s.close_timeout = (apr_uint32_t)or_default(d->close_timeout, DEFAULT_CLOSE_TIMEOUT);
    s.slow = d->slow < 0 ? WS_SLOW_CLOSE : (apr_uint32_t)d->slow;
    s.behind = (apr_uint32_t)or_default(d->behind, 0);
    s.recheck = (apr_uint32_t)or_default(d->reauthorize, 0);
    s.subscriptions = (apr_uint32_t)or_default(d->subscriptions, DEFAULT_SUBSCRIPTIONS);
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

ws_token_rules ws_token_rules_of(const ws_dir_config *d)
{
    ws_token_rules rules = {.keys = d->token_keys && d->token_keys->nelts ? d->token_keys : NULL,
                            .audiences = d->token_audiences,
                            .issuers = d->token_issuers,
                            .leeway =
                                (apr_int64_t)or_default(d->token_leeway, DEFAULT_TOKEN_LEEWAY)};
    return rules;
}

unsigned ws_versions_of(const ws_dir_config *d)
{
    return d->versions ? d->versions : WS_V13 | WS_V8 | WS_V7;
}

int ws_origin_listed(const ws_dir_config *d, const char *origin, const char *host)
{
    if ((!d->origins || d->origin_same) && host && ws_origin_same(origin, host)) {
        return 1;
    }
    for (int i = 0; d->origins && i < d->origins->nelts; i++) {
        if (ws_origin_matches(origin, APR_ARRAY_IDX(d->origins, i, const char *))) {
            return 1;
        }
    }
    return 0;
}

int ws_origin_allowed(const ws_dir_config *d, const char *origin, const char *host)
{
    /* A client without Origin is not a browser, and could send any origin. */
    return !origin || (d->origins && d->origin_any) || ws_origin_listed(d, origin, host);
}

/* ---- Directives ---- */

/* The error for an invalid argument names the directive, the argument and the accepted values. */
static const char *wrong(cmd_parms *cmd, const char *arg, const char *takes)
{
    return apr_psprintf(cmd->pool, "%s: \"%s\" is wrong, it takes %s", cmd->cmd->name, arg, takes);
}

const char *ws_refused(cmd_parms *cmd, const char *arg, const char *error, const char *more)
{
    return error ? apr_psprintf(cmd->pool, "%s: \"%s\" is wrong, it %s%s", cmd->cmd->name, arg,
                                error, more)
                 : NULL;
}

static const char *set_handler(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    ws_dir_config *d = config;
    ws_handler_line *reg;
    const char *error;

    if (ws_htaccess_here(cmd)) {
        return ws_htaccess_set(cmd, d, argc, argv);
    }
    if (argc == 0) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, " takes ", cmd->cmd->errmsg, NULL);
    }
    if (argc == 1 && !strcasecmp(argv[0], "off")) {
        if (d->handlers && (d->handlers->nelts || d->directory)) {
            return "WebSocketHandler off stands beside another handler of this section: remove one";
        }
        d->handlers = apr_array_make(cmd->pool, 0, sizeof(ws_handler_line *));
        return NULL;
    }
    if ((error = ws_plugins_add_handler(cmd, argc, argv, &reg))) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, ": ", error, NULL);
    }
    if (!d->handlers) {
        d->handlers = apr_array_make(cmd->pool, 1, sizeof(ws_handler_line *));
    }
    else if (d->directory) {
        return "WebSocketHandler stands beside WebSocketHandlerDirectory: remove one, or give it a "
               "section of its own";
    }
    else if (!d->handlers->nelts) {
        return "WebSocketHandler off stands beside another handler of this section: remove one";
    }
    for (int i = 0; i < d->handlers->nelts; i++) {
        const ws_handler_line *other = APR_ARRAY_IDX(d->handlers, i, ws_handler_line *);
        if (!reg->protocols && !other->protocols) {
            return apr_psprintf(cmd->pool,
                                "WebSocketHandler %s: this section has a handler without protocol= "
                                "already (%s); only one can be the default, give the others "
                                "protocol=",
                                argv[0], other->location.name);
        }
        for (int j = 0; reg->protocols && other->protocols && j < reg->protocols->nelts; j++) {
            const char *protocol = APR_ARRAY_IDX(reg->protocols, j, const char *);
            for (int k = 0; k < other->protocols->nelts; k++) {
                if (!strcmp(protocol, APR_ARRAY_IDX(other->protocols, k, const char *))) {
                    return apr_psprintf(
                        cmd->pool,
                        "WebSocketHandler %s: subprotocol \"%s\" belongs to handler "
                        "%s of this section already; name it once",
                        argv[0], protocol, other->location.name);
                }
            }
        }
    }
    APR_ARRAY_PUSH(d->handlers, ws_handler_line *) = reg;
    ws_access_opens(cmd);
    return NULL;
}

static const char *set_directory(cmd_parms *cmd, void *config, const char *path)
{
    ws_dir_config *d = config;
    const char *error;
    if (d->handlers) {
        return "WebSocketHandlerDirectory stands beside another one, or a WebSocketHandler, of "
               "this "
               "section: remove one, or give it a section of its own";
    }
    if ((error = ws_handler_directory_load(cmd, path, &d->directory))) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, ": ", error, NULL);
    }
    d->handlers = apr_array_make(cmd->pool, 0, sizeof(ws_handler_line *));
    ws_access_opens(cmd);
    return NULL;
}

/* The field of ws_dir_config that a directive sets. */
static apr_int64_t *field(cmd_parms *cmd, void *config)
{
    return (apr_int64_t *)((char *)config + (apr_size_t)(apr_uintptr_t)cmd->info);
}

/* httpd's own flags ignore text after the first word, so this function parses the flag itself. */
static const char *set_flag(cmd_parms *cmd, void *config, const char *arg)
{
    if (strcasecmp(arg, "on") && strcasecmp(arg, "off")) {
        return apr_psprintf(cmd->pool, "%s must be On or Off", cmd->cmd->name);
    }
    return ap_set_flag_slot(cmd, config, !strcasecmp(arg, "on"));
}

static const char *set_size(cmd_parms *cmd, void *config, const char *arg)
{
    return ws_refused(cmd, arg, ws_parse_size(cmd->pool, arg, 1, WS_SIZE_MAX, field(cmd, config)),
                      "");
}

static const char *set_fragment(cmd_parms *cmd, void *config, const char *arg)
{
    ws_dir_config *d = config;
    if (!strcasecmp(arg, "off") || !strcasecmp(arg, "on")) {
        d->fragment = strcasecmp(arg, "on") ? 0 : DEFAULT_FRAGMENT;
        return NULL;
    }
    return ws_refused(cmd, arg, ws_parse_size(cmd->pool, arg, 1, WS_SIZE_MAX, &d->fragment),
                      ", or on (16K) or off");
}

static const char *set_ping(cmd_parms *cmd, void *config, const char *interval, const char *grace)
{
    ws_dir_config *d = config;
    const char *error;
    if (!strcasecmp(interval, "off")) {
        d->ping_interval = 0;
        return grace ? wrong(cmd, grace, "nothing behind off") : NULL;
    }
    error = ws_parse_interval(cmd->pool, interval, 100, WS_INTERVAL_MAX, &d->ping_interval);
    if (error) {
        return ws_refused(cmd, interval, error, "; or off");
    }
    if (grace && !strcasecmp(grace, "off")) {
        d->ping_grace = 0; /* a client that does not answer pings stays connected */
        return NULL;
    }
    return grace ? ws_refused(
               cmd, grace,
               ws_parse_interval(cmd->pool, grace, 100, WS_INTERVAL_MAX, &d->ping_grace),
               ", as the time to answer a ping; or off, to keep clients that do not")
                 : NULL;
}

static const char *set_message_timeout(cmd_parms *cmd, void *config, const char *time,
                                       const char *rate)
{
    ws_dir_config *d = config;
    const char *error;
    if (!strcasecmp(time, "off")) {
        d->message_timeout = 0;
        return rate ? wrong(cmd, rate, "nothing behind off") : NULL;
    }
    error = ws_parse_interval(cmd->pool, time, 100, WS_INTERVAL_MAX, &d->message_timeout);
    if (error) {
        return ws_refused(cmd, time, error, "; or off");
    }
    return rate ? ws_refused(cmd, rate,
                             ws_parse_size(cmd->pool, rate, 0, MESSAGE_RATE_MAX, &d->message_rate),
                             ", as bytes a second; or 0")
                : NULL;
}

static const char *set_interval(cmd_parms *cmd, void *config, const char *arg)
{
    return ws_refused(
        cmd, arg, ws_parse_interval(cmd->pool, arg, 1, WS_INTERVAL_MAX, field(cmd, config)), "");
}

static const char *set_reauthorize(cmd_parms *cmd, void *config, const char *arg)
{
    ws_dir_config *d = config;
    if (!strcasecmp(arg, "off")) {
        d->reauthorize = 0;
        return NULL;
    }
    ws_reauthorize_use();
    return ws_refused(cmd, arg,
                      ws_parse_interval(cmd->pool, arg, 100, WS_INTERVAL_MAX, &d->reauthorize),
                      "; or off");
}

static const char *set_slow_reader(cmd_parms *cmd, void *config, const char *policy,
                                   const char *behind)
{
    static const char *const policies[] = {"close", "drop-newest", "drop-oldest", "keep-latest"};
    ws_dir_config *d = config;
    int i = 0;
    while (i < 4 && strcasecmp(policy, policies[i])) {
        i++;
    }
    if (i == 4) {
        return wrong(cmd, policy, "close, drop-newest, drop-oldest or keep-latest");
    }
    d->slow = i;
    if (behind && !strcasecmp(behind, "off")) {
        d->behind = 0;
        return NULL;
    }
    return behind ? ws_refused(cmd, behind,
                               ws_parse_interval(cmd->pool, behind, 1, WS_INTERVAL_MAX, &d->behind),
                               ", as the time that a message may wait; or off")
                  : NULL;
}

static const char *set_origins(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    ws_dir_config *d = config;
    static const char takes[] = "same, any, or origins such as https://www.example.org, "
                                "https://*.example.org and http://localhost:8080 (scheme, host and "
                                "port, no path)";
    if (argc == 0) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, " takes ", takes, NULL);
    }
    d->origins = apr_array_make(cmd->pool, argc, sizeof(const char *));
    d->origin_same = d->origin_any = 0;
    for (int i = 0; i < argc; i++) {
        if (!strcasecmp(argv[i], "same")) {
            d->origin_same = 1;
        }
        else if (!strcasecmp(argv[i], "any")) {
            if (argc > 1) {
                return wrong(cmd, argv[i], "any alone: it lets in what else is listed");
            }
            d->origin_any = 1;
        }
        else if (ws_origin_pattern_valid(argv[i])) {
            APR_ARRAY_PUSH(d->origins, const char *) = argv[i];
        }
        else {
            return wrong(cmd, argv[i], takes);
        }
    }
    return NULL;
}

static const char *set_versions(cmd_parms *cmd, void *config, int argc, char *const argv[])
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
            return wrong(cmd, argv[i], takes);
        }
        d->versions |= bit;
    }
    return NULL;
}

/* Parse a number from 1 to max. */
static const char *set_count(cmd_parms *cmd, const char *arg, unsigned max, const char *of,
                             unsigned *n)
{
    apr_int64_t value = *n;
    const char *error = ws_parse_count(cmd->pool, arg, 1, max, &value);
    *n = (unsigned)value;
    return ws_refused(cmd, arg, error, of);
}

static const char *set_threads(cmd_parms *cmd, void *config, const char *loops,
                               const char *blocking)
{
    ws_server_config *s = ws_server_config_of(cmd->server);
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    (void)config;
    if (error) {
        return error;
    }
    error = set_count(cmd, loops, WS_LOOPS_MAX, ", of event loops", &s->loops);
    if (!error && blocking) {
        error = set_count(cmd, blocking, WS_BLOCKING_MAX, ", of threads for blocking handlers",
                          &s->blocking);
    }
    return error;
}

static const char *set_rule(cmd_parms *cmd, void *config, const char *arg)
{
    ws_action action = (ws_action)(apr_uintptr_t)cmd->info;
    return ws_channelrule_parse(cmd, arg, &((ws_dir_config *)config)->may[action]);
}

static const char *set_wildcard(cmd_parms *cmd, void *config, const char *arg)
{
    return ws_channelrule_wildcard(cmd, &((ws_dir_config *)config)->wildcards, arg);
}

static const char *set_subscriptions(cmd_parms *cmd, void *config, const char *arg)
{
    return ws_refused(cmd, arg,
                      ws_parse_count(cmd->pool, arg, 1, SUBSCRIPTIONS_MAX,
                                     &((ws_dir_config *)config)->subscriptions),
                      ", of channels");
}

static const char *set_channels(cmd_parms *cmd, void *config, const char *arg)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    (void)config;
    return error ? error
                 : set_count(cmd, arg, CHANNELS_MAX, ", of channels",
                             &ws_server_config_of(cmd->server)->channels);
}

static const char *set_bus_queue(cmd_parms *cmd, void *config, const char *arg)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    apr_int64_t *size = &ws_server_config_of(cmd->server)->bus_queue;
    (void)config;
    return error ? error
                 : ws_refused(cmd, arg,
                              ws_parse_size(cmd->pool, arg, BUS_QUEUE_MIN, WS_SIZE_MAX, size), "");
}

static const char *set_backend(cmd_parms *cmd, void *config, const char *arg)
{
    ws_server_config *s = ws_server_config_of(cmd->server);
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    char why[WS_BACKEND_TEXT];
    (void)config;
    if (error) {
        return error;
    }
    if (ws_backend_parse(arg, &s->backend) < 0) {
        return wrong(cmd, arg, WS_BACKEND_NAMES);
    }
    return ws_backend_check(s->backend, why) == APR_SUCCESS
               ? NULL
               : apr_psprintf(cmd->pool, "WebSocketBackend: %s, or say epoll", why);
}

static const char *set_drain(cmd_parms *cmd, void *config, const char *arg)
{
    ws_server_config *s = ws_server_config_of(cmd->server);
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    (void)config;
    return error ? error
                 : ws_refused(cmd, arg,
                              ws_parse_interval(cmd->pool, arg, 1, WS_INTERVAL_MAX, &s->drain), "");
}

static const char *set_limit(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    return ws_limit_add(cmd, &((ws_dir_config *)config)->limits, argc, argv);
}

static const char *set_watchdog(cmd_parms *cmd, void *config, const char *arg)
{
    ws_server_config *s = ws_server_config_of(cmd->server);
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    (void)config;
    if (error) {
        return error;
    }
    if (!strcasecmp(arg, "off")) {
        s->watchdog = -1;
        return NULL;
    }
    return ws_refused(
        cmd, arg, ws_parse_interval(cmd->pool, arg, 10, WS_INTERVAL_MAX, &s->watchdog), "; or off");
}

static const char *set_log(cmd_parms *cmd, void *config, const char *where, const char *format)
{
    ws_dir_config *d = config;
    const char *error = ws_connection_log_parse(cmd, where, format, &d->log);
    return error ? apr_pstrcat(cmd->pool, cmd->cmd->name, ": ", error, NULL) : NULL;
}

#define FIELD(name) ((void *)APR_OFFSETOF(ws_dir_config, name))

/* .htaccess may neither load code nor raise a limit. */
#define WHERE (RSRC_CONF | ACCESS_CONF)
#define PER_HOST RSRC_CONF /* a virtual host can have its own */

const command_rec ws_directives[] = {
    WS_SSL_PROXY_DIRECTIVES,
    WS_ACCESS_REQUIRE,
    WS_ACCESS_MERGING,
    WS_ACCESS_SET_HANDLER,
    AP_INIT_TAKE1("WebSocketStatusClose", set_flag, FIELD(status_close), WHERE,
                  "whether the status page can close connections"),
    AP_INIT_TAKE1("WebSocketControlOpen", set_flag, FIELD(control_open), WHERE,
                  "whether the control API may be open to everyone"),
    AP_INIT_TAKE_ARGV("WebSocketHtaccess", ws_htaccess_allow, NULL, WHERE,
                      "ws_http.so and keys but to=, for pages that .htaccess names; or off"),
    AP_INIT_TAKE_ARGV("WebSocketHandler", set_handler, NULL, WHERE | OR_FILEINFO,
                      "a handler's file or name, then [protocol=a,b] [key=value ...]; or off"),
    AP_INIT_TAKE1("WebSocketHandlerDirectory", set_directory, NULL, WHERE,
                  "a directory of handlers, of which the next segment of the path names one"),
    AP_INIT_TAKE12("WebSocketThreads", set_threads, NULL, RSRC_CONF,
                   "the number of event loops in each child process, and then the greatest number "
                   "of threads for blocking handlers"),
    AP_INIT_TAKE1("WebSocketBackend", set_backend, NULL, RSRC_CONF,
                  "how event loops wait for their sockets: " WS_BACKEND_NAMES),
    AP_INIT_TAKE1("WebSocketDrainTimeout", set_drain, NULL, RSRC_CONF,
                  "how long connections live on in a child process that httpd has told to go"),
    AP_INIT_TAKE1("WebSocketWatchdog", set_watchdog, NULL, RSRC_CONF,
                  "how long a handler's callback may take before the log names it, or off"),
    AP_INIT_TAKE23("WebSocketHistory", ws_httpd_history_add, NULL, RSRC_CONF,
                   "a pattern of channels' names, how many messages of each are kept, or off, and "
                   "then how long"),
    AP_INIT_TAKE1("WebSocketHistoryDirectory", ws_httpd_history_set_directory, NULL, RSRC_CONF,
                  "the folder of the file in which messages are kept"),
    AP_INIT_TAKE1("WebSocketHistorySize", ws_httpd_history_size, NULL, RSRC_CONF,
                  "the greatest size of the file in which messages are kept"),
    AP_INIT_TAKE1("WebSocketMaxMessageSize", set_size, FIELD(max_message), WHERE,
                  "the greatest size of a received message, in bytes or with K, M or G"),
    AP_INIT_TAKE1("WebSocketMaxFrameSize", set_size, FIELD(max_frame), WHERE,
                  "the greatest payload of a received frame, in bytes or with K, M or G"),
    AP_INIT_TAKE12(
        "WebSocketPing", set_ping, NULL, WHERE,
        "the time without traffic after which a ping is sent, and then the time to answer "
        "it; or off"),
    AP_INIT_TAKE12(
        "WebSocketMessageTimeout", set_message_timeout, NULL, WHERE,
        "Time in which an unfinished message has to grow, then bytes a second beyond it"),
    AP_INIT_TAKE1("WebSocketCloseTimeout", set_interval, FIELD(close_timeout), WHERE,
                  "the time that the closing handshake may take"),
    AP_INIT_TAKE_ARGV("WebSocketOrigin", set_origins, NULL, WHERE,
                      "same, any, or the origins whose pages may connect"),
    AP_INIT_TAKE_ARGV("WebSocketVersions", set_versions, NULL, WHERE,
                      "the protocol versions that are spoken, of 13, 8, 7, 76 and 75"),
    AP_INIT_TAKE1(
        "WebSocketRelay", set_flag, FIELD(relay), WHERE,
        "on: pass connections through httpd's filters, each with a thread of httpd's; or off: "
        "only where they cannot be taken over"),
    AP_INIT_TAKE1("WebSocketFragmentSize", set_fragment, FIELD(fragment), WHERE,
                  "off, on, or the greatest payload of a sent frame, in bytes or with K, M or G"),
    AP_INIT_TAKE1("WebSocketSendQueue", set_size, FIELD(send_queue), WHERE,
                  "how much may wait to be sent to a client, in bytes or with K, M or G"),
    AP_INIT_TAKE12(
        "WebSocketSlowReader", set_slow_reader, NULL, WHERE,
        "close, drop-newest, drop-oldest or keep-latest, and then how long a message may "
        "wait, or off"),
    AP_INIT_TAKE1("WebSocketReauthorize", set_reauthorize, NULL, WHERE,
                  "how often access to an open connection is checked again, or off"),
    AP_INIT_TAKE1("WebSocketSubscribe", set_rule, (void *)WS_MAY_SUBSCRIBE, WHERE,
                  "all, none, handler, or an expression that is true for who may subscribe to "
                  "%{WEBSOCKET_CHANNEL}"),
    AP_INIT_TAKE1("WebSocketPublish", set_rule, (void *)WS_MAY_PUBLISH, WHERE,
                  "all, none, handler, or an expression that is true for who may publish to "
                  "%{WEBSOCKET_CHANNEL}"),
    AP_INIT_ITERATE("WebSocketWildcards", set_wildcard, NULL, WHERE,
                    "the wildcards that clients may subscribe to, as news/*; or off"),
    WS_TOKEN_DIRECTIVES(WHERE),
    AP_INIT_TAKE1("WebSocketSubscriptions", set_subscriptions, NULL, WHERE,
                  "how many channels a connection may be subscribed to"),
    AP_INIT_TAKE_ARGV("WebSocketChannelHTTP", ws_channel_http_set, NULL, WHERE,
                      "publish, subscribe or both; or off"),
    AP_INIT_TAKE_ARGV("WebSocketTransports", ws_transports_set, NULL, WHERE,
                      "websocket, sockjs, or both"),
    AP_INIT_TAKE_ARGV("WebSocketSockJS", ws_sockjs_set, NULL, WHERE,
                      "key=value: client, response, heartbeat, delay, sessions, cookie"),
    AP_INIT_TAKE1("WebSocketChannels", set_channels, NULL, RSRC_CONF,
                  "how many channels a child process may have"),
    AP_INIT_TAKE1("WebSocketBusQueue", set_bus_queue, NULL, RSRC_CONF,
                  "how much may wait for a process or a loop before publishing is refused, in "
                  "bytes or with K, M or G"),
    AP_INIT_TAKE_ARGV("WebSocketLimit", set_limit, NULL, WHERE,
                      "connections=, handshakes=, messages=, bytes=, lifetime= or idle=, then "
                      "burst=, key= and dry-run; or off"),
    AP_INIT_TAKE12(
        "WebSocketLog", set_log, NULL, WHERE,
        "a file, or | and a program, for a record of each connection that has ended, and "
        "then json or a format; or off"),
    AP_INIT_TAKE_ARGV("WebSocketPolicyFile", ws_policy_file_set, NULL, PER_HOST,
                      "domains with ports, as \"*.example.org:80,443\"; or a file; or off"),
    AP_INIT_TAKE_ARGV("WebSocketExtension", ws_set_extension, NULL, WHERE,
                      "an extension's file or name, then [key=value ...]; or off"),
    AP_INIT_TAKE_ARGV("WebSocketCompression", ws_set_compression, NULL, WHERE,
                      "off or on, and then [level=1-9] [window=8-15] [client-window=8-15] "
                      "[takeover=on|off] [threshold=SIZE] [memory=SIZE]"),
    {.name = NULL}};
