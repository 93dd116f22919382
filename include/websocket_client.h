/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * @file websocket_client.h
 * @brief WebSocket connections for programs without httpd: libwsclient.
 *
 * A program creates the client, whose event loops are threads of their own, and connects with
 * ws_connect() of mod_websocket.h. What a connection does is told by the same table of callbacks as a
 * handler's, on its loop's thread; and there the same calls hold (ws_send, ws_close, ws_timer_start ...).
 * Other threads of the program send with ws_send_to(), or ws_run() a function on the loop.
 *
 *     static void show(ws_conn *c, ws_type type, const char *data, apr_size_t len) { ... }
 *     static void sorry(void *data, const char *reason, int status) { ... }
 *     static const ws_handler handler = {.on_message = show};
 *
 *     ws_connect_options to = {.size = sizeof(to), .url = "wss://example.org/chat",
 *                              .handler = &handler, .on_failure = sorry};
 *     ws_client *client;
 *     ws_client_create(&client, NULL);
 *     ws_connect(NULL, &to);
 *     ws_client_wait(client, WS_NEVER);
 *     ws_client_free(client);
 *
 * Compile and link with `cc program.c $(pkg-config --cflags --libs libwsclient)`. docs/client.md has a
 * whole program.
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
    unsigned blocking; /**< greatest number of threads for WS_BLOCKING handlers; 0: 4 */
    /** Lines of a log, in words; NULL: none. May be called by several threads at once.
     *  @param c  the connection that it is about, or NULL */
    void (*log)(ws_log_level level, const ws_conn *c, const char *text);
    ws_log_level log_level; /**< the last one that is wanted: WS_LOG_INFO tells of failures,
                                 WS_LOG_DEBUG why each connection ended; WS_LOG_ERROR if zeroed */
} ws_client_options;

/**
 * Start the loops, with all signals blocked in their threads. There is one client in a process at a
 * time.
 * @param options  NULL for the defaults
 * @return APR_SUCCESS; APR_EEXIST if there is one; APR_EINVAL for wrong options; or why it failed.
 *         [any thread that is no loop]
 */
WS_API apr_status_t ws_client_create(ws_client **client, const ws_client_options *options);

/** Connections, attempts included.  [any] */
WS_API apr_size_t ws_client_count(ws_client *client);

/** Wait until there are no connections and no attempts.
 *  @param timeout  milliseconds, WS_NEVER: as long as it takes
 *  @return 1 if there are none; 0 after timeout  [any thread that is no loop] */
WS_API int ws_client_wait(ws_client *client, apr_uint32_t timeout);

/** ws_close() all connections, also those that are still being made and any that come later.  [any] */
WS_API void ws_client_close_all(ws_client *client, int code, const char *reason);

/** Break what connections there are, call their on_close and end the loops. NULL is fine.
 *  [any thread that is no loop] */
WS_API void ws_client_free(ws_client *client);

#ifdef __cplusplus
}
#endif

#endif
