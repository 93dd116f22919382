/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Gets the targets of the bridge from the configuration or a token file, and resolves their
 *  addresses. */

#ifndef WS_TCP_TARGET_H
#define WS_TCP_TARGET_H

#include <apr_pools.h>
#include <sys/socket.h>

typedef struct tcp_address {
    struct tcp_address *next;
    socklen_t len;
    struct sockaddr_storage at;
} tcp_address;

/**
 * Check the syntax of a target: host:port, [address]:port, unix:/path. @return NULL, or an error
 * text
 */
const char *tcp_target_check(const char *text);

/**
 * Resolve a target. Blocks during the name lookup.
 * @param pool   the addresses are allocated from this pool
 * @param error  set if no address is found
 */
tcp_address *tcp_target_resolve(apr_pool_t *pool, const char *text, const char **error);

/** Check a token file. @return NULL, or an error text with the line's number */
const char *tcp_tokens_check(apr_pool_t *pool, const char *file);

/**
 * Find the target of a token.
 * @param error  set if the file cannot be read, or the token's target is invalid; NULL if the token
 *               is unknown
 */
const char *tcp_tokens_find(apr_pool_t *pool, const char *file, const char *token,
                            const char **error);

#endif
