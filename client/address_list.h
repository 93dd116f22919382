/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Defines lists of addresses, and the getaddrinfo() calls that fill them. */

#ifndef WS_CLIENT_ADDRESS_LIST_H
#define WS_CLIENT_ADDRESS_LIST_H

#include <sys/socket.h>

typedef struct ws_address {
    socklen_t len;
    struct sockaddr_storage address;
} ws_address;

/**
 * The addresses of a name, in the order in which they are tried. The order is that of RFC 6724,
 * with alternating families as in RFC 8305, section 4. Allocated with malloc().
 */
typedef struct ws_addresses {
    unsigned count;
    ws_address list[];
} ws_addresses;

/**
 * Look up a name.  [any thread] Blocks.
 * @param family  AF_UNSPEC, AF_INET or AF_INET6
 * @param rv  set to the result of getaddrinfo()
 * @return NULL: the name has no addresses, or *rv is EAI_MEMORY
 */
ws_addresses *ws_addresses_look_up(const char *host, unsigned port, int family, int *rv);

/**
 * Parse a comma-separated list of addresses. IPv6 addresses may be in brackets.
 * @return NULL: host is not a list of addresses
 */
ws_addresses *ws_addresses_parse(const char *host, unsigned port);

/** Whether a text is an IPv4 address, or an IPv6 address without brackets. */
int ws_is_address(const char *text);

/**
 * Append the addresses of `more` that are not yet in *all, until *all has 64 addresses. The first
 * `kept` addresses of *all keep their positions. The others are reordered so that the families
 * alternate.
 * @return number of addresses added
 */
unsigned ws_addresses_merge(ws_addresses **all, const ws_addresses *more, unsigned kept);

#endif
