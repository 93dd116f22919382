/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Requests whose answers are larger than they are, or come later: no more of them are read of a connection
 * while answers are under way, or wait to be sent. So a client has no more answers waiting than it
 * takes, however fast it asks.
 *
 * A `reading` stands at the beginning of what ws_data() points to. All functions: [callback].
 */

#ifndef WS_HANDLERS_READING_H
#define WS_HANDLERS_READING_H

#include "mod_websocket.h"

/** Requests that may wait for an answer which is as small as they are. */
#define READING_ANSWERS_MAX 64

/** Bytes that may wait to be sent while requests are read. */
#define READING_QUEUE_MAX (16 * 1024)

typedef struct reading {
    unsigned answers; /**< that are to come */
    unsigned alone;   /**< of these, large ones: each is waited for */
    int full;         /**< what waits to be sent is waited for */
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

/* What was sent in the callback before has left, or on_drain has come or will. */
static inline void reading_after_flush(ws_conn *c, void *arg)
{
    reading *r = c ? ws_data(c) : NULL;
    (void)arg;
    if (r && ws_queued(c) <= READING_QUEUE_MAX) {
        r->full = 0;
        reading_update(c, r);
    }
}

/** Behind each request, and each answer. */
static inline void reading_settle(ws_conn *c, reading *r)
{
    if (!r->full && ws_queued(c) > READING_QUEUE_MAX) {
        r->full = ws_run(ws_conn_id(c), reading_after_flush, NULL) == WS_QUEUED;
    }
    reading_update(c, r);
}

/** An answer is to come. */
static inline void reading_expect(reading *r, int alone)
{
    r->answers++;
    r->alone += alone != 0;
}

/** It has been sent, or there is none. reading_settle() has to follow. */
static inline void reading_answered(reading *r, int alone)
{
    r->answers--;
    r->alone -= alone != 0;
}

/** ws_handler.on_drain, or called by it. */
static inline void reading_drained(ws_conn *c)
{
    reading *r = ws_data(c);
    if (r && r->full) {
        r->full = 0;
        reading_update(c, r);
    }
}

#endif
