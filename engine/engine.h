/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The engine: event loops that own connections. Its owner is httpd/, a client program or a unit
 * test. The owner creates one engine per process, passes it open sockets, and stops it.
 */

#ifndef WS_ENGINE_ENGINE_H
#define WS_ENGINE_ENGINE_H

#include <apr_pools.h>
#include <apr_thread_proc.h>
#include <openssl/ssl.h>

#include "engine/counters.h"
#include "event/loop.h"
#include "include/mod_websocket.h"

typedef struct ws_engine ws_engine;

/** The negotiated extensions of a connection: engine/extensions.h. */
typedef struct ws_chain ws_chain;
struct ws_extension;

/** What to do if a client reads its messages too slowly. */
typedef enum {
    WS_SLOW_CLOSE,       /**< close the connection */
    WS_SLOW_DROP_NEWEST, /**< drop the new message */
    WS_SLOW_DROP_OLDEST, /**< drop the messages that have waited longest */
    WS_SLOW_KEEP_LATEST  /**< as WS_SLOW_DROP_OLDEST, but keep the newest message of each key */
} ws_slow;

/** Rates and times of an open connection; 0: unlimited. */
typedef struct ws_bounds {
    apr_uint64_t messages, message_burst; /**< received frames: per second, and burst */
    apr_uint64_t bytes, byte_burst;       /**< received payload: per second, and burst */
    apr_uint32_t lifetime, idle;          /**< maximum lifetime and idle time, milliseconds */
} ws_bounds;

/** Settings of a Location for its connections. Shared by many connections and never changed. Zero
 *  the struct before you fill it, because memcmp() compares two of them. */
typedef struct ws_settings {
    apr_uint64_t max_frame;     /**< maximum payload of a received frame, bytes */
    apr_uint64_t max_message;   /**< maximum size of a received message, bytes */
    apr_uint64_t send_queue;    /**< queued bytes above which a client is too slow */
    apr_uint64_t fragment;      /**< maximum payload of a sent frame, bytes; 0: unlimited */
    apr_uint32_t ping_interval; /**< milliseconds without input before a ping, 0: no pings */
    apr_uint32_t ping_grace;    /**< milliseconds that the peer has to answer a ping */
    apr_uint32_t
        message_timeout; /**< milliseconds within which a partial message must grow; 0: no limit */
    apr_uint32_t message_rate;  /**< minimum rate of a message, bytes per second, 0: none */
    apr_uint32_t close_timeout; /**< milliseconds for the closing handshake */
    apr_uint32_t slow;          /**< policy for a client that is too slow: ws_slow */
    apr_uint32_t max_delay; /**< maximum time of a message in the queue, milliseconds, 0: none */
    apr_uint32_t recheck;   /**< milliseconds between two calls to recheck (see
                                     ws_engine_options), 0: never */
    apr_uint32_t subscriptions; /**< maximum number of channels per connection */
    ws_bounds bounds[2];        /**< [0]: enforced limits; [1]: limits that are only logged */
    const char *vhost;          /**< result of ws_vhost(), or NULL */
    /* The engine only passes the remaining pointers on, for use by the owner. */
    const void *server;    /**< used by the owner's log function */
    const void *log;       /**< used by the owner's on_end; or NULL */
    const void *may[2];    /**< rules of WebSocketSubscribe and WebSocketPublish */
    const void *wildcards; /**< patterns of WebSocketWildcards, or NULL */
    /** The accepted tokens; token_keys NULL: none. */
    const void *token_keys, *token_audiences, *token_issuers;
    apr_int64_t token_leeway; /**< milliseconds */
    int trace;                /**< 1: log frames; 2: with their first bytes */
} ws_settings;

/** Enable TCP keep-alive for connections without pings: the kernel ends the connection of a lost
 *  peer within ping_interval + ping_grace. Has an effect only if both are set and fd is a TCP
 *  socket.  [any thread] */
void ws_socket_keep_alive(int fd, const ws_settings *settings);

