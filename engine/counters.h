/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The counters. The table WS_COUNTERS defines them. The status pages, JSON, Prometheus and the
 * table in docs/operating.md are generated from it.
 *
 * Each loop has one row (ws_counters), aligned to a cache line, and only the loop's thread writes
 * to it. Counting needs neither a lock nor an atomic addition. Any thread may read a row at any
 * time.
 */

#ifndef WS_ENGINE_COUNTERS_H
#define WS_ENGINE_COUNTERS_H

#include <apr.h>

/** Codes of Close frames with a separate counter. All others are counted as "other". */
#define WS_COUNTED_CODES(X)                                                                        \
    X(1000)                                                                                        \
    X(1001) X(1002) X(1003) X(1005) X(1007) X(1008) X(1009) X(1010) X(1011) X(1012) X(1013) X(1014)

/**
 * X(id, type, metric, label, value, help). A COUNTER only grows, and includes the counts of ended
 * child processes. A GAUGE is a current value. Entries of one metric are adjacent and differ in the
 * label's value; only the first of them has the help text. Metrics get the prefix "websocket_".
 */
#define WS_COUNTERS(X, CODE_RECEIVED, CODE_SENT)                                                   \
    X(OPEN_DIRECT, GAUGE, "connections", "way", "direct",                                          \
      "Open connections. direct: taken over from httpd, without TLS; tls: taken over with TLS; "   \
      "relay: relayed by an httpd thread; sockjs: SockJS sessions; outgoing: made by handlers")    \
    X(OPEN_TLS, GAUGE, "connections", "way", "tls", "")                                            \
    X(OPEN_RELAY, GAUGE, "connections", "way", "relay", "")                                        \
    X(OPEN_SOCKJS, GAUGE, "connections", "way", "sockjs", "")                                      \
    X(OPEN_OUTGOING, GAUGE, "connections", "way", "outgoing", "")                                  \
    X(TOTAL_DIRECT, COUNTER, "connections_total", "way", "direct", "Connections ever opened")      \
    X(TOTAL_TLS, COUNTER, "connections_total", "way", "tls", "")                                   \
    X(TOTAL_RELAY, COUNTER, "connections_total", "way", "relay", "")                               \
    X(TOTAL_SOCKJS, COUNTER, "connections_total", "way", "sockjs", "")                             \
    X(TOTAL_OUTGOING, COUNTER, "connections_total", "way", "outgoing", "")                         \
    X(REFUSED_REQUEST, COUNTER, "handshakes_refused_total", "reason", "request",                   \
      "Refused handshakes. request: invalid request or path; version: the version is not "         \
      "accepted; origin: the origin may not connect; subprotocol: no handler has an offered "      \
      "subprotocol; token: it is missing or not accepted; handler: the handler refused; limit: "   \
      "a limit is reached; server: no event loop or memory in the child process; descriptors: "    \
      "too few descriptors are free; lost: the client disconnected before it got the 101")         \
    X(REFUSED_VERSION, COUNTER, "handshakes_refused_total", "reason", "version", "")               \
    X(REFUSED_ORIGIN, COUNTER, "handshakes_refused_total", "reason", "origin", "")                 \
    X(REFUSED_SUBPROTOCOL, COUNTER, "handshakes_refused_total", "reason", "subprotocol", "")       \
    X(REFUSED_TOKEN, COUNTER, "handshakes_refused_total", "reason", "token", "")                   \
    X(REFUSED_HANDLER, COUNTER, "handshakes_refused_total", "reason", "handler", "")               \
    X(REFUSED_LIMIT, COUNTER, "handshakes_refused_total", "reason", "limit", "")                   \
    X(REFUSED_SERVER, COUNTER, "handshakes_refused_total", "reason", "server", "")                 \
    X(REFUSED_DESCRIPTORS, COUNTER, "handshakes_refused_total", "reason", "descriptors", "")       \
    X(REFUSED_LOST, COUNTER, "handshakes_refused_total", "reason", "lost", "")                     \
    X(MESSAGES_IN, COUNTER, "messages_total", "direction", "in", "Messages received or sent")      \
    X(MESSAGES_OUT, COUNTER, "messages_total", "direction", "out", "")                             \
    X(BYTES_IN, COUNTER, "message_bytes_total", "direction", "in",                                 \
      "Payload bytes of messages, uncompressed, as handlers receive and send them")                \
    X(BYTES_OUT, COUNTER, "message_bytes_total", "direction", "out", "")                           \
    X(WIRE_IN, COUNTER, "wire_bytes_total", "direction", "in",                                     \
      "Bytes of all frames as transmitted, with headers and control frames, without TLS")          \
    X(WIRE_OUT, COUNTER, "wire_bytes_total", "direction", "out", "")                               \
    X(COMPRESSED_IN, COUNTER, "compressed_bytes_total", "direction", "in",                         \
      "Payload bytes of messages that an extension compresses or transforms, as transmitted")      \
    X(COMPRESSED_OUT, COUNTER, "compressed_bytes_total", "direction", "out", "")                   \
    X(DECOMPRESSED_IN, COUNTER, "decompressed_bytes_total", "direction", "in",                     \
      "Payload bytes of the messages in compressed_bytes_total, as handlers see them")             \
    X(DECOMPRESSED_OUT, COUNTER, "decompressed_bytes_total", "direction", "out", "")               \
    WS_COUNTED_CODES(CODE_RECEIVED)                                                                \
    CODE_RECEIVED(other)                                                                           \
    WS_COUNTED_CODES(CODE_SENT)                                                                    \
    CODE_SENT(other)                                                                               \
    X(ABNORMAL, COUNTER, "abnormal_total", "", "",                                                 \
      "Connections that ended without a Close frame from either side")                             \
    X(PINGS_SENT, COUNTER, "pings_sent_total", "", "", "Pings sent to silent clients")             \
    X(PINGS_MISSED, COUNTER, "pings_missed_total", "", "",                                         \
      "Pings that clients did not answer within the time GRACE in WebSocketPing")                  \
    X(QUEUED, GAUGE, "send_queue_bytes", "", "", "Bytes that wait for clients that do not read")   \
    X(SLOW_QUEUE, COUNTER, "slow_clients_total", "reason", "queue",                                \
      "Connections closed because the client read too slowly. queue: too many bytes waited, or "   \
      "bytes waited too long; stalled: the client read nothing for a ping interval")               \
    X(SLOW_STALLED, COUNTER, "slow_clients_total", "reason", "stalled", "")                        \
    X(DROPPED, COUNTER, "messages_dropped_total", "", "",                                          \
      "Messages that slow clients did not get, because the server dropped or replaced them")       \
    X(CHANNELS, GAUGE, "channels", "", "",                                                         \
      "Channels with subscribers. Each child process counts its own channels")                     \
    X(SUBSCRIPTIONS, GAUGE, "subscriptions", "", "", "Subscriptions of connections to channels")   \
    X(PUBLISHED, COUNTER, "published_total", "", "", "Messages published by this server")          \
    X(PUBLISH_REFUSED, COUNTER, "publish_refused_total", "", "",                                   \
      "Messages that were not published because a queue was full "                                 \
      "(WebSocketBusQueue). The publisher can try again later")                                    \
    X(DELIVERED, COUNTER, "delivered_total", "", "",                                               \
      "Channel messages sent to clients. A message counts once for each connection")               \
    X(BUS_MISSED, COUNTER, "bus_missed_total", "", "",                                             \
      "Channel messages that a child process missed because it did not read for too long")         \
    X(GAPS, COUNTER, "channel_gaps_total", "", "",                                                 \
      "Notifications to connections that have missed messages of a channel")                       \
    X(LOG_LOST, COUNTER, "log_lost_total", "", "",                                                 \
      "Records of WebSocketLog that were lost because the log could not be written")

