/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements the control API's content handler, which checks access and dispatches requests by
 * their path. It refuses methods that no Require restricts, unless WebSocketControlOpen is on.
 */

#include "httpd/control.h"

#include <apr_strings.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <string.h>

#include "httpd/config.h"
#include "httpd/json_answer.h"
#include "httpd/query.h"
#include "httpd/refusals.h"
#include "httpd/upgrade.h"

APLOG_USE_MODULE(websocket);

/* Check whether the configuration restricts a request. @return NULL, or the reason why the request
 * is refused */
static const char *control_forbidden(request_rec *r)
{
    const ws_dir_config *d = ws_dir_config_of(r);
    const char *foreign;
    if (d->control_open <= 0 && d->access.overruled) {
        return "a later section, such as a virtual host's <Location \"/\">, replaces the Require "
               "of the section with SetHandler: add \"AuthMerging And\" to that later section";
    }
    if (d->control_open <= 0 && !(d->access.restricted & (AP_METHOD_BIT << r->method_number))) {
        return apr_psprintf(r->pool,
                            "no Require restricts %s: add one to the <Location>, or "
                            "WebSocketControlOpen on",
                            r->method);
    }
    if (r->method_number != M_GET && (foreign = ws_foreign_page(r))) {
        return foreign;
    }
    return NULL;
}

static int control_route(request_rec *r, const char *path)
{
    if (!strncmp(path, "/@connections/", 14)) {
        ws_control_set_aws(r);
        return ws_control_connection(r, path + 14);
    }
    if (!strcmp(path, "/connections") || !strcmp(path, "/connections/")) {
        return ws_control_connections(r);
    }
    if (!strncmp(path, "/connections/", 13)) {
        return ws_control_connection(r, path + 13);
    }
    if (!strncmp(path, "/users/", 7)) {
        return ws_control_user(r, path + 7);
    }
    if (!strcmp(path, "/channels") || !strcmp(path, "/channels/")) {
        return r->method_number == M_GET ? ws_control_list_channels(r)
                                         : ws_control_not_allowed(r, "GET, HEAD");
    }
    if (!strcmp(path, "/publish") || !strcmp(path, "/publish/")) {
        return r->method_number == M_POST ? ws_control_publish(r)
                                          : ws_control_not_allowed(r, "POST");
    }
    return ws_control_refuse(r, HTTP_NOT_FOUND, "no such path");
}

static int control_handler(request_rec *r)
{
    const ws_dir_config *d = ws_dir_config_of(r);
    const char *why;
    apr_size_t len;
    if (!r->handler || strcmp(r->handler, "websocket-control")) {
        return DECLINED;
    }
    len = d->control ? strlen(d->control) : 0;
    if (!d->control || strncmp(r->uri, d->control, len)) {
        return HTTP_NOT_FOUND;
    }
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    if ((why = control_forbidden(r))) {
        ws_refusal_log(r, WS_REFUSAL_ACCESS, "control: refused with 403: %s", why);
        return ws_control_refuse(r, HTTP_FORBIDDEN, why);
    }
    ws_upgrade_restore_args(r);
    if ((why = ws_arguments_wrong(r))) {
        return ws_control_refuse(r, HTTP_BAD_REQUEST, why);
    }
    if (!ws_channels_current() || !ws_channels_options_of(ws_channels_current())->local) {
        return ws_control_later(r, "this child process cannot reach the other ones");
    }
    return control_route(r, r->uri + len);
}

void ws_control_register(apr_pool_t *p)
{
    (void)p;
    ap_hook_handler(control_handler, NULL, NULL, APR_HOOK_MIDDLE);
}
