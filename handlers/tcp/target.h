/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Where a service is: what the configuration or a token file says, and the addresses behind it. */

#ifndef WS_TCP_TARGET_H
#define WS_TCP_TARGET_H

#include <apr_pools.h>
#include <sys/socket.h>

typedef struct tcp_address {
    struct tcp_address *next;
    socklen_t len;
    struct sockaddr_storage at;
} tcp_address;

/** Whether a text is a target: host:port, [address]:port, unix:/path. @return NULL, or what is wrong */
const char *tcp_target_check(const char *text);

/**
 * The addresses of a target. Looks names up, and so may block.
 * @param pool   of the addresses
 * @param error  what went wrong, if there is none
 */
tcp_address *tcp_target_resolve(apr_pool_t *pool, const char *text, const char **error);

/** Read a whole file of tokens. @return NULL, or what is wrong, with the number of the line */
const char *tcp_tokens_check(apr_pool_t *pool, const char *file);

/**
 * The target of a token.
 * @param error  set where the answer is NULL because the file cannot be read, or the token's target is
 *               none; NULL if it just does not know the token
 */
const char *tcp_tokens_find(apr_pool_t *pool, const char *file, const char *token,
                            const char **error);

#endif
