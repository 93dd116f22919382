/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A descriptor that a loop watches. A source is a member of its owner's struct: a connection, a
 * handler's watch, a connector, or the loop's wake-up. Call all functions in the loop's thread.
 */

#ifndef WS_EVENT_SOURCE_H
#define WS_EVENT_SOURCE_H

#include <apr_errno.h>

#include "include/mod_websocket.h" /* WS_READABLE and the like */

typedef struct ws_event_loop ws_event_loop;
typedef struct ws_source ws_source;

/** Events in addition to those in mod_websocket.h. They occur only on streams that the loop reads
 *  and writes (stream.h). */
#define WS_STREAM_RECEIVED 0x100 /**< bytes have been received, or receiving has ended */
#define WS_STREAM_SENT 0x200     /**< a send has ended */

/** An event of a source. */
typedef struct ws_ready {
    ws_source *source;
    unsigned events;        /**< bits: WS_READABLE and the like; or a single WS_STREAM_... */
    int result;             /**< bytes received or sent, or -errno; 0 received: end of the stream */
    unsigned char *data;    /**< the bytes; WS_STREAM_SENT: NULL if they were sent as pieces */
    apr_size_t len;         /**< WS_STREAM_SENT: number of bytes to be sent */
    unsigned short buffer;  /**< private */
    unsigned char buffered; /**< private */
    unsigned char more;     /**< WS_STREAM_RECEIVED: receiving continues */
} ws_ready;

/** The owner zeroes the struct, sets ready, and sets watched to -1. */
struct ws_source {
    void (*ready)(ws_source *s, const ws_ready *r);
    int fd;
    signed char watched; /**< the watched events; -1: none, and ready is not called */
    /* Private to the loop, for streams that it reads and writes. */
    unsigned char async : 1;     /**< the loop reads and writes this stream */
    unsigned char direct : 1;    /**< the owner reads the socket, because much input arrives */
    unsigned char polled : 1;    /**< the poller watches the descriptor */
    unsigned char receiving : 1; /**< the kernel refers to the source */
    unsigned char stopping : 1;  /**< the loop has asked the kernel to stop receiving */
    unsigned char sending : 1;   /**< a send has not ended */
    unsigned char poll_events;   /**< the events that the poller watches, while polled */
    unsigned char small;         /**< small reads in a row, while direct */
};

/** Watch fd for events, which replace those of an earlier call. fd must be the same until
 *  ws_source_unwatch(). */
apr_status_t ws_source_watch(ws_event_loop *loop, ws_source *s, int fd, unsigned events);

/** Stop watching. Call it before you close fd or pass it on. */
void ws_source_unwatch(ws_event_loop *loop, ws_source *s);

#endif
