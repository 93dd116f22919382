/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements WebSocketOrigin, which sets the origins whose pages may connect. */

#include "httpd/origin.h"

#include <apr_strings.h>
#include <http_core.h>
#include <http_log.h>
#include <string.h>

#include "httpd/arguments.h"
#include "protocol/handshake.h"

APLOG_USE_MODULE(websocket);

/* Warn about an origin with a WebSocket's scheme, unless the same origin with the page's scheme is
 * listed, too. No browser sends such an origin, but some applications do. */
static void origin_warn(cmd_parms *cmd, int argc, char *const argv[], const char *origin)
{
    const char *page = apr_pstrcat(cmd->temp_pool, "http", origin + 2, NULL);
    int reads_again = ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG
                      && ap_state_query(AP_SQ_RUN_MODE) != AP_SQ_RM_CONFIG_TEST;
    if (reads_again || (strncasecmp(origin, "ws://", 5) && strncasecmp(origin, "wss://", 6))) {
        return;
    }
    for (int i = 0; i < argc; i++) {
        if (!strcasecmp(argv[i], page)) {
            return;
        }
    }
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_WARNING, 0, cmd->server,
                 "websocket: WebSocketOrigin %s: browsers send the origin of the page, which never "
                 "begins with ws:// or wss://: write %s",
                 origin, page);
}

const char *ws_set_origins(cmd_parms *cmd, void *config, int argc, char *const argv[])
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
                return ws_wrong(cmd, argv[i],
                                "any to stand alone, since it includes all other "
                                "origins");
            }
            d->origin_any = 1;
        }
        else if (ws_origin_pattern_valid(argv[i])) {
            APR_ARRAY_PUSH(d->origins, const char *) = argv[i];
        }
        else {
            return ws_wrong(cmd, argv[i], takes);
        }
    }
    for (int i = 0; i < argc; i++) {
        origin_warn(cmd, argc, argv, argv[i]);
    }
    return ws_check_repeated(cmd, argc, argv, strcasecmp);
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
    /* A client that sends no Origin is not a browser, and could send any origin anyway. */
    return !origin || (d->origins && d->origin_any) || ws_origin_listed(d, origin, host);
}
