/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The functions of include/mod_websocket.h that return or set properties of a connection. */

#include "engine/conn.h"

ws_id ws_conn_id(const ws_conn *c)
{
    return c->id;
}

ws_state ws_conn_state(const ws_conn *c)
{
    return ws_state_of(c);
}

ws_ticket *ws_conn_ticket(const ws_conn *c)
{
    return c->rare->ticket;
}

const ws_settings *ws_conn_settings(const ws_conn *c)
{
    return c->settings;
}

ws_transport ws_conn_transport(const ws_conn *c)
{
    return (ws_transport)c->transport;
}

void *ws_data(const ws_conn *c)
{
    return c->data;
}

void ws_set_data(ws_conn *c, void *data)
{
    c->data = data;
}

void *ws_config(const ws_conn *c)
{
    return c->location->config;
}

ws_location *ws_conn_location(const ws_conn *c)
{
    return ws_is_client(c) ? NULL : c->location;
}

apr_pool_t *ws_pool(ws_conn *c)
{
    ws_rare *rare = ws_conn_rare(c);
    if (rare && !rare->pool && apr_pool_create_unmanaged(&rare->pool) != APR_SUCCESS) {
        rare->pool = NULL;
    }
    return rare ? rare->pool : NULL;
}

int ws_version(const ws_conn *c)
{
    return c->version;
}

const char *ws_vhost(const ws_conn *c)
{
    return c->settings->vhost;
}

const char *ws_carrier_name(unsigned carrier)
{
    static const char *const names[] = {"websocket",       "xhr",         "jsonp",
                                        "xhr-streaming",   "eventsource", "htmlfile",
                                        "sockjs-websocket"};
    return carrier < WS_CARRIERS ? names[carrier] : "";
}

const char *ws_transport_name(const ws_conn *c)
{
    return ws_carrier_name(c->carrier);
}

int ws_secure(const ws_conn *c)
{
    return c->secure;
}
