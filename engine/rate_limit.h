/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * What an open connection may do in a time: messages and bytes a second, its lifetime, its time
 * without messages; and whether it is looked at again. Only connections with such bounds have a meter.
 */

#ifndef WS_ENGINE_METER_H
#define WS_ENGINE_METER_H

#include "event/timer_wheel.h"
#include "include/mod_websocket.h"

typedef struct ws_rate_limit ws_rate_limit;

/** Start a meter, if the connection's settings have bounds. @return 0, or -1 when there is no memory */
int ws_rate_limit_start(ws_conn *c);

/** len bytes of payload have come, and the end of so many frames. @return whether the connection goes
 *  on: if not, it has been failed */
int ws_rate_limit_take(ws_conn *c, apr_size_t len, unsigned frames);

/** A message has come or is sent: the connection is not idle. */
void ws_rate_limit_touch(ws_conn *c);

void ws_rate_limit_end(ws_conn *c);

#endif
