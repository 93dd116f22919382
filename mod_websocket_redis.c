/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * mod_websocket_redis connects channels on several machines through Redis, and writes logs to
 * Redis. It provides the directive WebSocketBus and the Redis URLs of WebSocketLog. It is a
 * separate module, so that mod_websocket does not depend on Redis. This file has the directives.
 * The rest is in redis/.
 */

#include <httpd.h>

#include <ap_provider.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>

#include "base/parse.h"
#include "httpd/arguments.h"
#include "httpd/bus_remote.h"
#include "httpd/log_provider.h"
#include "redis/bus.h"
#include "redis/log.h"
#include "redis/options.h"

extern module AP_MODULE_DECLARE_DATA websocket_redis_module WS_API;

static int is_set;
static ws_redis_options settings;
static server_rec *main_server;
static ws_redis *redis;

static void redis_resolve(apr_pool_t *p, const char **file)
{
    *file = *file ? ap_server_root_relative(p, *file) : NULL;
}

static const char *redis_parse(apr_pool_t *p, const char *url, int count, char *const words[],
                               ws_redis_options *o)
{
    const char *error = NULL;
    for (int i = 0; i < count && !error; i++) {
        error = ws_redis_options_word(p, apr_pstrdup(p, words[i]), o);
    }
    redis_resolve(p, &o->tls.ca);
    redis_resolve(p, &o->tls.cert);
    redis_resolve(p, &o->tls.key);
    return error || (error = ws_redis_options_url(p, url, o)) ? error
                                                              : ws_redis_options_check(p, o);
}

static const char *bus_set(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    (void)config;
    if (error) {
        return error;
    }
    if (is_set) {
        return "WebSocketBus is set twice: remove one";
    }
    if (!argc) {
        return apr_pstrcat(cmd->pool, "WebSocketBus takes ", ws_redis_options_takes, NULL);
    }
    memset(&settings, 0, sizeof(settings));
    settings.prefix = "websocket:";
    is_set = 1;
    error = ws_find_repeated(cmd->pool, argc - 1, argv + 1, ws_compare_keys);
    if (!error) {
        error = redis_parse(cmd->pool, argv[0], argc - 1, argv + 1, &settings);
    }
    return error ? apr_pstrcat(cmd->pool, "WebSocketBus: ", error, NULL) : NULL;
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
                     "websocket: WebSocketBus is unavailable in this child: channel "
                     "messages are not exchanged with other machines");
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

/* ---- WebSocketLog ---- */

#define LOG_MAX 100000 /* default of max=, records */
#define LOG_MAX_LIMIT 1000000000

struct ws_log_store {
    ws_redis_options redis;
    ws_redis_log_options options;
    ws_redis_log *log; /**< this child's log; NULL: not started */
    void (*done)(void *arg, const char *why, int last);
    void *arg;
};

/* Parse list=, stream= or max=. @return 1; 0: the word is none of these; -1: *error is set */
static int log_word(apr_pool_t *p, const char *word, ws_log_store *l, const char **error)
{
    apr_int64_t max = 0;
    if (!strncmp(word, "list=", 5) || !strncmp(word, "stream=", 7)) {
        *error = l->options.key ? "name one list= or stream=" : NULL;
        l->options.stream = *word == 's';
        l->options.key = strchr(word, '=') + 1;
        return *error ? -1 : 1;
    }
    if (!strncmp(word, "max=", 4)) {
        *error = ws_parse_count(p, word + 4, 1, LOG_MAX_LIMIT, &max);
        *error = *error ? apr_psprintf(p, "invalid value \"%s\": %s", word, *error) : NULL;
        l->options.max = (unsigned)max;
        return *error ? -1 : 1;
    }
    return 0;
}

/* Get the name of the list from the URL. Without list= or stream=, it is the last segment of the
 * path. */
static const char *log_key_of_url(apr_pool_t *p, char *url, ws_log_store *l)
{
    char *host = strstr(url, "://"), *key = host ? strrchr(host + 3, '/') : NULL;
    apr_ssize_t len;
    if (!key || !key[1]) {
        return "add the name of a list after the server, such as redis://localhost/websocket, or "
               "list=NAME or stream=NAME";
    }
    *key++ = 0;
    l->options.key = key;
    if (!key[strspn(key, "0123456789")]) {
        return apr_psprintf(p,
                            "\"/%s\" names no list: for database %s, write /%s/NAME; for a list "
                            "called \"%s\", write list=%s after the URL",
                            key, key, key, key, key);
    }
    len = ws_percent_decode(key, strlen(key), 0, key, strlen(key) + 1);
    return len < 0 || strlen(key) != (apr_size_t)len ? "in the name of the list, write % as %25"
                                                     : NULL;
}

