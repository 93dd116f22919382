/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A worker's connections. Events are edge-triggered, so each connection is read and written until
 * the socket has no more data or room. A connection owns buffers only while a frame is incomplete
 * or the socket is full.
 */

#ifndef WSBENCH_PEER_H
#define WSBENCH_PEER_H

#include <zlib.h>

#include "protocol/frame.h"
#include "tools/wsbench/wsbench.h"

typedef enum {
    PEER_NONE,
    PEER_CONNECTING,
    PEER_TLS,       /**< TLS handshake */
    PEER_HANDSHAKE, /**< waiting for the handshake's response */
    PEER_OPEN,
    PEER_CLOSING, /**< a Close frame has been sent */
    PEER_GONE
} peer_state;

/** The zlib states of a connection that keeps its compression windows. */
typedef struct peer_windows {
    z_stream in, out;
    unsigned char *packed; /**< the message that is being sent */
    size_t packed_len, packed_size;
} peer_windows;

typedef struct peer {
    int fd;
    unsigned char state;     /**< peer_state */
    unsigned char publisher; /**< publishes in MODE_FAN; the messages it receives are not counted */
    unsigned char deflate;   /**< negotiated bench_deflate */
    unsigned char forget;    /**< our window is reset after each message */
    unsigned char ended;     /**< the last block of compressed data had the final bit */
    unsigned char bad;       /**< the current message differs from the one that was sent */
    unsigned number;         /**< index among the connections of all workers */
    unsigned skip;           /**< number of messages still to be ignored */
    SSL *ssl;
    target *to;
    unsigned address, tries; /**< index of the current address; number of addresses tried before */
    ws_parser parser;
    uint64_t due;           /**< messages that should have been sent by now */
    uint64_t sent;          /**< messages sent, including pending ones */
    size_t sent_bytes;      /**< bytes sent of the next message's payload */
    uint64_t got;           /**< messages received */
    size_t got_bytes;       /**< bytes received of the next message's payload */
    uint64_t *times;        /**< a ring: start times of the messages in flight */
    uint32_t times_size;    /**< a power of two, or 0 */
    unsigned char mask[4];  /**< masking key of the current frame, rotated to the next byte */
    unsigned char *pending; /**< bytes that the socket has not accepted */
    size_t pending_len, pending_at;
    unsigned char *rest; /**< an incomplete frame header, or an incomplete response */
    size_t rest_len;
    uint64_t started;  /**< start of the handshake */
    uint64_t tried_at; /**< start of the current address's attempt */
    peer_windows *windows;
} peer;

/** A worker process. */
typedef struct worker {
    unsigned number;
    worker_board *board;
    int epoll;
    peer *peers;
    unsigned count;
    uint64_t now; /**< time of the current event */
    int several;  /**< a target has more than one address */
    unsigned opening;
    unsigned open;
    int measuring;
    /* MODE_FAN: messages are published in batches */
    unsigned subscribers, at_target;
    uint64_t target;         /**< messages per subscriber at the end of the batch */
    unsigned char *in, *out; /**< WORKER_BUFFER bytes each: input and output */
    unsigned char *inflated;
    z_stream inflater; /**< shared by the connections that keep no compression window */
} worker;

#define WORKER_BUFFER ((size_t)256 * 1024)

/** Start to connect. */
void peer_open(worker *w, peer *p);

/**
 * Give up the current address, which has timed out. @return whether there are others after the next
 * one
 */
int peer_next_address(worker *w, peer *p);

/** Handle epoll events of the socket. */
void peer_event(worker *w, peer *p, unsigned events);

/** Add a message for peer_write() to send. Its latency is measured from `then`, nanoseconds. */
void peer_due(worker *w, peer *p, uint64_t then);

/** Send due messages until the socket is full. */
void peer_write(worker *w, peer *p);

/** Start the closing handshake. */
void peer_close(worker *w, peer *p);

/** Count a failed connection, and report the first one. */
void peer_fail(worker *w, peer *p, const char *format, ...) __attribute__((format(printf, 3, 4)));

/** Try the other addresses after one has failed during `what`, with errno set. */
void peer_try_others(worker *w, peer *p, const char *what);

/* ---- The socket ---- */

/** Exit if memory is NULL. @return memory */
void *peer_must(void *memory);

/** The same for the result of inflateInit2() and deflateInit2(). */
void peer_must_zlib(int result);

/** Describe the last TLS or socket error. */
const char *peer_reason(const peer *p);

/** Read. @return bytes; 0: no data yet; -1: end of stream (errno 0), or an error */
ssize_t peer_take(peer *p, void *buf, size_t size);

/**
 * Send bytes that the socket has not accepted.
 * @return 0, or -1: the connection has been released
 */
int peer_flush_pending(worker *w, peer *p);

/** Send new bytes after the pending ones. Those that the socket does not accept become pending.
 *  @return likewise */
int peer_send_bytes(worker *w, peer *p, const unsigned char *data, size_t len);

/* ---- Callbacks into worker.c ---- */

/** The connection is open. */
void worker_opened(worker *w, peer *p);

/** The connection has ended. was_open: it had been established. */
void worker_gone(worker *w, peer *p, int was_open);

/** A complete message has arrived. */
void worker_message(worker *w, peer *p);

#endif
