/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Lookups of names, and creation of TLS contexts, which reads files. Both can block, so they run on
 * threads, never on a loop.
 */

#ifndef WS_CLIENT_LOOKUP_H
#define WS_CLIENT_LOOKUP_H

#include <openssl/ssl.h>
#include <sys/socket.h>

#include "client/tls.h"
#include "engine/loop.h"

typedef struct ws_lookup ws_lookup;

typedef struct ws_address {
    socklen_t len;
    struct sockaddr_storage address;
} ws_address;

/**
 * Addresses of a name in the order to try them: RFC 6724, with alternating families as in RFC 8305,
 * section 4. malloc'ed.
 */
typedef struct ws_addresses {
    unsigned count;
    ws_address list[];
} ws_addresses;

/** The result of a lookup. */
typedef struct ws_found {
    ws_addresses *addresses;  /**< owned by the receiver; NULL: no host was given, or an error */
    SSL_CTX *tls;             /**< a reference for the receiver; NULL: none was requested, or an
                               *   error */
    char error[WS_TLS_ERROR]; /**< "", or the error with its stage: "lookup: ..." */
} ws_found;

/**
 * Look up a host, and create a TLS context if files is not NULL. Calls found on the loop, unless
 * the lookup is cancelled. Numeric addresses do not wait for the resolver.
 * @param host  a name; an address; a comma-separated list of addresses, IPv6 ones with or without
 *              brackets; NULL: create only the context
 * @return valid until found is called; NULL: out of memory
 */
ws_lookup *ws_lookup_start(ws_loop *loop, const char *host, unsigned port,
                           const ws_tls_files *files, void (*found)(void *arg, ws_found *f),
                           void *arg);

/** Cancel: found will not be called.  [the loop] */
void ws_lookup_cancel(ws_lookup *l);

/**
 * Wait until no thread uses OpenSSL for a cancelled lookup. Call it before OpenSSL may be unloaded.
 */
void ws_lookup_settle(void);

/**
 * Look up a host as ws_lookup_start(), but block until the result is there.
 * @param error  WS_TLS_ERROR bytes, set if there are no addresses
 * @return malloc'ed; or NULL
 */
ws_addresses *ws_lookup_now(const char *host, unsigned port, char *error);

#endif
