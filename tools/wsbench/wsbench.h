/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * wsbench, a load generator. The main process parses the options, forks the workers, leads them
 * through the phases, and reports. Each worker has an event loop and a share of the connections.
 * Workers are processes because the limit on open files applies to each process. Their counters are
 * in shared memory, the board.
 */

#ifndef WSBENCH_H
#define WSBENCH_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "client/lookup.h"
#include "protocol/url.h"
#include "tools/wsbench/histogram.h"

#define SECOND 1000000000u /**< nanoseconds */

typedef enum {
    MODE_ECHO,   /**< each message is echoed */
    MODE_FAN,    /**< one publisher, many subscribers */
    MODE_IDLE,   /**< one echo per connection, then idle */
    MODE_CONNECT /**< handshake and close, repeated */
} bench_mode;

typedef enum { CONTENT_BINARY, CONTENT_TEXT, CONTENT_UTF8, CONTENT_JSON } bench_content;

typedef enum { DEFLATE_OFF, DEFLATE_ON, DEFLATE_TAKEOVER } bench_deflate;

/** A server to connect to. */
typedef struct target {
    ws_url url;
    ws_addresses *addresses;
    unsigned best;       /**< index of the last address that accepted; private to each worker */
    char *authorization; /**< or NULL */
    char *request;       /**< handshake request */
    size_t request_len;
} target;

typedef struct options {
    bench_mode mode;
    bench_content content;
    bench_deflate deflate;
    unsigned connections;
    unsigned in_flight;
    unsigned workers;
    unsigned opening; /**< limit of concurrent handshakes in a worker */
    size_t size;      /**< size of a message, bytes */
    double rate;      /**< messages per second, 0: closed loop */
    double seconds, warm_up;
    unsigned skip;              /**< number of messages that precede the publisher's */
    const char *hello;          /**< first message of a subscriber, or NULL */
    const char *const *headers; /**< further headers of the handshake: name, value ..., NULL */
    const char *ca_file;        /**< NULL: the system's */
    int raw;                    /**< omit the handshake; the server echoes raw frames */
    int insecure, json, quiet;
    long pid;         /**< pid of the server; 0: unknown */
    uint32_t source;  /**< first source address, host order; 0: chosen by the kernel */
    unsigned sources; /**< number of consecutive source addresses */
    target *targets;  /**< connections are distributed round-robin */
    unsigned target_count;
    target publisher; /**< MODE_FAN: where messages are published */
} options;

extern options opt;

/** Parse the command line. Exits for --help or an invalid one. */
void options_read(int argc, char **argv);

/* ---- payload.c ---- */

/** Generate all payloads. Call before forking, so that all workers have the same. */
void payload_make(void);

/** Get the payload of a connection's message; opt.size bytes. */
const unsigned char *payload_of(unsigned connection, uint64_t message);

/** The same, compressed without a window; *len is set to its length. */
const unsigned char *payload_deflated(unsigned connection, uint64_t message, size_t *len);

/** Get the opcode of all messages. */
unsigned payload_opcode(void);

/** Generate a random masking key. */
void payload_mask(unsigned char key[4]);

/** Discard the inherited random bytes. Call after fork(). */
void payload_forked(void);

/* ---- Shared by the workers and the main process ---- */

typedef enum {
    PHASE_OPEN,    /**< opening connections */
    PHASE_GREET,   /**< each connection echoes one message; MODE_IDLE only */
    PHASE_RUN,     /**< warm-up: sending, but not measuring */
    PHASE_MEASURE, /**< measuring */
    PHASE_DRAIN,   /**< not sending, waiting for messages in flight */
    PHASE_STOP
} bench_phase;

/** The counters of one worker. Only it writes them, except where marked atomic. */
typedef struct worker_board {
    uint64_t opened;   /**< successful handshakes */
    uint64_t failed;   /**< failed handshakes */
    uint64_t lost;     /**< connections ended by the server */
    uint64_t messages; /**< echoed or delivered */
    uint64_t bytes;    /**< bytes of their payload */
    uint64_t wrong;    /**< different from the message that was sent */
    uint64_t closed; /**< MODE_CONNECT: rounds, from connect to the end of the closing handshake */
    int phase;       /**< the worker's bench_phase; atomic */
    int idle;        /**< PHASE_DRAIN: no messages are in flight */
    char problem[256]; /**< text of the first error */
    pid_t pid;
    int wake;          /**< eventfd */
    histogram latency; /**< nanoseconds */
} __attribute__((aligned(128))) worker_board;

/** Ring of the times of the latest publications; a power of two. */
#define FAN_RING 65536u

typedef struct board {
    int phase;      /**< bench_phase; atomic */
    uint64_t start; /**< start of PHASE_RUN and of the rate's schedule, nanoseconds */
    /* MODE_FAN */
    unsigned participants; /**< workers that have subscribers; atomic */
    unsigned waiting;      /**< participants with incomplete batches; atomic */
    int batch_over;        /**< atomic */
    uint64_t first;        /**< time of the batch's first delivery; atomic, 0: none yet */
    histogram complete;    /**< from publication to last delivery; the last worker writes it */
    histogram spread;      /**< from first to last delivery */
    uint64_t published_at[FAN_RING];
    unsigned workers;
    worker_board worker[];
} board;

extern board *shared;
extern SSL_CTX *tls;

uint64_t nanoseconds(void);

static inline bench_phase phase_now(void)
{
    return (bench_phase)__atomic_load_n(&shared->phase, __ATOMIC_ACQUIRE);
}

/** Run a worker; does not return. */
void worker_run(unsigned number) __attribute__((noreturn));

/* ---- server.c ---- */

/** CPU time of a process and its descendants, seconds; -1: no such process. */
double server_cpu(long pid);

/** Memory of the same processes: proportional set size, KiB; -1: not readable. */
double server_memory(long pid);

/* ---- report.c ---- */

typedef struct result {
    double seconds;
    uint64_t opened, failed, lost, messages, bytes, wrong, closed;
    double server_cpu;            /**< seconds, -1: unknown */
    double own_cpu, busiest_cpu;  /**< seconds */
    double memory_before, memory; /**< the server's memory, KiB; -1: unknown */
    histogram latency;
    const char *problem; /**< or NULL */
    int interrupted;     /**< by Ctrl-C, so the result is partial */
} result;

/** Print the result, as text or JSON. */
void report(const result *r);

#endif
