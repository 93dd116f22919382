/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** TLS connections for tests of the engine. The server's end is an SSL object in the state in which
 *  httpd hands it over. The client uses OpenSSL directly. */

#ifndef WS_T_UNIT_TLS_H
#define WS_T_UNIT_TLS_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "t/unit/rig.h"

static SSL_CTX *server_ctx, *client_ctx;
static int version; /* TLS version of new connections: TLS1_2_VERSION ... */

static inline void make_contexts(void)
{
    EVP_PKEY_CTX *k = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);
    EVP_PKEY *key = NULL;
    X509 *cert = X509_new();
    if (EVP_PKEY_keygen_init(k) <= 0
        || EVP_PKEY_CTX_set_ec_paramgen_curve_nid(k, NID_X9_62_prime256v1) <= 0
        || EVP_PKEY_keygen(k, &key) <= 0) {
        bail_out("no key");
    }
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_sign(cert, key, EVP_sha256());
    server_ctx = SSL_CTX_new(TLS_server_method());
    client_ctx = SSL_CTX_new(TLS_client_method());
    if (SSL_CTX_use_certificate(server_ctx, cert) <= 0
        || SSL_CTX_use_PrivateKey(server_ctx, key) <= 0) {
        bail_out("no certificate");
    }
    /* mod_ssl sets the same modes and options. */
    SSL_CTX_clear_mode(server_ctx, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_options(server_ctx, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(client_ctx,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    X509_free(cert);
    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(k);
}

static inline void free_contexts(void)
{
    SSL_CTX_free(server_ctx);
    SSL_CTX_free(client_ctx);
}

static inline void step(SSL *ssl, int *done)
{
    int r = *done ? 1 : SSL_do_handshake(ssl);
    if (r != 1 && SSL_get_error(ssl, r) != SSL_ERROR_WANT_READ) {
        bail_out("no TLS handshake: %s", ERR_reason_error_string(ERR_peek_last_error()));
    }
    *done = r == 1;
}

/* Establish a TLS connection over a pair of sockets. @return the server's end */
static inline SSL *shake_hands(const int fd[2], wire *w)
{
    SSL *server = SSL_new(server_ctx), *client = SSL_new(client_ctx);
    int here = 0, there = 0;
    SSL_set_min_proto_version(client, version);
    SSL_set_max_proto_version(client, version);
    SSL_set_fd(client, fd[0]);
    SSL_set_fd(server, fd[1]);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    while (!here || !there) {
        step(client, &here);
        step(server, &there);
    }
    *w = (wire){.fd = fd[0], .ssl = client};
    return server;
}

static inline wire tls_enter_pair(rig *r, const char *name, const int fd[2])
{
    wire w;
    ws_new_conn n = rig_newcomer(r, fd[1], name);
    n.ssl = shake_hands(fd, &w);
    n.secure = 1;
    SSL_set_bio(n.ssl, NULL, NULL);
    if (ws_engine_add(r->engine, &n) != APR_SUCCESS) {
        bail_out("the connection cannot be added to the engine");
    }
    told_is(name, "open", "a connection");
    return w;
}

static inline wire tls_enter(rig *r, const char *name)
{
    int fd[2];
    unix_pair(fd);
    return tls_enter_pair(r, name, fd);
}

static inline wire tls_enter_narrow(rig *r, const char *name)
{
    int fd[2];
    unix_pair(fd);
    small_buffers(fd);
    return tls_enter_pair(r, name, fd);
}

/* Encrypt data as the client would, but do not send them.
 * @param key_update  -1; or the type of a KeyUpdate to add before the data */
static inline size_t sealed(wire *w, unsigned char *out, size_t size, int key_update,
                            const void *data, size_t len)
{
    BIO *memory = BIO_new(BIO_s_mem());
    int n;
    SSL_set0_wbio(w->ssl, memory);
    if (key_update >= 0) {
        SSL_key_update(w->ssl, key_update);
        SSL_do_handshake(w->ssl);
    }
    wire_send(w, data, len);
    n = BIO_read(memory, out, (int)size);
    SSL_set0_wbio(w->ssl, BIO_new_socket(w->fd, BIO_NOCLOSE));
    return n > 0 ? (size_t)n : 0;
}

/* Write bytes to the socket without encrypting them. */
static inline void send_raw(wire *w, const void *data, size_t len)
{
    wire raw = {.fd = w->fd, .discard_input = 1};
    wire_send(&raw, data, len);
}

#endif
