/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A descriptor that a loop watches. A source is part of what it belongs to: a connection, a handler's watch,
 * a connector, the loop's wake-up. All functions are for the loop's thread.
 */

#ifndef WS_EVENT_SOURCE_H
#define WS_EVENT_SOURCE_H

#include <apr_errno.h>

#include "include/mod_websocket.h" /* WS_READABLE and the like */

typedef struct ws_event_loop ws_event_loop;
typedef struct ws_source ws_source;

/** Events beside those of mod_websocket.h; only for streams that the loop reads and writes: stream.h. */
#define WS_STREAM_RECEIVED 0x100 /**< bytes have been received, or receiving has ended */
#define WS_STREAM_SENT 0x200     /**< a send has ended */

/** What happened to a source. */
typedef struct ws_ready {
    ws_source *source;
    unsigned
        events; /**< WS_READABLE, WS_WRITABLE, WS_BROKEN; or WS_STREAM_RECEIVED or WS_STREAM_SENT alone */
    int result; /**< bytes received or sent; WS_STREAM_RECEIVED: 0 at the end of the stream; or -errno */
    unsigned char
        *data;      /**< the bytes; WS_STREAM_SENT: NULL if they were no buffer of the loop's */
    apr_size_t len; /**< WS_STREAM_SENT: bytes that were to be sent */
    unsigned short buffer;  /**< private */
    unsigned char buffered; /**< private */
    unsigned char more;     /**< WS_STREAM_RECEIVED: receiving continues */
} ws_ready;

/** Zeroed at first, but for ready, and watched, which is -1. */
struct ws_source {
    void (*ready)(ws_source *s, const ws_ready *r);
    int fd;
    signed char watched; /**< events that are watched for; -1: none, and ready is not called */
    /* The loop's own, for streams that it reads and writes. */
    unsigned char async : 1;     /**< it does */
    unsigned char polled : 1;    /**< the poller knows the descriptor */
    unsigned char receiving : 1; /**< the kernel refers to the source */
    unsigned char stopping : 1;  /**< it has been told to stop */
    unsigned char sending : 1;   /**< a send has not ended */
};

/** Watch fd for events, instead of those before. fd: the same until ws_source_unwatch() */
apr_status_t ws_source_watch(ws_event_loop *loop, ws_source *s, int fd, unsigned events);

/** Watch for nothing: before fd is closed or given away. */
void ws_source_unwatch(ws_event_loop *loop, ws_source *s);

#endif
