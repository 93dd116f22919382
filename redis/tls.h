/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** TLS for hiredis's connections, with OpenSSL, since Debian's hiredis has no TLS. */

#ifndef WS_REDIS_TLS_H
#define WS_REDIS_TLS_H

#include <hiredis/hiredis.h>
#include <openssl/ssl.h>

/** The TLS configuration. Files are PEM. Each may be NULL. */
typedef struct ws_redis_tls {
    int on;
    const char *ca;         /**< trusted CA certificates; NULL: the system's */
    const char *cert, *key; /**< the client's certificate and key */
    const char *name;       /**< server name for SNI and verification; NULL: the URL's host */
} ws_redis_tls;

/** Create a TLS context. @param why  set to the error text  @return NULL: an error occurred */
SSL_CTX *ws_redis_tls_create(const ws_redis_tls *o, char why[200]);

/** Begin or continue the TLS handshake. @return 0: finished; -1: c->err is set; otherwise POLLIN or
 *  POLLOUT, the event after which to continue */
int ws_redis_tls_begin(SSL_CTX *ctx, redisContext *c, const char *name);
int ws_redis_tls_handshake(redisContext *c);

/** Like redisBufferRead() and redisBufferWrite(), with TLS if the connection has it. They do not
 *  wait. */
int ws_redis_read(redisContext *c);
int ws_redis_write(redisContext *c, int *done);

/** Like redisFree(). Ignores NULL. */
void ws_redis_close(redisContext *c);

#endif
