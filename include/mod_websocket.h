/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * @file mod_websocket.h
 * @brief How to write a WebSocket handler for mod_websocket: header and manual in one.
 *
 * A handler is a table of callbacks. The smallest one, whole:
 *
 *     #include "mod_websocket.h"
 *
 *     static void echo(ws_conn *c, ws_type type, const char *data, apr_size_t len)
 *     {
 *         ws_send(c, type, data, len);
 *     }
 *
 *     WS_HANDLER(echo) = { .on_message = echo };
 *
 * Build it with `apxs -c ws_echo.c`, copy .libs/ws_echo.so where you like, and say
 * `WebSocketHandler /path/ws_echo.so` in a <Location>. Link against nothing: the module
 * exports the functions below.
 *
 * THREADS. A connection belongs to one event loop, a thread of the httpd child. Its callbacks run
 * there, never two at a time. A callback that waits (a database, a file, a lock that is held for
 * long) stops every other connection of the loop: such a handler sets WS_BLOCKING, and its
 * callbacks then run on a pool of threads, still one at a time and in order for each connection.
 *
 * Each function says from where it may be called:
 *   [callback]  inside a callback of this connection, also a WS_BLOCKING one;
 *   [any]       from any thread of the child process, at any time between start and stop.
 *
 * POINTERS. What a callback is given (data, reason) is valid until the callback returns. A ws_conn
 * is valid from on_open until on_close returns. Whoever wants to reach a connection later, or from
 * another thread, keeps its ws_id and uses ws_send_to(), ws_close_id() or ws_run().
 *
 * PROCESSES. httpd runs several child processes, and each has its own connections and its own copy
 * of a handler's variables.
 *
 * ABI LOG (WS_ABI is the date of the last change that old handlers cannot be loaded with; callbacks
 * are only ever added at the end of ws_handler, so that older handlers go on working):
 *   20261121  first version
 */

#ifndef MOD_WEBSOCKET_H
#define MOD_WEBSOCKET_H

/** The release that these headers belong to: the file VERSION. */
#ifndef WS_VERSION
#define WS_VERSION "1.0.0"
#endif

#include <apr.h>
#include <apr_errno.h>
#include <apr_pools.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WS_ABI 20261121

/** Marks the functions that the module exports to handlers. */
#define WS_API __attribute__((visibility("default")))

/** One WebSocket connection. Opaque; see POINTERS above. */
typedef struct ws_conn ws_conn;

/** A handshake request that on_request decides about. Opaque; valid until on_request returns. */
typedef struct ws_request ws_request;

/** One WebSocketHandler line of the configuration, and all its connections in this process. */
typedef struct ws_location ws_location;

/** httpd's request; handlers that look into it include httpd.h. */
struct request_rec;

/**
 * Names a connection for as long as the server runs: it carries the child process, the place in the
 * child and a generation, so that a stale id is answered WS_GONE, never with somebody else's
 * connection. 0 names no connection.
 */
typedef apr_uint64_t ws_id;

/** Type of a message; the values are the opcodes of RFC 6455, section 5.2. */
typedef enum { WS_TEXT = 1, WS_BINARY = 2 } ws_type;

/** What became of a send. Negative: the message was not taken. */
typedef enum {
    WS_SENT = 0,   /**< taken; it leaves at the end of the callback at the latest */
    WS_QUEUED = 1, /**< taken; it waits behind others, or for another thread */
    WS_HANDED = 2, /**< handed to the process that owns the connection: ws_send_anywhere */
    WS_FULL =
        -1, /**< not taken: as much as WebSocketSendQueue allows waits already, and the connection
                        is being closed for it (WebSocketSlowReader); or there is no memory */
    WS_GONE = -2,        /**< not taken: the connection is closing, closed or unknown */
    WS_TOO_BIG = -3,     /**< not taken: longer than the protocol allows (ws_ping: 125 bytes) */
    WS_MISPLACED = -4,   /**< not taken: no such part is due, see ws_send_part */
    WS_UNSUPPORTED = -5, /**< not taken: the connection is of version 76 or 75, see ws_version */
    WS_DROPPED = -6, /**< not taken: the client reads too slowly, and WebSocketSlowReader leaves the
                              connection open */
    WS_BAD_NAME = -7,  /**< not taken: no name of a channel, see ws_channel_valid */
    WS_FORBIDDEN = -8, /**< not taken: WebSocketSubscribe does not let this connection */
    WS_LIMIT = -9,     /**< not taken: more channels than WebSocketChannels allows */
    WS_BAD_TEXT = -10, /**< not taken: this is no UTF-8, and others would get it */
    WS_UNCERTAIN = -11 /**< ws_published: nobody knows whether it is published, or will be */
} ws_status;

/** Where a connection stands: RFC 6455, sections 4.1 and 7.1. */
typedef enum {
    WS_OPEN = 1,    /**< messages go both ways */
    WS_CLOSING = 2, /**< a Close frame was sent or received; nothing can be sent any more */
    WS_CLOSED = 3   /**< the connection is gone; only inside on_close */
} ws_state;

/** Status codes of the Close frame: RFC 6455, section 7.4.1, and the IANA registry. */
enum {
    WS_CLOSE_NORMAL = 1000,
    WS_CLOSE_GOING_AWAY = 1001,
    WS_CLOSE_PROTOCOL_ERROR = 1002,
    WS_CLOSE_UNSUPPORTED = 1003,
    WS_CLOSE_NO_STATUS = 1005, /**< never sent; on_close: the peer's Close frame had no code */
    WS_CLOSE_ABNORMAL = 1006,  /**< never sent; on_close: the connection broke */
    WS_CLOSE_BAD_DATA = 1007,
    WS_CLOSE_POLICY = 1008,
    WS_CLOSE_TOO_BIG = 1009,
    WS_CLOSE_EXTENSION = 1010,
    WS_CLOSE_INTERNAL = 1011,
    WS_CLOSE_RESTART = 1012,
    WS_CLOSE_TRY_LATER = 1013,
    WS_CLOSE_BAD_GATEWAY = 1014
};

/** ws_handler.flags: callbacks may block, and run on a pool of threads. */
#define WS_BLOCKING 0x1u

/** ws_handler.flags, with on_frame: messages and frames of any size are let in; WebSocketMaxMessageSize
 *  and WebSocketMaxFrameSize do not hold for this handler. */
#define WS_ANY_SIZE 0x2u

/** ws_handler.flags: no message to a client may be missing, for they are one stream of bytes, say. Where
 *  WebSocketSlowReader would drop some, the connection is closed, as with its policy "close". */
#define WS_LOSSLESS 0x4u

/** ws_handler.flags: ws_close() only ends what we say; what the peer had still to say (RFC 6455, section
 *  1.4) is delivered until its Close frame comes, or WebSocketCloseTimeout is over. If that has another
 *  code than ours, it is the one that on_close is told. */
#define WS_HEAR_OUT 0x8u

/** ws_handler.flags, with on_frame: its `where` says WS_FRAME_END, too. */
#define WS_FRAME_ENDS 0x10u

/** ws_handler.flags, with on_channel: it reads WS_EVENT_REFUSED. Where an application decides about subscriptions
 *  (WebSocketChannelHook) and refuses one, the connection of a handler without this flag is closed: 1008, or 1013
 *  if the application does not answer. */
#define WS_REFUSED_EVENTS 0x20u

/** on_frame, ws_send_part: where a piece stands in its message. A message of one piece has both. */
#define WS_FIRST 0x1u
#define WS_LAST 0x2u

/** on_frame, where the handler has WS_FRAME_ENDS: a frame of the peer's ends with this piece. A message that
 *  an extension has changed, by compression say, has its last frame's end only. */
