/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Parses WebSocketHistory and WebSocketHistorySize, which set the channels that have a history.
 * history_file.c stores the histories.
 */

#include "httpd/history.h"

#include <ap_provider.h>
#include <apr_strings.h>
#include <http_log.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unixd.h>

#include "base/parse.h"
#include "channels/message.h"
#include "httpd/bus_remote.h"
#include "httpd/config.h"

APLOG_USE_MODULE(websocket);

/* Default for WebSocketHistorySize, bytes. */
#define HISTORY_SIZE_DEFAULT (64 * 1024 * 1024)

#define COUNT_MAX 1000000
#define AGE_MAX ((apr_int64_t)365 * 24 * 3600 * 1000) /* milliseconds */

static apr_array_header_t *rules; /* array of ws_history_rule */
static apr_int64_t size;
static const char *folder; /* WebSocketHistoryDirectory; NULL: not set */

void ws_httpd_history_reset(apr_pool_t *pconf)
{
    rules = apr_array_make(pconf, 4, sizeof(ws_history_rule));
    size = HISTORY_SIZE_DEFAULT;
    folder = NULL;
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
    if (!ws_channel_pattern_valid(pattern)) {
        return ws_refused(cmd, pattern, WS_CHANNEL_PATTERN, "");
    }
    if (off && age) {
        return "WebSocketHistory: remove the argument after off";
    }
    if (!off && (error = ws_parse_count(cmd->pool, count, 1, COUNT_MAX, &n))) {
        return ws_refused(cmd, count, error, ", of messages that are kept; or off");
    }
    if (age && (error = ws_parse_interval(cmd->pool, age, 1000, AGE_MAX, &ms))) {
        return ws_refused(cmd, age, error, ", as the time that messages are kept");
    }
    for (int i = 0; i < rules->nelts; i++) {
        const char *earlier = APR_ARRAY_IDX(rules, i, ws_history_rule).pattern;
        if (ws_channel_pattern_hidden(pattern, earlier)) {
            return apr_psprintf(cmd->pool,
                                "WebSocketHistory: \"%s\" never applies, since an earlier line has "
                                "the pattern \"%s\": remove one, or move this line up",
                                pattern, earlier);
        }
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
    return error
               ? error
               : ws_refused(cmd, arg,
                            ws_parse_size(cmd->pool, arg, WS_HISTORY_SIZE_MIN, WS_SIZE_MAX, &size),
                            "");
}

/* Check whether the server can use a folder, or create it. The server does not create the folder's
 * parent. @return NULL, or the reason why the server can neither use nor create the folder */
static const char *history_obstacle(apr_pool_t *p, const char *path)
{
    const char *parent = ap_make_dirstr_parent(p, path);
    apr_finfo_t info;
    if (apr_stat(&info, path, APR_FINFO_TYPE, p) == APR_SUCCESS) {
        return info.filetype == APR_DIR
                   ? NULL
                   : apr_psprintf(p, "WebSocketHistoryDirectory: \"%s\" is not a folder", path);
    }
    return apr_stat(&info, parent, APR_FINFO_TYPE, p) == APR_SUCCESS && info.filetype == APR_DIR
               ? NULL
               : apr_psprintf(p,
                              "WebSocketHistoryDirectory: \"%s\" cannot be created: there is no "
                              "folder %s: create it",
                              path, parent);
}

const char *ws_httpd_history_set_directory(cmd_parms *cmd, void *config, const char *arg)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    (void)config;
    if (!error && !(folder = ap_server_root_relative(cmd->pool, arg))) {
        error =
            apr_psprintf(cmd->pool, "WebSocketHistoryDirectory: \"%s\" is not a valid path", arg);
    }
    return error ? error : history_obstacle(cmd->pool, folder);
}

const char *ws_httpd_history_directory(void)
{
    return folder;
}

unsigned ws_httpd_history_rules(const ws_history_rule **all)
{
    *all = (const ws_history_rule *)rules->elts;
    return (unsigned)rules->nelts;
}

apr_int64_t ws_httpd_history_bytes(void)
{
    return size;
}

#ifdef WS_WITH_LMDB
/* Find a file in a folder that does not belong to a history. @return NULL: none */
static const char *history_other_file(apr_pool_t *p, const char *path)
{
    const char *found = NULL;
    apr_finfo_t info;
    apr_dir_t *dir;
    if (apr_dir_open(&dir, path, p) != APR_SUCCESS) {
        return NULL;
    }
    while (!found && apr_dir_read(&info, APR_FINFO_NAME, dir) == APR_SUCCESS) {
        if (strcmp(info.name, ".") && strcmp(info.name, "..") && strcmp(info.name, "lost+found")
            && strncmp(info.name, "data.mdb", 8) && strncmp(info.name, "lock.mdb", 8)) {
            found = apr_pstrdup(p, info.name);
        }
    }
    apr_dir_close(dir);
    return found;
}

/* The server gives the folder to the user that child processes run as. Check that it does not take
 * a folder such as / or /etc from its owner. */
static int history_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                                server_rec *s)
{
    const char *file;
    struct stat st;
    (void)pconf, (void)plog;
    if (!rules->nelts || !folder || geteuid() != 0 || stat(folder, &st) < 0
        || st.st_uid == ap_unixd_config.user_id || !(file = history_other_file(ptemp, folder))) {
        return OK;
    }
    ap_log_error(
        APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, s,
        "WebSocketHistoryDirectory: \"%s\" contains other files, such as %s: name a folder "
        "for the history alone, which will belong to httpd's User",
        folder, file);
    return HTTP_INTERNAL_SERVER_ERROR;
}
#else
/* Without LMDB, only a bus to other machines can store histories. */
static int history_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                                server_rec *s)
{
    const ws_remote_bus *remote =
        ap_lookup_provider(WS_REMOTE_BUS_GROUP, "remote", WS_REMOTE_BUS_VERSION);
    (void)pconf, (void)plog, (void)ptemp;
    if (!rules->nelts || (remote && remote->configured())) {
        return OK;
    }
    ap_log_error(
        APLOG_MARK, APLOG_ERR, 0, s,
        "websocket: WebSocketHistory needs LMDB, and this module was built without it: install "
        "LMDB's headers (liblmdb-dev) and rebuild, or set WebSocketBus");
    return HTTP_INTERNAL_SERVER_ERROR;
}

apr_status_t ws_httpd_history_init(apr_pool_t *ptemp, server_rec *s)
{
    (void)ptemp, (void)s;
    return APR_SUCCESS;
}

ws_history *ws_httpd_history_child_init(apr_pool_t *pchild, server_rec *s)
{
    (void)pchild, (void)s;
    return NULL;
}

void ws_httpd_history_child_exit(void)
{
}
#endif

void ws_httpd_history_register(apr_pool_t *p)
{
    (void)p;
    ap_hook_check_config(history_check_config, NULL, NULL, APR_HOOK_LAST);
}
