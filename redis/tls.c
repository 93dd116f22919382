/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** TLS for hiredis's connections: replaces its read and write functions with OpenSSL's. */

#include "redis/tls.h"

#include <arpa/inet.h>
#include <hiredis/sds.h>
#if HIREDIS_MAJOR >= 1
#include <hiredis/sdscompat.h>
#endif
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

/* Get a connection's SSL object, which is stored in the reader's privdata. hiredis passes privdata
 * only to the functions that create replies. They ignore it. */
static SSL *tls_of(const redisContext *c)
{
    return c->reader ? c->reader->privdata : NULL;
}

/* Describe the first error in OpenSSL's queue. Later errors name the functions that have failed
 * because of it. */
static void tls_why(char why[200], const char *key, const char *what)
{
    unsigned long e = ERR_peek_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;
    snprintf(why, 200, "%s%s: %s", key, what,
             ERR_SYSTEM_ERROR(e) ? strerror(ERR_GET_REASON(e))
             : reason            ? reason
                                 : "OpenSSL refuses it");
    ERR_clear_error();
}

SSL_CTX *ws_redis_tls_create(const ws_redis_tls *o, char why[200])
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    const char *wrong = NULL, *key = "";
    ERR_clear_error();
    if (!ctx) {
        wrong = "TLS";
    }
    else if (o->ca ? SSL_CTX_load_verify_locations(ctx, o->ca, NULL) != 1
                   : SSL_CTX_set_default_verify_paths(ctx) != 1) {
        key = o->ca ? "ca=" : "";
        wrong = o->ca ? o->ca : "the system's certificates";
    }
    else if (o->cert && SSL_CTX_use_certificate_chain_file(ctx, o->cert) != 1) {
        key = "cert=";
        wrong = o->cert;
    }
    else if (o->cert
             && (SSL_CTX_use_PrivateKey_file(ctx, o->key ? o->key : o->cert, SSL_FILETYPE_PEM) != 1
                 || SSL_CTX_check_private_key(ctx) != 1)) {
        key = o->key ? "key=" : "no key=, and no key in cert=";
        wrong = o->key ? o->key : o->cert;
    }
    if (wrong) {
        tls_why(why, key, wrong);
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    return ctx;
}

static int tls_fail(redisContext *c, const SSL *ssl)
{
    long verified = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;
    c->err = REDIS_ERR_IO;
    if (verified != X509_V_OK) {
        c->err = REDIS_ERR_OTHER;
        snprintf(c->errstr, sizeof(c->errstr), "TLS: %.100s",
                 X509_verify_cert_error_string(verified));
        ERR_clear_error();
    }
    else {
        char why[200];
        tls_why(why, "", "TLS");
        snprintf(c->errstr, sizeof(c->errstr), "%.120s", why);
    }
    return -1;
}

static int tls_is_address(const char *name)
{
    unsigned char address[16];
    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

int ws_redis_tls_handshake(redisContext *c)
{
    SSL *ssl = tls_of(c);
    int rv;
    ERR_clear_error();
    if ((rv = SSL_connect(ssl)) == 1) {
        return 0;
    }
    rv = SSL_get_error(ssl, rv);
    return rv == SSL_ERROR_WANT_READ    ? POLLIN
           : rv == SSL_ERROR_WANT_WRITE ? POLLOUT
                                        : tls_fail(c, ssl);
}

int ws_redis_tls_begin(SSL_CTX *ctx, redisContext *c, const char *name)
{
    SSL *ssl = SSL_new(ctx);
    int address = tls_is_address(name);
    ERR_clear_error();
    c->reader->privdata = ssl;
    if (!ssl
        || (address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) != 1
                    : SSL_set1_host(ssl, name) != 1 || SSL_set_tlsext_host_name(ssl, name) != 1)
        || SSL_set_fd(ssl, c->fd) != 1) {
        return tls_fail(c, ssl);
    }
    return ws_redis_tls_handshake(c);
}

static int tls_gone(redisContext *c, const char *why)
{
    c->err = REDIS_ERR_IO;
    snprintf(c->errstr, sizeof(c->errstr), "TLS: %s", why);
    ERR_clear_error();
    return REDIS_ERR;
}

int ws_redis_read(redisContext *c)
{
    SSL *ssl = tls_of(c);
    char data[16 * 1024];
    int n;
    if (!ssl) {
        return redisBufferRead(c);
    }
    do { /* poll() does not report bytes that OpenSSL has already read */
        ERR_clear_error();
        if ((n = SSL_read(ssl, data, sizeof(data))) <= 0) {
            return SSL_get_error(ssl, n) == SSL_ERROR_WANT_READ
                       ? REDIS_OK
                       : tls_gone(c, "the connection has ended");
        }
        if (redisReaderFeed(c->reader, data, (size_t)n) != REDIS_OK) {
            return tls_gone(c, "out of memory");
        }
    } while (SSL_pending(ssl) > 0);
    return REDIS_OK;
}

int ws_redis_write(redisContext *c, int *done)
{
    SSL *ssl = tls_of(c);
    size_t len = sdslen(c->obuf), sent = 0;
    if (!ssl) {
        return redisBufferWrite(c, done);
    }
    ERR_clear_error();
    if (len && SSL_write_ex(ssl, c->obuf, len, &sent) != 1) {
        return SSL_get_error(ssl, 0) == SSL_ERROR_WANT_WRITE
                   ? REDIS_OK
                   : tls_gone(c, "sending to the server failed");
    }
    sdsfree(c->obuf);
    if (!(c->obuf = sdsempty())) {
        return tls_gone(c, "out of memory");
    }
    *done = 1;
    return REDIS_OK;
}

void ws_redis_close(redisContext *c)
{
    if (c) {
        SSL *ssl = tls_of(c);
        if (ssl && SSL_is_init_finished(ssl)) { /* send close_notify: RFC 8446, section 6.1 */
            ERR_clear_error();
            SSL_shutdown(ssl);
        }
        SSL_free(ssl);
        if (c->reader) {
            c->reader->privdata = NULL;
        }
        redisFree(c);
    }
}
