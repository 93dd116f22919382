/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses the lines that a shared program writes. A line has the form ID TAB kind TAB text
 *  (shared.h). */

#ifndef WS_EXEC_LINE_H
#define WS_EXEC_LINE_H

#include "mod_websocket.h"

typedef struct exec_line {
    ws_id id; /**< connection; 0: all connections */
    const char *kind, *text;
    apr_size_t kind_len, len;
} exec_line;

/** Parse a line. @return whether it is valid */
int exec_line_read(const char *data, apr_size_t len, exec_line *l);
int exec_line_is(const exec_line *l, const char *kind);

/**
 * Parse the text of a "close" line, which is a code and a reason, or only a reason. The reason is
 * truncated to size - 1 bytes.
 * @return the reason
 */
char *exec_line_close(const char *text, apr_size_t len, char *words, apr_size_t size,
                      apr_int64_t *code);

#endif
