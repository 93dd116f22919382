/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The connection: what the main thread and its loop have to do with each other. */

#ifndef WS_TOOLS_SESSION_H
#define WS_TOOLS_SESSION_H

#include "tools/wsclient/options.h"

typedef enum {
    WS_SESSION_CONNECTING,
    WS_SESSION_OPEN,
    WS_SESSION_OVER /**< closed, or there was none: ws_session_exit() tells */
} ws_session_state;

/** Begin to connect. @return NULL, or why not even that can be done */
const char *ws_session_start(void);

ws_session_state ws_session_now(void);

/** How it has ended. */
ws_exit ws_session_exit(void);

/** The server does not answer our Close frame. */
int ws_session_stuck(void);

/** A descriptor that is readable when something has happened that the main thread has to look at. */
int ws_session_fd(void);

/** Make it readable.  [any thread, signal handlers] */
void ws_session_wake(void);

/** It has been seen. */
void ws_session_woken(void);

/** Whether more can be sent without too much waiting in memory. */
int ws_session_takes(void);

/** Send a message, or a part of one. data is copied. where: WS_FIRST, WS_LAST */
void ws_session_send(ws_type type, unsigned where, const char *data, apr_size_t len);

/** Ping, and show the pong with its time. text: at most 125 bytes */
void ws_session_ping(const char *text);

/** Begin to close. reason: at most 123 bytes */
void ws_session_close(int code, const char *reason);

/** Close what is still open, break what is then left, and free everything. */
void ws_session_leave(void);

#endif
