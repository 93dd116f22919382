/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements lists of addresses. They are short, so the code searches them without an index. */

#include "client/address_list.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Maximum number of addresses that are tried for a name. */
#define ADDRESSES_MAX 64

/* Maximum size of an address as text, including the NUL, bytes. The longest is an IPv6 address with
 * a zone. */
#define TEXT_SIZE 128

/* Reorder the addresses from index `from` on, so that the address families alternate. */
static void address_list_take_turns(ws_addresses *all, unsigned from)
{
    for (unsigned i = from ? from : 1; i < all->count; i++) {
        sa_family_t last = all->list[i - 1].address.ss_family;
        for (unsigned j = i; j < all->count; j++) {
            if (all->list[j].address.ss_family != last) {
                ws_address other = all->list[j];
                memmove(&all->list[i + 1], &all->list[i], (j - i) * sizeof(other));
                all->list[i] = other;
                break;
            }
        }
    }
}

static int address_list_has(const ws_addresses *all, const ws_address *one)
{
    for (unsigned i = 0; i < all->count; i++) {
        if (all->list[i].len == one->len
            && !memcmp(&all->list[i].address, &one->address, one->len)) {
            return 1;
        }
    }
    return 0;
}

unsigned ws_addresses_merge(ws_addresses **all, const ws_addresses *more, unsigned kept)
{
    unsigned before = *all ? (*all)->count : 0;
    ws_addresses *bigger;
    if (!more
        || !(bigger =
                 realloc(*all, sizeof(*bigger) + (before + more->count) * sizeof(ws_address)))) {
        return 0;
    }
    *all = bigger;
    bigger->count = before;
    for (unsigned i = 0; i < more->count && bigger->count < ADDRESSES_MAX; i++) {
        if (!address_list_has(bigger, &more->list[i])) {
            bigger->list[bigger->count++] = more->list[i];
        }
    }
    address_list_take_turns(bigger, kept);
    return bigger->count - before;
}

static ws_addresses *address_list_of(const struct addrinfo *found)
{
    unsigned count = 0;
    ws_addresses *all;
    for (const struct addrinfo *a = found; a && count < ADDRESSES_MAX; a = a->ai_next) {
        count++;
    }
    if (!count || !(all = calloc(1, sizeof(*all) + count * sizeof(ws_address)))) {
        return NULL;
    }
    for (; all->count < count; found = found->ai_next) {
        ws_address *to = &all->list[all->count++];
        to->len = found->ai_addrlen;
        memcpy(&to->address, found->ai_addr, found->ai_addrlen);
    }
    address_list_take_turns(all, 0);
    return all;
}

static ws_addresses *address_list_get(const char *host, unsigned port, int family, int flags,
                                      int *rv)
{
    const struct addrinfo hints = {
        .ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    struct addrinfo *found;
    ws_addresses *all;
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    if ((*rv = getaddrinfo(host, service, &hints, &found)) != 0) {
        return NULL;
    }
    if (!(all = address_list_of(found))) {
        *rv = EAI_MEMORY;
    }
    freeaddrinfo(found);
    return all;
}

ws_addresses *ws_addresses_look_up(const char *host, unsigned port, int family, int *rv)
{
    return address_list_get(host, port, family, 0, rv);
}

/* Parse one address of a list, without commas. */
static ws_addresses *address_list_parse_one(const char *host, size_t len, unsigned port)
{
    char one[TEXT_SIZE];
    int rv;
    if (len > 1 && *host == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    }
    snprintf(one, sizeof(one), "%.*s", (int)len, host);
    return len < sizeof(one) ? address_list_get(one, port, AF_UNSPEC, AI_NUMERICHOST, &rv) : NULL;
}

ws_addresses *ws_addresses_parse(const char *host, unsigned port)
{
    ws_addresses *all = NULL;
    while (host) {
        const char *comma = strchr(host, ',');
        ws_addresses *one =
            address_list_parse_one(host, comma ? (size_t)(comma - host) : strlen(host), port);
        if (!one) {
            free(all);
            return NULL;
        }
        ws_addresses_merge(&all, one, 0);
        free(one);
        host = comma ? comma + 1 : NULL;
    }
    return all;
}

int ws_is_address(const char *text)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}
