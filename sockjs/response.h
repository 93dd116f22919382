/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A session's open response, through which the session sends frames to the client. It is an HTTP
 * response, with its chunks and with TLS, or it is a WebSocket. Use it in the loop's thread only.
 */

#ifndef WS_SOCKJS_RESPONSE_H
#define WS_SOCKJS_RESPONSE_H

#include <openssl/ssl.h>

#include "base/strbuf.h"
#include "engine/loop.h"
#include "sockjs/text.h"

/** How a client receives frames. */
typedef enum {
    WS_SOCKJS_XHR,
    WS_SOCKJS_JSONP,
    WS_SOCKJS_XHR_STREAMING,
    WS_SOCKJS_EVENTSOURCE,
    WS_SOCKJS_HTMLFILE,
    WS_SOCKJS_WEBSOCKET,
    WS_SOCKJS_ANSWER, /**< header only; sent when the handler has read the client's messages */
    WS_SOCKJS_RAW,    /**< passes on bytes from a session in another process */
    WS_SOCKJS_KINDS
} ws_sockjs_kind;

typedef struct ws_sockjs_response ws_sockjs_response;

struct ws_sockjs_response {
    ws_handle handle; /**< must be first */
    ws_alarm alarm;   /**< set while the response is ending */
    int fd;           /**< the client's socket; -1: conn is used instead */
    SSL *ssl;         /**< or NULL */
    ws_conn *conn;    /**< the client's WebSocket, if kind is WS_SOCKJS_WEBSOCKET; or NULL */
    unsigned char kind;
    unsigned char chunked; /**< RFC 9112, section 7.1 */
    unsigned char ending;  /**< the last bytes are queued: close when they are written */
    unsigned char write_shut;
    unsigned char to_engine; /**< the client is the engine's end of a session's pair */
    unsigned char parts;     /**< the beginning of `frame` has been sent */
    apr_uint64_t sent;       /**< bytes of the body */
    apr_uint64_t discarded;  /**< bytes of input after the request, TLS records included */
    apr_uint32_t since;      /**< when the response was finished, on the loop's clock */
    apr_uint32_t taken;      /**< result of ws_socket_taken() when the alarm was set */
    ws_strbuf frame;         /**< the frame under construction */
    ws_strbuf out;           /**< bytes to write to the socket, starting at pos */
    apr_size_t pos;
    /** Called when the client has closed the connection or has sent too much, or the loop stops.
     *  Not called after ws_sockjs_response_finish(). */
    void (*gone)(ws_sockjs_response *r);
    /** Called when all buffered bytes have been written. */
    void (*drained)(ws_sockjs_response *r);
    /** Called when the response is about to be freed, because the client has received all of it, or
     *  will not receive the rest. May be NULL. */
    void (*ended)(ws_sockjs_response *r);
    void *owner;
    char callback[WS_SOCKJS_CALLBACK_MAX + 1];
};

/** Create a response over a socket. Takes over fd and ssl. @return NULL: out of memory; fd and ssl
 *  have been released */
ws_sockjs_response *ws_sockjs_response_new(ws_loop *loop, int fd, SSL *ssl, ws_sockjs_kind kind);

/** Create a response over a WebSocket. It never calls gone or drained: the WebSocket's handler
 *  detects these events itself (websocket.c). */
ws_sockjs_response *ws_sockjs_response_to(ws_conn *c);

/** Append the response's header. */
void ws_sockjs_response_head(ws_sockjs_response *r, const char *data, apr_size_t len);

/** Append the bytes with which the body of this kind of response begins. */
void ws_sockjs_response_prelude(ws_sockjs_response *r);

/** Whether frames are part of a JavaScript string. */
int ws_sockjs_response_nested(const ws_sockjs_response *r);

/** Begin a frame. The caller then appends its text to r->frame. */
void ws_sockjs_response_begin(ws_sockjs_response *r);

/** Send the beginning of a long frame. */
void ws_sockjs_response_spill(ws_sockjs_response *r);

/** Complete the frame in r->frame. */
void ws_sockjs_response_end_frame(ws_sockjs_response *r);

/** Append a complete frame. */
void ws_sockjs_response_put(ws_sockjs_response *r, const char *frame);

/** Write the buffered bytes; calls neither gone nor drained. @return 0; -1: the client has closed
 *  the connection */
int ws_sockjs_response_flush(ws_sockjs_response *r);

/** Whether bytes are still buffered because the client has not accepted them. */
int ws_sockjs_response_blocked(const ws_sockjs_response *r);

/** Close the response after all bytes are written. The caller must not use it again. */
void ws_sockjs_response_finish(ws_sockjs_response *r);

/** Close the response immediately. */
void ws_sockjs_response_drop(ws_sockjs_response *r);

#endif
