/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Connects each client to another WebSocket server. Messages are passed on in pieces, as they
 * arrive, in both directions.
 *
 *     WebSocketHandler ws_proxy.so to=wss://host:port/path[,second...] [KEY=VALUE...]
 *     WebSocketHandler ws_proxy.so to=proxypass [KEY=VALUE...]
 *
 * docs/bridges.md and docs/proxying.md describe the handler. As in mod_proxy, the request's thread
 * connects to the server before it answers the client. So the answer can be a 502 or the server's
 * own refusal, and can contain the subprotocol and the extensions that the server has selected.
 * Afterwards both connections belong to the same event loop, so that their callbacks never run at
 * the same time.
 */

#include <stdlib.h>
#include <string.h>

#include <httpd.h>

#include "connect.h"
#include "proxypass.h"

/* If more bytes than this are queued for one side, do not read from the other side. */
#define PROXY_QUEUE_MAX (64 * 1024)

static void proxy_unref(pair *p)
{
    if (__atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        free(p);
    }
}

/* ---- Messages ---- */

static inline ws_conn *proxy_other(const pair *p, const ws_conn *c)
{
    return c == p->client ? p->server : p->client;
}

static void proxy_on_frame(ws_conn *c, ws_type type, const char *data, apr_size_t len,
                           unsigned where)
{
    ws_conn *other = proxy_other(ws_data(c), c);
    ws_status s;
    if (!other) {
        return;
    }
    s = ws_send_part(other, type, data, len, where);
    if (s == WS_UNSUPPORTED) {
        ws_close(other, WS_CLOSE_UNSUPPORTED, "the client's version has no binary messages");
    }
    else if (s == WS_QUEUED && ws_queued(other) > PROXY_QUEUE_MAX) {
        ws_pause(c);
    }
}

static void proxy_on_drain(ws_conn *c)
{
    ws_conn *other = proxy_other(ws_data(c), c);
    if (other) {
        ws_resume(other);
    }
}

/* Close `other` with the code and reason of the connection that has ended. */
static void proxy_pass_close(ws_conn *other, int code, const char *reason, apr_size_t len, int lost)
{
    char text[124];
    if (!other) {
        return;
    }
    if (code == WS_CLOSE_ABNORMAL) {
        ws_close(other, lost,
                 lost == WS_CLOSE_GOING_AWAY ? "the client is gone" : "the server is gone");
    }
    else {
        memcpy(text, reason, len);
        text[len] = '\0';
        ws_close(other, code, text);
    }
}

/* ---- The server's side ---- */

static void proxy_server_open(ws_conn *c)
{
    pair *p = ws_data(c);
    p->server = c;
    p->id = ws_conn_id(c);
    ws_pause(c); /* pause until the client's connection is open */
    proxy_attempt_over(p, "", ws_protocol(c));
}

static void proxy_server_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    pair *p = ws_data(c);
    p->server = NULL;
    proxy_pass_close(p->client, code, reason, len, WS_CLOSE_BAD_GATEWAY);
    proxy_unref(p);
}

static const ws_handler proxy_server_side = {.flags = WS_LOSSLESS,
                                             .on_open = proxy_server_open,
                                             .on_frame = proxy_on_frame,
                                             .on_drain = proxy_on_drain,
                                             .on_close = proxy_server_close};

/* ---- The client's side ---- */

static void proxy_on_open(ws_conn *c)
{
    pair *p = ws_data(c);
    p->client = c;
    p->met = 1;
    if (p->server) {
        ws_resume(p->server);
    }
    else {
        ws_close(c, WS_CLOSE_BAD_GATEWAY, "the server is gone");
    }
}

static void proxy_on_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    pair *p = ws_data(c);
    p->client = NULL;
    proxy_pass_close(p->server, code, reason, len, WS_CLOSE_GOING_AWAY);
}

/* Handle the end of the client's connection, which may never have opened. */
static apr_status_t proxy_client_over(void *data)
{
    pair *p = data;
    if (!p->met) {
        ws_close_id(p->id, WS_CLOSE_GOING_AWAY, "the client is gone");
    }
    proxy_unref(p);
    return APR_SUCCESS;
}

static int proxy_on_claim(ws_request *rq, void *data)
{
    return !((const proxy_config *)data)->proxypass || proxypass_claims(rq);
}

static int proxy_on_request(ws_request *rq, void *data)
{
    apr_pool_t *pool = ws_request_pool(rq);
    pair *p = NULL;
    int status;

    if (!pool) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if ((status = proxy_connect(rq, data, &proxy_server_side, &p)) != OK) {
        return status;
    }
    apr_pool_cleanup_register(pool, p, proxy_client_over, apr_pool_cleanup_null);
    ws_request_set_data(rq, p);
    return 0;
}

WS_HANDLER(proxy) = {.flags = WS_LOSSLESS,
                     .configure = proxy_configure,
                     .repeatable_keys = "headers",
                     .on_claim = proxy_on_claim,
                     .on_request = proxy_on_request,
                     .on_open = proxy_on_open,
                     .on_frame = proxy_on_frame,
                     .on_drain = proxy_on_drain,
                     .on_close = proxy_on_close};