/* Build the text that names a store in logs. It has the URL without user and password, and the name
 * of the list or stream. */
static const char *log_shown(apr_pool_t *p, const char *url, const ws_log_store *l)
{
    const char *host = strstr(url, "://"), *at = host ? strrchr(host, '@') : NULL;
    return apr_psprintf(p, "%s%s, %s %s",
                        at ? apr_pstrmemdup(p, url, (apr_size_t)(host + 3 - url)) : "",
                        at ? at + 1 : url, l->options.stream ? "stream" : "list", l->options.key);
}

static const char *log_parse(cmd_parms *cmd, const char *text, int count, char *const words[],
                             ws_log_store **store, const char **shown)
{
    apr_pool_t *p = cmd->pool;
    ws_log_store *l = apr_pcalloc(p, sizeof(*l));
    char *url = apr_pstrdup(p, text);
    char **others = apr_pcalloc(p, (apr_size_t)(count + 1) * sizeof(*others));
    const char *error = NULL;
    int rest = 0;
    l->options.max = LOG_MAX;
    for (int i = 0; i < count; i++) {
        int mine = log_word(p, words[i], l, &error);
        if (mine < 0) {
            return error;
        }
        if (!mine) {
            others[rest++] = words[i];
        }
    }
    if (!l->options.key && (error = log_key_of_url(p, url, l))) {
        return error;
    }
    if (!*l->options.key || strlen(l->options.key) > WS_REDIS_LOG_KEY_MAX) {
        return "the name of a list or stream must have 1 to 512 bytes";
    }
    if ((error = redis_parse(p, url, rest, others, &l->redis))) {
        return error;
    }
    if (l->redis.prefix) {
        return "remove prefix=, which is for WebSocketBus, and write the whole name of the list";
    }
    *store = l;
    *shown = log_shown(p, url, l);
    return NULL;
}

static void log_done(void *arg, const char *why)
{
    ws_log_store *l = arg;
    l->done(l->arg, why, ws_redis_log_is_idle(l->log));
}

static apr_status_t log_start(ws_log_store *l, apr_pool_t *pchild, server_rec *s, apr_size_t queue,
                              void (*done)(void *arg, const char *why, int last), void *arg)
{
    apr_status_t rv;
    main_server = s;
    l->redis.queue = queue;
    l->redis.log = log_line;
    l->redis.send_only = 1;
    l->options.redis = &l->redis;
    l->options.done = log_done;
    l->options.arg = l;
    l->done = done;
    l->arg = arg;
    rv = ws_redis_log_create(&l->log, &l->options, pchild);
    if (rv != APR_SUCCESS) {
        l->log = NULL;
    }
    return rv;
}

static int log_write(ws_log_store *l, const char *data, apr_size_t len)
{
    return l->log ? ws_redis_log_write(l->log, data, len) : -1;
}

static void log_stop(ws_log_store *l)
{
    if (l->log) {
        ws_redis_log_destroy(l->log);
        l->log = NULL;
    }
}

static const ws_log_provider log_provider = {log_parse, log_start, log_write, log_stop};

/* ---- The module ---- */

static const ws_remote_bus provider = {configured, child_init, child_exit};

static void register_hooks(apr_pool_t *p)
{
    ap_hook_pre_config(pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_register_provider(p, WS_REMOTE_BUS_GROUP, "remote", WS_REMOTE_BUS_VERSION, &provider);
    ap_register_provider(p, WS_LOG_GROUP, "remote", WS_LOG_VERSION, &log_provider);
}

static const command_rec directives[] = {
    WS_INIT_ARGUMENTS(
        "WebSocketBus", bus_set, RSRC_CONF,
        "the Redis server that connects machines, then prefix=TEXT, sentinel=[user:]password, "
        "ca=, cert=, key= and name="),
    {.name = NULL}};

AP_DECLARE_MODULE(websocket_redis) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, directives,
                                      register_hooks,          0};
