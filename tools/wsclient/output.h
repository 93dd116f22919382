/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Writes messages and notes to standard output and standard error, or above the line that is being
 * edited.
 */

#ifndef WS_TOOLS_OUTPUT_H
#define WS_TOOLS_OUTPUT_H

#include "include/mod_websocket.h"

/** Kinds of notes. Each kind has a color. */
typedef enum {
    WS_TONE_PLAIN,
    WS_TONE_MESSAGE,
    WS_TONE_NOTE,
    WS_TONE_IN,
    WS_TONE_OUT,
    WS_TONE_BAD
} ws_tone;

/**
 * Initialize the output. Must be called before connecting.
 * @param wake_fd  wakes the main thread: base/wake.h
 */
void ws_output_init(int wake_fd);

/**
 * Write to standard output. Bytes that standard output does not accept are buffered, and the
 * connection is paused until they are written. Only the loop's thread may call this function.
 */
void ws_output_write(ws_conn *c, const void *data, apr_size_t len);

/** Write a note to standard error or the terminal.  [any thread] */
void ws_output_note(ws_tone tone, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Write a line to the terminal, with control characters as \\xHH.  [any thread] */
void ws_output_show(ws_conn *c, ws_tone tone, const char *mark, const char *data, apr_size_t len);

/** Write the remaining buffered bytes.  [main thread, after the connection has ended] */
void ws_output_end(void);

/** Get the errno of the first failed write, or 0. */
int ws_output_error(void);

/**
 * Take the terminal's buffer, and resume the connection if the buffer's size had paused it.  [main
 * thread]
 * @return the buffer, which the caller frees; NULL: the buffer is empty
 */
char *ws_output_take(void);

#endif
