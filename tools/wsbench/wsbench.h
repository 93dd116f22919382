/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * wsbench is a load generator. The main process parses the options, forks the workers, leads them
 * through the phases, and reports the result. Each worker has an event loop and a part of the
 * connections. Workers are processes because the limit on open files applies to each process. Their
 * counters are in shared memory, which is called the board.
 */

#ifndef WSBENCH_H
#define WSBENCH_H

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

#include "client/lookup.h"
#include "protocol/url.h"
#include "tools/wsbench/histogram.h"

#define SECOND 1000000000u /**< nanoseconds */

/** Time, by a clock that all processes share. */
static inline uint64_t nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

typedef enum {
    MODE_ECHO,   /**< each message is echoed */
    MODE_FAN,    /**< one publisher, many subscribers */
    MODE_IDLE,   /**< one echo per connection, then idle */
    MODE_CONNECT /**< handshake and closing handshake, repeatedly */
} bench_mode;

typedef enum { CONTENT_BINARY, CONTENT_TEXT, CONTENT_UTF8, CONTENT_JSON } bench_content;

typedef enum { DEFLATE_OFF, DEFLATE_ON, DEFLATE_TAKEOVER } bench_deflate;

/** A server to connect to. */
typedef struct target {
    ws_url url;
    ws_addresses *addresses;
    /** Index of the last address that accepted a connection; private to each worker. */
    unsigned best;
    char *authorization; /**< value of the header Authorization, or NULL */
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
    /** Messages per second; 0: closed loop, each echo triggers the next message. */
    double rate;
    double seconds, warm_up;
    unsigned skip;     /**< number of messages that precede the publisher's */
    const char *hello; /**< first message of a subscriber, or NULL */
    /** Further headers of the handshake: names and values in turn, then NULL. */
    const char *const *headers;
    /** File of trusted certificates; NULL: the system's certificates. */
    const char *ca_file;
    int raw; /**< 1: omit the handshake; the server echoes raw frames */
    int insecure, json, quiet;
    long pid;         /**< pid of the server; 0: unknown */
    uint32_t source;  /**< first source address, host order; 0: the kernel chooses the address */
    unsigned sources; /**< number of consecutive source addresses */
    target *targets;  /**< connections are distributed round-robin */
    unsigned target_count;
    target publisher; /**< where messages are published in MODE_FAN */
} options;

extern options opt;

/** Parse the command line. Exits for --help and for an invalid command line. */
void options_read(int argc, char **argv);

/* ---- memory.c ---- */

/** Exit if memory is NULL. @return memory */
void *memory_must(void *memory);

/** Exit if inflateInit2() or deflateInit2() has returned an error. */
void memory_must_zlib(int result);

/* ---- target.c ---- */

/** Parse a URL, and look up its host. @return NULL, or an error text */
const char *target_read(target *t, const char *url);

/* ---- payload.c ---- */

/** Generate all payloads. Must be called before forking, so that all workers have the same
 *  payloads. */
void payload_make(void);

/** Get the payload of a connection's message, which has opt.size bytes. */
const unsigned char *payload_of(unsigned connection, uint64_t message);

/** Get the same payload, compressed independently of earlier messages. Sets *len to the compressed
 *  length. */
const unsigned char *payload_deflated(unsigned connection, uint64_t message, size_t *len);

/** Get the opcode of all messages. */
unsigned payload_opcode(void);

/** Generate a random masking key. */
void payload_mask(unsigned char key[4]);

/** Discard the inherited random bytes. Must be called after fork(). */
void payload_forked(void);

/* ---- board.c: shared by the workers and the main process ---- */

typedef enum {
    PHASE_OPEN,    /**< opening connections */
    PHASE_GREET,   /**< one message is echoed on each connection; only in MODE_IDLE */
    PHASE_RUN,     /**< warm-up, in which messages are sent but not measured */
    PHASE_MEASURE, /**< measuring */
    PHASE_DRAIN,   /**< not sending, but waiting for messages in flight */
    PHASE_STOP
} bench_phase;

/** The counters of one worker. Only this worker writes them, except those that are marked
 *  atomic. */
typedef struct worker_board {
    uint64_t opened;   /**< number of successful handshakes */
    uint64_t failed;   /**< number of failed handshakes */
    uint64_t lost;     /**< number of connections that the server has ended */
    uint64_t messages; /**< number of messages that were echoed or delivered */
    uint64_t bytes;    /**< size of their payload, bytes */
    uint64_t wrong;    /**< number of messages that differ from the message that was sent */
    /** Number of rounds in MODE_CONNECT, from connect to the end of the closing handshake. */
    uint64_t closed;
    int phase;         /**< atomic; the worker's bench_phase */
    int idle;          /**< 1: no messages are in flight in PHASE_DRAIN */
    char problem[256]; /**< text of the first error */
    pid_t pid;
    int wake;          /**< eventfd that wakes the worker */
    histogram latency; /**< nanoseconds */
} __attribute__((aligned(128))) worker_board;

/** Size of the ring buffer with the times of the latest publications, a power of two. */
#define FAN_RING 65536u

typedef struct board {
    int phase;      /**< atomic; the bench_phase of all workers */
    uint64_t start; /**< start of PHASE_RUN and of the schedule for opt.rate, nanoseconds */
    /* Used in MODE_FAN. Without a rate, the publisher sends a batch of opt.in_flight messages, and
     * sends the next batch after all subscribers have received this one. */
    unsigned participants; /**< atomic; number of workers that have subscribers */
    unsigned waiting;      /**< atomic; number of participants whose batch is incomplete */
    int batch_over;        /**< atomic; 1: all participants have received the batch */
    /** Atomic; time of the batch's first delivery; 0: nothing was delivered yet. */
    uint64_t first;
    /* The worker that is the last to receive the batch adds to both histograms. */
    histogram complete; /**< time from a batch's publication to its last delivery */
    histogram spread;   /**< time from a batch's first to its last delivery */
    uint64_t published_at[FAN_RING];
    unsigned workers;
    worker_board worker[];
} board;

extern board *board_shared;

/** Must be called before fork(). @return 0, or -1 with errno set */
int board_create(unsigned workers);

static inline bench_phase board_phase(void)
{
    return (bench_phase)__atomic_load_n(&board_shared->phase, __ATOMIC_ACQUIRE);
}

/* ---- worker.c ---- */

/** Run a worker. Does not return. */
void worker_run(unsigned number) __attribute__((noreturn));

/* ---- server.c ---- */

/** Get the CPU time of a process and its descendants, seconds; -1: the process does not exist. */
double server_cpu(long pid);

/** Get the memory of a process and its descendants (proportional set size), KiB; -1: it cannot be
 *  read. */
double server_memory(long pid);

/* ---- report.c ---- */

typedef struct result {
    double seconds;
    uint64_t opened, failed, lost, messages, bytes, wrong, closed;
    double server_cpu;            /**< CPU time of the server, seconds; -1: unknown */
    double own_cpu, busiest_cpu;  /**< CPU time of all workers and of the busiest, seconds */
    double memory_before, memory; /**< the server's memory, KiB; -1: unknown */
    histogram latency;
    const char *problem; /**< text of the first problem, or NULL */
    int interrupted;     /**< 1: interrupted by Ctrl-C, so the result is partial */
} result;

/** Print the result, as text or JSON. */
void report_print(const result *r);

#endif
