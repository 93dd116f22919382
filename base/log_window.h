/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A bound on log lines of one kind, which clients can cause at will. [any thread] */

#ifndef WS_BASE_LOG_WINDOW_H
#define WS_BASE_LOG_WINDOW_H

#include <apr.h>

/** Lines of a kind in a minute, in one process. */
#define WS_LOG_WINDOW_MAX 10

/** Begins as zeroes. */
typedef struct ws_log_window {
    apr_uint32_t minute, count; /**< atomic */
} ws_log_window;

/**
 * One more line.
 * @return how it is to be logged: -1 as one that there are enough of; else as usual, 1 if it is the last one
 *         of this minute
 */
int ws_log_window_take(ws_log_window *w);

#endif
