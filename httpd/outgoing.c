/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Connections to other servers, made for a client whose handshake is still to be answered. */

#include "client/connect.h"
#include "httpd/child.h"
#include "httpd/config.h"
#include "httpd/request.h"

ws_attempt ws_request_connect(ws_request *rq, const ws_connect_options *options)
{
    ws_engine *e = ws_child_engine();
    const ws_settings *settings = ws_settings_of(rq->r);
    if (!e || !settings) {
        return 0;
    }
    if (!rq->loop) {
        rq->loop = ws_engine_least_busy(e);
    }
    return ws_connect_from(e, rq->loop, settings, options);
}