#define WS_FRAME_END 0x4u

/** on_frame, ws_send_part: the message is compressed as the client and another server have agreed; see
 *  ws_request_pass_extensions(). The server has not decoded it: text may be invalid UTF-8. */
#define WS_COMPRESSED 0x8u

/** A message's place in the history of its channel. */
typedef struct ws_position {
    apr_uint64_t
        epoch; /**< of the history: another one when it was lost or cleared; 0: no position */
    apr_uint64_t offset; /**< 1 for the first message of the epoch, then one more each */
} ws_position;

/** What happens on a channel. */
typedef enum {
    WS_EVENT_MESSAGE = 1, /**< published */
    WS_EVENT_LIVE = 2,  /**< this connection's subscription: what it resumed has been delivered; the
                               position is that of the newest message before it */
    WS_EVENT_GAP = 3,   /**< messages before the next one are missing, and are not to be had */
    WS_EVENT_JOIN = 4,  /**< a member has come, or one has new data; only with WS_WATCH */
    WS_EVENT_LEAVE = 5, /**< a member has gone; only with WS_WATCH */
    WS_EVENT_MEMBERS =
        6, /**< all members that were there have come as WS_EVENT_JOIN; only with WS_SNAPSHOT */
    WS_EVENT_REFUSED =
        7 /**< a subscription for which ws_subscribe() returned WS_QUEUED is refused (see
                              `status`); only with WS_REFUSED_EVENTS */
} ws_event_kind;

/** An event, as on_channel gets it. Pointers are valid until it returns. */
typedef struct ws_event {
    ws_event_kind kind;
    ws_type type;           /**< of a message */
    const char *channel;    /**< NUL-terminated */
    const char *data;       /**< of a message; of a member */
    apr_size_t len;         /**< bytes */
    ws_position position;   /**< epoch 0: the channel has no history */
    apr_uint64_t server;    /**< of the member, see ws_server() */
    ws_id id;               /**< of the member */
    struct ws_forms *forms; /**< private */
    const char
        *user; /**< of the member: ws_user() of its connection, which no client can choose; NULL: it
                           has none, or one that is not UTF-8 of at most 255 bytes */
    const char *event; /**< of a message: ws_publication.event, or NULL */
    const char *key;   /**< of a message: ws_publication.key, or NULL */
    const char
        *wildcard; /**< the subscription, where that is a wildcard; `channel` is then the channel
                               that the message was published to. Else NULL */
    ws_status
        status; /**< of WS_EVENT_REFUSED: WS_FORBIDDEN; WS_FULL: the application does not answer; or as
                           ws_subscribe() */
} ws_event;

/** What on_channel returns: a message is not sent to this connection, or as it was published. Greater
 *  numbers, up to WS_FORMS_MAX: in a form that ws_event_form() has made. */
#define WS_FORM_NONE 0
#define WS_FORM_AS_IS 1
#define WS_FORMS_MAX 7

/**
 * A handler: flags and callbacks. All are optional; what is left out does nothing.
 */
typedef struct ws_handler {
    /** WS_BLOCKING, WS_ANY_SIZE, WS_LOSSLESS, WS_HEAR_OUT, WS_FRAME_ENDS, WS_REFUSED_EVENTS, or 0. */
    unsigned flags;

    /**
     * Names of request headers of the handshake to keep for ws_header(), separated by commas:
     * "Cookie, User-Agent". NULL: none, which costs no memory.
     */
    const char *keep_headers;

    /**
     * At start-up in the parent process, as root where httpd starts as root: once for each
     * `key=value` on the WebSocketHandler line, and once more with key and value NULL when the line
     * is complete. *config is NULL at first and then what the call before left there; allocate it
     * from pconf, which lives until the next reload. A handler without this callback takes no keys.
     * @return NULL, or a text that says what is wrong; httpd prints it with file and line and does
     *         not start (a reload keeps the running server's configuration).
     */
    const char *(*configure)(apr_pool_t *pconf, const char *key, const char *value, void **config);

    /**
     * In each child process before its first connection, for each WebSocketHandler line, with
     * httpd's user and group. May create threads.
     * @param pchild  lives until the child ends
     * @param here    for ws_broadcast(); lives until stop returns
     * @return APR_SUCCESS, or an error, which is logged; this line's handshakes are then answered
     *         503 in this child.
     */
    apr_status_t (*start)(apr_pool_t *pchild, void *config, ws_location *here);

    /** In each child process after the last on_close, once for each successful start. */
    void (*stop)(void *config);

    /**
     * A handshake that is valid and that httpd's access control let through. May block: it runs on
     * one of httpd's worker threads, several at once.
     * @return 0 to accept; an HTTP status of 300 to 599 to refuse with httpd's ErrorDocument for it;
     *         anything else is refused with 500.
     */
    int (*on_request)(ws_request *rq, void *config);

    /** The handshake's answer has been sent, the connection is open. */
    void (*on_open)(ws_conn *c);

    /**
     * A whole message. Text is valid UTF-8 (RFC 6455, section 8.1). data is not NUL-terminated;
     * len is at most WebSocketMaxMessageSize, in bytes, and may be 0.
     */
    void (*on_message)(ws_conn *c, ws_type type, const char *data, apr_size_t len);

    /** A Pong frame, an answer to ws_ping() or unasked for; len 0 to 125 bytes. */
    void (*on_pong)(ws_conn *c, const char *data, apr_size_t len);

    /** Something had to wait to be sent, and now no more than a quarter of WebSocketSendQueue waits.
     *  A handler that sends much stops at WS_QUEUED and goes on here. */
    void (*on_drain)(ws_conn *c);

    /**
     * The connection is gone: exactly once for each on_open, and the last callback.
     * @param code    what ended it: the code of the Close frame that came first, the peer's or ours;
     *                WS_CLOSE_NO_STATUS if that had none; WS_CLOSE_ABNORMAL if there was none
     * @param reason  UTF-8, len 0 to 123 bytes, not NUL-terminated
     */
    void (*on_close)(ws_conn *c, int code, const char *reason, apr_size_t len);

    /**
     * Instead of on_message: a piece of a message, as it arrives. Pieces have the size in which the
     * network delivers them, up to 512 KiB; nothing is put together, so a message of any size passes
     * through in bounded memory. A piece of text may end inside a character; what is not UTF-8 fails
     * the connection as soon as it is seen, after earlier pieces have been delivered.
     * @param len    bytes, may be 0
     * @param where  WS_FIRST and WS_LAST, or 0 in the middle; with WS_FRAME_ENDS also WS_FRAME_END; with
     *               ws_request_pass_extensions() also WS_COMPRESSED, in all pieces of a compressed message
     */
    void (*on_frame)(ws_conn *c, ws_type type, const char *data, apr_size_t len, unsigned where);

    /**
     * Something has happened on a channel that this connection is subscribed to: see it, and say
     * whether and how it is to be sent. Without this callback messages are sent as they were
     * published, and nothing else is.
     * @return WS_FORM_NONE, WS_FORM_AS_IS (messages only; of other events nothing is sent), or the
     *         number of a form
     */
    int (*on_channel)(ws_conn *c, const ws_event *event);

    /**
     * The peer's Close frame has come, and has not been answered: the connection is still WS_OPEN, so that
     * something can be sent before the answer. No further message comes. Not called if we have sent our
     * Close first.
     * @param code    the peer's, or WS_CLOSE_NO_STATUS
     * @param reason  UTF-8, len 0 to 123 bytes, not NUL-terminated
     * @return 0: the server answers with code and reason, unless this callback has called ws_close();
     *         1: the handler calls ws_close() later. After WebSocketCloseTimeout the server answers.
     */
    int (*on_closing)(ws_conn *c, int code, const char *reason, apr_size_t len);

    /**
     * The connection's state has changed: from WS_OPEN to WS_CLOSING or WS_CLOSED, from WS_CLOSING to
     * WS_CLOSED. on_open and on_close tell of beginning and end; this also tells when a Close frame was
     * sent, on account of a limit, say. Where the handler itself calls ws_close() or ws_abort(), it is
     * called inside of that.
     */
    void (*on_state)(ws_conn *c, ws_state from, ws_state to);

    /**
     * Whether a handshake is this handler's; without this callback all are. Called before anything else of it
     * has been looked at: version, Origin, limits. On one of httpd's threads; it must not wait, and may be
     * called twice for one request, first before httpd has mapped it to a file. Of the functions for requests
     * it may call ws_request_rec(), ws_request_location(), ws_request_header() and ws_request_protocols().
     * @return 1: it is; 0: it is not. httpd then serves the request as if there were no WebSocketHandler
     */
    int (*on_claim)(ws_request *rq, void *config);

    /** A Ping frame has come, and has been answered with a Pong frame; len 0 to 125 bytes. */
    void (*on_ping)(ws_conn *c, const char *data, apr_size_t len);

    /**
     * A token (WebSocketTokenKey) ends soon, or has ended. Tell the client: a newer one, given to
     * ws_use_token() before the end, takes its place.
     * @param channel  the subscription whose token it is; NULL: the connection's
     * @param expired  0: it ends soon, within 60 s at most. 1: it has ended, and with it the subscription; or the
     *                 server closes the connection (1008, "expired") behind this callback
     */
    void (*on_token)(ws_conn *c, const char *channel, int expired);
} ws_handler;

