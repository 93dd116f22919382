/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Defines a queue of bytes for a non-blocking socket or pipe. An empty queue owns no memory. */

#ifndef WS_HANDLERS_OUTBOX_H
#define WS_HANDLERS_OUTBOX_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr.h>

/** A queue. The caller sets all members to zero before the first use. */
typedef struct outbox {
    char *data;
    apr_size_t len, pos;
} outbox;

static inline apr_size_t outbox_left(const outbox *o)
{
    return o->len - o->pos;
}

static inline void outbox_clear(outbox *o)
{
    free(o->data);
    memset(o, 0, sizeof(*o));
}

/** Append len bytes to the queue. @return 0; -1: out of memory */
static inline int outbox_add(outbox *o, const void *data, apr_size_t len)
{
    char *more;

    if (len == 0) {
        return 0;
    }
    /* Reuse the space of the bytes that have been written, because the queue may never become
     * empty. */
    if (o->pos > o->len / 2) {
        o->len -= o->pos;
        memmove(o->data, o->data + o->pos, o->len);
        o->pos = 0;
    }
    if (!(more = realloc(o->data, o->len + len))) {
        return -1;
    }
    memcpy(more + o->len, data, len);
    o->data = more;
    o->len += len;
    return 0;
}

/**
 * Write queued bytes until the queue is empty or the descriptor accepts no more. A write to a
 * closed pipe causes no signal, since httpd ignores SIGPIPE.
 * @return 0, or the errno of a failed write
 */
static inline int outbox_write(outbox *o, int fd)
{
    while (outbox_left(o)) {
        ssize_t n = write(fd, o->data + o->pos, outbox_left(o));

        if (n < 0 && errno != EINTR) {
            return errno == EAGAIN ? 0 : errno;
        }
        o->pos += n > 0 ? (apr_size_t)n : 0;
    }
    outbox_clear(o);
    return 0;
}

#endif
