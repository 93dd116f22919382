/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * @file websocket_extension.h
 * @brief How to write a WebSocket extension (RFC 6455, section 9) for mod_websocket.
 *
 * An extension is a table of callbacks, like a handler. It accepts or declines each offer of a
 * client (Sec-WebSocket-Extensions) that names it, claims reserved bits of the frame header, and
 * transforms received and sent messages. permessage-deflate is an extension (protocol/deflate.c).
 * docs/extensions.md contains a small, complete extension.
 *
 * Build it like a handler, and load it with `WebSocketExtension /path/NAME.so` in a <Location>. An
 * httpd module can provide an extension without another shared object: it registers a
 * ws_extension_descriptor as a provider of group WS_EXTENSION_PROVIDER_GROUP.
 *
 * THREADS. configure runs at start-up. negotiate runs on httpd's worker threads, several at a time.
 * All other callbacks run on the event loop of their connection, even for WS_BLOCKING handlers, and
 * must not block.
 *
 * SEVERAL EXTENSIONS can be negotiated for one connection if they claim different bits. Sent
 * messages pass through the extensions in the order of the response; received messages pass in the
 * opposite order (RFC 6455, section 9.1).
 */

#ifndef WEBSOCKET_EXTENSION_H
#define WEBSOCKET_EXTENSION_H

#include "mod_websocket.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Reserved bits of a frame's first byte: RFC 6455, section 5.2. */
#define WS_RSV1 0x40
#define WS_RSV2 0x20
#define WS_RSV3 0x10

/** One parameter of an offer. */
typedef struct ws_parameter {
    const char *name;
    const char *value; /**< without quotes; NULL: no value */
} ws_parameter;

/** Maximum number of an offer's parameters. Offers with more are declined. */
#define WS_PARAMETERS_MAX 16

/** Maximum size of a response's parameters, with the NUL, bytes. */
#define WS_ANSWER_SIZE 256

/** A client's offer, and the response to it. Valid until negotiate returns. */
typedef struct ws_negotiation {
    apr_size_t count; /**< number of parameters */
    const ws_parameter *parameters;
    /** Set by negotiate: the parameters of the response without the name, "a; b=1". Initially
     *  "". */
    char answer[WS_ANSWER_SIZE];
    /** Set by negotiate, for the extension's use, and copied to ws_extended.agreed. Initially 0. */
    apr_uint64_t agreed;
    /** negotiate sets this to 1 if the output of send depends only on the message, `agreed` and the
     *  configuration. A broadcast is then transformed once for all connections with the same
     *  `agreed`. */
    int stateless;
    /** Whether messages may be dropped after send if this client is slow (WebSocketSlowReader). If
     *  so, a message must not depend on earlier ones; an extension that cannot avoid this must
     *  decline. */
    int may_drop;
} ws_negotiation;

/** An extension's state for one connection. Do not change any field except state. */
typedef struct ws_extended {
    void *config;        /**< set by configure */
    apr_uint64_t agreed; /**< set by negotiate */
    void *state;         /**< for the extension, initially NULL; close releases it */
    /** A pointer for data that the connections of an event loop share. For each extension, each
     *  loop has one such pointer, initially NULL. end releases the data. For the loop's thread
     *  only. */
    void **shared;
} ws_extended;

/** A result of receive or send: pass on this message without changes. Valid only if WS_FIRST is set
 *  and the callback has not passed on any data of the message. The rest of the message then skips
 *  the extension. */
#define WS_PASS_BY (-1)

