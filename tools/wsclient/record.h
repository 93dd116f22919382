/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements --record, which writes a session as a transcript for wshandler-test. Only the loop's
 *  thread may use these functions. */

#ifndef WS_TOOLS_RECORD_H
#define WS_TOOLS_RECORD_H

#include "include/mod_websocket.h"

/** Open the file. @return 0, or -1 with errno set */
int ws_record_open(const char *file);

/** Record the handshake's result. @param protocol  the subprotocol, or NULL */
void ws_record_connect(int status, const char *protocol);

/** Record a message, or a part of a message that is being sent. @param where  set of WS_FIRST and
 *  WS_LAST */
void ws_record_message(char sign, ws_type type, const char *data, apr_size_t len, unsigned where);

void ws_record_close(char sign, int code, const char *reason, apr_size_t len);

/** Close the file. @return 0; -1: the transcript is incomplete */
int ws_record_end(void);

#endif
