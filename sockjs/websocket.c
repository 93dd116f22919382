/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The SockJS transport "websocket": one WebSocket carries the session's frames to the client, and
 *  the client's messages to the session. */

#include "engine/conn.h"
#include "sockjs/session_state.h"

static ws_sockjs_session *websocket_session(ws_conn *c)
{
    const ws_sockjs_key *key = ws_data(c);
    ws_sockjs_session *s = key ? ws_sockjs_find(c->loop, key) : NULL;
    return s && s->response && s->response->conn == c ? s : NULL;
}

static void websocket_open(ws_conn *c)
{
    ws_sockjs_session *s = ws_sockjs_find(c->loop, ws_data(c));
    ws_sockjs_response *r = s ? ws_sockjs_response_to(c) : NULL;
    if (r) {
        ws_sockjs_session_attach(s, r);
    }
    else {
        ws_close(c, WS_CLOSE_INTERNAL, NULL);
    }
}

static void websocket_take(ws_conn *c, ws_sockjs_session *s, ws_strbuf *frames)
{
    switch (ws_sockjs_session_input(s, frames)) {
    case WS_SOCKJS_WAITS:
        ws_pause(c);
        break;
    case WS_SOCKJS_TAKEN:
        break;
    default:
        ws_close(c, WS_CLOSE_TRY_LATER, NULL);
    }
}

static void websocket_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    ws_sockjs_session *s = websocket_session(c);
    ws_strbuf frames = {NULL, 0, 0, 0};
    ws_sockjs_parsed parsed;
    if (!s || type == WS_BINARY) {
        ws_close(c, WS_CLOSE_UNSUPPORTED, "SockJS has no binary messages");
        return;
    }
    parsed = ws_sockjs_parse(data, len, &frames);
    if (parsed == WS_SOCKJS_PARSED) {
        websocket_take(c, s, &frames);
        return;
    }
    ws_strbuf_free(&frames);
    if (parsed != WS_SOCKJS_EMPTY) {
        ws_close(c, WS_CLOSE_BAD_DATA, "Broken JSON encoding.");
    }
}

static void websocket_drain(ws_conn *c)
{
    ws_sockjs_session *s = websocket_session(c);
    if (s) {
        ws_sockjs_session_pump(s);
    }
}

static void websocket_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    ws_sockjs_session *s = websocket_session(c);
    if (s) {
        ws_sockjs_session_gone(s, code, reason, len);
    }
}

const ws_handler ws_sockjs_websocket = {.flags = WS_LOSSLESS,
                                        .on_open = websocket_open,
                                        .on_message = websocket_message,
                                        .on_drain = websocket_drain,
                                        .on_close = websocket_close};
