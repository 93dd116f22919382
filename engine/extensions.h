/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The extensions of a connection: messages pass through them on their way in and out. */

#ifndef WS_ENGINE_EXTEND_H
#define WS_ENGINE_EXTEND_H

#include "engine/engine.h"
#include "include/websocket_extension.h"
#include "protocol/frame.h"

struct ws_frames;

/** An extension that connections may agree on. */
typedef struct ws_extension_use {
    const ws_extension *extension;
    const char *name;
    void *config;
    unsigned index; /**< of the extension in ws_engine_options.extensions */
} ws_extension_use;

/** Different extensions in one process. */
#define WS_EXTENSIONS_MAX 8

/** Room for count extensions, none in it; NULL when there is no memory. Ends with ws_chain_free or as
 *  a newcomer's. */
ws_chain *ws_chain_new(unsigned count);

/** For a connection whose compressed messages pass as they are: no extension, but RSV1. NULL when there is
 *  no memory. */
ws_chain *ws_chain_passing(void);

/** Whether it is one of those. */
int ws_chain_passes(const ws_chain *chain);

/** Add what was agreed on. The caller has made sure that its bits are free. */
void ws_chain_add(ws_chain *chain, const ws_extension_use *use, const ws_negotiation *n);

/** The bits that its extensions claim. */
unsigned ws_chain_rsv(const ws_chain *chain);

/** Close its extensions, and free it. NULL is fine.  [the loop's thread, or who made it] */
void ws_chain_free(ws_chain *chain);

/* For the loop's thread: */

/** The chain is c's from now on. */
void ws_chain_adopt(ws_conn *c);

/** Whether a piece has to go through the chain. */
int ws_chain_wants(const ws_conn *c, const ws_piece *p);

/** A piece that was received. */
void ws_chain_receive(ws_conn *c, const ws_piece *p);

/**
 * A message or part that is to be sent. first, payload and len are set to what is to be sent in its
 * place; payload then lies in a buffer of the loop, until the next call.
 * @return WS_SENT; or why it failed: the connection is broken then
 */
ws_status ws_chain_send(ws_conn *c, unsigned *first, const void **payload, apr_size_t *len);

/**
 * What is to be sent to c in place of a whole message that many get.
 * @return a reference, or NULL if it has to be made for c alone
 */
struct ws_frames *ws_chain_shared(ws_conn *c, struct ws_frames *f);

/** Forget the message that was shared last. */
void ws_chain_forget_shared(ws_loop *loop);

/** The loop ends: release what extensions share in it. */
void ws_chain_loop_end(ws_loop *loop);

#endif
