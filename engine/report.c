/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "engine/conn.h"

void ws_conn_report(const ws_conn *c, ws_report *r)
{
    r->tally = &c->tally;
    r->way = (ws_way)c->way;
    r->closer = (ws_closer)c->closer;
    r->code = c->end_code ? c->end_code : WS_CLOSE_ABNORMAL;
    r->reason = c->end_reason ? (const char *)c->end_reason->data : "";
    r->reason_len = c->end_reason ? c->end_reason->len : 0;
    r->pings_missed = c->missed;
    r->location = c->location;
    r->settings = c->settings;
}
