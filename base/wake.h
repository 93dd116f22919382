/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Wakes a polling thread with an eventfd. */

#ifndef WS_BASE_WAKE_H
#define WS_BASE_WAKE_H

#include <apr_errno.h>

/** Create an eventfd. @param fd  set; non-blocking, close-on-exec; close it with close(2) */
apr_status_t ws_wake_create(int *fd);

/** Make fd readable. Does not change errno. [any thread, signal handlers too] */
void ws_wake(int fd);

/** Reset the eventfd: fd is not readable until the next ws_wake(). */
void ws_woken(int fd);

#endif
