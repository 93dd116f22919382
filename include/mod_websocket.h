/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * @file mod_websocket.h
 * @brief The API of WebSocket handlers for mod_websocket, and its reference.
 *
 * A handler is a table of callbacks. A complete one:
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
 * Build it with `apxs -c ws_echo.c`, and configure `WebSocketHandler /path/ws_echo.so` in a
 * <Location>. There is no library to link: the module exports the functions below.
 *
 * THREADS. A connection belongs to one event loop, a thread in the child process. Its callbacks run
 * there, one at a time. A callback that waits (for a database, a file, a lock) delays all other
 * connections of the loop. If your handler waits, set WS_BLOCKING. Its callbacks then run on a
 * thread pool, for each connection still one at a time and in order.
 *
 * The comment of each function states where it may be called: [callback] inside a callback of this
 * connection, also a WS_BLOCKING one; [any] from any thread in the child process, at any time
 * between start and stop.
 *
 * POINTERS. The arguments of a callback (data, reason) are valid until it returns. A ws_conn is
 * valid from on_open until on_close returns. To reach a connection later, or from another thread,
 * keep its ws_id and use ws_send_to(), ws_close_id() or ws_run().
 *
 * PROCESSES. httpd runs several child processes. Each has its own connections and its own copy
 * of a handler's variables.
 *
 * ABI LOG (WS_ABI is the date of the last incompatible change. Callbacks are only added at the end
 * of ws_handler, so that older handlers still load):
 *   20261121  first version
 */

#ifndef MOD_WEBSOCKET_H
#define MOD_WEBSOCKET_H

/** The release of these headers, as in the file VERSION. */
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

/** A WebSocketHandler line of the configuration, with all its connections in this process. */
typedef struct ws_location ws_location;

/** httpd's request; handlers that use its fields include httpd.h. */
struct request_rec;

/**
 * Identifies a connection. An id contains the number of the child process, an index in that
 * process, and a generation. While the server runs, a stale id never refers to another connection:
 * functions return WS_GONE for it. 0 stands for no connection.
 */
typedef apr_uint64_t ws_id;

/** Type of a message; the values are the opcodes of RFC 6455, section 5.2. */
typedef enum { WS_TEXT = 1, WS_BINARY = 2 } ws_type;

/** The result of sending. Negative: the message was not accepted. */
typedef enum {
    WS_SENT = 0,   /**< accepted; written at the end of the callback at the latest */
    WS_QUEUED = 1, /**< accepted; the message is queued, or passed to another thread */
    WS_HANDED = 2, /**< ws_send_anywhere: passed to the process that has the connection */
    WS_FULL = -1, /**< not accepted: the queue has reached WebSocketSendQueue, and the connection is
                        being closed (WebSocketSlowReader); or out of memory */
    WS_GONE = -2, /**< not accepted: the connection is closing, closed or unknown */
    WS_TOO_BIG = -3,     /**< not accepted: longer than the protocol allows (ws_ping: 125 bytes) */
    WS_MISPLACED = -4,   /**< not accepted: a part out of order, see ws_send_part */
    WS_UNSUPPORTED = -5, /**< not accepted: the connection has version 76 or 75, see ws_version */
    WS_DROPPED =
        -6, /**< not accepted: the client reads too slowly, and WebSocketSlowReader keeps the
                              connection open */
    WS_BAD_NAME = -7,  /**< not accepted: an invalid channel name, see ws_channel_valid */
    WS_FORBIDDEN = -8, /**< not accepted: WebSocketSubscribe denies it */
    WS_LIMIT = -9,     /**< not accepted: more channels than WebSocketChannels allows */
    WS_BAD_TEXT = -10, /**< not accepted: the text is not UTF-8 */
    WS_UNCERTAIN = -11 /**< ws_published: it is unknown whether the message is published */
} ws_status;

/** The text with which all interfaces to channels report WS_UNCERTAIN to a client. */
#define WS_UNCERTAIN_TEXT "unknown whether it was published"

/** State of a connection: RFC 6455, sections 4.1 and 7.1. */
typedef enum {
    WS_OPEN = 1,    /**< messages pass in both directions */
    WS_CLOSING = 2, /**< a Close frame was sent or received; nothing more can be sent */
    WS_CLOSED = 3   /**< the connection has ended; only inside on_close */
} ws_state;

/** Status codes of the Close frame: RFC 6455, section 7.4.1, and the IANA registry. */
enum {
    WS_CLOSE_NORMAL = 1000,
    WS_CLOSE_GOING_AWAY = 1001,
    WS_CLOSE_PROTOCOL_ERROR = 1002,
    WS_CLOSE_UNSUPPORTED = 1003,
    WS_CLOSE_NO_STATUS = 1005, /**< in on_close: the peer's Close frame had no code */
    WS_CLOSE_ABNORMAL = 1006,  /**< in on_close: the connection broke */
    WS_CLOSE_BAD_DATA = 1007,
    WS_CLOSE_POLICY = 1008,
    WS_CLOSE_TOO_BIG = 1009,
    WS_CLOSE_EXTENSION = 1010,
    WS_CLOSE_INTERNAL = 1011,
    WS_CLOSE_RESTART = 1012,
    WS_CLOSE_TRY_LATER = 1013,
    WS_CLOSE_BAD_GATEWAY = 1014
};

/** ws_handler.flags: callbacks may block, so the server runs them on a thread pool. */
#define WS_BLOCKING 0x1u

/** ws_handler.flags, with on_frame: accept messages and frames of any size; WebSocketMaxMessageSize
 *  and WebSocketMaxFrameSize do not apply to this handler. */
#define WS_ANY_SIZE 0x2u

/** ws_handler.flags: never drop a message, for example because messages form a stream of bytes. If
 *  WebSocketSlowReader would drop one, the connection is closed instead. */
#define WS_LOSSLESS 0x4u

/** ws_handler.flags: after ws_close(), deliver the peer's messages (RFC 6455, section 1.4) until
 *  its Close frame arrives or WebSocketCloseTimeout expires. If the code in the peer's Close frame
 *  differs from the code of ws_close(), on_close gets the peer's code. */
#define WS_HEAR_OUT 0x8u

/** ws_handler.flags, with on_frame: report WS_FRAME_END in `where`. */
#define WS_FRAME_ENDS 0x10u

/** ws_handler.flags, with on_channel: report WS_EVENT_REFUSED. Without this flag, the connection is
 *  closed if an application refuses its subscription (WebSocketChannelHook): with 1008, or with
 *  1013 if the application does not answer. */
#define WS_REFUSED_EVENTS 0x20u

/** Bits of `where` in on_frame and ws_send_part(): this is the first or the last piece of a
 *  message. The only piece of a message has both bits. */
#define WS_FIRST 0x1u
#define WS_LAST 0x2u

/** on_frame, with WS_FRAME_ENDS: a frame of the peer ends with this piece. If an extension has
 *  changed the message, for example by compression, only the end of the last frame is reported. */
#define WS_FRAME_END 0x4u

/** on_frame, ws_send_part: the message is compressed, with the parameters that the client and
 *  another server have negotiated; see ws_request_pass_extensions(). The server has not decoded it,
 *  so text may be invalid UTF-8. */
#define WS_COMPRESSED 0x8u

/** The position of a message in the history of its channel. */
typedef struct ws_position {
    apr_uint64_t
        epoch; /**< identifies the history; changes when the history is lost or cleared; 0: none */
    apr_uint64_t offset; /**< 1 for the first message of the epoch, 2 for the second ... */
} ws_position;

