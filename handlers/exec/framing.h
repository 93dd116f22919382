/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Framing of messages in a byte stream. Messages are lines, end with a NUL, or follow their
 *  length. */

#ifndef WS_EXEC_FRAMING_H
#define WS_EXEC_FRAMING_H

#include <apr.h>

#include "../outbox.h"

typedef enum { EXEC_LINE, EXEC_NUL, EXEC_LENGTH } exec_framing;

/** Whether a message can be sent with this framing: it must not contain the separator. */
int exec_fits(exec_framing framing, const char *data, apr_size_t len);

/** Queue a message. @return 0; -1: out of memory */
int exec_put(outbox *to, exec_framing framing, const char *data, apr_size_t len);

/**
 * Find the first message of a stream.
 * @param over   whether the stream has ended: then the last line needs no separator
 * @param start  set to its offset
 * @param size   set to its length, bytes
 * @return offset of the next message; 0: incomplete; -1: longer than longest
 */
apr_ssize_t exec_get(exec_framing framing, const char *data, apr_size_t len, int over,
                     apr_size_t longest, const char **start, apr_size_t *size);

/** Buffered input that is not yet a complete message. Initialized with zeroes. */
typedef struct exec_input {
    char *data;
    apr_size_t len;
} exec_input;

/**
 * Read once, and call `take` for each complete message. `take` must not change the input.
 * @return 1: there may be more; 0: no data to read yet; -1: end of stream, or out of memory; -2: a
 *         message is longer than longest
 */
int exec_input_take(exec_input *in, int fd, exec_framing framing, apr_size_t longest,
                    void (*take)(void *arg, const char *line, apr_size_t len), void *arg);

void exec_input_clear(exec_input *in);

/**
 * Replace invalid UTF-8. A program may write any bytes, but text messages must be UTF-8 (RFC 6455,
 * section 8.1).
 * @return NULL: valid; else a copy, to be freed, in which each invalid byte is U+FFFD. NULL with
 *         *len 0: out of memory
 */
char *exec_fix_utf8(const char *text, apr_size_t *len);

#endif
