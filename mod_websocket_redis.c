/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * mod_websocket_redis: channels across machines, by way of Redis. A module of its own, so that
 * mod_websocket needs no Redis; it brings the directive WebSocketBus. What it does is in redis/.
 */

#include <httpd.h>

#include <ap_provider.h>
#include <apr_strings.h>
#include <apr_uri.h>
#include <http_config.h>
#include <http_log.h>

#include "base/parse.h"
#include "httpd/bus_remote.h"
#include "redis/bus.h"

extern module AP_MODULE_DECLARE_DATA websocket_redis_module WS_API;

#define PORT 6379
#define SENTINEL_PORT 26379

static int is_set;
static ws_redis_options settings;
static server_rec *main_server;
static ws_redis *redis;

static const char takes[] =
    "takes redis://[user:password@]host[:port][/db], unix:/path, or "
    "sentinel://[user:password@]host[:port]/master[/db], and then prefix=TEXT and "
    "sentinel=[user:]password";

static const char *parse_db(apr_pool_t *p, const char *text, int *db)
{
    apr_int64_t n = 0;
    const char *error = ws_parse_count(p, text, 0, 65535, &n);
    *db = (int)n;
    return error ? apr_psprintf(p, "WebSocketBus: \"%s\" is no number of a database: it %s", text,
                                error)
                 : NULL;
}

/* @return 0 for what is not percent-encoded as it should be; NULL stays NULL */
static int decode(char *text)
{
    return !text || ws_percent_decode(text, strlen(text), 0, text, strlen(text) + 1) >= 0;
}

static const char *parse_url(apr_pool_t *p, const char *url, ws_redis_options *o)
{
    apr_uri_t u;
    int sentinel;
    apr_int64_t port;
    char *slash;
    if (!strncmp(url, "unix:/", 6)) {
        o->path = url + 5;
        return NULL;
    }
    if (apr_uri_parse(p, url, &u) != APR_SUCCESS || !u.scheme) {
        return apr_psprintf(p, "WebSocketBus: the URL is wrong, it %s", takes);
    }
    if (!strcmp(u.scheme, "rediss")) {
        return "WebSocketBus: rediss:// needs a hiredis with TLS (1.0 or later), and this one was "
               "built without: let stunnel or a Redis on this machine speak TLS, and say redis:// "
               "or unix: to that";
    }
    sentinel = !strcmp(u.scheme, "sentinel");
    if ((!sentinel && strcmp(u.scheme, "redis")) || !u.hostname || !*u.hostname) {
        return apr_psprintf(p, "WebSocketBus: the URL is wrong, it %s", takes);
    }
    o->host = u.hostname;
    port = sentinel ? SENTINEL_PORT : PORT;
    if (u.port_str && ws_parse_count(p, u.port_str, 1, 65535, &port)) {
        return apr_psprintf(p, "WebSocketBus: \"%s\" is no port: it takes 1 to 65535", u.port_str);
    }
    if (!decode(u.user) || !decode(u.password)) {
        return "WebSocketBus: in the user's name and the password % is written as %25, @ as %40, "
               ": as %3A and / as %2F";
    }
    o->port = (int)port;
    o->user = u.user && *u.user ? u.user : NULL;
    o->password = u.password;
    if (o->user && !o->password) {
        return "WebSocketBus: a user has a password: user:password@";
    }
    if (u.path && *u.path) {
        u.path++;
    }
    if (sentinel) {
        if (!u.path || !*u.path) {
            return "WebSocketBus: behind the sentinel stands the name of the master: "
                   "sentinel://host/mymaster";
        }
        o->master = u.path;
        slash = strchr(u.path, '/');
        if (!slash) {
            return NULL;
        }
        *slash = 0;
        u.path = slash + 1;
    }
    return u.path && *u.path ? parse_db(p, u.path, &o->db) : NULL;
}

static const char *parse_option(apr_pool_t *p, char *text, ws_redis_options *o)
{
    char *colon;
    if (!strncmp(text, "prefix=", 7)) {
        o->prefix = text + 7;
        return strlen(o->prefix) > 100 || strchr(o->prefix, '{')
                   ? "WebSocketBus: a prefix has at most 100 characters, and none of them is {"
                   : NULL;
    }
    if (strncmp(text, "sentinel=", 9)) {
        return apr_psprintf(p, "WebSocketBus: \"%s\" is wrong, it %s", text, takes);
    }
    text += 9;
    if ((colon = strchr(text, ':'))) {
        *colon = 0;
        o->sentinel_user = *text ? text : NULL;
        text = colon + 1;
    }
    o->sentinel_password = text;
    return *text ? NULL : "WebSocketBus: behind sentinel= stands the sentinel's password";
}

static const char *set_bus(cmd_parms *cmd, void *config, const char *url, const char *more,
                           const char *still_more)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY), *options[] = {more, still_more};
    (void)config;
    if (error) {
        return error;
    }
    if (is_set) {
        return "WebSocketBus: there can be one";
    }
    memset(&settings, 0, sizeof(settings));
    settings.prefix = "websocket:";
    for (int i = 0; i < 2 && options[i] && !error; i++) {
        error = parse_option(cmd->pool, apr_pstrdup(cmd->pool, options[i]), &settings);
    }
    is_set = 1;
    if (!error && !(error = parse_url(cmd->pool, url, &settings)) && settings.sentinel_password
        && !settings.master) {
        error =
            "WebSocketBus: sentinel= is the password of a sentinel: it stands behind sentinel://";
    }
    return error;
}

static int pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)pconf, (void)plog, (void)ptemp;
    is_set = 0;
    return OK;
}

static void log_line(ws_log_level level, const char *text)
{
    ap_log_error(APLOG_MARK, level == WS_LOG_ERROR ? APLOG_ERR : APLOG_WARNING, 0, main_server,
                 "websocket: %s", text);
}

static int configured(void)
{
    return is_set;
}

static void child_init(apr_pool_t *pchild, server_rec *s, ws_channels_options *options,
                       const ws_history_rule *rules, unsigned rule_count)
{
    apr_status_t rv;
    main_server = s;
    settings.self = options->self;
    settings.queue = options->queue;
    settings.rules = rules;
    settings.rule_count = rule_count;
    settings.log = log_line;
    if ((rv = ws_redis_create(&redis, &settings, pchild)) != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s,
                     "websocket: no WebSocketBus in this child: other machines are not reached");
        redis = NULL;
        return;
    }
    options->remote = ws_redis_bus(redis);
    options->history = ws_redis_history(redis);
    options->once = ws_redis_once(redis);
}

static void child_exit(void)
{
    if (redis) {
        ws_redis_destroy(redis);
        redis = NULL;
    }
}

static const ws_remote_bus provider = {configured, child_init, child_exit};

static void register_hooks(apr_pool_t *p)
{
    ap_hook_pre_config(pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_register_provider(p, WS_REMOTE_BUS_GROUP, "remote", WS_REMOTE_BUS_VERSION, &provider);
}

static const command_rec directives[] = {
    AP_INIT_TAKE123(
        "WebSocketBus", set_bus, NULL, RSRC_CONF,
        "the Redis that connects machines, and then prefix=TEXT, sentinel=[user:]password"),
    {.name = NULL}};

AP_DECLARE_MODULE(websocket_redis) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, directives,
                                      register_hooks,          0};