/** What a handler's shared object exports, and what a module registers as a provider. */
typedef struct ws_handler_descriptor {
    apr_uint32_t magic;        /**< WS_MAGIC */
    apr_uint32_t abi;          /**< WS_ABI at the handler's build */
    apr_uint32_t size;         /**< sizeof(ws_handler) at the handler's build, bytes */
    const char *name;          /**< for the log */
    const ws_handler *handler; /**< static */
} ws_handler_descriptor;

#define WS_MAGIC 0x57534844u /* "WSHD" */

/** The symbol that WS_HANDLER defines and the module looks for in a shared object. */
#define WS_DESCRIPTOR_SYMBOL "ws_handler_descriptor_v1"

/**
 * Defines the handler of a shared object; one for each file, at its end:
 *
 *     WS_HANDLER(chat) = { .on_open = join, .on_message = say, .on_close = leave };
 */
#define WS_HANDLER(NAME)                                                                           \
    extern __attribute__((visibility("hidden"))) const ws_handler NAME##_ws_handler;               \
    WS_API extern const ws_handler_descriptor ws_handler_descriptor_v1;                            \
    const ws_handler_descriptor ws_handler_descriptor_v1 = {WS_MAGIC, WS_ABI, sizeof(ws_handler),  \
                                                            #NAME, &NAME##_ws_handler};            \
    const ws_handler NAME##_ws_handler

/**
 * An httpd module can be a handler without a shared object of its own. It fills a
 * ws_handler_descriptor and registers it in its register_hooks:
 *
 *     ap_register_provider(p, WS_PROVIDER_GROUP, "name", WS_PROVIDER_VERSION, &descriptor);
 *
 * The configuration says `WebSocketHandler name`, below the module's LoadModule.
 */
#define WS_PROVIDER_GROUP "websocket_handler"
#define WS_PROVIDER_VERSION "1"

/* ---- The handshake: inside on_request, on its thread ------------------------------------------ */

/** httpd's request_rec, with everything that httpd knows: user, headers, notes, TLS variables. */
WS_API struct request_rec *ws_request_rec(ws_request *rq);

/**
 * The path of the <Location> that the WebSocketHandler line stands in, without a slash at its end: "" for one
 * outside of sections, in a <VirtualHost> or in <Location "/">. What follows it in r->uri is the handler's.
 * @return NULL in sections whose path is a pattern, and in other ones; valid as long as the configuration
 */
WS_API const char *ws_request_location(ws_request *rq);

/** The value of a request header, or NULL. Valid until on_request returns. */
WS_API const char *ws_request_header(ws_request *rq, const char *name);

/**
 * The subprotocols that the client offers, in its order of preference, as it wrote them
 * ("chat, superchat"), or NULL.
 */
WS_API const char *ws_request_protocols(ws_request *rq);

/**
 * Choose the subprotocol of the answer. Without this call it is the first of the client's that the
 * `protocol=` of the WebSocketHandler line names, or none. NULL chooses none.
 * @return APR_SUCCESS; APR_EINVAL if the client did not offer it (the choice is then unchanged).
 */
WS_API apr_status_t ws_request_choose_protocol(ws_request *rq, const char *protocol);

/** The subprotocol that the answer names as things stand, or NULL. */
WS_API const char *ws_request_protocol(ws_request *rq);

/**
 * Add a header to the answer, the 101 or the refusal: Set-Cookie, say. Copied.
 * @return APR_SUCCESS; APR_EINVAL for a name that is no token, a value with control characters (RFC
 *         9110, section 5.5), and for the names that the handshake itself uses (Connection, Upgrade,
 *         Content-Length, Transfer-Encoding, Sec-WebSocket-*, WebSocket-*).
 */
WS_API apr_status_t ws_request_add_header(ws_request *rq, const char *name, const char *value);

/**
 * Refuse with a body of the handler's own, instead of httpd's page or ErrorDocument. on_request may then
 * also return 200 to 299: the client gets an ordinary response.
 * @param type  Content-Type, or NULL; copied
 * @param data  copied
 * @param len   bytes
 * @return APR_SUCCESS; APR_EINVAL for a type with control characters
 */
WS_API apr_status_t ws_request_set_body(ws_request *rq, const char *type, const char *data,
                                        apr_size_t len);

/**
 * The client's offers of permessage-deflate, for ws_connect_options.pass_extensions, so that compressed
 * messages pass through without being decoded.
 * @return from r->pool; NULL: the client offers none, or another WebSocketExtension of the section has to
 *         read the messages
 */
WS_API const char *ws_request_offers(ws_request *rq);

/**
 * Answer the client's offers as another server has answered them, instead of WebSocketCompression. Messages
 * of the client then come and go as they are: on_frame and ws_send_part() get WS_COMPRESSED for compressed
 * ones. WebSocketMaxMessageSize and rates hold for the compressed size. The handler needs on_frame and
 * WS_LOSSLESS: a missing message would make later ones unreadable.
 * @param answer  value of the other server's Sec-WebSocket-Extensions; copied
 * @return APR_SUCCESS; APR_EINVAL: it is no answer to ws_request_offers()
 */
WS_API apr_status_t ws_request_pass_extensions(ws_request *rq, const char *answer);

/**
 * A pool that becomes the connection's (ws_pool), made by the first call (8 KiB). It is destroyed
 * after on_close, or when the handshake fails; its cleanups are the place to release what
 * ws_request_set_data() points to.
 */
WS_API apr_pool_t *ws_request_pool(ws_request *rq);

/** Attach the handler's own data: ws_data() returns it. */
WS_API void ws_request_set_data(ws_request *rq, void *data);

/* ---- Sending ---------------------------------------------------------------------------------- */

/**
 * Send one message. data is copied or sent before the call returns. Text must be UTF-8; that is not
 * checked. Sends to the connection whose callback runs leave together at its end, in one system
 * call where they fit.
 * @param len  bytes
 * @return WS_SENT, WS_QUEUED, WS_FULL, WS_DROPPED, WS_GONE, WS_UNSUPPORTED.  [callback]
 */
WS_API ws_status ws_send(ws_conn *c, ws_type type, const char *data, apr_size_t len);

/**
 * ws_send() with a key, any number but 0, that says what the message is about: the price of one share,
 * say. Where WebSocketSlowReader says keep-latest, a message that still waits is replaced by a newer
 * one with its key, in its place. Elsewhere the key means nothing.
 * @return as ws_send  [callback]
 */
WS_API ws_status ws_send_keyed(ws_conn *c, ws_type type, const char *data, apr_size_t len,
                               apr_uint64_t key);

/**
 * Send one message in parts, each a frame of its own (RFC 6455, section 5.4), so that a message of any
 * size is sent in bounded memory. Other messages that are sent to the connection meanwhile
 * (ws_send, ws_send_to, ws_broadcast) wait for the last part; control frames go between the parts.
 * @param type   of the message, the same for all its parts
 * @param where  WS_FIRST for the first, WS_LAST for the last part (which may be empty); with WS_FIRST also
 *               WS_COMPRESSED, see ws_request_pass_extensions()
 * @return as ws_send; WS_MISPLACED for a first part before the last one's end, or another part
 *         without a first. A first part that was dropped has begun nothing. Parts behind it are never
 *         dropped: one that finds the queue full closes the connection.  [callback]
 */
WS_API ws_status ws_send_part(ws_conn *c, ws_type type, const char *data, apr_size_t len,
                              unsigned where);

/**
 * Send a Ping frame with up to 125 bytes; the answer comes to on_pong. WebSocketPing needs no help
 * from a handler. Where the queue is full it is not taken, and nothing else happens.
 * @return as ws_send, or WS_TOO_BIG; never WS_FULL for the sake of the queue.  [callback]
 */
WS_API ws_status ws_ping(ws_conn *c, const char *data, apr_size_t len);

/**
 * Start the closing handshake: what was sent before goes first, then a Close frame; on_close
 * follows when the peer answers, or after WebSocketCloseTimeout.
 * @param code    1000 to 1003, 1007 to 1014 or 3000 to 4999; WS_CLOSE_NO_STATUS for a frame
 *                without code; any other is sent as 1011 and logged
 * @param reason  UTF-8, cut at a character's end to 123 bytes; NULL for none
 * @return WS_QUEUED, or WS_GONE if it is closing already.  [callback]
 */
WS_API ws_status ws_close(ws_conn *c, int code, const char *reason);

/**
 * Break the connection at once: for a peer that abuses it, and to which no Close frame is due. What waits
 * to be sent is dropped, and the client sees a reset (RST); one that httpd relays (HTTP/2, see
 * docs/architecture.md) sees its stream end. on_close follows, with WS_CLOSE_ABNORMAL unless a Close frame
 * came or went before.
 * @return WS_QUEUED, or WS_GONE if it is closed already.  [callback]
 */
WS_API ws_status ws_abort(ws_conn *c);

/** Bytes that wait to be sent, frame headers included.  [callback] */
WS_API apr_size_t ws_queued(ws_conn *c);

/** ws_send() to a connection of this process by its id. WS_QUEUED or WS_GONE, or WS_FULL when 64 MiB wait
 *  for its loop already, or there is no memory. A connection that is found gone, or whose queue is found full, or whose version has
 *  no binary messages, after the call has returned WS_QUEUED loses the message; the latter two are
 *  logged.  [any] */
WS_API ws_status ws_send_to(ws_id id, ws_type type, const char *data, apr_size_t len);

/** ws_close() by id. @return WS_QUEUED or WS_GONE, or WS_FULL when there is no memory.  [any] */
WS_API ws_status ws_close_id(ws_id id, int code, const char *reason);

/**
 * Send one message to all open connections of a WebSocketHandler line in this process. The frame is
 * made once and shared. Those of versions 76 and 75 are passed over if it is binary.
 * @param except  a connection to leave out (the sender, say), or 0
 * @return WS_QUEUED, or WS_FULL when 64 MiB wait for a loop already, or there is no memory.  [any]
 */
WS_API ws_status ws_broadcast(ws_location *here, ws_type type, const char *data, apr_size_t len,
                              ws_id except);

/** ws_broadcast() with a key, see ws_send_keyed().  [any] */
WS_API ws_status ws_broadcast_keyed(ws_location *here, ws_type type, const char *data,
                                    apr_size_t len, ws_id except, apr_uint64_t key);

/* ---- Reading ---------------------------------------------------------------------------------- */

/**
 * Stop reading from the socket: no message is delivered until ws_resume(), and the peer is slowed
 * down by TCP. Pings are not answered meanwhile, and missing pongs are forgiven; but a peer that closes
 * its side of the stream, and of which nothing is read for as long as WebSocketPing says, has gone.
 * [callback]
 */
WS_API void ws_pause(ws_conn *c);

/** Read again. Not counted: one ws_resume() ends any number of ws_pause().  [callback] */
WS_API void ws_resume(ws_conn *c);

/* ---- What a connection is --------------------------------------------------------------------- */
/* Strings live as long as the connection and are never changed.  [callback] */

/** The id of the connection, for ws_send_to() and ws_close_id().  [callback] */
WS_API ws_id ws_conn_id(const ws_conn *c);

/** Open, closing or closed, see ws_state.  [callback] */
WS_API ws_state ws_conn_state(const ws_conn *c);
/** The handler's own data, NULL at first. */
WS_API void *ws_data(const ws_conn *c);
WS_API void ws_set_data(ws_conn *c, void *data);
/** What configure left, or NULL. */
WS_API void *ws_config(const ws_conn *c);
WS_API ws_location *ws_conn_location(const ws_conn *c);
/** The connection's pool, made by the first call (8 KiB), destroyed after on_close; NULL when there
 *  is no memory. */
WS_API apr_pool_t *ws_pool(ws_conn *c);
/** The subprotocol, or NULL. */
WS_API const char *ws_protocol(const ws_conn *c);
/**
 * Version of the protocol: 13, 8 or 7; or 76 or 75, where WebSocketVersions lets these drafts in. They
 * have text only, and no pings, so for them
 *   - ws_send() and ws_send_part() of WS_BINARY, and ws_ping(), return WS_UNSUPPORTED; on_pong does not
 *     come;
 *   - text that is not UTF-8 does no harm: a byte 0xFF in it is sent as U+FFFD;
 *   - code and reason of ws_close() are not sent, but on_close is told them; a close by the client comes
 *     as WS_CLOSE_NO_STATUS. 75 has no closing handshake at all: the end of the stream is its close.
 */
WS_API int ws_version(const ws_conn *c);
/** Path of the request, decoded, as in r->uri. */
WS_API const char *ws_uri(const ws_conn *c);
/** Query string as sent, without the question mark, or NULL. */
WS_API const char *ws_args(const ws_conn *c);
/** r->user, or NULL. */
WS_API const char *ws_user(const ws_conn *c);
/** The client's address as text, mod_remoteip's idea of it. */
WS_API const char *ws_peer(const ws_conn *c);
/** ServerName of the virtual host, or NULL. */
WS_API const char *ws_vhost(const ws_conn *c);
/** 1 if the connection came over TLS to this server. */
WS_API int ws_secure(const ws_conn *c);
/** A request header that keep_headers names (case does not matter), or NULL. */
WS_API const char *ws_header(const ws_conn *c, const char *name);

/** Levels of the log, httpd's: error, warn, info, debug, trace4. */
typedef enum { WS_LOG_ERROR, WS_LOG_WARNING, WS_LOG_INFO, WS_LOG_DEBUG, WS_LOG_TRACE } ws_log_level;

/**
 * Write a line about the connection to httpd's error log, where it stands with the module's own: client,
 * path and id come before it. Made only if `LogLevel websocket:...` is as high. The line has at most
 * 1,023 bytes.  [callback]
 */
WS_API void ws_conn_log(ws_conn *c, ws_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- Connections to other servers -------------------------------------------------------------- */

/** An attempt to connect. 0 names none. */
typedef apr_uint64_t ws_attempt;

/** ws_connect_options: a time or length that is not to be limited; ping_interval: no pings. */
#define WS_NEVER 0xFFFFFFFFu

/** What ws_connect() is to do. Zeroed but for what is wanted; all strings are copied. Times are
 *  milliseconds; 0 stands for the default. */
/** What a server or proxy has answered to a handshake. Pointers are valid until on_response returns. Texts
 *  are the server's: for a terminal or a page they have to be escaped. */
typedef struct ws_response {
    int status;                 /**< 100 to 999 */
    int proxy;                  /**< 1: it is the proxy's, to CONNECT */
    const char *request;        /**< what it answers: request line and headers, with credentials */
    const char *reason;         /**< the reason phrase, or "" */
    const char *const *headers; /**< name, value, name, value ..., NULL */
    const char *body;           /**< of a refusal, decoded from chunks; "" if there is none */
    apr_size_t body_len;        /**< bytes, at most max_body */
    int body_cut;               /**< 1: that is not all of it */
} ws_response;

typedef struct ws_connect_options {
    apr_size_t size; /**< sizeof(ws_connect_options) */

    /** "wss://user:password@host:port/path?query"; ws for no TLS. User and password are sent as Basic
     *  credentials. IPv6 addresses stand in brackets. */
    const char *url;
    /** The connection's callbacks: on_open to on_frame, flags, and keep_headers, which names headers of
     *  the server's answer. Lives as long as the connection. */
    const ws_handler *handler;
    /** Becomes the connection's ws_data(). */
    void *data;
    /**
     * There will be no connection; nothing else is called then. May call ws_connect(). On the event
     * loop, also for WS_BLOCKING handlers: it must not wait.
     * @param data    that of these options
     * @param reason  what stood in the way: "connect: Connection refused", "handshake: server answered
     *                403", "certificate: host name mismatch"; docs/client.md lists them. Valid until
     *                on_failure returns.
     * @param status  the HTTP status of an answer that refused, or 0
     */
    void (*on_failure)(void *data, const char *reason, int status);

    int version;           /**< 13 (the default) or 8 */
    const char *protocols; /**< subprotocols to offer, in order of preference: "chat, superchat" */
    const char *origin;    /**< Origin, which browsers send */
    const char *const *headers; /**< further request headers: name, value, name, value ..., NULL */
    int deflate;                /**< WS_DEFLATE_..., 0: permessage-deflate is not offered */

    const char *ca_file;     /**< certificates (PEM) to trust; NULL: the system's */
    const char *certificate; /**< our own (PEM, with its chain), if the server asks for one */
    const char *key;         /**< its key (PEM); NULL: it is in the same file */
    const char *
        server_name; /**< the name to ask for and to find in the certificate; NULL: the URL's host */
    int insecure;    /**< 1: do not verify the server's certificate */

    /** A proxy: "http://user:password@host:port", https:// for TLS to it, or socks5://, which looks up the
     *  server's name itself. NULL: none, or see proxy_environment; "": none. */
    const char *proxy;
    const char *source; /**< local address to connect from; NULL: any */
    unsigned redirects; /**< how many redirects are followed; 0: a redirect is a failure */

    apr_uint32_t lookup_timeout; /**< for the names of server or proxy; 5 s */
    apr_uint32_t
        connect_timeout; /**< for each address of theirs, of which the next is tried after 250 ms
                                         beside it (RFC 8305); 5 s */
    apr_uint32_t handshake_timeout; /**< from there to the end of the handshake; 10 s */
    apr_uint32_t close_timeout;     /**< of the closing handshake; as of the caller, or 5 s */
    apr_uint32_t
        ping_interval;       /**< without traffic; as of the caller, or 20 s; WS_NEVER: no pings */
    apr_uint32_t ping_grace; /**< to answer one; as of the caller, or 10 s */

    apr_size_t max_answer;    /**< of the answer's head, bytes; 16 KiB */
    apr_uint64_t max_message; /**< bytes; as of the caller, or 1 MiB; WS_NEVER: any */
    apr_uint64_t max_frame;   /**< likewise */
    apr_size_t send_queue;    /**< bytes that may wait to be sent; as of the caller, or 1 MiB */
    apr_size_t fragment;      /**< greatest payload of a sent frame, bytes; 0: any */
    int trace; /**< the log tells of each frame; 2: with its first bytes. As of the caller, or not */
    apr_uint32_t delay; /**< milliseconds before anything is done */

    /** Called for each answer in order: interim ones (1xx), those of a proxy, redirects, refusals, 101. On the
     *  event loop: it must not wait. NULL: not called. */
    void (*on_response)(void *data, const ws_response *response);
    apr_size_t
        max_body; /**< bytes of a refusal's body that are read for on_response, at most 1 MiB; 0: none.
                              It has to come within handshake_timeout, else what came is all */
    /** 1: without proxy, that of the environment: https_proxy for wss, http_proxy for ws, else all_proxy, unless
     *  no_proxy names the host. */
    int proxy_environment;
    const char *const
        *connect_to; /**< "HOST:PORT:HOST2:PORT2" ..., NULL: connect to the second where the URL
                                        names the first. Empty fields: any, and the same. HOST2 may be several
                                        addresses with commas. Not with a proxy */
    const char
        *unix_socket;    /**< path of a unix socket to connect to, whatever host the URL names */
    const char *key_log; /**< file that gets the secrets of TLS sessions, as SSLKEYLOGFILE does:
                                        for debugging. Only programs should set it */
    /**
     * Connect again, where the connection has ended or could not be made, after this many milliseconds; 0: never.
     * Delays double up to reconnect_max and are chosen at random from their upper half; Retry-After of 503 and 429
     * makes them longer, up to reconnect_max. A connection that stayed open for longer than the last delay begins
     * anew. Not tried again: what on_failure calls "url:" or "request:", a status of 400 to 499 except 408, 425
     * and 429, and a connection that ws_close() has closed. on_failure is called when it is given up; never
     * behind an on_close. ws_connect_cancel() ends it at any time; an open connection stays open.
     */
    apr_uint32_t reconnect;
    apr_uint32_t reconnect_max; /**< milliseconds; 60 s */
    /**
     * Called before each delay, on the event loop; NULL: always goes on.
     * @param delay   milliseconds
     * @param reason  as for on_failure; or "closed: 1006" with the code of an on_close
     * @param status  as for on_failure
     * @return 0 to give it up
     */
    int (*on_reconnect)(void *data, apr_uint32_t delay, const char *reason, int status);
    /** Offers of permessage-deflate to send as they are, see ws_request_offers(). If the server accepts one,
     *  messages come and go as they are, with WS_COMPRESSED: needs a handler with on_frame. NULL: see deflate */
    const char *pass_extensions;
    /** 1: ws_request_connect() to a wss URL follows mod_ssl's SSLProxy directives of the request's section,
     *  instead of ca_file, certificate, key and insecure */
    int ssl_proxy;
} ws_connect_options;

/** ws_connect_options.deflate: offer permessage-deflate (RFC 7692), WITHOUT_TAKEOVER so that no window
 *  is kept from message to message, which saves memory on both sides. */
#define WS_DEFLATE_OFFER 1
#define WS_DEFLATE_WITHOUT_TAKEOVER 2

/**
 * Connect to another WebSocket server. The connection is one like any other, with callbacks of its own;
 * ws_conn_location() and ws_config() of it are NULL, ws_peer() is the server's address, ws_uri() and
 * ws_args() are the URL's, and ws_vhost() is the URL's host.
 *
 * Given a connection c it comes to the same event loop, so that callbacks of the two never run at the
 * same time, and unless one of the handlers is WS_BLOCKING each may call for the other what is marked
 * [callback]; c's limits and times hold for it where the options say nothing.
 *
 * @param c  the connection whose callback this is, or NULL: then it comes to the loop that calls, or
 *           else to the one with the fewest connections
 * @return an attempt, of which on_open or on_failure will tell, never before this returns; 0 when there
 *         is no memory, no handler, or the server stops: nothing is called.  [any], with c [callback]
 */
WS_API ws_attempt ws_connect(ws_conn *c, const ws_connect_options *options);

/**
 * ws_connect() inside on_request: for the client whose handshake that is. The limits and times of its
 * Location hold, and its connection comes to the same event loop. on_request may wait, as it is on a
 * thread of httpd, until on_open or on_failure has been called on the loop: so it can answer with what
 * the other server has answered. A handler that does has to let go of the connection if there will be no
 * on_open for the client, in a cleanup of ws_request_pool().
 * @return as ws_connect
 */
WS_API ws_attempt ws_request_connect(ws_request *rq, const ws_connect_options *options);

/** Give an attempt up: on_failure is not called, nor on_open if it has not been called yet. From another
 *  thread either can be called meanwhile. An attempt that is over is left alone.  [any] */
WS_API void ws_connect_cancel(ws_attempt attempt);

/* ---- Time and other threads ------------------------------------------------------------------- */

typedef struct ws_timer ws_timer;

/** A timer's function; it runs as a callback of the connection. */
typedef void (*ws_timer_fn)(ws_conn *c, void *arg);

/**
 * Call fn after delay, and from then on every interval. Timers are coarse: they fire up to 20 ms
 * late, or later if the loop is busy; the intervals do not drift. Timers end with their connection.
 * @param delay     milliseconds, at most 2^31
 * @param interval  milliseconds, 0 for once; at least 10
 * @return the timer, valid until ws_timer_stop() or, with interval 0, until fn returns; NULL when
 *         there is no memory or the connection is closed.  [callback]
 */
WS_API ws_timer *ws_timer_start(ws_conn *c, apr_uint32_t delay, apr_uint32_t interval,
                                ws_timer_fn fn, void *arg);

/** Stop a timer, also from inside its own fn; fn is not called any more.  [callback] */
WS_API void ws_timer_stop(ws_conn *c, ws_timer *t);

/** What a descriptor is ready for. */
enum {
    WS_READABLE = 0x1,
    WS_WRITABLE = 0x2,
    WS_BROKEN = 0x4 /**< both directions are gone, or an error waits; what came before can still be
                         read. Reported whether asked for or not, but not to a watch of 0 */
};

/** A descriptor of the handler's that the connection's loop watches. */
typedef struct ws_watch ws_watch;

/** A watch's function; it runs as a callback of the connection. events: WS_READABLE... */
typedef void (*ws_watch_fn)(ws_conn *c, int fd, unsigned events, void *arg);

/**
 * Call fn whenever a descriptor is ready: a socket, a pipe, a pidfd, anything that epoll(7) takes; not
 * a file. It is called again as long as that is so. Non-blocking descriptors are for handlers on the
 * loop; what a WS_BLOCKING handler does with its own is its own affair. Watches end with their
 * connection, before on_close; the descriptor stays the handler's, to be closed in on_close, or behind
 * ws_watch_stop().
 * @param events  WS_READABLE, WS_WRITABLE, both, or 0: nothing is reported for now
 * @return the watch, valid until ws_watch_stop() or until on_close returns; NULL when there is no memory,
 *         the descriptor cannot be watched (a file; one that is watched already), or the connection is
 *         closed. If a WS_BLOCKING handler's cannot be watched, its connection ends.  [callback]
 */
WS_API ws_watch *ws_watch_start(ws_conn *c, int fd, unsigned events, ws_watch_fn fn, void *arg);

/** Watch for other events from now on; also from inside its own fn.  [callback] */
WS_API void ws_watch_set(ws_conn *c, ws_watch *w, unsigned events);

/** Stop a watch, also from inside its own fn; fn is not called any more.  [callback] */
WS_API void ws_watch_stop(ws_conn *c, ws_watch *w);

/**
 * Run fn as a callback of the connection: on its loop, or for a WS_BLOCKING handler on the pool, in
 * order with its other callbacks.
 * @return WS_QUEUED: fn is called exactly once, with c NULL if the connection has gone by then (on
 *         which thread is then open), so that arg can be released; WS_GONE or WS_FULL (no memory, or
 *         64 MiB of calls wait for its loop): fn is not called. When 4,096 callbacks wait for a
 *         WS_BLOCKING handler, the connection is closed with 1011, and c is NULL.  [any]
 */
WS_API ws_status ws_run(ws_id id, void (*fn)(ws_conn *c, void *arg), void *arg);

/* ---- Channels --------------------------------------------------------------------------------- */
/*
 * A channel is a name. Who publishes to it reaches all connections that are subscribed to it, in all
 * child processes, old generations after a reload too, and with a bus between machines on all of them.
 * What one thread publishes to a channel arrives in that order. docs/channels.md tells what is
 * guaranteed.
 */

/** Greatest length of a channel's name, and of what is known of a member, bytes. */
#define WS_CHANNEL_MAX 200
#define WS_MEMBER_MAX 1024

/** Whether this is a channel's name: 1 to WS_CHANNEL_MAX of A-Z a-z 0-9 - _ . ~ : / @ + = !  [any] */
WS_API int ws_channel_valid(const char *channel);

/** How many bytes from the beginning of a text, at most max, are UTF-8 and end with a character: what may
 *  be sent of a name that came from elsewhere.  [any] */
WS_API apr_size_t ws_text_prefix(const char *text, apr_size_t len, apr_size_t max);

/** ws_subscription.flags */
#define WS_RESUME 0x1u /**< first deliver what is kept behind `after` */
#define WS_MEMBER 0x2u /**< be a member of the channel, seen by others: ws_presence() */
#define WS_WATCH 0x4u  /**< be told of members that come and go: WS_EVENT_JOIN, WS_EVENT_LEAVE */

/** First deliver the newest `last` messages that are kept; not together with WS_RESUME. */
#define WS_RESUME_LAST 0x10u

/** With WS_WATCH: the members that are there come first, each as a WS_EVENT_JOIN, then WS_EVENT_MEMBERS, and
 *  only behind it what changes. */
#define WS_SNAPSHOT 0x20u

/** Messages are sent as they were published, and on_channel is called for other events only. */
#define WS_AS_PUBLISHED 0x40u

/** Where the connection is subscribed already, change that: it also watches, or is a member, from now on,
 *  and with WS_RESUME gets again what is behind `after`; WS_EVENT_LIVE comes once more. Nothing that is
 *  published meanwhile is missed. Elsewhere the flag means nothing. */
#define WS_CHANGE 0x8u

/** How to subscribe. */
typedef struct ws_subscription {
    unsigned flags;
    ws_position after;     /**< with WS_RESUME; epoch 0: all that is kept */
    const char *member;    /**< with WS_MEMBER: what others are to know, UTF-8; copied */
    apr_size_t member_len; /**< bytes, at most WS_MEMBER_MAX */
    apr_uint32_t last;     /**< with WS_RESUME_LAST: how many messages, at least 1 */
} ws_subscription;

/**
 * Subscribe the connection. What is published from now on is delivered to it: first WS_EVENT_LIVE comes,
 * behind what is resumed; then messages, in the order in which they were published; with a history, in
 * the order of their positions, each exactly once. Its end unsubscribes it.
 * @param how  NULL: as one with all zero. If it is subscribed already, only its member's data is changed, but
 *             for WS_CHANGE
 * @return WS_QUEUED; WS_BAD_NAME; WS_FORBIDDEN; WS_LIMIT; WS_TOO_BIG (member_len); WS_GONE; WS_FULL: no
 *         memory; WS_BAD_TEXT: member is no UTF-8.  [callback]
 */
WS_API ws_status ws_subscribe(ws_conn *c, const char *channel, const ws_subscription *how);

/** End a subscription: nothing of the channel is delivered any more. @return WS_QUEUED, or WS_GONE if
 *  there is none.  [callback] */
WS_API ws_status ws_unsubscribe(ws_conn *c, const char *channel);

/** Call fn for each channel that the connection is subscribed to, at once.  [callback] */
WS_API void ws_subscriptions_of(ws_conn *c, void (*fn)(const char *channel, void *arg), void *arg);

/** What became of a message that was published. */
typedef struct ws_published {
    ws_status status;     /**< WS_QUEUED: it is on its way. WS_FULL: nobody gets it, see ws_publish.
                           WS_UNCERTAIN: its bus has broken; publish it again with ws_publish_once() */
    ws_position position; /**< epoch 0: the channel has no history */
    apr_uint32_t receivers; /**< connections that were subscribed, as far as is known here */
    apr_uint32_t missed; /**< processes or machines that could not be reached, and were counted */
    int duplicate; /**< 1: it was published before, with that id; what is known is of that time */
} ws_published;

/** Is told what became of a message. Must not block.  [any thread] */
typedef void (*ws_published_fn)(const ws_published *what, void *arg);

/**
 * Publish a message. It is copied. Text must be UTF-8: else one publisher could have all who are
 * subscribed closed.
 * @param len     bytes, at most WS_PUBLISH_MAX
 * @param except  a connection that does not get it (the sender, say), or 0
 * @param fn      NULL, or called exactly once where WS_QUEUED is returned: before that, or later from
 *                another thread
 * @return WS_QUEUED; WS_BAD_NAME; WS_TOO_BIG; WS_BAD_TEXT; WS_FULL: as much waits for a loop, a process or the
 *         history as WebSocketBusQueue allows, or there is no memory. Nobody gets it then, so that it
 *         can be published again later; a counter shows it; WS_GONE: the server stops.  [any]
 */
WS_API ws_status ws_publish(const char *channel, ws_type type, const char *data, apr_size_t len,
                            ws_id except, ws_published_fn fn, void *arg);

/** Greatest length of an id of a message, bytes. */
#define WS_ONCE_MAX 255

/**
 * ws_publish() of a message with an id of the publisher's choice: for ten minutes, a message with the same id
 * is not published to that channel again, in any process of this httpd, or with WebSocketBus on any
 * machine. So a publisher that does not know what became of a message publishes it again.
 * The httpd remembers some 8,000 ids at least; of more the oldest are forgotten first. When a child is
 * killed in the moment between publishing and remembering, the message can be published twice.
 * @param id   1 to WS_ONCE_MAX bytes, NUL-terminated
 * @param fn   is told WS_QUEUED with `duplicate` if it was published before, and WS_FULL while the first one
 *             with that id is still under way
 * @return as ws_publish; WS_BAD_NAME also for the id.  [any]
 */
WS_API ws_status ws_publish_once(const char *channel, ws_type type, const char *data,
                                 apr_size_t len, ws_id except, const char *id, ws_published_fn fn,
                                 void *arg);

/** Greatest message that can be published: 16 MiB. */
#define WS_PUBLISH_MAX (16 * 1024 * 1024)

/** How many connections are subscribed to a channel, in all processes of this httpd, and on other
 *  machines as far as their bus knows; 0 for no channel's name.  [any] */
WS_API apr_uint32_t ws_subscribers(const char *channel);

/** A member of a channel. */
typedef struct ws_member {
    apr_uint64_t server; /**< see ws_server() */
    ws_id id;            /**< of its connection */
    const char *data;    /**< as ws_subscription.member */
    apr_size_t len;
} ws_member;

/** The user of a member, as in ws_event, or NULL.  [inside ws_presence_fn] */
WS_API const char *ws_member_user(const ws_member *member);

/** Gets the members of a channel. complete is 0 if a process has not answered in time. Pointers are
 *  valid until it returns; must not block.  [any thread] */
typedef void (*ws_presence_fn)(const char *channel, const ws_member *members, apr_size_t count,
                               int complete, void *arg);

/** Ask who is a member of a channel. @return WS_QUEUED: fn is called exactly once, within two seconds,
 *  also before this returns; WS_BAD_NAME, WS_FULL, WS_GONE: it is not.  [any] */
WS_API ws_status ws_presence(const char *channel, ws_presence_fn fn, void *arg);

/** What a client may do on a channel. */
typedef enum { WS_MAY_SUBSCRIBE, WS_MAY_PUBLISH } ws_action;

/**
 * What WebSocketSubscribe or WebSocketPublish says of this connection and this channel. ws_subscribe()
 * asks by itself; who publishes what a client has sent asks first.
 * @return 1: yes; 0: no; -1: there is no such directive, the handler decides.  [callback]
 */
WS_API int ws_may(ws_conn *c, ws_action action, const char *channel);

/**
 * Use a token that the client has sent (docs/tokens.md). Its sub becomes the user of a connection that has none.
 * @param channel  the channel that it is for; NULL: it takes the place of the connection's token, and
 *                 subscriptions that only the old one permitted end
 * @return NULL; or why it is refused, a static text for the client.  [callback]
 */
WS_API const char *ws_use_token(ws_conn *c, const char *channel, const char *token);

/** This httpd, among those that a bus connects: a random number, the same in all its processes until it
 *  stops.  [any] */
WS_API apr_uint64_t ws_server(void);

/**
 * ws_send_to() wherever the connection is.
 * @param server  the httpd that it belongs to; 0: this one
 * @return WS_QUEUED: it is of this process; WS_HANDED: another process, or a machine's bus, has been
 *         given the message, and will find the connection or not; WS_GONE: its process is no more;
 *         WS_TOO_BIG; WS_BAD_TEXT; WS_FULL: as ws_publish.  [any]
 */
WS_API ws_status ws_send_anywhere(apr_uint64_t server, ws_id id, ws_type type, const char *data,
                                  apr_size_t len);

/**
 * ws_broadcast() in all processes, old and new, and on all machines, that have a WebSocketHandler line
 * with the same handler in the same virtual host and section.
 * @return WS_QUEUED, WS_TOO_BIG, WS_BAD_TEXT, WS_FULL as ws_publish.  [any]
 */
WS_API ws_status ws_broadcast_everywhere(ws_location *here, ws_type type, const char *data,
                                         apr_size_t len, ws_id except);

/** Whether a form of this message has been made.  [inside on_channel] */
WS_API int ws_event_has_form(const ws_event *event, int form);

/**
 * Make a form of an event: what is to be sent instead. It is made for the first connection that wants it,
 * framed once, and shared by all others of the loop whose on_channel returns its number.
 * @param form  2 to WS_FORMS_MAX; what each means is the handler's own affair
 * @return form, or WS_FORM_NONE when there is no memory.  [inside on_channel]
 */
WS_API int ws_event_form(const ws_event *event, int form, ws_type type, const char *data,
                         apr_size_t len);

/* ---- More on channels ------------------------------------------------------------------------- */

/** Greatest length of a key and of an event's name, bytes. */
#define WS_PUBLISH_FIELD_MAX 255

/** How to publish a message. Zeroed but for size and what is wanted; texts are NUL-terminated and copied. */
typedef struct ws_publication {
    apr_size_t size; /**< sizeof(ws_publication) */
    ws_id except;    /**< as for ws_publish() */
    const char *id;  /**< as for ws_publish_once(), or NULL */
    /** What the message is about, 1 to WS_PUBLISH_FIELD_MAX bytes of UTF-8 without control characters, or NULL:
     *  for a slow reader whose WebSocketSlowReader is keep-latest, the newest message with a key replaces
     *  older ones that still wait. */
    const char *key;
    /** The event's name for EventSource, and the field "event" in JSON; as key, but not gap, live or binary. */
    const char *event;
    /** Seconds after which the message is not delivered any more, also not from the history; 0: no limit. The
     *  clocks of machines that share a bus have to agree. */
    apr_uint32_t ttl;
} ws_publication;

/** ws_publish() with more options. @return as ws_publish_once(); WS_BAD_TEXT also for key and event.  [any] */
WS_API ws_status ws_publish_with(const char *channel, ws_type type, const char *data,
                                 apr_size_t len, const ws_publication *how, ws_published_fn fn,
                                 void *arg);

/** 1 if messages of this channel are kept (WebSocketHistory), else 0.  [any] */
WS_API int ws_channel_kept(const char *channel);

/** A page of a channel's history, the oldest message first. Pointers are valid until the function returns. */
typedef struct ws_history_part {
    apr_status_t status; /**< APR_SUCCESS, or why nothing could be read */
    const ws_event
        *events; /**< WS_EVENT_MESSAGE, of which kind, type, channel, data, len, position, event
                                 and key are set */
    apr_size_t count;
    ws_position head; /**< of the newest message; offset 0: there has been none */
    int more;         /**< older messages are kept: ask for those before the first of these */
    int gap;          /**< `before` is of a history that is gone */
} ws_history_part;

/** Receives a page. Must not block.  [any thread] */
typedef void (*ws_history_fn)(const char *channel, const ws_history_part *part, void *arg);

/** Greatest `limit` of ws_read_history(). A page has at most 1 MiB of data, or one message. */
#define WS_HISTORY_LIMIT 1000

/**
 * Read what is kept of a channel, the newest messages first, page by page.
 * @param before  only messages before this one; epoch 0: the newest
 * @param limit   messages at most, 1 to WS_HISTORY_LIMIT
 * @return WS_QUEUED: fn is called exactly once, also before this returns; WS_BAD_NAME; WS_TOO_BIG (limit);
 *         WS_MISPLACED: the channel has no history; WS_FULL: no memory; WS_GONE: the server stops.  [any]
 */
WS_API ws_status ws_read_history(const char *channel, ws_position before, apr_uint32_t limit,
                                 ws_history_fn fn, void *arg);

/* ---- Without a connection --------------------------------------------------------------------- */
/*
 * State of a process, a room's say: a handler publishes with ws_publish(), receives with a listener, and
 * measures time with a ticker, from start on. Their last calls, and those of ws_published_fn, ws_presence_fn,
 * ws_channels_fn and ws_history_fn, come before the handler's stop; none comes after it.
 */

/** Receives what is published to a channel. */
typedef struct ws_listener ws_listener;

/** An event of the channel; NULL: the last call, after which the listener is gone. Runs on a thread of an event
 *  loop, for one listener always on the same one: must not block. */
typedef void (*ws_listen_fn)(const ws_event *event, void *arg);

/**
 * Subscribe without a connection. It counts from WS_EVENT_LIVE on, and counts as a subscriber. WebSocketSubscribe
 * does not apply.
 * @param how       as for ws_subscribe(), without WS_MEMBER; or NULL
 * @param listener  set before fn is called; valid until the last call of fn
 * @return WS_QUEUED; WS_BAD_NAME; WS_LIMIT; WS_FULL: no memory; WS_GONE: the server stops. fn is called only
 *         after WS_QUEUED.  [any]
 */
WS_API ws_status ws_listen(const char *channel, const ws_subscription *how, ws_listen_fn fn,
                           void *arg, ws_listener **listener);

/** End it. The last call of fn follows, or is running.  [any, until the last call] */
WS_API void ws_listen_end(ws_listener *listener);

/** A timer without a connection. */
typedef struct ws_ticker ws_ticker;

/** Its function. last: 1 when it has been stopped, was called once, or the server stops; the ticker is gone then.
 *  Runs on a thread of an event loop, for one ticker always on the same one: must not block. */
typedef void (*ws_ticker_fn)(void *arg, int last);

/**
 * Call fn after delay, and from then on every interval; as coarse as ws_timer_start().
 * @param delay     milliseconds, at most 2^31
 * @param interval  milliseconds, 0 for once; at least 10
 * @return valid until the last call of fn; NULL when there is no memory, or the server stops.  [any]
 */
WS_API ws_ticker *ws_ticker_start(apr_uint32_t delay, apr_uint32_t interval, ws_ticker_fn fn,
                                  void *arg);

/** Stop it: only the last call of fn follows, unless another one is running.  [any, until the last call] */
WS_API void ws_ticker_stop(ws_ticker *ticker);

/** A channel that has subscribers. */
typedef struct ws_listed_channel {
    const char *channel;
    apr_uint32_t subscribers; /**< in all processes, and on all machines that have answered */
} ws_listed_channel;

/** Receives channels in the order of their names. Must not block.
 *  @param more      there are more behind the last one
 *  @param complete  0: a process has not answered in time  [any thread] */
typedef void (*ws_channels_fn)(const ws_listed_channel *channels, apr_size_t count, int more,
                               int complete, void *arg);

/** Greatest `limit` of ws_list_channels(). */
#define WS_LIST_LIMIT 1000

/**
 * List the channels that have subscribers, in all processes and on all machines.
 * @param prefix  how their names begin, "" for all
 * @param after   only names behind this one, "" for all: the last of the page before
 * @param limit   1 to WS_LIST_LIMIT
 * @return WS_QUEUED: fn is called exactly once, within two seconds, also before this returns; WS_BAD_NAME: prefix
 *         or after; WS_TOO_BIG (limit); WS_FULL: no memory; WS_GONE: the server stops.  [any]
 */
WS_API ws_status ws_list_channels(const char *prefix, const char *after, apr_uint32_t limit,
                                  ws_channels_fn fn, void *arg);

/* ---- Arguments and the log -------------------------------------------------------------------- */

/**
 * The first argument of that name in the connection's query string, decoded (%XX, and + as a space).
 * @param size   of value, bytes with its NUL; strlen(ws_args(c)) + 1 is always enough
 * @return 1; 0: there is none, value is ""; -1: it cannot be decoded, or is too long.  [callback]
 */
WS_API int ws_arg(const ws_conn *c, const char *name, char *value, apr_size_t size);

/** The same for a handshake. [inside on_request] @return the value, allocated for the request, or NULL: there is
 *  none, or it cannot be decoded */
WS_API const char *ws_request_arg(ws_request *rq, const char *name);

/** Write a line to httpd's error log, as ws_conn_log() does, without a connection. The line has at most 1,023
 *  bytes.  [any] */
WS_API void ws_log(ws_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif

#endif