/** What happens on a channel. */
typedef enum {
    WS_EVENT_MESSAGE = 1, /**< a message was published */
    WS_EVENT_LIVE =
        2, /**< all messages that the subscription requested from the history have been delivered;
                position: the newest message so far */
    WS_EVENT_GAP = 3,     /**< messages before the next one are lost */
    WS_EVENT_JOIN = 4,    /**< a member has joined, or has new data; only with WS_WATCH */
    WS_EVENT_LEAVE = 5,   /**< a member has left; only with WS_WATCH */
    WS_EVENT_MEMBERS = 6, /**< all current members have been reported; only with WS_SNAPSHOT */
    WS_EVENT_REFUSED =
        7 /**< the subscription was refused after ws_subscribe() had returned WS_QUEUED; `status`
           *   is the reason. Only with WS_REFUSED_EVENTS */
} ws_event_kind;

/** An event, for on_channel. Pointers are valid until it returns. */
typedef struct ws_event {
    ws_event_kind kind;
    ws_type type;           /**< a message's type */
    const char *channel;    /**< NUL-terminated */
    const char *data;       /**< a message's or a member's data */
    apr_size_t len;         /**< bytes */
    ws_position position;   /**< epoch 0: the channel has no history */
    apr_uint64_t server;    /**< the member's server, see ws_server() */
    ws_id id;               /**< the id of the member's connection */
    struct ws_forms *forms; /**< private */
    /** The member's ws_user(), which the client cannot choose. NULL: the member has no user, or the
     *  user's name is longer than 255 bytes or not UTF-8 */
    const char *user;
    const char *event; /**< a message's ws_publication.event, or NULL */
    const char *key;   /**< a message's ws_publication.key, or NULL */
    /** If the connection receives the event because it is subscribed to a wildcard, such as
     *  "news/" followed by a star: that wildcard. `channel` is then the channel that the message
     *  was published to. Otherwise NULL */
    const char *wildcard;
    /** With WS_EVENT_REFUSED, the reason: WS_FORBIDDEN; WS_FULL if the application does not
     *  answer; or another result of ws_subscribe() */
    ws_status status;
} ws_event;

/** Results of on_channel. A form is a message that a handler sends instead of the published one;
 *  ws_event_form() creates it. WS_FORM_NONE: do not send the message to this connection.
 *  WS_FORM_AS_IS: send the message unchanged. 2 to WS_FORMS_MAX: send the form with this number. */
#define WS_FORM_NONE 0
#define WS_FORM_AS_IS 1
#define WS_FORMS_MAX 7

/**
 * A handler: flags and callbacks. All are optional.
 */
typedef struct ws_handler {
    /**
     * WS_BLOCKING, WS_ANY_SIZE, WS_LOSSLESS, WS_HEAR_OUT, WS_FRAME_ENDS, WS_REFUSED_EVENTS, or 0.
     */
    unsigned flags;

    /**
     * Names of the handshake's request headers to keep for ws_header(), separated by commas:
     * "Cookie, User-Agent". NULL: none.
     */
    const char *keep_headers;

    /**
     * Called at start-up in the parent process, as root if httpd starts as root: once for each
     * `key=value` on the WebSocketHandler line, and once more with key and value NULL at the end of
     * the line. *config is NULL in the first call; after that it has the value set by the previous
     * call. Allocate it from pconf, which is valid until the next reload. A handler without this
     * callback accepts no keys.
     * @return NULL, or an error text. httpd then prints it with file and line, and does not
     *         start; a reload keeps the running configuration.
     */
    const char *(*configure)(apr_pool_t *pconf, const char *key, const char *value, void **config);

    /**
     * Called in each child process before its first connection, once for each WebSocketHandler
     * line. Runs as httpd's User and Group. May create threads.
     * @param pchild  valid until the child ends
     * @param here    for ws_broadcast(); valid until stop returns
     * @return APR_SUCCESS, or an error, which is logged; the child then refuses handshakes of this
     *         line with 503.
     */
    apr_status_t (*start)(apr_pool_t *pchild, void *config, ws_location *here);

    /** Called in each child process after the last on_close, once for each successful start. */
    void (*stop)(void *config);

    /**
     * Called for a valid handshake that httpd's access control has granted. May block: it runs on
     * httpd's worker threads, several of them at the same time.
     * @return 0: accept the handshake. 300 to 599: refuse it with this HTTP status and the
     *         ErrorDocument of the status. 200 to 299, only after ws_request_set_body(): send a
     *         response with this status. Any other value: refuse with 500
     */
    int (*on_request)(ws_request *rq, void *config);

    /** Called when the 101 has been sent and the connection is open. */
    void (*on_open)(ws_conn *c);

    /**
     * Called with each complete message. Text is valid UTF-8 (RFC 6455, section 8.1). data is not
     * NUL-terminated; len is at most WebSocketMaxMessageSize, in bytes, and may be 0.
     */
    void (*on_message)(ws_conn *c, ws_type type, const char *data, apr_size_t len);

    /** Called for each Pong frame: an answer to ws_ping(), or unsolicited; len 0 to 125 bytes. */
    void (*on_pong)(ws_conn *c, const char *data, apr_size_t len);

    /** Called when a send queue has shrunk to a quarter of WebSocketSendQueue. If you send much
     *  data, stop sending at WS_QUEUED, and continue in this callback. If only channel messages
     *  were queued, this is called only if the queue was longer than that quarter. */
    void (*on_drain)(ws_conn *c);

    /**
     * The connection has ended. Called exactly once for each on_open, as the last callback.
     * @param code    the code of the first Close frame of either side;
     *                WS_CLOSE_NO_STATUS if that frame had no code; WS_CLOSE_ABNORMAL if there was
     *                no Close frame
     * @param reason  UTF-8, len 0 to 123 bytes, not NUL-terminated
     */
    void (*on_close)(ws_conn *c, int code, const char *reason, apr_size_t len);

    /**
     * Called instead of on_message, with a piece of a message as it arrives. The network determines
     * the size of the pieces, up to 512 KiB. The server does not assemble them, so its memory does
     * not depend on the size of the message. A piece of text may end inside a character. Invalid
     * UTF-8 fails the connection when it is found, possibly after earlier pieces have been
     * delivered.
     * @param len    bytes, may be 0
     * @param where  WS_FIRST, WS_LAST, both, or 0 in the middle. With WS_FRAME_ENDS
     *               also WS_FRAME_END. With ws_request_pass_extensions() also WS_COMPRESSED, in all
     *               pieces of a compressed message
     */
    void (*on_frame)(ws_conn *c, ws_type type, const char *data, apr_size_t len, unsigned where);

    /**
     * Called for an event on a channel that this connection is subscribed to. The result determines
     * whether the event is sent, and in which form. Without this callback, messages are sent
     * unchanged, and other events are not sent.
     * @return WS_FORM_NONE; WS_FORM_AS_IS, which sends messages but no other events; or the
     *         number of a form
     */
    int (*on_channel)(ws_conn *c, const ws_event *event);

    /**
     * Called when the peer's Close frame has arrived, before the server answers it. The connection
     * is still WS_OPEN, so that you can send messages before the answer. No further message
     * arrives. Not called if this side has already sent its Close frame.
     * @param code    the peer's code, or WS_CLOSE_NO_STATUS
     * @param reason  UTF-8, len 0 to 123 bytes, not NUL-terminated
     * @return 0: the server answers with code and reason, unless this callback has called
     *         ws_close(); 1: the handler will call ws_close(). If it has not done so after
     *         WebSocketCloseTimeout, the server answers.
     */
    int (*on_closing)(ws_conn *c, int code, const char *reason, apr_size_t len);

    /**
     * Called when the connection's state has changed: from WS_OPEN to WS_CLOSING or WS_CLOSED, or
     * from WS_CLOSING to WS_CLOSED. Only this callback reports at once that the server has sent a
     * Close frame, for example because of a limit; on_close may follow much later. If the handler
     * itself calls ws_close() or ws_abort(), this callback runs before that call returns.
     */
    void (*on_state)(ws_conn *c, ws_state from, ws_state to);

    /**
     * Decide whether this handler serves the handshake. Without this callback, the handler serves
     * all handshakes. Called before all other checks: version, Origin, limits. Runs on an httpd
     * worker thread and must not wait. It may be called twice for one request; the first call is
     * before httpd has mapped the request to a file. Of the functions for requests, only
     * ws_request_rec(), ws_request_location(), ws_request_header() and ws_request_protocols() may
     * be called.
     * @return 1: the handler serves it; 0: httpd serves the request as if there were no
     *         WebSocketHandler
     */
    int (*on_claim)(ws_request *rq, void *config);

    /** Called when a Ping frame has arrived and the server has answered it with a Pong frame; len 0
     *  to 125 bytes. */
    void (*on_ping)(ws_conn *c, const char *data, apr_size_t len);

    /**
     * Called when a token (WebSocketTokenKey) expires soon, or has expired. Notify the client, so
     * that it sends a newer token in time. Pass the newer token to ws_use_token().
     * @param channel  the subscription that the token belongs to; NULL: the token belongs to the
     *                 connection
     * @param expired  0: the token expires within 60 s. 1: the token has expired. A subscription
     *                 has then ended already; a connection is closed (1008, "expired") after this
     *                 callback
     */
    void (*on_token)(ws_conn *c, const char *channel, int expired);

    /**
     * A comma-separated list of the keys that may occur more than once on a WebSocketHandler line,
     * each time with a different value: "channel, header". If another key occurs more than once,
     * httpd does not start. Case does not matter. "": each key may occur only once. NULL: configure
     * decides.
     */
    const char *repeatable_keys;
} ws_handler;

