/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The engine: event loops that own connections. Whoever drives it (httpd/, a client program, a unit
 * test) creates one for a process, hands it open sockets, and stops it.
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

/** The extensions that were agreed on for a connection: engine/extensions.h. */
typedef struct ws_chain ws_chain;
struct ws_extension;

/** What is done when a message is to be sent to a client that reads too slowly. */
typedef enum {
    WS_SLOW_CLOSE,       /**< close the connection */
    WS_SLOW_DROP_NEWEST, /**< do not take the message */
    WS_SLOW_DROP_OLDEST, /**< drop those that have waited longest */
    WS_SLOW_KEEP_LATEST  /**< the same; and of those with a key only the newest waits */
} ws_slow;

/** What an open connection may do in a time; 0: anything. */
typedef struct ws_bounds {
    apr_uint64_t messages, message_burst; /**< frames that come, a second and at once */
    apr_uint64_t bytes, byte_burst;       /**< of payload that come, a second and at once */
    apr_uint32_t lifetime, idle;          /**< milliseconds */
} ws_bounds;

/** What a Location sets for its connections. Shared by many connections, never changed. Zeroed before
 *  it is filled, so that two can be compared with memcmp. */
typedef struct ws_settings {
    apr_uint64_t max_frame;     /**< bytes */
    apr_uint64_t max_message;   /**< bytes */
    apr_uint64_t send_queue;    /**< bytes that may wait before a client is too slow */
    apr_uint64_t fragment;      /**< greatest payload of a sent frame, bytes; 0: any */
    apr_uint32_t ping_interval; /**< milliseconds without traffic, 0: no pings */
    apr_uint32_t ping_grace;    /**< milliseconds to answer one */
    apr_uint32_t
        message_timeout; /**< milliseconds in which an unfinished message has to grow, 0: any */
    apr_uint32_t message_rate;  /**< bytes a second that it has to come with beyond that, 0: any */
    apr_uint32_t close_timeout; /**< milliseconds for the closing handshake */
    apr_uint32_t slow;          /**< what is done about a client that is too slow: ws_slow */
    apr_uint32_t behind;        /**< milliseconds that a message may wait before it is, 0: any */
    apr_uint32_t recheck;       /**< milliseconds between two calls of recheck, 0: none */
    apr_uint32_t subscriptions; /**< channels that a connection may be subscribed to */
    ws_bounds bounds[2];        /**< those that hold, and those of which only the log tells */
    const char *vhost;          /**< for ws_vhost(), or NULL */
    const void *server;         /**< the owner's, for its log */
    const void *log;            /**< likewise, for on_end; or NULL */
    const void *may[2];         /**< likewise: what WebSocketSubscribe and WebSocketPublish say */
    const void *wildcards;      /**< likewise: what WebSocketWildcards says, or NULL */
    /** Likewise: what tokens are accepted; token_keys NULL: none. */
    const void *token_keys, *token_audiences, *token_issuers;
    apr_int64_t token_leeway; /**< milliseconds */
    int trace;                /**< frames are logged; 2: with their first bytes */
} ws_settings;

/** Let the kernel end a TCP connection whose peer has vanished, within ping_interval and ping_grace, if both are set. For
 *  what has no pings. Sockets of other kinds are left as they are.  [any thread] */
void ws_socket_keep_alive(int fd, const ws_settings *settings);

struct ws_location {
    const ws_handler *handler;
    void *config;
    const char *name;  /**< the handler's, for the log */
    ws_engine *engine; /**< set by ws_engine_create */
    unsigned index;    /**< likewise */
    const char
        *key;     /**< tells the line from others, in all processes and on all machines; or NULL */
    int internal; /**< its connections carry those of another location: neither counted nor logged */
};

/** How a connection came; the last one was made from here. */
typedef enum {
    WS_TRANSPORT_DIRECT,
    WS_TRANSPORT_TLS,
    WS_TRANSPORT_RELAY,
    WS_TRANSPORT_SOCKJS,
    WS_TRANSPORT_OUTGOING
} ws_transport;

/** What carries messages to and from the peer. */
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

/** As ws_transport_name() tells. @return "" for a number that is none  [any thread] */
const char *ws_carrier_name(unsigned carrier);

/** A connection made from here has a location and settings of its own: engine/conn.h. */
typedef struct ws_outgoing ws_outgoing;

/** Writes a line to the owner's log. c may be NULL.  [any thread] */
typedef void ws_log_fn(ws_log_level level, const ws_settings *settings, const ws_conn *c,
                       const char *text);

