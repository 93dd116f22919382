/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Converts standard input, --execute and typed lines to messages. Only the main thread may use
 *  these functions. */

#ifndef WS_TOOLS_INPUT_H
#define WS_TOOLS_INPUT_H

#include <apr.h>

/** Whether to read standard input now. */
int ws_input_wanted(void);

/** Read standard input. @return NULL, or an error text */
const char *ws_input_read(void);

/** Send buffered input until the connection's queue is full. @return as ws_input_read() */
const char *ws_input_send(void);

/** Whether all input has been read and sent. */
int ws_input_over(void);

/** Send the --execute messages until the connection's queue is full. @return as ws_input_read() */
const char *ws_input_messages(void);

/** Send a complete line. @return as ws_input_read() */
const char *ws_input_line(const char *line, apr_size_t len);

/** Send a typed line, or run it as a command. @return as ws_input_read() */
const char *ws_input_typed(const char *line);

#endif