/** An extension: bits and callbacks. negotiate, receive and send are required. */
typedef struct ws_extension {
    /** WS_RSV1, WS_RSV2, WS_RSV3 or several of them. Messages that send transforms have these bits,
     *  and receive is called only for messages with one of them. 0: no bits, and receive is called
     *  for all messages. */
    unsigned rsv;

    /** Like ws_handler.configure, for key=value after the name in WebSocketExtension. */
    const char *(*configure)(apr_pool_t *pconf, const char *key, const char *value, void **config);

    /**
     * Accept or decline an offer. Called for each offer that names the extension, in the client's
     * order, until this callback accepts one.
     * @return 1: accept, the response has the name and n->answer; 0: decline
     */
    int (*negotiate)(ws_negotiation *n, void *config);

    /**
     * Transform a piece of a received message. Pass the result to ws_extension_deliver().
     * @param data   unmasked; may be written to; valid until receive returns
     * @param len    bytes, may be 0
     * @param where  bits: WS_FIRST, WS_LAST
     * @return 0; WS_PASS_BY; or the code to fail the connection with (WS_CLOSE_BAD_DATA, ...)
     */
    int (*receive)(ws_extended *x, unsigned char *data, apr_size_t len, unsigned where);

    /**
     * Transform a message before it is sent, or a part of it (ws_send_part). Pass the result to
     * ws_extension_emit(). Data that you do not pass on is not sent before the next part.
     * @return 0; WS_PASS_BY; or a code to fail the connection with (WS_CLOSE_INTERNAL)
     */
    int (*send)(ws_extended *x, ws_type type, const unsigned char *data, apr_size_t len,
                unsigned where);

    /** The connection has ended: release x->state. Also called if neither receive nor send was
     *  called. In this case it runs on any thread, and shared is NULL. */
    void (*close)(ws_extended *x);

    /** An event loop and all its connections have ended: release the data that *x->shared pointed
     *  to. Not called if *x->shared is NULL. */
    void (*end)(void *shared);

    /** The keys of WebSocketExtension that may occur more than once, as in
     *  ws_handler.repeatable_keys. "": each key may occur only once. NULL: configure decides. */
    const char *repeatable_keys;
} ws_extension;

/**
 * Pass transformed data to the next extension or the handler, in pieces of any size. Set last for
 * the last piece.
 * @param data  the next extension may write to it; not used after the call
 * @return 0; anything else: the connection is failing (message too big, not UTF-8 ...), and receive
 *         must return 0 immediately.  [receive]
 */
WS_API int ws_extension_deliver(ws_extended *x, unsigned char *data, apr_size_t len, int last);

/**
 * Pass on the transformed message, or a part of it.
 * @param last  the message ends here
 * @return 0; anything else: out of memory, and send must return 0 immediately.  [send]
 */
WS_API int ws_extension_emit(ws_extended *x, const void *data, apr_size_t len, int last);

/** The struct that an extension exports as WS_EXTENSION_SYMBOL, or that a module registers as a
 *  provider. */
typedef struct ws_extension_descriptor {
    apr_uint32_t magic;            /**< WS_EXTENSION_MAGIC */
    apr_uint32_t abi;              /**< WS_EXTENSION_ABI at the extension's build */
    apr_uint32_t size;             /**< sizeof(ws_extension) at the extension's build, bytes */
    const char *name;              /**< as in Sec-WebSocket-Extensions */
    const ws_extension *extension; /**< static */
} ws_extension_descriptor;

#define WS_EXTENSION_MAGIC 0x57534558u /* "WSEX" */
#define WS_EXTENSION_ABI 20261121
#define WS_EXTENSION_SYMBOL "ws_extension_descriptor_v1"
#define WS_EXTENSION_PROVIDER_GROUP "websocket_extension"
#define WS_EXTENSION_PROVIDER_VERSION "1"

/**
 * Define the extension of a shared object, once, at the end of its file:
 *
 *     WS_EXTENSION("x-upper") = { .negotiate = agree, .receive = take_away, .send = add };
 */
#define WS_EXTENSION(NAME)                                                                         \
    extern __attribute__((visibility("hidden"))) const ws_extension ws_the_extension;              \
    WS_API extern const ws_extension_descriptor ws_extension_descriptor_v1;                        \
    const ws_extension_descriptor ws_extension_descriptor_v1 = {                                   \
        WS_EXTENSION_MAGIC, WS_EXTENSION_ABI, sizeof(ws_extension), NAME, &ws_the_extension};      \
    const ws_extension ws_the_extension

#ifdef __cplusplus
}
#endif

#endif
