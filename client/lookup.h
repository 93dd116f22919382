/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * What may take its time before a connection can be made runs on threads, never on a loop: names are
 * looked up, and the files of a TLS context are read.
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

/** Addresses of a name in the order in which they are to be tried: RFC 6724, and the families in turn as
 *  RFC 8305, section 4, says. malloc'ed. */
typedef struct ws_addresses {
    unsigned count;
    ws_address list[];
} ws_addresses;

/** What was found. */
typedef struct ws_found {
    ws_addresses *addresses;  /**< the receiver's; NULL if no host was given, or none was found */
    SSL_CTX *tls;             /**< a reference that is the receiver's; NULL if none was wanted */
    char error[WS_TLS_ERROR]; /**< what went wrong, with its stage: "lookup: ..."; or "" */
} ws_found;

/**
 * Look up a host, and prepare a TLS context if files is not NULL. found is called on the loop, unless it
 * is cancelled. Addresses need no name service, and so never wait for one.
 * @param host  a name; an address; several addresses with commas, IPv6 ones in brackets or not; NULL: only
 *              the context is wanted
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

/**
 * Look up a host as ws_lookup_start, here and now.
 * @param error  WS_TLS_ERROR bytes, set if there are no addresses
 * @return malloc'ed; or NULL
 */
ws_addresses *ws_lookup_now(const char *host, unsigned port, char *error);

#endif
