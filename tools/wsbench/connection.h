/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Defines a worker's connections. Events are edge-triggered, so the worker reads and writes each
 * connection until its socket has no more data or room. A connection owns buffers only while a
 * frame is incomplete or the socket is full.
 */

#ifndef WSBENCH_CONNECTION_H
#define WSBENCH_CONNECTION_H

#include <openssl/ssl.h>
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
    unsigned char state; /**< peer_state */
    /** 1: publishes in MODE_FAN; the messages that it receives are not counted. */
    unsigned char publisher;
    unsigned char deflate; /**< the negotiated bench_deflate */
    unsigned char forget;  /**< 1: the client's window is reset after each message */
    unsigned char ended;   /**< 1: the last block of compressed data had the final bit */
    unsigned char bad;     /**< 1: the current message differs from the one that was sent */
    unsigned number;       /**< index among the connections of all workers */
    unsigned skip;         /**< number of messages still to be ignored */
    SSL *ssl;
    target *to;
    unsigned address, tries; /**< index of the current address; number of addresses tried before */
    ws_parser parser;
    uint64_t due;           /**< number of messages that should have been sent by now */
    uint64_t sent;          /**< number of messages sent, including pending ones */
    size_t sent_bytes;      /**< number of bytes sent of the next message's payload */
    uint64_t got;           /**< number of messages received */
    size_t got_bytes;       /**< number of bytes received of the next message's payload */
    uint64_t *times;        /**< ring buffer with the start times of the messages in flight */
    uint32_t times_size;    /**< size of the ring buffer: a power of two, or 0 */
    unsigned char mask[4];  /**< masking key of the current frame, rotated to the next byte */
    unsigned char *pending; /**< bytes that the socket has not accepted */
    size_t pending_len, pending_at;
    unsigned char *rest; /**< incomplete frame header or incomplete response */
    size_t rest_len;
    uint64_t started;  /**< time when the handshake started */
    uint64_t tried_at; /**< time when the attempt with the current address started */
    peer_windows *windows;
} peer;

/** A worker process. */
typedef struct worker {
    unsigned number;
    worker_board *board;
    bench_phase phase;
    int epoll;
    peer *peers;
    unsigned count;
    uint64_t now; /**< time of the current event */
    int several;  /**< 1: a target has more than one address */
    unsigned opening;
    unsigned open;
    /* Used in MODE_FAN without a rate, where messages are published in batches of opt.in_flight. */
    unsigned subscribers, at_target;
    /** Number of messages that each subscriber has received at the end of the batch. */
    uint64_t target;
    unsigned char *in, *out; /**< buffers for input and output, WORKER_BUFFER bytes each */
    unsigned char *inflated;
    z_stream inflater; /**< shared by the connections that keep no compression window */
} worker;

#define WORKER_BUFFER ((size_t)256 * 1024)

/** Start to connect. */
void connection_open(worker *w, peer *p);

/**
 * Give up the current address, which has timed out. @return whether more addresses follow the next
 * one
 */
int connection_next_address(worker *w, peer *p);

/** Handle epoll events of the socket. */
void connection_event(worker *w, peer *p, unsigned events);

/** Send due messages until the socket is full. */
void connection_write(worker *w, peer *p);

/** Start the closing handshake. */
void connection_close(worker *w, peer *p);

/* ---- connect.c ---- */

/**
 * Start to connect to the target's addresses in turn, beginning with the address that worked last.
 * @return NULL; or the operation that failed for the last address, with errno set
 */
const char *connect_start(const worker *w, peer *p);

/** Try the other addresses after an operation has failed, with errno set.
 *  @return as connect_start() */
const char *connect_others(const worker *w, peer *p, const char *failed);

/** Whether there is another address to try. */
int connect_has_others(const peer *p);

/* ---- socket.c ---- */

/** Load the certificates. Must be called before fork(). @return NULL, or an error text */
const char *socket_prepare_tls(void);

void socket_start_tls(peer *p);

/** Continue the TLS handshake. @return 1: done; 0: no data yet; -1: failed */
int socket_continue_tls(peer *p);

/** Describe the last TLS or socket error. */
const char *socket_reason(const peer *p);

/** Read from the socket. @return number of bytes; 0: no data yet; -1: end of stream (errno is 0),
 *  or an error */
ssize_t socket_read(peer *p, void *buf, size_t size);

/** Send bytes that the socket has not accepted. @return 0, or -1: an error */
int socket_flush(peer *p);

/** Send new bytes after the pending ones. Bytes that the socket does not accept become pending.
 *  @return as socket_flush() */
int socket_send(peer *p, const unsigned char *data, size_t len);

/* ---- measure.c ---- */

/** Add a message to send. Its latency is measured from `then`, a time in nanoseconds. */
void measure_due(peer *p, uint64_t then);

/** Called when a connection is open. */
void measure_opened(worker *w, peer *p);

/** Called when a connection has ended. @param was_open  1: it had been established */
void measure_gone(worker *w, peer *p, int was_open);

/** Called when a complete message has arrived. In a closed loop, it makes the next one due. */
void measure_message(worker *w, peer *p);

#endif
