/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A session's state, shared by the files of sockjs/. Use it in the loop's thread only. */

#ifndef WS_SOCKJS_SESSION_STATE_H
#define WS_SOCKJS_SESSION_STATE_H

#include "protocol/close.h"
#include "protocol/frame.h"
#include "sockjs/session.h"

/** The decoder's position in the current frame from the engine. */
typedef struct ws_sockjs_decoder {
    unsigned char head[WS_HEADER_MAX], head_len;
    unsigned char first;  /**< first byte of the frame */
    unsigned char inside; /**< the head is complete */
    apr_uint64_t left;    /**< remaining bytes of the frame's payload */
    unsigned char control[WS_CONTROL_MAX], control_len;
} ws_sockjs_decoder;

typedef struct ws_sockjs_session ws_sockjs_session;
struct ws_sockjs_session {
    ws_handle handle; /**< must be first; the session's end of the socket pair */
    ws_alarm alarm;   /**< the next heartbeat; or, after the last response, the session's expiry */
    ws_sockjs_session *next; /**< next session in the same bucket of the loop's table */
    ws_sockjs_key key;
    ws_sockjs_options options;
    const ws_settings *settings;
    ws_ticket *ticket;
    ws_sockjs_response *response; /**< the open response, or NULL */
    ws_sockjs_response *last;     /**< finished, but the client may still receive it; or NULL */
    ws_sockjs_response *answer;   /**< response to a client whose messages are queued, or NULL */
    int fd;                       /**< -1: the session is closed */
    unsigned char greeted;        /**< "o" has been sent */
    unsigned char array;          /**< an array of messages has begun */
    unsigned char message;        /**< a message has begun */
    ws_sockjs_decoder decoder;
    ws_sockjs_cut cut;
    ws_strbuf in; /**< bytes that the socket pair has not accepted yet, starting at in_pos */
    apr_size_t in_pos;
    int code; /**< close code, when the session is closed */
    ws_strbuf reason;
};

/** Find the session with this key in this loop. @return NULL: there is none */
ws_sockjs_session *ws_sockjs_find(ws_loop *loop, const ws_sockjs_key *key);

/** Make r the session's open response. If the session is closed, send the close code and reason,
 *  and end the response. */
void ws_sockjs_session_attach(ws_sockjs_session *s, ws_sockjs_response *r);

/** Read from the handler's connection as long as the response accepts bytes. */
void ws_sockjs_session_pump(ws_sockjs_session *s);

/** Pass frames to the handler. Takes ownership of them. @return a WS_SOCKJS_* result, which
 *  ws_sockjs_input() passes to its callback `done` */
int ws_sockjs_session_input(ws_sockjs_session *s, ws_strbuf *frames);

/** Whether frames for the handler are queued. */
static inline int ws_sockjs_session_waits(const ws_sockjs_session *s)
{
    return s->in.len > s->in_pos;
}

/** End the handler's connection, because the client has disconnected. Sends a Close frame if the
 *  client sent one. */
void ws_sockjs_session_gone(ws_sockjs_session *s, int code, const char *reason, apr_size_t len);

/** What the engine's control frames require of the session. Initially zero. */
typedef struct ws_sockjs_control {
    ws_strbuf pongs;    /**< frames for the engine */
    int code;           /**< close the session with this code and reason; 0: do not */
    const char *reason; /**< valid until the session decodes again */
    apr_size_t reason_len;
} ws_sockjs_control;

/** Decode the bytes that the engine has sent, and write them to the response. Stops when the
 *  session has to be closed. */
void ws_sockjs_decode(ws_sockjs_session *s, const char *data, apr_size_t len,
                      ws_sockjs_control *control);

#endif
