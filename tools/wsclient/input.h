/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** What we say: bytes of standard input, or lines, made into messages. On the main thread. */

#ifndef WS_TOOLS_INPUT_H
#define WS_TOOLS_INPUT_H

#include <apr.h>

/** Whether standard input is to be read now. */
int ws_input_wanted(void);

/** It is readable. @return NULL, or what is wrong with it */
const char *ws_input_read(void);

/** Send what was read, as far as the connection takes it. @return as ws_input_read */
const char *ws_input_send(void);

/** Whether everything has been read and sent. */
int ws_input_over(void);

/** Send what --execute gives, as far as the connection takes it. @return as ws_input_read */
const char *ws_input_messages(void);

/** A whole line. @return as ws_input_read */
const char *ws_input_line(const char *line, apr_size_t len);

/** A whole line that was typed, which may be a command. @return as ws_input_read */
const char *ws_input_typed(const char *line);

#endif
