/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * @file websocket_client.h
 * @brief WebSocket connections for programs without httpd: libwsclient.
 *
 * The program creates a client, which runs its event loops in threads, and connects with
 * ws_connect() in mod_websocket.h. The client calls the callbacks of a connection's ws_handler on
 * the thread of the connection's loop. The callbacks may call ws_send(), ws_close(),
 * ws_timer_start() and the other functions, as in a handler for httpd. Other threads send with
 * ws_send_to(), or run a function on the loop with ws_run().
 *
 *     static void show(ws_conn *c, ws_type type, const char *data, apr_size_t len) { ... }
 *     static void failed(void *data, const char *reason, int status) { ... }
 *     static const ws_handler handler = {.on_message = show};
 *
 *     ws_connect_options to = {.size = sizeof(to), .url = "wss://example.org/chat",
 *                              .handler = &handler, .on_failure = failed};
 *     ws_client *client;
 *     ws_client_create(&client, NULL);
 *     ws_connect(NULL, &to);
 *     ws_client_wait(client, WS_NEVER);
 *     ws_client_free(client);
 *
 * Compile and link with `cc program.c $(pkg-config --cflags --libs libwsclient)`. docs/client.md
 * has a complete program.
 */

#ifndef WEBSOCKET_CLIENT_H
#define WEBSOCKET_CLIENT_H

#include "mod_websocket.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The event loops of a program's connections. Opaque. */
typedef struct ws_client ws_client;

typedef struct ws_client_options {
    apr_size_t size;   /**< sizeof(ws_client_options) */
    unsigned loops;    /**< event loops, 1 to 64; 0: one */
    unsigned blocking; /**< maximum number of threads for WS_BLOCKING handlers; 0: 4 */
    /** Write a log line; NULL: no log. Several threads may call it at the same time.
     *  @param c  the connection that the line is about, or NULL */
    void (*log)(ws_log_level level, const ws_conn *c, const char *text);
    ws_log_level log_level; /**< least severe level to log. WS_LOG_INFO adds failures,
                             *   WS_LOG_DEBUG adds why each connection ended. Zero: WS_LOG_ERROR */
} ws_client_options;

/**
 * Start the loops, with all signals blocked in their threads. A process can have one client at a
 * time.
 * @param options  NULL for the defaults; copied
 * @return APR_SUCCESS; APR_EEXIST: the process has a client; APR_EINVAL: invalid options; or the
 *         error of a system call.  [any thread that is not a loop]
 */
WS_API apr_status_t ws_client_create(ws_client **client, const ws_client_options *options);

/** Number of connections, including attempts in progress.  [any] */
WS_API apr_size_t ws_client_count(ws_client *client);

/** Wait until no connections and no attempts are left.
 *  @param timeout  milliseconds; WS_NEVER: no limit
 *  @return 1: none are left; 0: timeout.  [any thread that is not a loop] */
WS_API int ws_client_wait(ws_client *client, apr_uint32_t timeout);

/** Close all connections as ws_close() does, including attempts in progress and later ones.
 *  [any] */
WS_API void ws_client_close_all(ws_client *client, int code, const char *reason);

/** Abort all connections, call their on_close, and end the loops. NULL is ignored.
 *  [any thread that is not a loop] */
WS_API void ws_client_free(ws_client *client);

#ifdef __cplusplus
}
#endif

#endif
