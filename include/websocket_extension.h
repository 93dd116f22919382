/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * @file websocket_extension.h
 * @brief How to write a WebSocket extension (RFC 6455, section 9) for mod_websocket.
 *
 * An extension is a table of callbacks, as a handler is. It is asked about each offer that names it,
 * claims reserved bits of the frame header, and sees messages on their way in and out.
 * permessage-deflate is one of these (protocol/deflate.c); docs/extensions.md has a small one, whole.
 *
 * Build it as a handler is built, and say `WebSocketExtension /path/NAME.so` in a <Location>. A module
 * can bring an extension without a shared object of its own: it registers a descriptor as a provider
 * of group WS_EXTENSION_PROVIDER_GROUP.
 *
 * THREADS. configure runs at start-up; negotiate on httpd's worker threads, several at once; all other
 * callbacks on the event loop of their connection, also for WS_BLOCKING handlers. They must not wait.
 *
 * SEVERAL of them can be agreed on for one connection, as long as they claim different bits. What is
 * sent passes through them in the order of the answer, what is received the other way round (RFC
 * 6455, section 9.1).
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
    const char *value; /**< without quotes; NULL: it has none */
} ws_parameter;

/** Most parameters that an offer may have; one with more is not asked about. */
#define WS_PARAMETERS_MAX 16

/** Length of an answer's parameters, with the NUL. */
#define WS_ANSWER_SIZE 256

/** What a client offers, and what is answered. Valid until negotiate returns. */
typedef struct ws_negotiation {
    apr_size_t count; /**< of parameters */
    const ws_parameter *parameters;
    /** To be filled: the parameters of the answer, "a; b=1", without the name; "" at first. */
    char answer[WS_ANSWER_SIZE];
    /** To be filled: whatever was agreed on; 0 at first. Comes back as ws_extended.agreed. */
    apr_uint64_t agreed;
    /** To be set to 1 if what send makes of a message depends on the message, agreed and the
     *  configuration alone: a broadcast is then transformed once for all such connections. */
    int stateless;
    /** Messages that have been through send may be dropped for this client (WebSocketSlowReader): an
     *  extension whose messages build on earlier ones cannot be used then, or without that. */
    int may_drop;
} ws_negotiation;

/** What an extension has of a connection. The structure's own fields are only to be read. */
typedef struct ws_extended {
    void *config;        /**< what configure left */
    apr_uint64_t agreed; /**< what negotiate left */
    void *state;         /**< the extension's own, NULL at first; close releases it */
    /** One pointer for each event loop and extension, NULL at first, for what connections of a loop
     *  can share; end releases it. Only for the loop's thread, as are the callbacks. */
    void **shared;
} ws_extended;

/** What receive and send return: the message goes on as it came. Only where WS_FIRST is set, and before
 *  anything has been passed on; the rest of the message then passes by. */
#define WS_PASS_BY (-1)

/** An extension: bits and callbacks. negotiate, receive and send are needed. */
typedef struct ws_extension {
    /** WS_RSV1, WS_RSV2, WS_RSV3 or several of them: they are set on messages that send transforms, and
     *  receive sees messages that have one of them only. 0: no bit, receive sees all messages. */
    unsigned rsv;

    /** As ws_handler.configure, for the key=value behind the name on the WebSocketExtension line. */
    const char *(*configure)(apr_pool_t *pconf, const char *key, const char *value, void **config);

    /**
     * The client offers this extension. Asked for each offer that names it, in the client's order,
     * until one is taken.
     * @return 1 to take it: the answer names the extension with n->answer; 0 to decline
     */
    int (*negotiate)(ws_negotiation *n, void *config);

    /**
     * A piece of a message that came. What becomes of it is given to ws_extension_deliver().
     * @param data   unmasked; may be written to; valid until receive returns
     * @param len    bytes, may be 0
     * @param where  WS_FIRST, WS_LAST: bits
     * @return 0; WS_PASS_BY; or the code to fail the connection with (WS_CLOSE_BAD_DATA, ...)
     */
    int (*receive)(ws_extended *x, unsigned char *data, apr_size_t len, unsigned where);

    /**
     * A message that is to be sent, or a part of it (ws_send_part). What becomes of it is given to
     * ws_extension_emit(); all of it, for what is not emitted is not sent before the next part.
     * @return 0; WS_PASS_BY; or a code to fail the connection with (WS_CLOSE_INTERNAL)
     */
    int (*send)(ws_extended *x, ws_type type, const unsigned char *data, apr_size_t len,
                unsigned where);

    /** The connection is gone: release x->state. Also called where neither receive nor send ever was,
     *  on any thread then, with shared NULL. */
    void (*close)(ws_extended *x);

    /** An event loop has ended, all its connections are gone: release what *shared points to. Called
     *  if that is not NULL. */
    void (*end)(void *shared);
} ws_extension;

/**
 * Pass on what receive has made of a message: to the next extension, or to the handler. In pieces of
 * any size, the last of which is marked with last.
 * @param data  may be written to by the next extension; the caller's again afterwards
 * @return 0; anything else: the connection is failing (the message is too big, not UTF-8 ...), receive
 *         returns 0 at once.  [receive]
 */
WS_API int ws_extension_deliver(ws_extended *x, unsigned char *data, apr_size_t len, int last);

/**
 * Pass on what send has made of a message or a part.
 * @param last  the message ends here
 * @return 0; anything else: no memory, send returns 0 at once.  [send]
 */
WS_API int ws_extension_emit(ws_extended *x, const void *data, apr_size_t len, int last);

/** What an extension's shared object exports, and what a module registers as a provider. */
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
 * Defines the extension of a shared object; one for each, at its end:
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