/** The symbol that a handler's shared object exports, or the provider that a module registers. */
typedef struct ws_handler_descriptor {
    apr_uint32_t magic;        /**< WS_MAGIC */
    apr_uint32_t abi;          /**< WS_ABI at the handler's build */
    apr_uint32_t size;         /**< sizeof(ws_handler) at the handler's build, bytes */
    const char *name;          /**< the handler's name, for the log */
    const ws_handler *handler; /**< static */
} ws_handler_descriptor;

#define WS_MAGIC 0x57534844u /* "WSHD" */

/** The symbol that WS_HANDLER defines and the module looks for in a shared object. */
#define WS_DESCRIPTOR_SYMBOL "ws_handler_descriptor_v1"

/**
 * Defines a shared object's handler. Use it once, at the end of the file:
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
 * An httpd module can also be a handler. It fills a ws_handler_descriptor, and registers it in its
 * register_hooks function:
 *
 *     ap_register_provider(p, WS_PROVIDER_GROUP, "name", WS_PROVIDER_VERSION, &descriptor);
 *
 * Configure `WebSocketHandler name`, after the module's LoadModule.
 */
#define WS_PROVIDER_GROUP "websocket_handler"
#define WS_PROVIDER_VERSION "1"

/* ---- The handshake: inside on_request, on its thread ----------------------------------------- */

/** httpd's request_rec: user, headers, notes, TLS variables. */
WS_API struct request_rec *ws_request_rec(ws_request *rq);

/**
 * The path of the <Location> with the WebSocketHandler line, without a trailing slash. It is ""
 * outside of sections, in a <VirtualHost> and in <Location "/">. The handler can use the rest of
 * r->uri.
 * @return a path that is valid as long as the configuration; NULL: the section's path is a
 *         pattern, or the section is of another kind
 */
WS_API const char *ws_request_location(ws_request *rq);

/** The value of a request header, or NULL. Valid until on_request returns. */
WS_API const char *ws_request_header(ws_request *rq, const char *name);

/**
 * The subprotocols that the client offers, in its order of preference, unchanged
 * ("chat, superchat"), or NULL.
 */
WS_API const char *ws_request_protocols(ws_request *rq);

/**
 * Choose the subprotocol of the answer. NULL chooses none. By default, the answer has the first of
 * the client's subprotocols that `protocol=` of the WebSocketHandler line lists, or none.
 * @return APR_SUCCESS; APR_EINVAL if the client did not offer it (the choice is then unchanged).
 */
WS_API apr_status_t ws_request_choose_protocol(ws_request *rq, const char *protocol);

/** The currently chosen subprotocol, or NULL. */
WS_API const char *ws_request_protocol(ws_request *rq);

/**
 * Add a header, for example Set-Cookie, to the answer: the 101 or the refusal. Both strings are
 * copied.
 * @return APR_SUCCESS; APR_EINVAL for an invalid name, a value with control characters (RFC
 *         9110, section 5.5), and for the names that the handshake itself uses (Connection,
 *         Upgrade, Content-Length, Transfer-Encoding, Sec-WebSocket-*, WebSocket-*).
 */
WS_API apr_status_t ws_request_add_header(ws_request *rq, const char *name, const char *value);

/**
 * Set the body of a refusal, instead of httpd's page or ErrorDocument. on_request may then also
 * return 200 to 299 to send an ordinary response.
 * @param type  Content-Type, or NULL; copied
 * @param data  copied
 * @param len   bytes
 * @return APR_SUCCESS; APR_EINVAL for a type with control characters
 */
WS_API apr_status_t ws_request_set_body(ws_request *rq, const char *type, const char *data,
                                        apr_size_t len);

/**
 * The client's offers of permessage-deflate. Pass them to ws_connect_options.pass_extensions to
 * forward compressed messages without decoding them.
 * @return allocated from r->pool; NULL: the client offers none, or a WebSocketExtension of
 *         the section has to read the messages
 */
WS_API const char *ws_request_offers(ws_request *rq);

/**
 * Answer the client's offers as another server has answered them, instead of using
 * WebSocketCompression. Messages are then neither inflated nor deflated; compressed ones have
 * WS_COMPRESSED in on_frame and ws_send_part(). WebSocketMaxMessageSize and rate limits apply to
 * the compressed size. The handler needs on_frame and WS_LOSSLESS, because a missing message would
 * make later ones unreadable.
 * @param answer  value of the other server's Sec-WebSocket-Extensions; copied
 * @return APR_SUCCESS; APR_EINVAL: the answer does not match ws_request_offers()
 */
WS_API apr_status_t ws_request_pass_extensions(ws_request *rq, const char *answer);

/**
 * The pool that becomes the connection's pool (ws_pool). The first call creates it (8 KiB). It is
 * destroyed after on_close, or when the handshake fails. Release the data that you have set with
 * ws_request_set_data() in a cleanup of this pool.
 */
WS_API apr_pool_t *ws_request_pool(ws_request *rq);

/** Attach the handler's data, which ws_data() returns. */
WS_API void ws_request_set_data(ws_request *rq, void *data);

/* ---- Sending --------------------------------------------------------------------------------- */

/**
 * Send one message. data is copied or sent before the call returns. Text must be UTF-8; this is not
 * checked. Messages to the connection whose callback is running are written together at the end of
 * the callback, in one system call if they fit.
 * @param len  bytes
 * @return WS_SENT, WS_QUEUED, WS_FULL, WS_DROPPED, WS_GONE, WS_UNSUPPORTED.  [callback]
 */
WS_API ws_status ws_send(ws_conn *c, ws_type type, const char *data, apr_size_t len);

/**
 * ws_send() with a key, which identifies the subject of the message, such as the price of one
 * share. The key is any number except 0. With WebSocketSlowReader keep-latest, a newer message
 * replaces a queued one with the same key, at the same position in the queue. Otherwise the key has
 * no effect.
 * @return as ws_send  [callback]
 */
WS_API ws_status ws_send_keyed(ws_conn *c, ws_type type, const char *data, apr_size_t len,
                               apr_uint64_t key);

/**
 * Send one message in parts, each as a separate frame (RFC 6455, section 5.4). The memory needed
 * then does not depend on the size of the message. Other messages to the connection (ws_send,
 * ws_send_to, ws_broadcast) wait for the last part. Control frames are sent between the parts.
 * @param type   the message's type, the same for all its parts
 * @param where  WS_FIRST for the first part, WS_LAST for the last part, which may be
 *               empty. The first part may also have WS_COMPRESSED, see ws_request_pass_extensions()
 * @return as ws_send; WS_MISPLACED: a first part before the last part of the previous message, or
 *         another part without a first part. After WS_DROPPED for the first part, the message has
 *         not begun, so the next part must be a first part again. Other parts are never dropped: if
 *         the queue is full, the connection is closed.  [callback]
 */
