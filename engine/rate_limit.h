/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Limits of an open connection: messages and bytes per second, lifetime, idle time, and the
 * interval of repeated access checks. Only connections with one of these limits have a
 * ws_rate_limit.
 */

#ifndef WS_ENGINE_RATE_LIMIT_H
#define WS_ENGINE_RATE_LIMIT_H

#include "event/timer_wheel.h"
#include "include/mod_websocket.h"

typedef struct ws_rate_limit ws_rate_limit;

/** Create the rate limit if the connection's settings have limits. It ends with the connection.
 * @return 0, or -1 if out of memory */
int ws_rate_limit_start(ws_conn *c);

/** Count len bytes of payload. frames: number of frames that end with these bytes.
 *  @return 0: a limit is exceeded, and the connection is being closed */
int ws_rate_limit_take(ws_conn *c, apr_size_t len, unsigned frames);

/** Restart the idle time, because a message is received or sent. */
void ws_rate_limit_touch(ws_conn *c);

#endif
