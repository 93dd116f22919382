/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Provides back-pressure for requests whose replies are larger than the request, or arrive later.
 * While too many replies are pending or too much data is queued, the connection reads no further
 * requests. A client's queue therefore stays bounded even if the client sends faster than it reads.
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
    unsigned answers; /**< number of pending replies */
    /** Number of pending replies that may be large. If it is not 0, nothing is read. */
    unsigned alone;
    int full; /**< 1: waiting for the send queue to drain */
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

/* Resume reading if the output of the previous callback has been sent. If it has not, on_drain has
 * been called or will be called. */
static inline void reading_after_flush(ws_conn *c, void *arg)
{
    reading *r = c ? ws_data(c) : NULL;
    (void)arg;
    if (r && ws_queued(c) <= READING_QUEUE_MAX) {
        r->full = 0;
        reading_update(c, r);
    }
}

/** Pause or resume reading. The handler must call this after each request and each reply. */
static inline void reading_settle(ws_conn *c, reading *r)
{
    if (!r->full && ws_queued(c) > READING_QUEUE_MAX) {
        r->full = ws_run(ws_conn_id(c), reading_after_flush, NULL) == WS_QUEUED;
    }
    reading_update(c, r);
}

/** Note that a reply is pending. @param alone  1: the reply may be large */
static inline void reading_expect(reading *r, int alone)
{
    r->answers++;
    r->alone += alone != 0;
}

/** Note that a reply has been sent or has failed. The caller must call reading_settle()
 *  afterwards. */
static inline void reading_answered(reading *r, int alone)
{
    r->answers--;
    r->alone -= alone != 0;
}

/** Resume reading when the send queue has drained. The handler calls this in on_drain. */
static inline void reading_drained(ws_conn *c)
{
    reading *r = ws_data(c);
    if (r && r->full) {
        r->full = 0;
        reading_update(c, r);
    }
}

#endif
