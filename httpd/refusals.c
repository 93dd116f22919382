/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Logs refused requests as warnings. If there are too many per minute, further ones are logged at
 *  level info. */

#include "httpd/refusals.h"

#include <apr_strings.h>
#include <http_log.h>

#include "base/log_window.h"

APLOG_USE_MODULE(websocket);

static ws_log_window windows[WS_REFUSALS];

void ws_refusal_log(request_rec *r, ws_refusal kind, const char *format, ...)
{
    int take = ws_log_window_take(&windows[kind]);
    va_list args;
    char *text;
    va_start(args, format);
    text = apr_pvsprintf(r->pool, format, args);
    va_end(args);
    ap_log_rerror(APLOG_MARK, take < 0 ? APLOG_INFO : APLOG_WARNING, 0, r, "websocket: %s%s", text,
                  take > 0 ? "; more like this are logged at level info for a minute" : "");
}
