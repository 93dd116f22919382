/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Frames messages in a byte stream. A message is a line, ends with a NUL, or follows its
 *  length. */

#ifndef WS_EXEC_FRAMING_H
#define WS_EXEC_FRAMING_H

#include <apr.h>

#include "../outbox.h"

typedef enum { EXEC_LINE, EXEC_NUL, EXEC_LENGTH } exec_framing;

/** Whether a message can be sent with this framing, because it does not contain the separator. */
int exec_fits(exec_framing framing, const char *data, apr_size_t len);

/** Queue a message. @return 0; -1: out of memory */
int exec_put(outbox *to, exec_framing framing, const char *data, apr_size_t len);

/**
 * Find the first message of a stream.
 * @param over   1: the stream has ended, so the last line needs no separator
 * @param start  set to the offset of the message
 * @param size   set to the length of the message, bytes
 * @return offset of the next message; 0: the message is incomplete; -1: it is longer than `longest`
 */
apr_ssize_t exec_get(exec_framing framing, const char *data, apr_size_t len, int over,
                     apr_size_t longest, const char **start, apr_size_t *size);

/** Buffered input that is not yet a complete message. The caller sets all members to zero before
 *  the first use. */
typedef struct exec_input {
    char *data;
    apr_size_t len;
} exec_input;

/**
 * Read once, and call `take` for each complete message. `take` must not change the input.
 * @return 1: more data may be available; 0: no data is available yet; -1: the stream has ended, or
 *         out of memory; -2: a message is longer than `longest`
 */
int exec_input_take(exec_input *in, int fd, exec_framing framing, apr_size_t longest,
                    void (*take)(void *arg, const char *line, apr_size_t len), void *arg);

void exec_input_clear(exec_input *in);

/**
 * Replace invalid UTF-8. A program may write any bytes, but text messages must be UTF-8 (RFC 6455,
 * section 8.1).
 * @return NULL: the text is valid. Otherwise a copy in which each invalid byte is U+FFFD; the
 *         caller frees it. NULL with *len set to 0: out of memory
 */
char *exec_fix_utf8(const char *text, apr_size_t *len);

#endif