WS_API ws_status ws_send_part(ws_conn *c, ws_type type, const char *data, apr_size_t len,
                              unsigned where);

/**
 * Send a Ping frame with up to 125 bytes. The answer is passed to on_pong. The server also sends
 * pings of its own (WebSocketPing). If the queue is full, the Ping is not accepted, and the
 * connection stays open.
 * @return as ws_send, or WS_TOO_BIG.  [callback]
 */
WS_API ws_status ws_ping(ws_conn *c, const char *data, apr_size_t len);

/**
 * Start the closing handshake: a Close frame follows all messages that were sent before. on_close
 * is called when the peer answers, or after WebSocketCloseTimeout.
 * @param code    1000 to 1003, 1007 to 1014 or 3000 to 4999; WS_CLOSE_NO_STATUS for a
 *                frame without code. Any other code is sent as 1011 and logged
 * @param reason  UTF-8, truncated to 123 bytes at a character boundary; NULL: none
 * @return WS_QUEUED, or WS_GONE if the connection is already closing.  [callback]
 */
WS_API ws_status ws_close(ws_conn *c, int code, const char *reason);

/**
 * Break the connection without a closing handshake, for example if the peer is abusive. Queued data
 * is dropped, and the client gets a reset (RST). For a relayed connection (HTTP/2), the server ends
 * the stream instead. on_close follows, with WS_CLOSE_ABNORMAL unless a Close frame was sent or
 * received before.
 * @return WS_QUEUED, or WS_GONE if the connection is already closed.  [callback]
 */
WS_API ws_status ws_abort(ws_conn *c);

/** Queued bytes, frame headers included.  [callback] */
WS_API apr_size_t ws_queued(ws_conn *c);

/** Like ws_send(), for a connection of this process that is identified by its id. A message with
 *  the result WS_QUEUED can still be lost: if the connection has ended, if its queue is full, or if
 *  its version has no binary messages. The last two cases are logged.
 *  @return WS_QUEUED; WS_GONE; WS_FULL: 64 MiB are pending for its loop, or out of memory  [any] */
WS_API ws_status ws_send_to(ws_id id, ws_type type, const char *data, apr_size_t len);

/** Like ws_close(), for a connection that is identified by its id.
 *  @return WS_QUEUED; WS_GONE; WS_FULL: out of memory.  [any] */
WS_API ws_status ws_close_id(ws_id id, int code, const char *reason);

/**
 * Send one message to all open connections of a WebSocketHandler line in this process. The frame is
 * built once and shared. Connections of versions 76 and 75 do not get binary messages.
 * @param except  a connection to exclude, for example the sender, or 0
 * @return WS_QUEUED; WS_FULL: 64 MiB are pending for a loop, or out of memory.  [any]
 */
WS_API ws_status ws_broadcast(ws_location *here, ws_type type, const char *data, apr_size_t len,
                              ws_id except);

/** ws_broadcast() with a key, see ws_send_keyed().  [any] */
WS_API ws_status ws_broadcast_keyed(ws_location *here, ws_type type, const char *data,
                                    apr_size_t len, ws_id except, apr_uint64_t key);

/* ---- Reading --------------------------------------------------------------------------------- */

/**
 * Stop reading from the socket. No message is delivered until ws_resume(), and TCP slows the peer
 * down. Meanwhile, pings are not answered, and missing pongs are ignored. But if the peer closes
 * its side of the stream, the connection ends after the time that WebSocketPing sets.  [callback]
 */
WS_API void ws_pause(ws_conn *c);

/** Resume reading. One ws_resume() ends any number of ws_pause() calls.  [callback] */
WS_API void ws_resume(ws_conn *c);

/* ---- Properties of a connection -------------------------------------------------------------- */
/* Strings are valid as long as the connection, and never change.  [callback] */

/** The id of the connection, for ws_send_to() and ws_close_id().  [callback] */
WS_API ws_id ws_conn_id(const ws_conn *c);

/** Open, closing or closed, see ws_state.  [callback] */
WS_API ws_state ws_conn_state(const ws_conn *c);
/** The handler's data; NULL at first. */
WS_API void *ws_data(const ws_conn *c);
WS_API void ws_set_data(ws_conn *c, void *data);
/** The result of configure, or NULL. */
WS_API void *ws_config(const ws_conn *c);
WS_API ws_location *ws_conn_location(const ws_conn *c);
/** The connection's pool. The first call creates it (8 KiB). It is destroyed after on_close. NULL:
 *  out of memory. */
WS_API apr_pool_t *ws_pool(ws_conn *c);
/** The subprotocol, or NULL. */
WS_API const char *ws_protocol(const ws_conn *c);
/**
 * Version of the protocol: 13, 8 or 7; or 76 or 75, if WebSocketVersions enables these drafts.
 * Versions 76 and 75 have only text messages, and no pings:
 *   - ws_send() and ws_send_part() with WS_BINARY, and ws_ping(), return WS_UNSUPPORTED; on_pong is
 *     not called;
 *   - in text that is not UTF-8, a byte 0xFF is sent as U+FFFD;
 *   - code and reason of ws_close() are not sent, but passed to on_close; a close by the client has
 *     the code WS_CLOSE_NO_STATUS. Version 75 has no closing handshake, so the end of the stream is
 *     the close.
 */
WS_API int ws_version(const ws_conn *c);
/** Path of the request, decoded, as in r->uri. */
WS_API const char *ws_uri(const ws_conn *c);
/** Query string as sent, without the question mark, or NULL. */
WS_API const char *ws_args(const ws_conn *c);
/** r->user, or NULL. */
WS_API const char *ws_user(const ws_conn *c);
/** The client's address as text, as determined by mod_remoteip. */
WS_API const char *ws_peer(const ws_conn *c);
/** ServerName of the virtual host, or NULL. */
WS_API const char *ws_vhost(const ws_conn *c);
/** 1 if the client uses TLS to this server. */
WS_API int ws_secure(const ws_conn *c);
/**
 * The name of the transport that carries the messages: "websocket". With WebSocketTransports
 * sockjs, the name is that of the session's first request: "sockjs-websocket", "xhr-streaming",
 * "xhr", "eventsource", "htmlfile" or "jsonp".
 * @return static text  [callback]
 */
WS_API const char *ws_transport_name(const ws_conn *c);
/** A request header that keep_headers names (not case-sensitive), or NULL. */
WS_API const char *ws_header(const ws_conn *c, const char *name);

/** Log levels. They correspond to httpd's error, warn, info, debug and trace4. */
typedef enum { WS_LOG_ERROR, WS_LOG_WARNING, WS_LOG_INFO, WS_LOG_DEBUG, WS_LOG_TRACE } ws_log_level;

/**
 * Write a line about the connection to httpd's error log, if `LogLevel websocket:...` includes the
 * level. The line begins with client, path and id, and has at most 1,023 bytes.  [callback]
 */
