/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The chain of a connection: its negotiated extensions, which transform received and sent
 *  messages. */

#ifndef WS_ENGINE_EXTENSIONS_H
#define WS_ENGINE_EXTENSIONS_H

#include "engine/engine.h"
#include "include/websocket_extension.h"
#include "protocol/frame.h"

struct ws_frames;

/** An extension that connections may agree on. */
typedef struct ws_extension_use {
    const ws_extension *extension;
    const char *name;
    void *config;
    unsigned index; /**< index in ws_engine_options.extensions */
} ws_extension_use;

/** Maximum number of different extensions in one process. */
#define WS_EXTENSIONS_MAX 8

/** Create an empty chain for up to count extensions. Free it with ws_chain_free(), or pass it on in
 *  ws_new_conn. @return NULL: out of memory */
ws_chain *ws_chain_new(unsigned count);

/** Create a chain for a connection whose compressed messages pass unchanged. It contains no
 *  extension, but allows RSV1. @return NULL: out of memory */
ws_chain *ws_chain_passing(void);

/** Whether the chain is from ws_chain_passing(). */
int ws_chain_passes(const ws_chain *chain);

/** Add a negotiated extension. The caller must check that no other extension uses its RSV bits. */
void ws_chain_add(ws_chain *chain, const ws_extension_use *use, const ws_negotiation *n);

/** The RSV bits that the chain's extensions use. */
unsigned ws_chain_rsv(const ws_chain *chain);

/** Close the extensions and free the chain, which may be NULL. [the loop's or the creator's
 *  thread] */
void ws_chain_free(ws_chain *chain);

/* The following functions are for the loop's thread. */

/** Attach c->chain to its connection and to the loop. */
void ws_chain_adopt(ws_conn *c);

/** Whether a received piece has to go through the chain. */
int ws_chain_wants(const ws_conn *c, const ws_piece *p);

/**
 * Delivers a piece of a message to the handler.
 * @param where  WS_FIRST, WS_LAST
 * @param total  largest length that the message can have, as far as known; limits its buffer
 */
typedef void ws_chain_deliver(ws_conn *c, unsigned opcode, const unsigned char *data,
                              apr_size_t len, unsigned where, apr_uint64_t total);

/** Whether extensions transform the message that is being received. */
int ws_chain_transforms(const ws_chain *chain);

/** Pass a received piece through the chain, and deliver the result. */
void ws_chain_receive(ws_conn *c, const ws_piece *p, ws_chain_deliver *deliver);

/**
 * Transform a message or part before it is sent. Sets first, payload and len to the result. A new
 * payload is in one of the loop's buffers, valid until the next call.
 * @return WS_SENT; WS_FULL: out of memory, the connection is broken
 */
ws_status ws_chain_send(ws_conn *c, unsigned *first, const void **payload, apr_size_t *len);

/**
 * Transform a whole message that is sent to several connections into the frame for c. Connections
 * with the same parameters share the result.
 * @return a reference; NULL: transform the message for c alone
 */
struct ws_frames *ws_chain_shared(ws_conn *c, struct ws_frames *f);

/** Release the state that extensions share on a loop. Call when the loop has ended. */
void ws_chain_loop_end(ws_loop *loop);

#endif
