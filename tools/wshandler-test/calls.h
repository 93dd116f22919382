/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Records the calls of a handler that its clients do not see: on_state and on_closing. */

#ifndef WS_TOOLS_CALLS_H
#define WS_TOOLS_CALLS_H

#include "include/mod_websocket.h"
#include "tools/wshandler-test/client.h"

/** @return a copy of the handler's table that records, and then calls h. Valid until the next
 *  call */
const ws_handler *ws_calls_record(const ws_handler *h);

/** The next connection that opens is the one of this client. */
void ws_calls_of_next(ws_test_client *p);

/** Take the oldest call: WS_SAY_STATE with the new state as code, or WS_SAY_CLOSING.
 *  @return to be freed; NULL: none */
ws_happening *ws_calls_take(const ws_test_client *p);

/** Forget all calls. */
void ws_calls_clear(void);

#endif