struct ws_location {
    const ws_handler *handler;
    void *config;
    const char *name;  /**< the handler's name, for the log */
    ws_engine *engine; /**< set by ws_engine_create */
    unsigned index;    /**< set by ws_engine_create */
    const char *key;   /**< identifies the directive across processes and hosts; or NULL */
    int internal;      /**< 1: only carries connections of another location; its connections are
                            neither counted nor logged */
};

/** How the engine got a connection. Only WS_TRANSPORT_OUTGOING leads to another server; the others
 *  are connections of clients. */
typedef enum {
    WS_TRANSPORT_DIRECT,
    WS_TRANSPORT_TLS,
    WS_TRANSPORT_RELAY,
    WS_TRANSPORT_SOCKJS,
    WS_TRANSPORT_OUTGOING
} ws_transport;

/** The protocol that carries messages to and from the peer. */
typedef enum {
    WS_CARRIER_WEBSOCKET,
    WS_CARRIER_XHR,
    WS_CARRIER_JSONP,
    WS_CARRIER_XHR_STREAMING,
    WS_CARRIER_EVENTSOURCE,
    WS_CARRIER_HTMLFILE,
    WS_CARRIER_SOCKJS_WEBSOCKET,
    WS_CARRIERS
} ws_carrier;

/** The name for ws_transport_name(). @return "" for an invalid number  [any thread] */
const char *ws_carrier_name(unsigned carrier);

/** Location and settings of one outgoing connection: engine/conn.h. */
typedef struct ws_outgoing ws_outgoing;

/** Writes a line to the owner's log. c may be NULL.  [any thread] */
typedef void ws_log_fn(ws_log_level level, const ws_settings *settings, const ws_conn *c,
                       const char *text);

typedef struct ws_engine_options {
    ws_backend backend; /**< requested backend */
    unsigned loops;     /**< event loops, 1 to WS_LOOPS_MAX */
    unsigned blocking;  /**< maximum number of threads for WS_BLOCKING handlers */
    unsigned watchdog;  /**< log a callback that runs longer than this, milliseconds; 0: never */
    unsigned process;   /**< 16 bits that make connection ids unique among processes */
    ws_location **locations;
    unsigned location_count;
    /** All extensions that connections may use; ws_extension_use.index is an index into it. */
    const struct ws_extension *const *extensions;
    unsigned extension_count;
    ws_log_fn *log;
    /** Whether lines of this level are logged. The engine does not format other lines. */
    int (*logs)(ws_log_level level, const ws_settings *settings);
    /** The permessage-deflate configuration of outgoing connections, or NULL. If it is set,
     *  extensions[0] must be permessage-deflate. */
    const struct ws_deflate_config *deflate;
    /** The loops' counters: one ws_counters per loop, each aligned to a cache line. Must be valid
     *  until the engine is destroyed. NULL: the engine allocates them. */
    ws_counters *counters;
    /** Check whether the connection is still authorized. Called on its loop; must not block. May be
     *  NULL. */
    void (*recheck)(ws_conn *c);
    /** Called when a connection has opened, before on_open, on the connection's loop. Must not
     *  block. May be NULL. */
    void (*opened)(ws_conn *c);
    /** Called when a connection has ended, on the connection's loop. why: a text for the log. Must
     *  not block. May be NULL. */
    void (*on_end)(const ws_conn *c, const char *why);
} ws_engine_options;

/** Hooks in channels/ for connections with subscriptions. The engine calls them on the loop. */
typedef struct ws_channels_hooks {
    /** End the subscriptions of a connection. Called after on_close. */
    void (*leave)(ws_conn *c);
    /** Called when the send queue has drained, together with on_drain. */
    void (*drained)(ws_conn *c);
} ws_channels_hooks;

#define WS_LOOPS_MAX 64

/** Strings of a connection; copied. All but uri may be NULL. */
typedef struct ws_strings {
    const char *uri, *args, *user, *peer, *protocol;
    const char *const *headers; /**< name, value, name, value ..., NULL */
} ws_strings;

