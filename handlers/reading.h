/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Back-pressure for requests whose replies are larger than the request, or arrive later. While
 * replies are pending or queued, the handler reads no further requests from the connection. A
 * client's queue therefore stays bounded even if the client sends faster than it reads.
 *
 * A `reading` must be the first member of the structure at ws_data(). Call all functions in
 * callbacks of the connection.
 */

#ifndef WS_HANDLERS_READING_H
#define WS_HANDLERS_READING_H

#include "mod_websocket.h"

/** Maximum number of pending replies that are as small as their requests. */
#define READING_ANSWERS_MAX 64

/** Read no requests while more than this many bytes are queued for sending. */
#define READING_QUEUE_MAX (16 * 1024)

typedef struct reading {
    unsigned answers; /**< pending replies */
    unsigned alone;   /**< how many of these are large: read nothing while there are any */
    int full;         /**< waiting for the send queue to drain */
} reading;

static inline void reading_update(ws_conn *c, const reading *r)
{
    if (r->answers >= READING_ANSWERS_MAX || r->alone || r->full) {
        ws_pause(c);
    }
    else {
        ws_resume(c);
    }
}

/* Either the previous callback's output has been sent, or on_drain has been or will be called. */
static inline void reading_after_flush(ws_conn *c, void *arg)
{
    reading *r = c ? ws_data(c) : NULL;
    (void)arg;
    if (r && ws_queued(c) <= READING_QUEUE_MAX) {
        r->full = 0;
        reading_update(c, r);
    }
}

/** Call after each request and each reply. */
static inline void reading_settle(ws_conn *c, reading *r)
{
    if (!r->full && ws_queued(c) > READING_QUEUE_MAX) {
        r->full = ws_run(ws_conn_id(c), reading_after_flush, NULL) == WS_QUEUED;
    }
    reading_update(c, r);
}

/** A reply is pending. */
static inline void reading_expect(reading *r, int alone)
{
    r->answers++;
    r->alone += alone != 0;
}

/** The reply has been sent or has failed. Call reading_settle() afterwards. */
static inline void reading_answered(reading *r, int alone)
{
    r->answers--;
    r->alone -= alone != 0;
}

/** For ws_handler.on_drain. */
static inline void reading_drained(ws_conn *c)
{
    reading *r = ws_data(c);
    if (r && r->full) {
        r->full = 0;
        reading_update(c, r);
    }
}

#endif