WS_API void ws_conn_log(ws_conn *c, ws_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- Connections to other servers ------------------------------------------------------------ */

/** Identifies an attempt to connect. 0: no attempt. */
typedef apr_uint64_t ws_attempt;

/** For ws_connect_options: no limit for a time or length. As ping_interval: no pings. */
#define WS_NEVER 0xFFFFFFFFu

/** A server's or proxy's answer to a handshake. Pointers are valid until on_response returns.
 *  The server chooses the texts, so escape them for a terminal or a page. */
typedef struct ws_response {
    int status;                 /**< 100 to 999 */
    int proxy;                  /**< 1: the proxy's answer to CONNECT */
    const char *request;        /**< request line and headers of the request, with credentials */
    const char *reason;         /**< the reason phrase, or "" */
    const char *const *headers; /**< name, value, name, value ..., NULL */
    const char *body;           /**< a refusal's body, with chunks decoded, or "" */
    apr_size_t body_len;        /**< bytes, at most max_body */
    int body_cut;               /**< 1: the body was longer */
} ws_response;

/** Options of ws_connect(). Set size and the options that you need, and zero the rest. All strings
 *  are copied. Times are in milliseconds. The value 0 stands for the default, which the comment of
 *  the option names last. "c's value" is the setting of the connection c in ws_connect(). */
typedef struct ws_connect_options {
    apr_size_t size; /**< sizeof(ws_connect_options) */

    /** "wss://user:password@host:port/path?query"; ws:// for no TLS. User and password are sent as
     *  Basic credentials. IPv6 addresses must be in brackets. */
    const char *url;
    /** The connection's handler. ws_connect() uses its flags, the callbacks on_open to on_frame,
     *  and keep_headers. keep_headers here names headers of the server's answer. The handler must
     *  be valid as long as the connection. */
    const ws_handler *handler;
    /** Becomes the connection's ws_data(). */
    void *data;
    /**
     * Called when the attempt has failed. No other callback follows. It may call ws_connect(). It
     * runs on the event loop even for WS_BLOCKING handlers, so it must not wait.
     * @param data    from these options
     * @param reason  "connect: Connection refused", "handshake: server answered
     *                403", "certificate: host name mismatch"; docs/client.md lists them. Valid
     *                until on_failure returns.
     * @param status  the HTTP status of a refusal, or 0
     */
    void (*on_failure)(void *data, const char *reason, int status);

    int version;           /**< 13 (the default) or 8 */
    const char *protocols; /**< subprotocols to offer, in order of preference: "chat, superchat" */
    const char *origin;    /**< value of the Origin header, which browsers send */
    const char *const *headers; /**< further request headers: name, value, name, value ..., NULL */
    int deflate;                /**< WS_DEFLATE_..., 0: permessage-deflate is not offered */

    const char *ca_file;     /**< certificates (PEM) to trust; NULL: the system's */
    const char *certificate; /**< client certificate (PEM, with its chain) */
    const char *key;         /**< private key of certificate (PEM); NULL: in the same file. Not
                              *   allowed without certificate */
    const char *server_name; /**< the name to request (SNI) and to verify; NULL: the URL's host */
    int insecure;            /**< 1: do not verify the server's certificate */

    /** A proxy: "http://user:password@host:port"; https:// for TLS to the proxy; or socks5://,
     *  where the proxy resolves the server's name. "": no proxy. NULL: the environment's proxy if
     *  proxy_environment is 1, otherwise no proxy. */
    const char *proxy;
    const char *source; /**< local IPv4 or IPv6 address to connect from; NULL: any */
    unsigned redirects; /**< maximum number of redirects; 0: a redirect is a failure */

    apr_uint32_t lookup_timeout; /**< time to resolve the name of the server or proxy; 5 s */
    apr_uint32_t
        connect_timeout; /**< time to connect to one address; after 250 ms, the next address is
                          *   tried in parallel (RFC 8305); 5 s */
    apr_uint32_t handshake_timeout; /**< time from the connect to the handshake's end; 10 s */
    apr_uint32_t close_timeout;     /**< time for the closing handshake; c's value, or 5 s */
    apr_uint32_t
        ping_interval;       /**< time without input after which a ping is sent; WS_NEVER: no pings;
                        *   c's value, or 20 s */
    apr_uint32_t ping_grace; /**< time for the answer to a ping; c's value, or 10 s */

    apr_size_t max_answer;    /**< maximum size of the answer's head, bytes; 16 KiB */
    apr_uint64_t max_message; /**< maximum size of a received message, bytes; WS_NEVER: no limit;
                               *   c's value, or 1 MiB */
    apr_uint64_t max_frame;   /**< maximum payload of a received frame, bytes; WS_NEVER: no limit;
                               *   max_message if that is set; otherwise c's value, or 1 MiB */
    apr_size_t send_queue;    /**< size of the send queue, bytes; c's value, or 1 MiB */
    apr_size_t fragment;      /**< maximum payload of a sent frame, bytes; 0: any */
    int trace;                /**< 1: log each frame; 2: with its first bytes. c's value, or 0 */
    apr_uint32_t delay;       /**< milliseconds before the attempt begins */

    /** Called for each answer in order: interim ones (1xx), a proxy's, redirects, refusals,
     *  101. Runs on the event loop, so it must not wait. May be NULL. */
    void (*on_response)(void *data, const ws_response *response);
    apr_size_t
        max_body; /**< maximum number of bytes of a refusal's body to read for on_response, at most
                   *   1 MiB; 0: none. Reading them counts towards handshake_timeout */
    /** 1: if proxy is NULL, use the proxy from the environment: https_proxy for wss, http_proxy for
     *  ws, otherwise all_proxy. No proxy is used if no_proxy lists the host. */
    int proxy_environment;
    const char *const
        *connect_to; /**< "HOST:PORT:HOST2:PORT2" ..., NULL: for HOST:PORT, connect to HOST2:PORT2
                      *   instead. An empty HOST or PORT means any; an empty HOST2 or PORT2 means
                      *   unchanged. HOST2 can be several addresses, separated by commas. Not
                      *   allowed with a proxy, even from the environment */
    const char *unix_socket; /**< path of a unix socket to connect to instead of the URL's host */
    const char *key_log;     /**< file for the secrets of TLS sessions, like SSLKEYLOGFILE, for
                              *   debugging. Do not set it in a handler */
    /**
     * Connect again after this many milliseconds if the connection has ended or failed; 0: never.
     * The delay doubles up to reconnect_max. The time waited is random, between half the delay and
     * the delay. Retry-After in 503 and 429 responses extends it, up to reconnect_max. After a
     * connection that stayed open for longer than the last delay, the first delay applies again.
     * There is no further attempt after failures that begin with "url:" or "request:", after a
     * status of 400 to 499 except 408, 425 and 429, and after a connection that ws_close() has
     * closed. on_failure is called when the attempts end, except after an on_close.
     * ws_connect_cancel() ends the attempts; an open connection stays open.
     */
    apr_uint32_t reconnect;
    apr_uint32_t reconnect_max; /**< milliseconds; 60 s */
    /**
     * Called on the event loop before each delay. NULL: always continue.
     * @param delay   milliseconds
     * @param reason  as for on_failure; or "closed: 1006", with the code that on_close got
     * @param status  as for on_failure
     * @return 0: stop; anything else: continue
     */
    int (*on_reconnect)(void *data, apr_uint32_t delay, const char *reason, int status);
    /** Offers of permessage-deflate to send unchanged, see ws_request_offers(). If the server
     *  accepts one, messages are neither inflated nor deflated, and compressed ones have
     *  WS_COMPRESSED. This needs a handler with on_frame. NULL: see deflate */
    const char *pass_extensions;
    /** 1: for a wss URL, ws_request_connect() uses mod_ssl's SSLProxy directives of the request's
     *  section instead of ca_file, certificate, key and insecure. For another server, to which a
     *  redirect leads, ca_file and insecure apply instead */
    int ssl_proxy;
} ws_connect_options;

/** ws_connect_options.deflate: offer permessage-deflate (RFC 7692). WITHOUT_TAKEOVER: compress each
 *  message independently, which saves memory on both sides. */
#define WS_DEFLATE_OFFER 1
#define WS_DEFLATE_WITHOUT_TAKEOVER 2

/**
 * Connect to another WebSocket server. The connection is like any other, with the callbacks of
 * options->handler. Its ws_conn_location() and ws_config() are NULL, ws_peer() is the server's
 * address, ws_uri() and ws_args() are from the URL, and ws_vhost() is the URL's host.
 *
 * If c is not NULL, the new connection belongs to the event loop of c. Unless one of the two
 * handlers is WS_BLOCKING, their callbacks never run at the same time, and a callback of one
 * connection may call functions marked [callback] for the other. The limits and times of c are the
 * defaults of the options.
 *
 * @param c  the connection whose callback makes this call. NULL: use the loop of the calling
 *           thread, or if this thread is not a loop, the loop with the fewest connections
 * @return an attempt: on_open or on_failure is called after this function has returned; 0: out of
 *         memory, no handler, or the server is stopping; neither is called.  [any], with c
 *         [callback]
 */
WS_API ws_attempt ws_connect(ws_conn *c, const ws_connect_options *options);

/**
 * ws_connect() inside on_request, for the client of the handshake. The limits and times of its
 * Location are the defaults, and both connections will belong to the same event loop. on_request
 * runs on an httpd thread, so it may wait until on_open or on_failure has been called on the
 * loop, and then pass the other server's answer on to the client. If the client's on_open is never
 * called, the handler must close the other connection, in a cleanup of ws_request_pool().
 * @return as ws_connect
 */
WS_API ws_attempt ws_request_connect(ws_request *rq, const ws_connect_options *options);

/**
 * Check options in configure, so that httpd -t refuses what cannot work: the URL, the proxy, the
 * unix socket, source, connect_to, the request's headers, and the files with certificates, which
 * must be readable. Options that are not set are not checked. Nothing is connected or resolved.
 * @param p  pool for a copy of the options and for the error text
 * @return NULL, or the reason that on_failure would get: "certificate: no trusted certificates in
 *         /etc/ca.pem: no certificate or crl found".  [any thread except event loops]
 */
WS_API const char *ws_connect_check(apr_pool_t *p, const ws_connect_options *options);

/** Cancel an attempt: neither on_open nor on_failure is called any more. If you call this function
 *  on another thread, either of them may run at the same time. No effect on an attempt that has
 *  ended.  [any] */
WS_API void ws_connect_cancel(ws_attempt attempt);

/* ---- Time and other threads ------------------------------------------------------------------ */

typedef struct ws_timer ws_timer;

/** A timer's function. It runs as a callback of the connection. */
typedef void (*ws_timer_fn)(ws_conn *c, void *arg);

/**
 * Call fn after delay, then every interval. Timers fire up to 20 ms late, or later if the loop is
 * busy; intervals do not drift. Timers end with their connection.
 * @param delay     milliseconds, at most 2^31
 * @param interval  milliseconds, 0 for once; at least 10
 * @return the timer, valid until ws_timer_stop() or, with interval 0, until fn returns; NULL: out
 *         of memory, or the connection is closed.  [callback]
 */
WS_API ws_timer *ws_timer_start(ws_conn *c, apr_uint32_t delay, apr_uint32_t interval,
                                ws_timer_fn fn, void *arg);

/** Stop a timer: fn is not called again. May be called inside of fn.  [callback] */
WS_API void ws_timer_stop(ws_conn *c, ws_timer *t);

/** Events of a file descriptor. */
enum {
    WS_READABLE = 0x1,
    WS_WRITABLE = 0x2,
    WS_BROKEN = 0x4 /**< both directions are closed, or an error occurred; earlier data can still
                     *   be read. Always reported, unless the watch has events 0 */
};

/** A file descriptor of the handler that the connection's loop watches. */
typedef struct ws_watch ws_watch;

/** A watch's function. It runs as a callback of the connection. events: WS_READABLE, ... */
typedef void (*ws_watch_fn)(ws_conn *c, int fd, unsigned events, void *arg);

/**
 * Call fn when a file descriptor is ready, and again as long as it is ready. The descriptor can be
 * a socket, a pipe, a pidfd, or anything else that epoll(7) accepts, but not a file. Handlers on
 * the loop should use non-blocking descriptors. Watches end with their connection, before on_close.
 * Close the descriptor in on_close, or after ws_watch_stop().
 * @param events  WS_READABLE, WS_WRITABLE, both, or 0: report nothing for now
 * @return the watch, valid until ws_watch_stop() or until on_close returns; NULL: out of memory,
 *         the descriptor cannot be watched (a file; already watched), or the connection is
 *         closed. With a WS_BLOCKING handler, the connection ends if the descriptor cannot be
 *         watched.  [callback]
 */
WS_API ws_watch *ws_watch_start(ws_conn *c, int fd, unsigned events, ws_watch_fn fn, void *arg);

/** Watch for other events from now on. May be called inside of fn.  [callback] */
WS_API void ws_watch_set(ws_conn *c, ws_watch *w, unsigned events);

/** Stop a watch: fn is not called again. May be called inside of fn.  [callback] */
WS_API void ws_watch_stop(ws_conn *c, ws_watch *w);

/**
 * Run fn as a callback of the connection, in order with its other callbacks: on its loop, or on the
 * thread pool for a WS_BLOCKING handler.
 * @return WS_QUEUED: fn is called exactly once. If the connection has ended by then, c is
 *         NULL, so that fn can release arg; this call may be on any thread. WS_GONE or WS_FULL (out
 *         of memory, or 64 MiB of calls are pending for its loop): fn is not called. If 4,096
 *         callbacks are pending for a WS_BLOCKING handler, the connection is closed with 1011, and
 *         c is NULL.  [any]
 */
WS_API ws_status ws_run(ws_id id, void (*fn)(ws_conn *c, void *arg), void *arg);

/* ---- Channels -------------------------------------------------------------------------------- */
/*
 * A channel is a name. A message that is published to a channel is sent to all connections that are
 * subscribed to it. These can be in any child process, including old generations after a reload,
 * and with WebSocketBus on any machine. Messages that one thread publishes to a channel keep their
 * order. docs/channels.md lists the guarantees.
 */

/** Maximum length of a channel's name, and of a member's data, bytes. */
#define WS_CHANNEL_MAX 200
#define WS_MEMBER_MAX 1024

/** Whether this is a valid channel name: 1 to WS_CHANNEL_MAX of A-Z a-z 0-9 - _ . ~ : / @ + = !
 *  [any] */
WS_API int ws_channel_valid(const char *channel);

/** Find the longest prefix of a text that has at most max bytes, is valid UTF-8 and does not end
 *  inside a character. Use it for text that may be too long or not UTF-8, such as a file's name.
 *  @return the length of that prefix, bytes  [any] */
WS_API apr_size_t ws_text_prefix(const char *text, apr_size_t len, apr_size_t max);

/** ws_subscription.flags */
#define WS_RESUME 0x1u /**< first deliver the messages of the history that follow `after` */
#define WS_MEMBER 0x2u /**< become a member of the channel, visible to others: ws_presence() */
#define WS_WATCH 0x4u  /**< receive events for members: WS_EVENT_JOIN, WS_EVENT_LEAVE */

/** First deliver the newest `last` messages of the history. Not together with WS_RESUME. */
#define WS_RESUME_LAST 0x10u

/** With WS_WATCH: first report the current members, each as a WS_EVENT_JOIN, then WS_EVENT_MEMBERS,
 *  then changes. */
#define WS_SNAPSHOT 0x20u

/** Send messages unchanged, and call on_channel for other events only. */
#define WS_AS_PUBLISHED 0x40u

/** Change an existing subscription: add WS_MEMBER and WS_WATCH to it, as far as they are set. With
 *  WS_RESUME, it receives the messages after `after` again, followed by another WS_EVENT_LIVE.
 *  No message that is published meanwhile is lost. If there is no subscription, this flag has no
 *  effect. */
#define WS_CHANGE 0x8u

/** How to subscribe. */
typedef struct ws_subscription {
    unsigned flags;
    ws_position after;     /**< with WS_RESUME: position; epoch 0: the whole history */
    const char *member;    /**< with WS_MEMBER: data for others, UTF-8; copied */
    apr_size_t member_len; /**< bytes, at most WS_MEMBER_MAX */
    apr_uint32_t last;     /**< with WS_RESUME_LAST: number of messages, at least 1 */
} ws_subscription;

/**
 * Subscribe the connection to messages that are published from now on. The messages that `how`
 * requests from the history are delivered first, then WS_EVENT_LIVE, then messages in the order of
 * publication. If the channel has a history, messages are delivered in the order of their
 * positions, each exactly once. The subscription ends with the connection.
 * @param how  NULL: as if all fields were 0. If the connection is subscribed already, only the
 *             member's data is changed, unless WS_CHANGE is set
 * @return WS_QUEUED; WS_BAD_NAME; WS_FORBIDDEN; WS_LIMIT; WS_TOO_BIG: member_len exceeds
 *         WS_MEMBER_MAX; WS_BAD_TEXT: member is not UTF-8; WS_GONE; WS_FULL: out of memory.
 *         [callback]
 */
WS_API ws_status ws_subscribe(ws_conn *c, const char *channel, const ws_subscription *how);

/** End a subscription. @return WS_QUEUED, or WS_GONE: not subscribed.  [callback] */
WS_API ws_status ws_unsubscribe(ws_conn *c, const char *channel);

/** Call fn for each channel that the connection is subscribed to. All calls are made before this
 *  function returns.  [callback] */
WS_API void ws_subscriptions_of(ws_conn *c, void (*fn)(const char *channel, void *arg), void *arg);

/** The result of publishing. */
typedef struct ws_published {
    ws_status status;       /**< WS_QUEUED: published. WS_FULL: not published, see ws_publish.
                           WS_UNCERTAIN: perhaps published, because the bus failed. Publish the
                           message again with ws_publish_once() */
    ws_position position;   /**< epoch 0: the channel has no history */
    apr_uint32_t receivers; /**< subscribed connections in all child processes of this httpd, as far
                    *   as this process knows. Connections on other machines are not counted */
    apr_uint32_t missed;    /**< number of processes or machines that could not be reached */
    int duplicate; /**< 1: a message with that id was published before; the other fields are
                    *   about that message */
} ws_published;

/** Receives the result of publishing. Must not block.  [any thread] */
typedef void (*ws_published_fn)(const ws_published *what, void *arg);

/**
 * Publish a message. It is copied. Text must be UTF-8, because invalid text would close the
 * connections of all subscribers.
 * @param len     bytes, at most WS_PUBLISH_MAX
 * @param except  a connection to exclude, for example the sender, or 0
 * @param fn      NULL, or called exactly once if the result is WS_QUEUED: before this
 *                function returns, or later on another thread
 * @return WS_QUEUED; WS_BAD_NAME; WS_TOO_BIG; WS_BAD_TEXT; WS_GONE: the server stops;
 *         WS_FULL: the queue for a loop, a process or the history has reached WebSocketBusQueue, or
 *         memory is exhausted. After WS_FULL, the message is not published at all, so you can
 *         publish it again later. A counter shows how often this happens.  [any]
 */
WS_API ws_status ws_publish(const char *channel, ws_type type, const char *data, apr_size_t len,
                            ws_id except, ws_published_fn fn, void *arg);

/** Maximum length of a message's id, bytes. */
#define WS_ONCE_MAX 255

/**
 * ws_publish() with an id that the publisher chooses. For ten minutes, no other message with the
 * same id is published to that channel by any process of this httpd, or with WebSocketBus on any
 * machine. A publisher that does not know the result can therefore publish again. httpd stores at
 * least 8,000 ids and drops the oldest first. If a child is killed between publishing and storing
 * the id, the message can be published twice.
 * @param id   1 to WS_ONCE_MAX bytes, NUL-terminated
 * @param fn   gets WS_QUEUED with `duplicate` if a message with that id was published
 *             before, or WS_FULL if another one with that id is currently being published
 * @return as ws_publish; WS_BAD_NAME also for the id.  [any]
 */
WS_API ws_status ws_publish_once(const char *channel, ws_type type, const char *data,
                                 apr_size_t len, ws_id except, const char *id, ws_published_fn fn,
                                 void *arg);

/** Maximum size of a published message: 16 MiB. */
#define WS_PUBLISH_MAX (16 * 1024 * 1024)

/** Number of connections that are subscribed to a channel in all processes of this httpd, as far as
 *  this process knows. Those on other machines are not counted; ws_list_channels() counts them.
 *  @return 0 also for an invalid name  [any] */
WS_API apr_uint32_t ws_subscribers(const char *channel);

/** A member of a channel. */
typedef struct ws_member {
    apr_uint64_t server; /**< see ws_server() */
    ws_id id;            /**< id of the member's connection */
    const char *data;    /**< the member's data, see ws_subscription.member */
    apr_size_t len;
} ws_member;

/** A member's user, as in ws_event, or NULL.  [inside ws_presence_fn] */
WS_API const char *ws_member_user(const ws_member *member);

/** Receives the members of a channel. complete is 0 if a process did not answer in time. Pointers
 *  are valid until this function returns. It must not block.  [any thread] */
typedef void (*ws_presence_fn)(const char *channel, const ws_member *members, apr_size_t count,
                               int complete, void *arg);

/** Request the members of a channel. @return WS_QUEUED: fn is called exactly once, within two
 *  seconds, possibly before this function returns; WS_BAD_NAME, WS_FULL, WS_GONE: fn is not
 *  called.  [any] */
WS_API ws_status ws_presence(const char *channel, ws_presence_fn fn, void *arg);

/** Actions of a client on a channel. */
typedef enum { WS_MAY_SUBSCRIBE, WS_MAY_PUBLISH } ws_action;

/**
 * Check WebSocketSubscribe or WebSocketPublish for this connection and this channel. ws_subscribe()
 * itself makes this check. Call this function before you publish a client's message.
 * @return 1: allowed; 0: denied; -1: the directive is not set, and the handler decides.
 *         [callback]
 */
WS_API int ws_may(ws_conn *c, ws_action action, const char *channel);

/**
 * Use a token that the client has sent (docs/tokens.md). If the connection has no user, the token's
 * `sub` becomes the user of the connection.
 * @param channel  the channel that the token is for. NULL: the token replaces the connection's
 *                 token, and subscriptions that only the old token permitted end
 * @return NULL, or why the token is refused: a static text for the client.  [callback]
 */
WS_API const char *ws_use_token(ws_conn *c, const char *channel, const char *token);

/** The number that identifies this httpd among those that a bus connects. It is random, and the
 *  same in all processes of this httpd until it stops.  [any] */
WS_API apr_uint64_t ws_server(void);

/**
 * ws_send_to() to a connection in any process, or on any machine.
 * @param server  the httpd that has the connection; 0: this one
 * @return WS_QUEUED: the connection is in this process; WS_HANDED: passed to another
 *         process or the bus, where the connection may have ended; WS_GONE: the connection's
 *         process has ended; WS_TOO_BIG; WS_BAD_TEXT; WS_FULL: as ws_publish.  [any]
 */
WS_API ws_status ws_send_anywhere(apr_uint64_t server, ws_id id, ws_type type, const char *data,
                                  apr_size_t len);

/**
 * ws_broadcast() in all processes, old and new, and on all machines, where a WebSocketHandler line
 * has the same handler in the same virtual host and section.
 * @return WS_QUEUED, WS_TOO_BIG, WS_BAD_TEXT, WS_FULL as ws_publish.  [any]
 */
WS_API ws_status ws_broadcast_everywhere(ws_location *here, ws_type type, const char *data,
                                         apr_size_t len, ws_id except);

/** Whether this form of the event has been created.  [inside on_channel] */
WS_API int ws_event_has_form(const ws_event *event, int form);

/**
 * Create a form of an event: a message to send instead of the event. Create a form for the first
 * connection that needs it. It is framed once, and shared by all connections of the loop for which
 * on_channel returns the form's number.
 * @param form  2 to WS_FORMS_MAX; the handler defines the meaning
 * @return form, or WS_FORM_NONE: out of memory.  [inside on_channel]
 */
WS_API int ws_event_form(const ws_event *event, int form, ws_type type, const char *data,
                         apr_size_t len);

/* ---- Publishing with options, and histories -------------------------------------------------- */

/** Maximum length of a key and of an event's name, bytes. */
#define WS_PUBLISH_FIELD_MAX 255

/** How to publish a message. Set size and the fields that you need, and zero the rest. Texts are
 *  NUL-terminated and copied. */
typedef struct ws_publication {
    apr_size_t size; /**< sizeof(ws_publication) */
    ws_id except;    /**< a connection to exclude, as for ws_publish() */
    const char *id;  /**< the message's id, as for ws_publish_once(), or NULL */
    /** The subject of the message: 1 to WS_PUBLISH_FIELD_MAX bytes of UTF-8 without control
     *  characters, or NULL. With WebSocketSlowReader keep-latest, a newer message replaces those
     *  with the same key in the queues of slow clients. */
    const char *key;
    /** The event's name for EventSource, and the value of the field "event" in JSON. The rules for
     *  `key` apply. The name must not be "gap", "live" or "binary". */
    const char *event;
    /** Seconds after which the message is no longer delivered, not even from the history; 0: no
     *  limit. The clocks of machines that share a bus must agree. */
    apr_uint32_t ttl;
} ws_publication;

/**
 * ws_publish() with more options.
 * @return as ws_publish_once(); WS_BAD_TEXT also for key and event.  [any]
 */
WS_API ws_status ws_publish_with(const char *channel, ws_type type, const char *data,
                                 apr_size_t len, const ws_publication *how, ws_published_fn fn,
                                 void *arg);

/** 1: the channel has a history (WebSocketHistory); 0: it has none.  [any] */
WS_API int ws_channel_kept(const char *channel);

/**
 * A page of a channel's history, the oldest message first. Pointers are valid until the function
 * returns.
 */
typedef struct ws_history_part {
    apr_status_t status; /**< APR_SUCCESS; or an error, and nothing was read */
    const ws_event
        *events; /**< the messages. Only kind (WS_EVENT_MESSAGE), type, channel, data, len,
                  *   position, event and key are set */
    apr_size_t count;
    ws_position head; /**< position of the newest message; offset 0: no message yet */
    int more;         /**< 1: there are older messages; request those before the first of this
                       *   page */
    int gap;          /**< 1: `before` belongs to an earlier history */
} ws_history_part;

/** Receives a page. Must not block.  [any thread] */
typedef void (*ws_history_fn)(const char *channel, const ws_history_part *part, void *arg);

/** Maximum `limit` of ws_read_history(). A page has at most 1 MiB of data, or one message. */
#define WS_HISTORY_LIMIT 1000

/**
 * Read the history of a channel page by page, starting with the newest page.
 * @param before  only messages before this one; epoch 0: the newest
 * @param limit   maximum number of messages, 1 to WS_HISTORY_LIMIT
 * @return WS_QUEUED: fn is called exactly once, possibly before this returns; WS_BAD_NAME;
 *         WS_TOO_BIG: invalid limit; WS_MISPLACED: the channel has no history; WS_FULL: out of
 *         memory; WS_GONE: the server stops.  [any]
 */
WS_API ws_status ws_read_history(const char *channel, ws_position before, apr_uint32_t limit,
                                 ws_history_fn fn, void *arg);

/* ---- Without a connection -------------------------------------------------------------------- */
/*
 * A handler can also keep state that belongs to the process, such as the state of a chat room. It
 * can publish with ws_publish(), receive messages with a listener, and use tickers as timers, from
 * its start callback on. The last calls to listeners and tickers, and to ws_published_fn,
 * ws_presence_fn, ws_channels_fn and ws_history_fn, happen before the handler's stop callback.
 */

/** A subscription without a connection. */
typedef struct ws_listener ws_listener;

/** Receives events of the channel. event is NULL in the last call, after which the listener is
 *  freed. Runs on an event loop, which is always the same for one listener, so it must not
 *  block. */
typedef void (*ws_listen_fn)(const ws_event *event, void *arg);

/**
 * Subscribe without a connection. From WS_EVENT_LIVE on, the listener counts as a subscriber.
 * WebSocketSubscribe does not apply.
 * @param how       as for ws_subscribe(), without WS_MEMBER; or NULL
 * @param listener  set before fn is called; valid until the last call to fn
 * @return WS_QUEUED; WS_BAD_NAME; WS_LIMIT; WS_FULL: out of memory; WS_GONE: the server stops. fn
 *         is only called after WS_QUEUED.  [any]
 */
WS_API ws_status ws_listen(const char *channel, const ws_subscription *how, ws_listen_fn fn,
                           void *arg, ws_listener **listener);

/** End a listener. The last call to fn follows, or is already running. [any, until the last
 *  call] */
WS_API void ws_listen_end(ws_listener *listener);

/** A timer without a connection. */
typedef struct ws_ticker ws_ticker;

/** A ticker's function. last: 1 in the last call, after which the ticker is freed. A call is the
 *  last one if the ticker was stopped, if the ticker fires only once, or if the server stops. Runs
 *  on an event loop, which is always the same for one ticker, so it must not block. */
typedef void (*ws_ticker_fn)(void *arg, int last);

/**
 * Call fn after delay, then every interval, with the precision of ws_timer_start().
 * @param delay     milliseconds, at most 2^31
 * @param interval  milliseconds, 0 for once; at least 10
 * @return valid until the last call to fn; NULL: out of memory, or the server stops.  [any]
 */
WS_API ws_ticker *ws_ticker_start(apr_uint32_t delay, apr_uint32_t interval, ws_ticker_fn fn,
                                  void *arg);

/** Stop a ticker. Only the last call to fn follows; another call may be running. [any, until the
 *  last call] */
WS_API void ws_ticker_stop(ws_ticker *ticker);

/** A channel that has subscribers. */
typedef struct ws_listed_channel {
    const char *channel;
    apr_uint32_t subscribers; /**< total of all processes and of machines that have answered */
} ws_listed_channel;

/** Receives channels in the order of their names. Must not block.
 *  @param more      1: more channels follow
 *  @param complete  0: a process did not answer in time  [any thread] */
typedef void (*ws_channels_fn)(const ws_listed_channel *channels, apr_size_t count, int more,
                               int complete, void *arg);

/** Maximum `limit` of ws_list_channels(). */
#define WS_LIST_LIMIT 1000

/**
 * List the channels that have subscribers, in all processes and on all machines.
 * @param prefix  only names that begin with this text; "" for all
 * @param after   only names after this one, the last of the previous page; "" for the first page
 * @param limit   1 to WS_LIST_LIMIT
 * @return WS_QUEUED: fn is called exactly once, within two seconds, possibly before this returns;
 *         WS_BAD_NAME: invalid prefix or after; WS_TOO_BIG: invalid limit; WS_FULL: out of memory;
 *         WS_GONE: the server stops.  [any]
 */
WS_API ws_status ws_list_channels(const char *prefix, const char *after, apr_uint32_t limit,
                                  ws_channels_fn fn, void *arg);

/* ---- Arguments and the log ------------------------------------------------------------------- */

/**
 * Get the first argument with this name in the connection's query string, decoded (%XX, and + as a
 * space).
 * @param value  buffer for the argument's value
 * @param size   size of this buffer, bytes; strlen(ws_args(c)) + 1 is always enough
 * @return 1: found; 0: no such argument, and value is set to ""; -1: the argument cannot be
 *         decoded, or the buffer is too small.  [callback]
 */
WS_API int ws_arg(const ws_conn *c, const char *name, char *value, apr_size_t size);

/** ws_arg() for a handshake. [inside on_request] @return the value, allocated for the request;
 *  NULL: no such argument, or it cannot be decoded */
WS_API const char *ws_request_arg(ws_request *rq, const char *name);

/** Write a line to httpd's error log, as ws_conn_log() does, without a connection. The line has at
 *  most 1,023 bytes.  [any] */
WS_API void ws_log(ws_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif

#endif
