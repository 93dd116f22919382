/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * mod_websocket_redis: channels across machines, through Redis. It provides the directive
 * WebSocketBus. It is a separate module, so that mod_websocket does not depend on Redis. This file
 * parses the directive; the bus is in redis/.
 */

#include <httpd.h>

#include <ap_provider.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_core.h>
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
    "takes redis://[user:password@]host[:port][/db], unix:/path, "
    "sentinel://[user:password@]host[:port][,host[:port]...]/master[/db], or "
    "redis-cluster://[user:password@]host[:port][,host[:port]...]; with TLS rediss://, "
    "rediss-sentinel:// or "
    "rediss-cluster://; and then prefix=TEXT, sentinel=[user:]password, ca=FILE, cert=FILE, "
    "key=FILE and name=HOST";

typedef struct bus_scheme {
    const char *text;
    int tls, sentinel, cluster, port;
} bus_scheme;

static const bus_scheme schemes[] = {{"redis", 0, 0, 0, PORT},
                                     {"rediss", 1, 0, 0, PORT},
                                     {"sentinel", 0, 1, 0, SENTINEL_PORT},
                                     {"redis-sentinel", 0, 1, 0, SENTINEL_PORT},
                                     {"rediss-sentinel", 1, 1, 0, SENTINEL_PORT},
                                     {"redis-cluster", 0, 0, 1, PORT},
                                     {"rediss-cluster", 1, 0, 1, PORT}};

static const char *bus_parse_db(apr_pool_t *p, const char *text, int *db)
{
    apr_int64_t n = 0;
    const char *error = ws_parse_count(p, text, 0, 65535, &n);
    *db = (int)n;
    return error ? apr_psprintf(p, "WebSocketBus: \"%s\" is no number of a database: it %s", text,
                                error)
                 : NULL;
}

/* Decode percent-encoding in place. @return 0: the encoding is invalid */
static int bus_decode(char *text)
{
    return ws_percent_decode(text, strlen(text), 0, text, strlen(text) + 1) >= 0;
}

/* user:password@ */
static const char *bus_parse_login(char *login, ws_redis_options *o)
{
    char *colon = strchr(login, ':');
    if (!colon) {
        return "WebSocketBus: a user has a password: user:password@";
    }
    *colon = 0;
    if (!bus_decode(login) || !bus_decode(colon + 1)) {
        return "WebSocketBus: in the user's name and the password % is written as %25, @ as %40, "
               ": as %3A and / as %2F";
    }
    o->user = *login ? login : NULL;
    o->password = colon + 1;
    return NULL;
}

/* host, host:port, [address]:port */
static const char *bus_parse_host(apr_pool_t *p, char *text, int port, ws_redis_options *o)
{
    ws_redis_host *h = &o->hosts[o->host_count];
    char *colon = *text == '[' ? strchr(text, ']') : strchr(text, ':');
    apr_int64_t n = port;
    if (o->host_count == WS_REDIS_HOSTS_MAX) {
        return "WebSocketBus: it takes at most 16 addresses";
    }
    if (*text == '[' && colon) {
        text++;
        *colon++ = 0;
    }
    if (colon && *colon) {
        if (*colon != ':' || ws_parse_count(p, colon + 1, 1, 65535, &n)) {
            return apr_psprintf(p, "WebSocketBus: \"%s\" is no port: it takes 1 to 65535",
                                colon + 1);
        }
        *colon = 0;
    }
    h->name = text;
    h->port = (int)n;
    o->host_count++;
    return *text ? NULL : apr_psprintf(p, "WebSocketBus: the URL is wrong, it %s", takes);
}

static const char *bus_parse_hosts(apr_pool_t *p, char *text, const bus_scheme *s,
                                   ws_redis_options *o)
{
    const char *error = NULL;
    char *next = text;
    while (!error && next) {
        char *comma = strchr(next, ',');
        if (comma) {
            *comma = 0;
        }
        error = bus_parse_host(p, next, s->port, o);
        next = comma ? comma + 1 : NULL;
    }
    if (!error && o->host_count > 1 && !s->sentinel && !s->cluster) {
        error =
            "WebSocketBus: several addresses are sentinels (sentinel://a,b/master) or nodes of a "
            "cluster (redis-cluster://a,b)";
    }
    return error;
}

/* The path after the hosts: the master's name, the database. */
static const char *bus_parse_path(apr_pool_t *p, char *path, const bus_scheme *s,
                                  ws_redis_options *o)
{
    char *slash;
    if (s->cluster) {
        return *path
                   ? "WebSocketBus: a cluster has one database: remove what is behind the addresses"
                   : NULL;
    }
    if (s->sentinel) {
        if (!*path || *path == '/') {
            return "WebSocketBus: behind the sentinel stands the name of the master: "
                   "sentinel://host/mymaster";
        }
        o->master = path;
        slash = strchr(path, '/');
        if (!slash) {
            return NULL;
        }
        *slash = 0;
        path = slash + 1;
    }
    return *path ? bus_parse_db(p, path, &o->db) : NULL;
}

