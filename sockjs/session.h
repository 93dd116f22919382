/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The SockJS sessions of a process. A session represents a client. It is connected to the engine
 * through a pair of sockets, as the client side of a WebSocket. The other end of the pair is an
 * ordinary connection of the engine, so that handlers, queues, limits and channels work as for any
 * other connection. The session converts frames from the engine into SockJS frames for the open
 * response, and messages from the client into frames for the engine.
 *
 * A session is identified by a key, which also determines its loop. Functions with an engine may be
 * called on any thread.
 */

#ifndef WS_SOCKJS_SESSION_H
#define WS_SOCKJS_SESSION_H

#include "engine/engine.h"
#include "sockjs/response.h"

typedef struct ws_sockjs_key {
    apr_uint64_t high, low;
} ws_sockjs_key;

/** The options of WebSocketSockJS. */
typedef struct ws_sockjs_options {
    apr_uint64_t response;         /**< maximum length of a streaming response, bytes of frames */
    apr_uint32_t heartbeat, delay; /**< intervals as in WebSocketSockJS, milliseconds */
} ws_sockjs_options;

/** Results of ws_sockjs_input(), as HTTP statuses. */
enum {
    WS_SOCKJS_TAKEN = 204,
    WS_SOCKJS_WAITS = 202, /**< accepted, but the handler is not reading: answer the client later */
    WS_SOCKJS_UNKNOWN = 404,
    WS_SOCKJS_FULL = 503 /**< more bytes are queued than WebSocketMaxMessageSize */
};

/** The loop that a session belongs to. */
ws_loop *ws_sockjs_loop(ws_engine *engine, const ws_sockjs_key *key);

/**
 * Create a session.
 * @param fd        the session's end of the socket pair; the session takes it over
 * @param settings  the Location's settings
 * @param ticket    released when the session is freed; or NULL
 * @return 0; -1: fd and ticket have been released
 */
int ws_sockjs_open(ws_engine *engine, const ws_sockjs_key *key, const ws_sockjs_options *options,
                   int fd, const ws_settings *settings, ws_ticket *ticket);

/** A request whose response is waiting for frames. */
typedef struct ws_sockjs_request {
    ws_sockjs_kind kind;
    int chunked;
    char callback[WS_SOCKJS_CALLBACK_MAX + 1];
    const char *head; /**< head of the response; copied */
    apr_size_t head_len;
} ws_sockjs_request;

/** Attach a response to a session. Takes over fd and ssl in every case. */
void ws_sockjs_attach(ws_engine *engine, const ws_sockjs_key *key, const ws_sockjs_request *request,
                      int fd, SSL *ssl);

/** Copy bytes from fd, which is connected to a session in another process, to a client. client: the
 *  client's socket. Takes over all arguments but engine. */
void ws_sockjs_carry(ws_engine *engine, int fd, int client, SSL *ssl);

/**
 * Pass a client's messages to its session.
 * @param frames  output of ws_sockjs_parse(); taken over
 * @param done    called with the result, on the loop or before this returns
 */
void ws_sockjs_input(ws_engine *engine, const ws_sockjs_key *key, ws_strbuf *frames,
                     void (*done)(void *arg, int status), void *arg);

/** The handler for WebSockets that carry SockJS frames. Its connection data is a ws_sockjs_key. */
extern const ws_handler ws_sockjs_websocket;

#endif
