/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** TLS for connections of hiredis, by OpenSSL: Debian's hiredis has none of its own. */

#ifndef WS_REDIS_TLS_H
#define WS_REDIS_TLS_H

#include <hiredis/hiredis.h>
#include <openssl/ssl.h>

/** What a configuration says. Files are PEM; all may be NULL. */
typedef struct ws_redis_tls {
    int on;
    const char *ca;         /**< authorities to trust; NULL: those of the system */
    const char *cert, *key; /**< of the client */
    const char *name; /**< the server's, for SNI and its certificate; NULL: the host of the URL */
} ws_redis_tls;

/** @param why  set to what is wrong, for ERR_... see OpenSSL  @return NULL if something is */
SSL_CTX *ws_redis_tls_create(const ws_redis_tls *o, char why[200]);

/** Do the handshake; the connection blocks, with its timeout. @return 0; or -1, with an error in c */
int ws_redis_tls_connect(SSL_CTX *ctx, redisContext *c, const char *name);

/** As redisBufferRead() and redisBufferWrite(), with TLS where that is. */
int ws_redis_read(redisContext *c);
int ws_redis_write(redisContext *c, int *done);

/** As redisFree(). NULL is nothing to free. */
void ws_redis_close(redisContext *c);

#endif