static const char *bus_parse_url(apr_pool_t *p, const char *url, ws_redis_options *o)
{
    char *text = apr_pstrdup(p, url), *rest = strstr(text, "://"), *at, *slash;
    const bus_scheme *s = NULL;
    const char *error = NULL;
    if (!strncmp(url, "unix:/", 6)) {
        o->path = url + 5;
        return NULL;
    }
    for (unsigned i = 0; rest && i < sizeof(schemes) / sizeof(*schemes); i++) {
        if (strlen(schemes[i].text) == (apr_size_t)(rest - text)
            && !strncmp(schemes[i].text, text, (apr_size_t)(rest - text))) {
            s = &schemes[i];
        }
    }
    if (!s) {
        return apr_psprintf(p, "WebSocketBus: the URL is wrong, it %s", takes);
    }
    o->tls.on = s->tls;
    o->cluster = s->cluster;
    text = rest + 3;
    slash = strchr(text, '/');
    if (slash) {
        *slash++ = 0;
    }
    if ((at = strrchr(text, '@'))) {
        *at = 0;
        error = bus_parse_login(text, o);
        text = at + 1;
    }
    if (!error && !(error = bus_parse_hosts(p, text, s, o))) {
        error = bus_parse_path(p, slash ? slash : (char *)"", s, o);
    }
    return error;
}

static const char *bus_parse_sentinel(char *text, ws_redis_options *o)
{
    char *colon;
    if ((colon = strchr(text, ':'))) {
        *colon = 0;
        o->sentinel_user = *text ? text : NULL;
        text = colon + 1;
    }
    o->sentinel_password = text;
    return *text ? NULL : "WebSocketBus: behind sentinel= stands the sentinel's password";
}

static const char *bus_parse_option(apr_pool_t *p, char *text, ws_redis_options *o)
{
    char *value = strchr(text, '=');
    apr_size_t len = value ? (apr_size_t)(value++ - text) : 0;
    if (len == 6 && !strncmp(text, "prefix", len)) {
        o->prefix = value;
        return strlen(value) > 100 || strchr(value, '{')
                   ? "WebSocketBus: a prefix has at most 100 characters, and none of them is {"
                   : NULL;
    }
    if (len == 8 && !strncmp(text, "sentinel", len)) {
        return bus_parse_sentinel(value, o);
    }
    if (len == 4 && !strncmp(text, "name", len) && *value) {
        o->tls.name = value;
    }
    else if (len == 2 && !strncmp(text, "ca", len)) {
        o->tls.ca = ap_server_root_relative(p, value);
    }
    else if (len == 4 && !strncmp(text, "cert", len)) {
        o->tls.cert = ap_server_root_relative(p, value);
    }
    else if (len == 3 && !strncmp(text, "key", len)) {
        o->tls.key = ap_server_root_relative(p, value);
    }
    else {
        return apr_psprintf(p, "WebSocketBus: \"%s\" is wrong, it %s", text, takes);
    }
    return NULL;
}

static apr_status_t bus_free_tls(void *ctx)
{
    SSL_CTX_free(ctx);
    return APR_SUCCESS;
}

/* Check combinations of options, and read the TLS files as root. */
static const char *bus_check(apr_pool_t *p, ws_redis_options *o)
{
    char *why;
    if (o->sentinel_password && !o->master) {
        return "WebSocketBus: sentinel= is the password of a sentinel: it stands behind "
               "sentinel://";
    }
    if (!o->tls.on) {
        return o->tls.ca || o->tls.cert || o->tls.key || o->tls.name
                   ? "WebSocketBus: ca=, cert=, key= and name= are for TLS: rediss://"
                   : NULL;
    }
    if (o->tls.key && !o->tls.cert) {
        return "WebSocketBus: key= belongs to a certificate: cert=FILE";
    }
    why = apr_palloc(p, 200);
    if (!(o->tls_ctx = ws_redis_tls_create(&o->tls, why))) {
        return apr_pstrcat(p, "WebSocketBus: ", why, NULL);
    }
    apr_pool_cleanup_register(p, o->tls_ctx, bus_free_tls, apr_pool_cleanup_null);
    return NULL;
}

static const char *bus_set(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    (void)config;
    if (error) {
        return error;
    }
    if (is_set) {
        return "WebSocketBus: there can be one";
    }
    if (!argc) {
        return apr_pstrcat(cmd->pool, "WebSocketBus ", takes, NULL);
    }
    memset(&settings, 0, sizeof(settings));
    settings.prefix = "websocket:";
    for (int i = 1; i < argc && !error; i++) {
        error = bus_parse_option(cmd->pool, apr_pstrdup(cmd->pool, argv[i]), &settings);
    }
    is_set = 1;
    if (!error && !(error = bus_parse_url(cmd->pool, argv[0], &settings))) {
        error = bus_check(cmd->pool, &settings);
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
    AP_INIT_TAKE_ARGV(
        "WebSocketBus", bus_set, NULL, RSRC_CONF,
        "the Redis that connects machines, and then prefix=TEXT, sentinel=[user:]password, "
        "ca=, cert=, key= and name="),
    {.name = NULL}};

AP_DECLARE_MODULE(websocket_redis) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, directives,
                                      register_hooks,          0};
