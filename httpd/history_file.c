/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The file of histories that all child processes share. The parent creates its directory and checks it; each child opens it.
 * Not part of a build without LMDB.
 */

#include <ap_mpm.h>
#include <apr_strings.h>
#include <errno.h>
#include <http_log.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unixd.h>

#include "channels/history_lmdb.h"
#include "httpd/history.h"

APLOG_USE_MODULE(websocket);

#define DIRECTORY "websocket-history"

static server_rec *main_server;
static ws_history *history;

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
    const ws_history_rule *rules;

    main_server = s;
    if (!ws_httpd_history_rules(&rules)) {
        return APR_SUCCESS;
    }
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        ap_log_error(APLOG_MARK, APLOG_ERR, errno, s,
                     "websocket: cannot create %s (WebSocketHistory)", path);
        return errno;
    }
    if (geteuid() == 0) { /* children run as another user */
        uid = ap_unixd_config.user_id;
        gid = ap_unixd_config.group_id;
        if (chown(path, uid, gid) < 0) {
            ap_log_error(APLOG_MARK, APLOG_ERR, errno, s,
                         "websocket: cannot give %s to the user that child processes run as "
                         "(WebSocketHistory)",
                         path);
            return errno;
        }
    }
    return ws_history_records_inspect(path, (apr_uint64_t)ws_httpd_history_bytes(), log_line, uid,
                                      gid);
}

ws_history *ws_httpd_history_child_init(apr_pool_t *pchild, server_rec *s)
{
    ws_history_lmdb_options options = {.directory = directory(pchild),
                                       .size = (apr_uint64_t)ws_httpd_history_bytes(),
                                       .log = log_line};
    apr_status_t rv;
    main_server = s;
    options.rule_count = ws_httpd_history_rules(&options.rules);
    if (!options.rule_count) {
        return NULL;
    }
    if ((rv = ws_history_lmdb_create(&history, &options, pchild)) != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s,
                     "websocket: WebSocketHistory is unavailable in this child");
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
