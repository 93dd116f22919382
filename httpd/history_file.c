/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Manages the file that holds the histories. All child processes share this file. The parent
 * creates the directory and checks the file, and each child opens the file. This source file is
 * compiled only if LMDB is available.
 */

#include <ap_mpm.h>
#include <apr_strings.h>
#include <errno.h>
#include <apr_file_io.h>
#include <http_config.h>
#include <http_log.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unixd.h>

#include "channels/history_lmdb.h"
#include "httpd/history.h"

APLOG_USE_MODULE(websocket);

#define DIRECTORY "websocket-history"

static server_rec *main_server;
static ws_history *history;
/* Path of the directory; the parent sets it, and children inherit it. */
static const char *directory;

static void history_log_line(ws_log_level level, const char *text)
{
    int httpd_level = level == WS_LOG_ERROR ? APLOG_ERR : APLOG_WARNING;
    ap_log_error(APLOG_MARK, httpd_level, 0, main_server, "websocket: %s", text);
}

/* Get the name of httpd's runtime directory below /run, such as "apache2" if the directory is
 * /run/apache2. @return NULL: it is not below /run */
static const char *history_name_of_run(apr_pool_t *p)
{
    char real[PATH_MAX];
    if (!realpath(ap_runtime_dir_relative(p, ""), real)) {
        return NULL;
    }
    return !strncmp(real, "/run/", 5)       ? apr_pstrdup(p, real + 5)
           : !strncmp(real, "/var/run/", 9) ? apr_pstrdup(p, real + 9)
                                            : NULL;
}

/* A reboot empties /run, so the default is below /var/lib: /run/apache2 becomes /var/lib/apache2.
 * If that directory is not writable, use the runtime directory. */
static const char *history_default(apr_pool_t *p)
{
    const char *name = history_name_of_run(p), *kept;
    if (name) {
        kept = apr_pstrcat(p, "/var/lib/", name, NULL);
        apr_dir_make_recursive(kept, APR_FPROT_OS_DEFAULT, p);
        if (access(kept, W_OK) == 0) {
            return apr_pstrcat(p, kept, "/" DIRECTORY, NULL);
        }
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, main_server,
                     "websocket: cannot write to %s, so WebSocketHistory uses temporary storage, "
                     "which a reboot deletes: set WebSocketHistoryDirectory",
                     kept);
    }
    return ap_runtime_dir_relative(p, DIRECTORY);
}

static apr_status_t history_prepare(apr_pool_t *ptemp, server_rec *s)
{
    const char *path = ws_httpd_history_directory();
    uid_t uid = 0;
    gid_t gid = 0;

    path = apr_pstrdup(s->process->pconf, path ? path : history_default(ptemp));
    directory = path;
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        apr_status_t rv = errno;
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s,
                     "websocket: cannot create %s (WebSocketHistoryDirectory)", path);
        return rv;
    }
    if (geteuid() == 0) { /* children run as a different user */
        uid = ap_unixd_config.user_id;
        gid = ap_unixd_config.group_id;
        if (chown(path, uid, gid) < 0) {
            apr_status_t rv = errno;
            ap_log_error(APLOG_MARK, APLOG_ERR, rv, s,
                         "websocket: cannot give %s to the user that child processes run as "
                         "(WebSocketHistoryDirectory)",
                         path);
            return rv;
        }
    }
    return ws_history_records_inspect(path, (apr_uint64_t)ws_httpd_history_bytes(),
                                      history_log_line, uid, gid);
}

/* The directory belongs to the user that children run as. Therefore its contents must not stop a
 * running httpd: after a reload, children run without a history that they cannot open. */
apr_status_t ws_httpd_history_init(apr_pool_t *ptemp, server_rec *s)
{
    const ws_history_rule *rules;
    int generation = 0;
    apr_status_t rv;

    main_server = s;
    if (!ws_httpd_history_rules(&rules)) {
        return APR_SUCCESS;
    }
    rv = history_prepare(ptemp, s);
    ap_mpm_query(AP_MPMQ_GENERATION, &generation); /* 0: httpd is starting */
    return generation ? APR_SUCCESS : rv;
}

ws_history *ws_httpd_history_child_init(apr_pool_t *pchild, server_rec *s)
{
    ws_history_lmdb_options options = {.directory = directory,
                                       .size = (apr_uint64_t)ws_httpd_history_bytes(),
                                       .log = history_log_line};
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
