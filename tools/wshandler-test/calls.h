/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Records those calls to a handler that its clients cannot observe, which are on_state and
 *  on_closing. */

#ifndef WS_TOOLS_CALLS_H
#define WS_TOOLS_CALLS_H

#include "include/mod_websocket.h"
#include "tools/wshandler-test/client.h"

/** Copy a handler's table of callbacks. @return a table whose callbacks record each call, and then
 *  call those of h; valid until the next call to this function */
const ws_handler *ws_calls_record(const ws_handler *h);

/** Set the client that the next opened connection belongs to. */
void ws_calls_of_next(ws_test_client *p);

/** Take the oldest call, which is WS_SAY_STATE with the new state as code, or WS_SAY_CLOSING.
 *  @return the call, which the caller frees; NULL: no call has been recorded */
ws_happening *ws_calls_take(const ws_test_client *p);

/** Discard all recorded calls. */
void ws_calls_clear(void);

#endif
