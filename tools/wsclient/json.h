/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements --json, which writes each event as a JSON object on one line. Only the loop's thread
 *  may use these functions. */

#ifndef WS_TOOLS_JSON_H
#define WS_TOOLS_JSON_H

#include "include/mod_websocket.h"

void ws_json_open(ws_conn *c);
void ws_json_message(ws_conn *c, ws_type type, const char *data, apr_size_t len);
/** Write the end of a connection. @param clean  1: the peer's Close frame has arrived */
void ws_json_close(ws_conn *c, int code, const char *reason, apr_size_t len, int clean);
/** Store a response that refuses the handshake, for ws_json_failure(). */
void ws_json_refused(const ws_response *r);
void ws_json_failure(const char *reason, int status);

#endif
