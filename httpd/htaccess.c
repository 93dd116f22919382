/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements WebSocketHandler in a .htaccess file. A site's owner must not be able to load code,
 * raise limits or reach other servers. Therefore WebSocketHtaccess in the server's configuration
 * names the handler with all its keys, and the .htaccess file only names a page. The request's
 * notes carry the page's path and the directory that must contain the page (websocket_loopback.h).
 */

#include "httpd/htaccess.h"

#include <apr_strings.h>
#include <http_log.h>
#include <string.h>

#include "websocket_loopback.h"

APLOG_USE_MODULE(websocket);

static const char *htaccess_only =
    "WebSocketHandler: .htaccess can have only \"WebSocketHandler ws_http.so to=PAGE\", with PAGE "
    "in the file's directory or below it, or \"WebSocketHandler off\"; use the server's "
    "configuration for anything else";

int ws_htaccess_here(cmd_parms *cmd)
{
    return ap_check_cmd_context(cmd, NOT_IN_HTACCESS) != NULL;
}

/* Whether a relative path stays inside its directory. */
static int htaccess_page_valid(const char *page)
{
    if (!*page || *page == '/' || page[strcspn(page, "?#\\%\"<>")]) {
        return 0;
    }
    for (const char *segment = page; segment; segment = strchr(segment, '/')) {
        segment += *segment == '/';
        /* The segment is "..", or names a hidden file. */
        if (*segment == '.' || *segment == '/' || !*segment) {
            return 0;
        }
    }
    return 1;
}

const char *ws_htaccess_set(cmd_parms *cmd, ws_dir_config *d, int argc, char *const argv[])
{
    if (argc == 1 && !strcasecmp(argv[0], "off")) {
        d->site_page = "";
        return NULL;
    }
    if (argc != 2 || strcmp(argv[0], "ws_http.so") || strncmp(argv[1], "to=", 3)
        || !htaccess_page_valid(argv[1] + 3)) {
        return htaccess_only;
    }
    d->site_page = apr_pstrdup(cmd->pool, argv[1] + 3);
    /* In a <Files> section cmd->path is not the directory. */
    d->site_dir = ap_make_dirstr_parent(cmd->pool, cmd->directive->filename);
    return NULL;
}

const char *ws_htaccess_allow(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    ws_dir_config *d = config;
    char **all = apr_pcalloc(cmd->pool, sizeof(*all) * ((apr_size_t)argc + 2));
    const char *error;
    if (argc == 1 && !strcasecmp(argv[0], "off")) {
        d->site_handlers = 0;
        return NULL;
    }
    if (argc == 0 || strcmp(argv[0], "ws_http.so")) {
        return "WebSocketHtaccess takes ws_http.so and its keys except to=, or off";
    }
    memcpy(all, argv, sizeof(*all) * (apr_size_t)argc);
    for (int i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "to=", 3)) {
            return "WebSocketHtaccess: remove to=: each .htaccess names its page";
        }
    }
    all[argc] = "to=.htaccess";
    if ((error = ws_plugins_add_handler(cmd, argc + 1, all, &d->site_line))) {
        return apr_pstrcat(cmd->pool, "WebSocketHtaccess: ", error, NULL);
    }
    d->site_handlers = 1;
    return NULL;
}

/* Build the URL of the page, which is the request's URL with the file's path replaced by the page.
 * @return NULL if the URL does not end in the file's path */
static const char *htaccess_url(request_rec *r, const ws_dir_config *d)
{
    apr_size_t dir = strlen(d->site_dir), uri = strlen(r->uri), rest;
    const char *file;
    if (!r->filename || strncmp(r->filename, d->site_dir, dir)) {
        return NULL;
    }
    file = apr_pstrcat(r->pool, r->filename + dir, r->path_info, NULL);
    rest = strlen(file);
    if (rest >= uri || strcmp(r->uri + uri - rest, file) || r->uri[uri - rest - 1] != '/') {
        return NULL;
    }
    return ap_os_escape_path(
        r->pool,
        apr_pstrcat(r->pool, apr_pstrmemdup(r->pool, r->uri, uri - rest), d->site_page, NULL), 1);
}

int ws_htaccess_choose(request_rec *r, const ws_dir_config *d, ws_handler_line **line)
{
    const char *url = htaccess_url(r, d);
    if (d->site_handlers != 1) {
        ap_log_rerror(
            APLOG_MARK, APLOG_ERR, 0, r,
            "websocket: handshake refused with 403: %s.htaccess has a WebSocketHandler, and "
            "the server's configuration does not allow it there (WebSocketHtaccess)",
            d->site_dir);
        return HTTP_FORBIDDEN;
    }
    if (!url) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "websocket: handshake refused with 500: the URL %s is not below the URL of "
                      "the directory %s: use a URL below it (WebSocketHandler)",
                      r->uri, d->site_dir);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    apr_table_setn(r->notes, WS_LOOPBACK_NOTE_PATH, url);
    apr_table_setn(r->notes, WS_LOOPBACK_NOTE_DIR, d->site_dir);
    *line = d->site_line;
    return OK;
}
