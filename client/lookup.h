/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * What may take its time before a connection can be made is done on threads, never on a loop: names are
 * looked up, and the files of a TLS context are read.
 */

#ifndef WS_CLIENT_LOOKUP_H
#define WS_CLIENT_LOOKUP_H

#include <netdb.h>
#include <openssl/ssl.h>

#include "client/tls.h"
#include "engine/loop.h"

typedef struct ws_lookup ws_lookup;

/** What was found. */
typedef struct ws_found {
    struct addrinfo *addresses; /**< the receiver's; NULL if there are none */
    SSL_CTX *tls;               /**< a reference that is the receiver's; NULL if none was wanted */
    char error[WS_TLS_ERROR];   /**< what went wrong, with its stage: "lookup: ..."; or "" */
} ws_found;

/**
 * Look up a host, and prepare a TLS context if files is not NULL. found is called on the loop, unless it
 * is cancelled; a host that is an address is found without a thread, and at once, if no context is
 * wanted.
 * @return NULL when there is no memory; it is over, and must not be used any more, when found is called
 */
ws_lookup *ws_lookup_start(ws_loop *loop, const char *host, unsigned port,
                           const ws_tls_files *files, void (*found)(void *arg, ws_found *f),
                           void *arg);

/** found is not called any more.  [the loop] */
void ws_lookup_cancel(ws_lookup *l);

/** Wait until no thread is in OpenSSL for a lookup that was cancelled: the process may be about to end,
 *  and OpenSSL with it. */
void ws_lookup_settle(void);

#endif
