/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Runs the connection on the loop's thread, and passes data and events between this thread and the
 *  main thread. */

#ifndef WS_TOOLS_SESSION_H
#define WS_TOOLS_SESSION_H

#include "tools/wsclient/options.h"

typedef enum {
    WS_SESSION_CONNECTING,
    WS_SESSION_OPEN,
    WS_SESSION_OVER /**< the connection has ended or was never established, see ws_session_exit() */
} ws_session_state;

/**
 * Start to connect.
 * @param wake_fd  wakes the main thread after an event: base/wake.h
 * @return NULL, or an error text
 */
const char *ws_session_start(int wake_fd);

ws_session_state ws_session_now(void);

/** Get the exit status. Valid when the session is over. */
ws_exit ws_session_exit(void);

/** Whether the server has not replied to the client's Close frame in time. */
int ws_session_stuck(void);

/** Whether the queues accept more data. */
int ws_session_takes(void);

/** Send a message or a part of a message. Copies data. @param where  set of WS_FIRST and WS_LAST */
void ws_session_send(ws_type type, unsigned where, const char *data, apr_size_t len);

/** Send a ping, and show the round-trip time when the pong arrives. @param text  at most 125
 *  bytes */
void ws_session_ping(const char *text);

/** Start the closing handshake. @param reason  at most 123 bytes */
void ws_session_close(int code, const char *reason);

/** Close the connection, abort it after a time limit, and free all memory. */
void ws_session_leave(void);

#endif