typedef struct ws_engine_options {
    ws_backend backend; /**< if it is unavailable, the log has a warning, and epoll is used */
    unsigned loops;     /**< event loops, 1 to WS_LOOPS_MAX */
    unsigned blocking;  /**< greatest number of threads for WS_BLOCKING handlers */
    unsigned watchdog; /**< milliseconds that a callback may take before the log names it, 0: any */
    unsigned process;  /**< 16 bits that tell this process's connection ids from another's */
    ws_location **locations;
    unsigned location_count;
    /** All that connections may bring; which of them is ws_extension_use.index. */
    const struct ws_extension *const *extensions;
    unsigned extension_count;
    ws_log_fn *log;
    /** Whether a line of this level would be written, so that none is made in vain. */
    int (*logs)(ws_log_level level, const ws_settings *settings);
    /** permessage-deflate as outgoing connections offer it, which extensions[0] then is; or NULL */
    const struct ws_deflate_config *deflate;
    /** A row for each loop, in cache lines of its own, which lives longer than the engine; NULL: the
     *  engine has its own. */
    ws_counters *counters;
    /** Look whether the connection may go on. On its loop, and must not block. May be NULL. */
    void (*recheck)(ws_conn *c);
    /** A connection has opened; on_open follows. On its loop, and must not block. May be NULL. */
    void (*opened)(ws_conn *c);
    /** A connection has ended; why is in words. On its loop, and must not block. May be NULL. */
    void (*on_end)(const ws_conn *c, const char *why);
} ws_engine_options;

/** What channels/ does for connections that have subscriptions. All on their loop. */
typedef struct ws_channels_hooks {
    /** on_close has been called: the subscriptions end. */
    void (*leave)(ws_conn *c);
    /** Little or nothing waits any more to be sent, as for on_drain. */
    void (*drained)(ws_conn *c);
} ws_channels_hooks;

#define WS_LOOPS_MAX 64

/** Strings of a connection; copied. All but uri may be NULL. */
typedef struct ws_strings {
    const char *uri, *args, *user, *peer, *protocol;
    const char *const *headers; /**< name, value, name, value ..., NULL */
} ws_strings;

/** Who counts connections learns by it when one is gone. */
typedef struct ws_ticket ws_ticket;
struct ws_ticket {
    /** Called once, on any thread; releases the ticket. */
    void (*release)(ws_ticket *ticket);
    ws_ticket *next; /**< of another one; or NULL */
};

/** Release a ticket and all behind it. */
static inline void ws_tickets_release(ws_ticket *ticket)
{
    while (ticket) {
        ws_ticket *next = ticket->next;
        ticket->release(ticket);
        ticket = next;
    }
}

/** An open connection whose handshake has been answered. */
typedef struct ws_new_conn {
    ws_loop *loop; /**< where it is to come to, NULL: any */
    int fd;        /**< non-blocking socket; the engine's from now on */
    SSL *ssl;    /**< established, without BIOs, one reference that becomes the engine's; or NULL */
    int secure;  /**< the client came over TLS */
    int relayed; /**< fd leads to a relay, not to the client */
    ws_carrier carrier; /**< other than WS_CARRIER_WEBSOCKET: fd leads to a session of SockJS */
    ws_location *location;
    const ws_settings *settings; /**< lives as long as the engine */
    ws_outgoing
        *outgoing; /**< NULL; or what stands for both, malloc'ed, the engine's from now on */
    int version;   /**< of WebSocket; 0: none, which needs a framing */
    const struct ws_framing *framing; /**< protocol/framing.h; NULL: as the version says */
    int connecting; /**< version 76: its third key is still to be read, from early or the socket */
    unsigned char numbers[8]; /**< then those of its other keys, see ws_hixie_numbers() */
    void *data;               /**< ws_data() */
    ws_ticket *ticket;        /**< or NULL; released when the connection is dropped, or gone and its
                                   last callback has returned */
    apr_pool_t *pool;         /**< ws_pool(), unmanaged, the engine's from now on; or NULL */
    ws_chain *chain;          /**< extensions, the engine's from now on; or NULL */
    ws_strings strings;
    const void *early; /**< bytes that came behind the handshake; copied */
    apr_size_t early_len;
} ws_new_conn;

/**
 * Create and start the loops, each a thread with all signals blocked.
 * @param pool  the engine's own sub-pool hangs on it
 */
apr_status_t ws_engine_create(ws_engine **engine, const ws_engine_options *options,
                              apr_pool_t *pool);

/**
 * Give a connection to the loop that has the fewest.  [any thread]
 * @return APR_SUCCESS; APR_ENOMEM or ESHUTDOWN (it is stopping): then fd, ssl, pool, ticket and chain
 *         have been released
 */
apr_status_t ws_engine_add(ws_engine *engine, const ws_new_conn *newcomer);

