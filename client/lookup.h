/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Looks up names, and creates TLS contexts from files. Lookups and reading files can block, so they
 * run on separate threads, and never on a loop.
 */

#ifndef WS_CLIENT_LOOKUP_H
#define WS_CLIENT_LOOKUP_H

#include <openssl/ssl.h>

#include "client/address_list.h"
#include "client/tls.h"
#include "engine/loop.h"

typedef struct ws_lookup ws_lookup;

/** The result of a lookup. */
typedef struct ws_found {
    /** All addresses that are known, owned by the receiver; NULL: no host was given, or an error
     *  occurred. */
    ws_addresses *addresses;
    /** Context, with a reference for the receiver; NULL: none was requested, an earlier result had
     *  it, or an error occurred. */
    SSL_CTX *tls;
    int more;                 /**< 1: the lookup continues, so found() will be called again */
    char error[WS_TLS_ERROR]; /**< "", or the error with its stage: "lookup: ..." */
} ws_found;

/**
 * Look up a host, and create a TLS context if files is not NULL. Calls found() on the loop with the
 * first addresses and the context, and again with further addresses. If the lookup is cancelled,
 * found() is no longer called. Numeric addresses do not wait for the resolver.
 * @param host  a name, an address, or a comma-separated list of addresses, where IPv6 addresses may
 *              be in brackets; NULL: only create the context
 * @return the lookup, valid until found() is called with more = 0; NULL: out of memory
 */
ws_lookup *ws_lookup_start(ws_loop *loop, const char *host, unsigned port,
                           const ws_tls_files *files, void (*found)(void *arg, ws_found *f),
                           void *arg);

/** Cancel a lookup, so that found() will not be called.  [the loop] */
void ws_lookup_cancel(ws_lookup *l);

/**
 * Wait until no thread uses OpenSSL for a cancelled lookup. Must be called before OpenSSL may be
 * unloaded.
 */
void ws_lookup_settle(void);

/**
 * Look up a host like ws_lookup_start(), but block until the first addresses arrive. Wait up to one
 * second for further addresses.
 * @param error  WS_TLS_ERROR bytes, set on failure
 * @return the addresses, allocated with malloc(); or NULL
 */
ws_addresses *ws_lookup_now(const char *host, unsigned port, char *error);

#endif
