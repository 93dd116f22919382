/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Declarations that deflate.c and deflate_negotiate.c share. */

#ifndef WS_PROTOCOL_DEFLATE_PRIVATE_H
#define WS_PROTOCOL_DEFLATE_PRIVATE_H

#include "protocol/deflate.h"

/* The agreed parameters, in 64 bits: 4 window bits of the server, 4 window bits of the client, and
 * these flags. In a client, the "server" bits are for its own window. */
enum { SERVER_TAKEOVER = 0x100, CLIENT_TAKEOVER = 0x200 };

/** The function `negotiate` of the extension. */
int ws_pmd_negotiate(ws_negotiation *n, void *config);

/** zlib's parameters for a window: windowBits and memLevel. */
int ws_pmd_bits(int bits);
int ws_pmd_memory_level(int bits);

/** Memory of a zlib state, bytes. */
apr_size_t ws_pmd_deflate_cost(int bits);
apr_size_t ws_pmd_inflate_cost(int bits);

/** Memory reserved for a connection's lifetime, bytes. */
apr_size_t ws_pmd_promised(apr_uint64_t agreed);

/** Reserve memory. @return 0, or -1 if that would exceed the limit */
int ws_pmd_take(const ws_deflate_memory *m, apr_size_t cost, apr_uint64_t limit);

void ws_pmd_give_back(const ws_deflate_memory *m, apr_size_t cost);

#endif
