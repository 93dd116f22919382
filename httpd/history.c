/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "httpd/history.h"

#include <ap_mpm.h>
#include <apr_strings.h>
#include <errno.h>
#include <http_log.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unixd.h>

#include "base/parse.h"
#include "httpd/config.h"

APLOG_USE_MODULE(websocket);

/* WebSocketHistorySize when it does not say. */
#define HISTORY_SIZE_DEFAULT (64 * 1024 * 1024)

#define COUNT_MAX 1000000
#define AGE_MAX ((apr_int64_t)365 * 24 * 3600 * 1000) /* milliseconds */

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

const char *ws_httpd_history_add(cmd_parms *cmd, void *config, const char *pattern,
                                 const char *count, const char *age)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    ws_history_rule *rule;
    apr_int64_t n = 0, ms = 0;
    int off = !strcasecmp(count, "off");
    (void)config;
    if (error) {
        return error;
    }
    if (off && age) {
        return "WebSocketHistory: nothing can stand behind off";
    }
    if (!off && (error = ws_parse_count(cmd->pool, count, 1, COUNT_MAX, &n))) {
        return ws_refused(cmd, count, error, ", of messages that are kept; or off");
    }
    if (age && (error = ws_parse_interval(cmd->pool, age, 1000, AGE_MAX, &ms))) {
        return ws_refused(cmd, age, error, ", as the time that messages are kept");
    }
    rule = apr_array_push(rules);
    rule->pattern = pattern;
    rule->keep.count = (apr_uint32_t)n;
    rule->keep.age = (apr_uint32_t)((ms + 999) / 1000);
    return NULL;
}

const char *ws_httpd_history_size(cmd_parms *cmd, void *config, const char *arg)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    (void)config;
    return error ? error
                 : ws_refused(
                     cmd, arg,
                     ws_parse_size(cmd->pool, arg, WS_HISTORY_RECORDS_SIZE_MIN, WS_SIZE_MAX, &size),
                     "");
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
