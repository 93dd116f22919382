/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The connection, and its interface between the main thread and the loop's thread. */

#ifndef WS_TOOLS_SESSION_H
#define WS_TOOLS_SESSION_H

#include "tools/wsclient/options.h"

typedef enum {
    WS_SESSION_CONNECTING,
    WS_SESSION_OPEN,
    WS_SESSION_OVER /**< ended, or never established: see ws_session_exit() */
} ws_session_state;

/** Start to connect. @return NULL, or an error text */
const char *ws_session_start(void);

ws_session_state ws_session_now(void);

/** The exit status, once the session is over. */
ws_exit ws_session_exit(void);

/** Whether the server does not reply to our Close frame. */
int ws_session_stuck(void);

/** A descriptor that is readable after an event for the main thread. */
int ws_session_fd(void);

/** Make that descriptor readable.  [any thread, signal handlers] */
void ws_session_wake(void);

/** Make that descriptor unreadable again. */
void ws_session_woken(void);

/** Whether the queues accept more data. */
int ws_session_takes(void);

/** Send a message, or a part of one. data is copied. where: WS_FIRST, WS_LAST */
void ws_session_send(ws_type type, unsigned where, const char *data, apr_size_t len);

/** Send a ping, and show the pong's round trip. text: at most 125 bytes */
void ws_session_ping(const char *text);

/** Start the closing handshake. reason: at most 123 bytes */
void ws_session_close(int code, const char *reason);

/** Close the connection, abort it after a time limit, and free everything. */
void ws_session_leave(void);

#endif
