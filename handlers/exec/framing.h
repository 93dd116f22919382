/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Messages in a stream of bytes: a line each, or ended by a NUL, or behind their length. */

#ifndef WS_EXEC_FRAMING_H
#define WS_EXEC_FRAMING_H

#include <apr.h>

#include "../outbox.h"

typedef enum { EXEC_LINE, EXEC_NUL, EXEC_LENGTH } exec_framing;

/** Whether a message can be told from the next one. */
int exec_fits(exec_framing framing, const char *data, apr_size_t len);

/** Queue a message. @return 0; -1 when there is no memory */
int exec_put(outbox *to, exec_framing framing, const char *data, apr_size_t len);

/**
 * Find the first message of a stream.
 * @param over   no more bytes will come: a last line needs no end
 * @param start  where it begins
 * @param size   its length
 * @return bytes of the stream up to the next message; 0: it is not whole; -1: it is longer than longest
 */
apr_ssize_t exec_get(exec_framing framing, const char *data, apr_size_t len, int over,
                     apr_size_t longest, const char **start, apr_size_t *size);

/** What has been read, without a whole message. Zeroed at first. */
typedef struct exec_input {
    char *data;
    apr_size_t len;
} exec_input;

/**
 * Read once, and call take for each message that is whole; it must not touch the input.
 * @return 1 there may be more; 0 not now; -1 it has ended, or there is no memory; -2 a message is longer
 *         than longest
 */
int exec_input_take(exec_input *in, int fd, exec_framing framing, apr_size_t longest,
                    void (*take)(void *arg, const char *line, apr_size_t len), void *arg);

void exec_input_clear(exec_input *in);

/**
 * A program may write anything, but text messages are UTF-8 (RFC 6455, section 8.1).
 * @return NULL if it is; else a copy in which each wrong byte is U+FFFD, to be freed. NULL with *len 0
 *         when there is no memory.
 */
char *exec_fix_utf8(const char *text, apr_size_t *len);

#endif
