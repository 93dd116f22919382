/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A worker's connections. A peer is written to and read from until the socket has no more; it owns
 * memory only while a frame is cut or the socket does not take all.
 */

#ifndef WSBENCH_PEER_H
#define WSBENCH_PEER_H

#include <zlib.h>

#include "protocol/frame.h"
#include "tools/wsbench/wsbench.h"

typedef enum {
    PEER_NONE,
    PEER_CONNECTING,
    PEER_TLS,       /**< its handshake */
    PEER_HANDSHAKE, /**< the answer to ours is waited for */
    PEER_OPEN,
    PEER_CLOSING, /**< a Close frame has been sent */
    PEER_GONE
} peer_state;

/** zlib's states, of a connection that keeps its windows. */
typedef struct peer_windows {
    z_stream in, out;
    unsigned char *packed; /**< the message that is being sent */
    size_t packed_len, packed_size;
} peer_windows;

typedef struct peer {
    int fd;
    unsigned char state;     /**< peer_state */
    unsigned char publisher; /**< of MODE_FAN; what it receives does not count */
    unsigned char deflate;   /**< bench_deflate, as agreed on */
    unsigned char forget;    /**< our window is not kept, though the server's may be */
    unsigned char ended;     /**< the compressed data so far ended with a last block */
    unsigned char bad;       /**< the message that is coming is not what was sent */
    unsigned number;         /**< among all of all workers */
    unsigned skip;           /**< messages to pass over */
    SSL *ssl;
    target *to;
    unsigned address, tries; /**< the one that is tried; those that were tried before */
    ws_parser parser;
    uint64_t due;           /**< messages that are to be sent */
    uint64_t sent;          /**< that have been, as far as the socket or pending has them */
    size_t sent_bytes;      /**< of the next one's payload */
    uint64_t got;           /**< messages that have come */
    size_t got_bytes;       /**< of the next one's payload */
    uint64_t *times;        /**< a ring: from when on each message that is on its way is measured */
    uint32_t times_size;    /**< a power of two, or 0 */
    unsigned char mask[4];  /**< of the frame that is being sent, rotated */
    unsigned char *pending; /**< what the socket did not take */
    size_t pending_len, pending_at;
    unsigned char *rest; /**< the beginning of a header, or the answer to the handshake so far */
    size_t rest_len;
    uint64_t started;  /**< of the handshake */
    uint64_t tried_at; /**< when the address was */
    peer_windows *windows;
} peer;

/** A worker. */
typedef struct worker {
    unsigned number;
    worker_board *board;
    int epoll;
    peer *peers;
    unsigned count;
    uint64_t now; /**< when the event came that is at work */
    int several;  /**< a target has more than one address */
    unsigned opening;
    unsigned open;
    int measuring;
    /* MODE_FAN, a batch at a time */
    unsigned subscribers, at_target;
    uint64_t target;         /**< messages that each has when the batch is over */
    unsigned char *in, *out; /**< WORKER_BUFFER each: what has come, what goes */
    unsigned char *inflated;
    z_stream inflater; /**< of all connections that keep no window */
} worker;

#define WORKER_BUFFER ((size_t)256 * 1024)

/** Begin to connect. */
void peer_open(worker *w, peer *p);

/** An address that has had its time makes room for the next. @return whether there is still another */
int peer_next_address(worker *w, peer *p);

/** The socket has something to read, or room: events of epoll. */
void peer_event(worker *w, peer *p, unsigned events);

/** One more message, whose time counts from then on (nanoseconds); peer_write() sends it. */
void peer_due(worker *w, peer *p, uint64_t then);

/** Send what is due, as far as the socket takes it. */
void peer_write(worker *w, peer *p);

/** Begin the closing handshake. */
void peer_close(worker *w, peer *p);

/** A worker's peer that has failed: said once, and counted. */
void peer_fail(worker *w, peer *p, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- What the worker is told: worker.c ---- */

/** The connection is there. */
void worker_opened(worker *w, peer *p);

/** The connection is gone; it was open if was_open. */
void worker_gone(worker *w, peer *p, int was_open);

/** A message has come whole. */
void worker_message(worker *w, peer *p);

#endif
