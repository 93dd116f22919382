/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** What comes from the server, and what is said of it: to standard output and error, or above the line
 *  that is being typed. */

#ifndef WS_TOOLS_OUTPUT_H
#define WS_TOOLS_OUTPUT_H

#include "include/mod_websocket.h"

/** Kinds of lines, each with a colour of its own. */
typedef enum {
    WS_TONE_PLAIN,
    WS_TONE_MESSAGE,
    WS_TONE_NOTE,
    WS_TONE_IN,
    WS_TONE_OUT,
    WS_TONE_BAD
} ws_tone;

/** Before there is a connection. */
void ws_output_init(void);

/**
 * Bytes for standard output. What it does not take is kept, and the connection paused meanwhile; so this
 * is for its loop.
 */
void ws_output_write(ws_conn *c, const void *data, apr_size_t len);

/** A line about what happens, for standard error, or for the terminal.  [any thread] */
void ws_output_note(ws_tone tone, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** A line for the terminal; bytes that would do something to it are shown as \\xHH.  [any thread] */
void ws_output_show(ws_conn *c, ws_tone tone, const char *mark, const char *data, apr_size_t len);

/** The connection is gone: write what was kept.  [main thread, behind it] */
void ws_output_end(void);

/** Nothing can be written any more: errno of that, or 0. */
int ws_output_error(void);

/** What the terminal is to show; NULL for nothing. To be freed. A connection that was paused because it was
 *  much goes on.  [main thread] */
char *ws_output_take(void);

#endif