/** Who sent the first Close frame. */
typedef enum { WS_CLOSED_BY_NOBODY, WS_CLOSED_BY_CLIENT, WS_CLOSED_BY_SERVER } ws_closed_by;

/** What a connection has done so far. */
typedef struct ws_tally {
    apr_time_t start;
    apr_uint64_t messages_in, messages_out;
    apr_uint64_t bytes_in, bytes_out; /**< payload of messages, uncompressed */
    apr_uint64_t wire_in, wire_out;   /**< of frames, without TLS */
    apr_uint32_t queued, most_queued; /**< bytes waiting to be sent; at most 4 GiB are noted */
} ws_tally;

typedef struct ws_conn_info {
    const ws_tally *tally;
    ws_transport transport;
    ws_carrier carrier;
    ws_closed_by closed_by;
    int code;           /**< of the Close frame that came or went first; 1006: none */
    const char *reason; /**< not NUL-terminated */
    apr_size_t reason_len;
    int pings_missed;
    apr_uint32_t silent; /**< milliseconds since the last input */
    const ws_location *location;
    const ws_settings *settings;
} ws_conn_info;

/**
 * Give a connection a user.
 * @param old  set to its strings before that, which stay valid until the caller frees them, behind the
 *             connection's last callback
 * @return 0 when there is no memory.  [callback]
 */
int ws_conn_set_user(ws_conn *c, const char *user, char **old);

/** All that is known of a connection beyond the calls of mod_websocket.h. Pointers are valid until the
 *  loop does something else.  [its loop] */
void ws_conn_inspect(const ws_conn *c, ws_conn_info *report);

/** What its Location sets.  [callback] */
const ws_settings *ws_conn_settings(const ws_conn *c);

/** How it came.  [callback] */
ws_transport ws_conn_transport(const ws_conn *c);

/** The connection's tickets, or NULL. They stay until its last callback has returned.  [callback] */
ws_ticket *ws_conn_ticket(const ws_conn *c);

/** Run fn on a loop; between two turns of its connections.  [any thread]
 *  @return 0; -1 when there is no memory, or the loop has ended: fn is not called */
int ws_engine_on_loop(ws_engine *engine, unsigned loop,
                      void (*fn)(ws_engine *engine, unsigned loop, void *arg), void *arg);

/** The loop with the fewest connections.  [any thread] */
ws_loop *ws_engine_least_busy(ws_engine *engine);

/** How many loops there are: 0 to this number minus 1.  [any thread] */
unsigned ws_engine_loops(const ws_engine *engine);

/** The connection at a place, from 0 on; NULL for a free one. *end: there is none from here on.
 *  [that loop] */
const ws_conn *ws_engine_at(ws_engine *engine, unsigned loop, apr_uint32_t place, int *end);

/** The loop that an id belongs to; -1 if it is not of this process.  [any thread] */
int ws_engine_loop_of(ws_engine *engine, ws_id id);

/** The connection of an id, or NULL if it has gone.  [that loop] */
ws_conn *ws_engine_find(ws_engine *engine, unsigned loop, ws_id id);

/** How its messages are framed; NULL: frames of RFC 6455. */
const struct ws_framing *ws_new_conn_framing(const ws_new_conn *newcomer);

/** Release the fd, ssl, pool, ticket and chain of a connection that is not given to an engine. */
void ws_new_conn_drop(const ws_new_conn *newcomer);

/** Connections of clients, those on their way in included. Outgoing ones are not counted.  [any thread] */
apr_size_t ws_engine_count(ws_engine *engine);

/**
 * Close all connections as ws_close does; those that come later too.  [any thread]
 * @param spread  milliseconds over which the Close frames are spread, so that the peers do not all
 *                come back at once; 0: now
 */
void ws_engine_close_all(ws_engine *engine, int code, const char *reason, apr_uint32_t spread);

/** Wait until there are no connections at all, and no attempts to make some. @return 1 if there are none; 0 after timeout milliseconds */
int ws_engine_wait(ws_engine *engine, apr_uint32_t timeout);

/** Before there are connections; hooks live as long as the engine. */
void ws_engine_channels(ws_engine *engine, const ws_channels_hooks *hooks);

/** The engine that ws_send_to and the like speak to; NULL: none, all connections are gone. */
void ws_api_engine(ws_engine *engine);
ws_engine *ws_api_engine_now(void);

/**
 * Break what connections there are, call their on_close and end the threads. Calls that other threads
 * still make are answered WS_GONE until the engine is destroyed.
 * @return 0 if a WS_BLOCKING callback did not return within 5 s: its thread goes on, and the engine
 *         must not be destroyed
 */
int ws_engine_stop(ws_engine *engine);

/** Free everything; after ws_engine_stop. */
void ws_engine_destroy(ws_engine *engine);

#endif
