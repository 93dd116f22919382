/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "httpd/history.h"

#include <ap_mpm.h>
#include <apr_strings.h>
#include <errno.h>
#include <http_log.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unixd.h>

#include "httpd/config.h"

APLOG_USE_MODULE(websocket);

/* WebSocketHistorySize when it does not say. */
#define HISTORY_SIZE_DEFAULT (64 * 1024 * 1024)

#define COUNT_MAX 1000000
#define AGE_MAX (365 * 24 * 3600)

#define DIRECTORY "websocket-history"

static apr_array_header_t *rules; /* ws_history_rule */
static apr_int64_t size;
static server_rec *main_server;
static ws_history *history;

void ws_httpd_history_reset(apr_pool_t *pconf)
{
    rules = apr_array_make(pconf, 4, sizeof(ws_history_rule));
    size = HISTORY_SIZE_DEFAULT;
}

static int parse_age(const char *arg, apr_uint32_t *seconds)
{
    apr_interval_time_t t;
    if (ap_timeout_parameter_parse(arg, &t, "s") != APR_SUCCESS || t < apr_time_from_sec(1)
        || t > apr_time_from_sec(AGE_MAX)) {
        return 0;
    }
    *seconds = (apr_uint32_t)apr_time_sec(t);
    return 1;
}

const char *ws_httpd_history_add(cmd_parms *cmd, void *config, const char *pattern,
                                 const char *count, const char *age)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    ws_history_rule rule = {pattern, {0, 0}};
    apr_int64_t n;
    char *end;
    (void)config;
    if (error) {
        return error;
    }
    if (!strcasecmp(count, "off")) {
        if (age) {
            return "WebSocketHistory: nothing can stand behind off";
        }
    }
    else {
        n = apr_strtoi64(count, &end, 10);
        if (end == count || *end || n < 1 || n > COUNT_MAX) {
            return apr_psprintf(
                cmd->pool,
                "WebSocketHistory: \"%s\" is wrong, behind the pattern it takes how "
                "many messages are kept, 1 to %d, or off",
                count, COUNT_MAX);
        }
        rule.keep.count = (apr_uint32_t)n;
    }
    if (age && !parse_age(age, &rule.keep.age)) {
        return apr_psprintf(cmd->pool,
                            "WebSocketHistory: \"%s\" is wrong, behind the count it takes how long "
                            "messages are kept, 1s to 365 days, such as 30s, 10min or 24h",
                            age);
    }
    APR_ARRAY_PUSH(rules, ws_history_rule) = rule;
    return NULL;
}

const char *ws_httpd_history_size(cmd_parms *cmd, void *config, const char *arg)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    (void)config;
    return error ? error
           : ws_parse_size(arg, 1, &size) && size >= WS_HISTORY_RECORDS_SIZE_MIN
               ? NULL
               : apr_psprintf(cmd->pool,
                              "WebSocketHistorySize: \"%s\" is wrong, it takes a size of at least "
                              "1M, such as 64M or 2G",
                              arg);
}

unsigned ws_httpd_history_rules(const ws_history_rule **all)
{
    *all = (const ws_history_rule *)rules->elts;
    return (unsigned)rules->nelts;
}

static void log_line(ws_log_level level, const char *text)
{
    int httpd_level = level == WS_LOG_ERROR ? APLOG_ERR : APLOG_WARNING;
    ap_log_error(APLOG_MARK, httpd_level, 0, main_server, "websocket: %s", text);
}

static const char *directory(apr_pool_t *p)
{
    return ap_runtime_dir_relative(p, DIRECTORY);
}

apr_status_t ws_httpd_history_init(apr_pool_t *ptemp, server_rec *s)
{
    const char *path = directory(ptemp);
    uid_t uid = 0;
    gid_t gid = 0;

    main_server = s;
    if (!rules->nelts) {
        return APR_SUCCESS;
    }
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        ap_log_error(APLOG_MARK, APLOG_ERR, errno, s,
                     "websocket: the directory of WebSocketHistory cannot be made: %s", path);
        return errno;
    }
    if (geteuid() == 0) { /* children are somebody else */
        uid = ap_unixd_config.user_id;
        gid = ap_unixd_config.group_id;
        if (chown(path, uid, gid) < 0) {
            ap_log_error(APLOG_MARK, APLOG_ERR, errno, s,
                         "websocket: the directory of WebSocketHistory cannot be given to httpd's "
                         "user: %s",
                         path);
            return errno;
        }
    }
    return ws_history_records_inspect(path, (apr_uint64_t)size, log_line, uid, gid);
}

ws_history *ws_httpd_history_child_init(apr_pool_t *pchild, server_rec *s)
{
    ws_history_lmdb_options options = {.directory = directory(pchild),
                                       .size = (apr_uint64_t)size,
                                       .rules = (const ws_history_rule *)rules->elts,
                                       .rule_count = (unsigned)rules->nelts,
                                       .log = log_line};
    apr_status_t rv;
    main_server = s;
    if (!rules->nelts) {
        return NULL;
    }
    if ((rv = ws_history_lmdb_create(&history, &options, pchild)) != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s,
                     "websocket: no WebSocketHistory in this child: channels have no past");
        return history = NULL;
    }
    return history;
}

void ws_httpd_history_child_exit(void)
{
    if (history) {
        ws_history_lmdb_destroy(history);
        history = NULL;
    }
}
