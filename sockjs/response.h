/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The response that a session writes to: a socket of a client that waits for frames, over HTTP with
 * its framing and TLS, or a WebSocket. For its loop's thread.
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
    WS_SOCKJS_ANSWER, /**< no frames: a head, sent when the handler has taken the client's messages */
    WS_SOCKJS_RAW,    /**< no frames: bytes of another process's session, unchanged */
    WS_SOCKJS_KINDS
} ws_sockjs_kind;

typedef struct ws_sockjs_response ws_sockjs_response;

struct ws_sockjs_response {
    ws_handle handle; /**< must be first */
    ws_alarm alarm;   /**< set while the response ends */
    int fd;           /**< -1: conn */
    SSL *ssl;         /**< or NULL */
    ws_conn *conn;    /**< WS_SOCKJS_WEBSOCKET; or NULL */
    unsigned char kind;
    unsigned char chunked; /**< RFC 9112, section 7.1 */
    unsigned char ending;  /**< no more data: close when all bytes are written */
    unsigned char write_shut;
    unsigned char parts; /**< the beginning of the frame has been sent */
    apr_uint64_t sent;   /**< bytes of the body */
    ws_strbuf frame;     /**< the frame under construction */
    ws_strbuf out;       /**< bytes for the socket, from pos on */
    apr_size_t pos;
    /** Called when the response is finished: the client has closed, or all bytes are written. */
    void (*gone)(ws_sockjs_response *r);
    void (*drained)(ws_sockjs_response *r);
    void *owner;
    char callback[WS_SOCKJS_CALLBACK_MAX + 1];
};

/** Takes over fd and ssl. @return NULL if out of memory; fd and ssl are then released */
ws_sockjs_response *ws_sockjs_response_new(ws_loop *loop, int fd, SSL *ssl, ws_sockjs_kind kind);

/** A response over a WebSocket. The caller calls gone and drained. */
ws_sockjs_response *ws_sockjs_response_to(ws_conn *c);

/** Append the response's header. */
void ws_sockjs_response_head(ws_sockjs_response *r, const char *data, apr_size_t len);

/** Append the first bytes of the body that the kind requires. */
void ws_sockjs_response_prelude(ws_sockjs_response *r);

/** Whether frames are part of a JavaScript string. */
int ws_sockjs_response_nested(const ws_sockjs_response *r);

/** Begin a frame. The caller then appends its text to r->frame. */
void ws_sockjs_response_begin(ws_sockjs_response *r);

/** Send the beginning of a long frame. */
void ws_sockjs_response_spill(ws_sockjs_response *r);

/** The frame is complete. */
void ws_sockjs_response_end_frame(ws_sockjs_response *r);

/** Append a complete frame. */
void ws_sockjs_response_put(ws_sockjs_response *r, const char *frame);

/** Write the buffered bytes; calls neither gone nor drained. @return 0; -1 if the client has closed
 */
int ws_sockjs_response_flush(ws_sockjs_response *r);

/** Whether the client has not accepted all bytes yet. */
int ws_sockjs_response_blocked(const ws_sockjs_response *r);

/** The owner no longer uses it: close it after all bytes are written. */
void ws_sockjs_response_finish(ws_sockjs_response *r);

/** Close it now. */
void ws_sockjs_response_drop(ws_sockjs_response *r);

#endif