/** A ticket belongs to a connection: ws_new_conn.ticket. When the connection has ended, the engine
 *  releases the ticket, for example so that the owner no longer counts the connection. */
typedef struct ws_ticket ws_ticket;
struct ws_ticket {
    /** Called once, on any thread; releases the ticket. */
    void (*release)(ws_ticket *ticket);
    ws_ticket *next; /**< another ticket of the connection; or NULL */
};

/** Release a list of tickets. */
static inline void ws_tickets_release(ws_ticket *ticket)
{
    while (ticket) {
        ws_ticket *next = ticket->next;
        ticket->release(ticket);
        ticket = next;
    }
}

/** An open connection after its handshake. */
typedef struct ws_new_conn {
    ws_loop *loop; /**< the loop to give it to; NULL: any */
    int fd;        /**< non-blocking socket; the engine takes it over */
    SSL *ssl;      /**< established, without BIOs; the engine takes over one reference; or NULL */
    int secure;    /**< the client uses TLS */
    int relayed;   /**< fd is connected to an httpd thread that relays the client's bytes */
    ws_carrier carrier; /**< other than WS_CARRIER_WEBSOCKET: fd is connected to a SockJS session */
    ws_location *location;
    const ws_settings *settings; /**< must be valid as long as the engine */
    ws_outgoing *outgoing;       /**< replaces location and settings; malloc'ed, owned by the
                                           engine; or NULL */
    int version;                 /**< WebSocket version; 0: not WebSocket, so framing must be set */
    const struct ws_framing *framing; /**< protocol/framing.h; NULL: that of the version */
    int connecting; /**< version 76: the engine must read the third key, from early or the socket */
    unsigned char numbers[8]; /**< if connecting: set by ws_hixie_numbers() */
    void *data;               /**< initial value of ws_data() */
    ws_ticket *ticket;        /**< NULL: none; released when the connection is dropped, or has ended
                                   and its last callback has returned */
    apr_pool_t *pool;         /**< unmanaged, for ws_pool(); the engine takes it over; or NULL */
    ws_chain *chain;          /**< extensions; the engine takes them over; or NULL */
    ws_strings strings;
    const void *early; /**< bytes received after the handshake; copied */
    apr_size_t early_len;
} ws_new_conn;

/**
 * Create and start the loops, each a thread with all signals blocked.
 * @param pool  parent of the engine's pool
 */
apr_status_t ws_engine_create(ws_engine **engine, const ws_engine_options *options,
                              apr_pool_t *pool);

/**
 * Give a connection to newcomer->loop, or to the loop with the fewest connections.  [any thread]
 * @return APR_SUCCESS; APR_ENOMEM; ESHUTDOWN: the engine is stopping. On failure, fd, ssl, pool,
 *         ticket, chain and outgoing have been released.
 */
apr_status_t ws_engine_add(ws_engine *engine, const ws_new_conn *newcomer);

/** The sender of the first Close frame. */
typedef enum { WS_CLOSED_BY_NOBODY, WS_CLOSED_BY_CLIENT, WS_CLOSED_BY_SERVER } ws_closed_by;

/** Totals of a connection. */
typedef struct ws_tally {
    apr_time_t start;
    apr_uint64_t messages_in, messages_out;
    apr_uint64_t bytes_in, bytes_out; /**< payload of messages, uncompressed */
    apr_uint64_t wire_in, wire_out;   /**< bytes of frames, without TLS */
    apr_uint32_t queued, most_queued; /**< bytes in the send queue: now, and most; at most 4 GiB */
} ws_tally;

typedef struct ws_conn_info {
    ws_tally tally;
    ws_transport transport;
    ws_carrier carrier;
    ws_closed_by closed_by;
    int code;           /**< code of the first Close frame of either side; 1006: none */
    const char *reason; /**< not NUL-terminated */
    apr_size_t reason_len;
    int pings_missed;
    apr_uint32_t silent; /**< milliseconds since the last input */
    const ws_location *location;
    const ws_settings *settings;
} ws_conn_info;

