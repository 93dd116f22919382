/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Wakes a thread that polls: an eventfd. */

#ifndef WS_BASE_WAKE_H
#define WS_BASE_WAKE_H

#include <apr_errno.h>

/** @param fd  closed with close(2); non-blocking, closed on exec */
apr_status_t ws_wake_create(int *fd);

/** Make fd readable. errno is left as it was. [any thread, signal handlers too] */
void ws_wake(int fd);

/** The thread is awake: fd is not readable until the next ws_wake(). */
void ws_woken(int fd);

#endif
