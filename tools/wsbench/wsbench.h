/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * wsbench, a load generator. The program's first process reads the options, forks the workers, leads
 * them from phase to phase, and reports; each worker has an event loop and a share of the connections.
 * Workers are processes, not threads, since the limit of open files is one of processes. What they
 * count lies in memory that all share, the board.
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
    MODE_ECHO,   /**< each message comes back */
    MODE_FAN,    /**< one publishes, all get it */
    MODE_IDLE,   /**< one echo each, then silence */
    MODE_CONNECT /**< handshake and close, again and again */
} bench_mode;

typedef enum { CONTENT_BINARY, CONTENT_TEXT, CONTENT_UTF8, CONTENT_JSON } bench_content;

typedef enum { DEFLATE_OFF, DEFLATE_ON, DEFLATE_TAKEOVER } bench_deflate;

/** Where connections go. */
typedef struct target {
    ws_url url;
    ws_addresses *addresses;
    unsigned best;       /**< the address that was connected last; each worker's own */
    char *authorization; /**< or NULL */
    char *request;       /**< the handshake's */
    size_t request_len;
} target;

typedef struct options {
    bench_mode mode;
    bench_content content;
    bench_deflate deflate;
    unsigned connections;
    unsigned in_flight;
    unsigned workers;
    unsigned opening; /**< connections that a worker opens at the same time */
    size_t size;      /**< of a message, bytes */
    double rate;      /**< messages a second, 0: as many as come back */
    double seconds, warm_up;
    unsigned skip;     /**< messages that a subscriber gets before those of the publisher */
    const char *hello; /**< what a subscriber sends first, or NULL */
    const char *const *headers; /**< further ones of the handshake: name, value ..., NULL */
    const char *ca_file;        /**< NULL: the system's */
    int raw;                    /**< no handshake, and our own frames come back */
    int insecure, json, quiet;
    long pid; /**< the server's, 0: not known */
    uint32_t
        source; /**< first address that connections come from, host order; 0: the kernel's choice */
    unsigned sources; /**< how many there are from there on */
    target *targets;  /**< connections are dealt out to them in turn */
    unsigned target_count;
    target publisher; /**< MODE_FAN: where messages are published */
} options;

extern options opt;

/** Read the command line; ends the program if it is wrong or asks for help. */
void options_read(int argc, char **argv);

/* ---- payload.c ---- */

/** Make all messages: before the workers are forked, so that all have the same. */
void payload_make(void);

/** The payload of a connection's message; opt.size bytes. */
const unsigned char *payload_of(unsigned connection, uint64_t message);

/** Likewise, compressed by itself; *len its length. */
const unsigned char *payload_deflated(unsigned connection, uint64_t message, size_t *len);

/** The opcode of all messages. */
unsigned payload_opcode(void);

/** A masking key, random: from a pool that the kernel fills. */
void payload_mask(unsigned char key[4]);

/** In a worker that has been forked: have a pool of its own. */
void payload_forked(void);

/* ---- What workers and the first process share ---- */

typedef enum {
    PHASE_OPEN,    /**< connections are opened */
    PHASE_GREET,   /**< each echoes one message; MODE_IDLE only */
    PHASE_RUN,     /**< messages go, and are not measured yet */
    PHASE_MEASURE, /**< they are */
    PHASE_DRAIN,   /**< no new ones, those on their way come back */
    PHASE_STOP
} bench_phase;

/** One worker's; it alone writes, but for what is said to be atomic. */
typedef struct worker_board {
    uint64_t opened;   /**< handshakes that succeeded */
    uint64_t failed;   /**< that did not */
    uint64_t lost;     /**< connections that the server ended */
    uint64_t messages; /**< that came back, or were delivered */
    uint64_t bytes;    /**< of their payload */
    uint64_t wrong;    /**< that were not what was sent */
    uint64_t closed; /**< MODE_CONNECT: rounds, from connect to the end of the closing handshake */
    int phase;       /**< the one it is in: bench_phase; atomic */
    int idle;        /**< PHASE_DRAIN: nothing is on its way any more */
    char problem[256]; /**< the first one, in words */
    pid_t pid;
    int wake;          /**< eventfd */
    histogram latency; /**< nanoseconds */
} __attribute__((aligned(128))) worker_board;

/** Times of the last messages that were published; a power of two. */
#define FAN_RING 65536u

typedef struct board {
    int phase;      /**< bench_phase; atomic */
    uint64_t start; /**< of PHASE_RUN, nanoseconds; the time that the rate counts from */
    /* MODE_FAN */
    unsigned participants; /**< workers that have subscribers; atomic */
    unsigned waiting;      /**< of those, who have not all of the batch yet; atomic */
    int batch_over;        /**< atomic */
    uint64_t first;        /**< when the batch reached the first one; atomic, 0: not yet */
    histogram complete;    /**< from publication to the last one; the last worker writes */
    histogram spread;      /**< from the first one to the last */
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

/** A worker's whole life; does not return. */
void worker_run(unsigned number) __attribute__((noreturn));

/* ---- server.c ---- */

/** Processor time of a process and all that descend from it, seconds; -1 if there is none such. */
double server_cpu(long pid);

/** Their memory: proportional set size, KiB; -1 if it may not be read. */
double server_memory(long pid);

/* ---- report.c ---- */

typedef struct result {
    double seconds;
    uint64_t opened, failed, lost, messages, bytes, wrong, closed;
    double server_cpu;            /**< seconds, -1: not known */
    double own_cpu, busiest_cpu;  /**< seconds */
    double memory_before, memory; /**< KiB of the server, -1: not known */
    histogram latency;
    const char *problem; /**< or NULL */
    int interrupted;     /**< by Ctrl-C: it is what there was so far */
} result;

/** Print it, as text or JSON. */
void report(const result *r);

#endif
