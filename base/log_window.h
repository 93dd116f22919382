/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Limits how many log lines of one kind are written per minute. Use it for lines that clients can
 *  cause in any number. [any thread] */

#ifndef WS_BASE_LOG_WINDOW_H
#define WS_BASE_LOG_WINDOW_H

#include <apr.h>

/** Maximum number of lines of one kind per minute, in one process. */
#define WS_LOG_WINDOW_MAX 10

/** The count for one kind of line. The caller sets all members to zero. */
typedef struct ws_log_window {
    apr_uint32_t minute, count; /**< atomic */
} ws_log_window;

/**
 * Count one more line.
 * @return -1: the limit is exceeded, so log the line at level debug or not at all; 0: log it; 1:
 *         log it as the last one of this minute
 */
int ws_log_window_take(ws_log_window *w);

#endif