/**
 * Set a connection's user.
 * @param old  set to the previous block of strings. It stays valid until the caller frees it, which
 *             is allowed after the connection's last callback.
 * @return 0: out of memory  [callback]
 */
int ws_conn_set_user(ws_conn *c, const char *user, char **old);

/** Get the data of a connection that mod_websocket.h does not provide. The pointers are valid until
 *  the caller returns to the loop.  [its loop] */
void ws_conn_inspect(const ws_conn *c, ws_conn_info *report);

/** The settings of the connection's Location. [callback] */
const ws_settings *ws_conn_settings(const ws_conn *c);

/** How the connection was made.  [callback] */
ws_transport ws_conn_transport(const ws_conn *c);

/** The connection's tickets, or NULL. Valid until its last callback has returned.  [callback] */
ws_ticket *ws_conn_ticket(const ws_conn *c);

/** Run fn on a loop, outside of callbacks.  [any thread]
 *  @return 0; -1: out of memory, or the loop has ended; fn is not called */
int ws_engine_on_loop(ws_engine *engine, unsigned loop,
                      void (*fn)(ws_engine *engine, unsigned loop, void *arg), void *arg);

/** The loop with the fewest connections.  [any thread] */
ws_loop *ws_engine_least_busy(ws_engine *engine);

/** The number of loops; they are numbered from 0.  [any thread] */
unsigned ws_engine_loops(const ws_engine *engine);

/** Get the connection at an index of the loop's table of connections (slot), from 0. *end is set if
 *  no connection is at this slot or any later one. @return NULL: the slot is free  [that loop] */
const ws_conn *ws_engine_at(ws_engine *engine, unsigned loop, apr_uint32_t slot, int *end);

/** The loop that an id belongs to; -1: the id is not from this process.  [any thread] */
int ws_engine_loop_of(ws_engine *engine, ws_id id);

/** Find a connection by its id. @return NULL: it has ended  [that loop] */
ws_conn *ws_engine_find(ws_engine *engine, unsigned loop, ws_id id);

/** The framing of the connection's messages; NULL: frames of RFC 6455. */
const struct ws_framing *ws_new_conn_framing(const ws_new_conn *newcomer);

/** Release fd, ssl, pool, ticket, chain and outgoing of a connection not given to an engine. */
void ws_new_conn_drop(const ws_new_conn *newcomer);

/** The number of client connections, including pending ones. Excludes outgoing connections.
 *  [any thread] */
apr_size_t ws_engine_count(ws_engine *engine);

/**
 * Close all connections, and those that open later, as ws_close() does. [any thread]
 * @param spread  milliseconds over which the Close frames are spread, so that the peers do not all
 *                reconnect at once; 0: now
 */
void ws_engine_close_all(ws_engine *engine, int code, const char *reason, apr_uint32_t spread);

/** Wait until no connection and no connection attempt remains.
 *  @return 1: none remains; 0: timeout (milliseconds) has expired */
int ws_engine_wait(ws_engine *engine, apr_uint32_t timeout);

/** Set the hooks, before the first connection. They must be valid as long as the engine. */
void ws_engine_channels(ws_engine *engine, const ws_channels_hooks *hooks);

/** Set the engine for ws_send_to() and similar calls. NULL: there is no engine any more, and all
 *  connections have ended. */
void ws_api_engine(ws_engine *engine);
ws_engine *ws_api_engine_now(void);

/**
 * End all connections, call their on_close and stop the threads. Later calls from other threads
 * return WS_GONE until the engine is destroyed.
 * @return 0: a WS_BLOCKING callback did not return within 5 s. Its thread keeps running, and the
 *         engine must not be destroyed.
 */
int ws_engine_stop(ws_engine *engine);

/** Free the engine. Call after ws_engine_stop(). */
void ws_engine_destroy(ws_engine *engine);

#endif