typedef enum ws_counter {
#define WS_ID(id, type, metric, label, value, help) WS_COUNT_##id,
#define WS_ID_RECEIVED(code) WS_COUNT_RECEIVED_##code,
#define WS_ID_SENT(code) WS_COUNT_SENT_##code,
    WS_COUNTERS(WS_ID, WS_ID_RECEIVED, WS_ID_SENT) WS_COUNTER_COUNT
#undef WS_ID
#undef WS_ID_RECEIVED
#undef WS_ID_SENT
} ws_counter;

/** The counters of one loop, or of several threads: see ws_count_shared(). */
typedef struct ws_counters {
    apr_uint64_t value[WS_COUNTER_COUNT];
} __attribute__((aligned(64))) ws_counters;

/** Add n to a counter in a row that only this thread writes to. n may be negative, for gauges. */
static inline void ws_count(ws_counters *row, ws_counter which, apr_int64_t n)
{
    /* Compiles to plain instructions. The atomics make concurrent reads well-defined. */
    apr_uint64_t *v = &row->value[which];
    __atomic_store_n(v, __atomic_load_n(v, __ATOMIC_RELAXED) + (apr_uint64_t)n, __ATOMIC_RELAXED);
}

/** Add n to a counter in a row that several threads write to. */
static inline void ws_count_shared(ws_counters *row, ws_counter which, apr_int64_t n)
{
    __atomic_add_fetch(&row->value[which], (apr_uint64_t)n, __ATOMIC_RELAXED);
}

/** The counter of a Close frame's code. first: WS_COUNT_RECEIVED_1000 or WS_COUNT_SENT_1000 */
ws_counter ws_counter_of_code(ws_counter first, int code);

/** The description of a counter in WS_COUNTERS. */
typedef struct ws_counter_info {
    const char *metric, *label, *value, *help;
    int gauge;
} ws_counter_info;

extern const ws_counter_info ws_counter_table[WS_COUNTER_COUNT];

#endif
