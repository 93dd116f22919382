/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Lists of addresses, and the getaddrinfo() calls that fill them. */

#ifndef WS_CLIENT_ADDRESS_LIST_H
#define WS_CLIENT_ADDRESS_LIST_H

#include <sys/socket.h>

typedef struct ws_address {
    socklen_t len;
    struct sockaddr_storage address;
} ws_address;

/**
 * A name's addresses, in the order in which they are tried: RFC 6724, with alternating
 * families as in RFC 8305, section 4. malloc'ed.
 */
typedef struct ws_addresses {
    unsigned count;
    ws_address list[];
} ws_addresses;

/**
 * Look up a name.  [any thread] Blocks.
 * @param family  AF_UNSPEC, AF_INET or AF_INET6
 * @param rv  set to getaddrinfo()'s result
 * @return NULL: no addresses, or *rv is EAI_MEMORY
 */
ws_addresses *ws_addresses_look_up(const char *host, unsigned port, int family, int *rv);

/**
 * Parse a comma-separated list of addresses. IPv6 addresses may be in brackets.
 * @return NULL: host is no such list
 */
ws_addresses *ws_addresses_parse(const char *host, unsigned port);

/**
 * Append those addresses of `more` that are not in *all yet, up to a total of 64. The first `kept`
 * addresses keep their positions; the families of the others alternate.
 * @return how many were added
 */
unsigned ws_addresses_merge(ws_addresses **all, const ws_addresses *more, unsigned kept);

#endif
