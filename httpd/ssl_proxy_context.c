/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Creates an OpenSSL context from the SSLProxy directives. The defaults are the same as in mod_ssl.
 * Without SSLProxyVerify, a certificate from an unknown CA is accepted, but its name and dates are
 * checked.
 */

#include <httpd.h>
#include <http_log.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "client/tls.h"
#include "httpd/config.h"
#include "httpd/ssl_proxy.h"

APLOG_USE_MODULE(websocket);

/* A context and its values. The texts belong to the configuration, which is valid until the child
 * exits. */
typedef struct proxy_context {
    struct proxy_context *next;
    ws_ssl_proxy settings;
    SSL_CTX *context;
    STACK_OF(X509_INFO) * machine; /* client certificates with their keys, or NULL */
} proxy_context;

static proxy_context *proxy_contexts;
static pthread_mutex_t proxy_contexts_lock = PTHREAD_MUTEX_INITIALIZER;

static proxy_context *proxy_context_of(const SSL *ssl)
{
    return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

/* ---- Verification ---- */

static int proxy_is_unknown_ca(int error)
{
    return error == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
           || error == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN
           || error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT
           || error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY
           || error == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE
           || error == X509_V_ERR_CERT_UNTRUSTED;
}

/* Whether the configuration ignores a verification error. */
static int proxy_ignores(const ws_ssl_proxy *s, int error, int depth)
{
    switch (error) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: /* checked like in ssl_io_filter_handshake() of mod_ssl */
        return s->check_name == WS_SSL_OFF
               || (s->check_cn == WS_SSL_OFF && s->check_name != WS_SSL_ON);
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return s->verify <= WS_SSL_VERIFY_NONE && (depth || s->check_expire == WS_SSL_OFF);
    case X509_V_ERR_UNABLE_TO_GET_CRL:
        return s->crl_may_miss == WS_SSL_ON || s->verify <= WS_SSL_VERIFY_NONE;
    default:
        return s->verify <= WS_SSL_VERIFY_NONE
               || (s->verify == WS_SSL_VERIFY_NO_CA && proxy_is_unknown_ca(error));
    }
}

/* The maximum depth of a certificate, which is 0 for the server's own. */
static int proxy_depth(const ws_ssl_proxy *s)
{
    return s->depth ? (int)(s->depth - 1) : 1;
}

static int proxy_verify(int ok, X509_STORE_CTX *store)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    const ws_ssl_proxy *s = &proxy_context_of(ssl)->settings;
    int depth = X509_STORE_CTX_get_error_depth(store);
    if (!ok && proxy_ignores(s, X509_STORE_CTX_get_error(store), depth)) {
        X509_STORE_CTX_set_error(store, X509_V_OK);
        ok = 1;
    }
    /* mod_ssl counts the root certificate, OpenSSL's own limit does not. */
    if (ok && depth > proxy_depth(s) && s->verify > WS_SSL_VERIFY_NONE) {
        X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_CHAIN_TOO_LONG);
        ok = 0;
    }
    return ok;
}

/* ---- The client certificate ---- */

static int proxy_is_issuer(const STACK_OF(X509_NAME) * names, const X509 *certificate)
{
    const X509_NAME *issuer = X509_get_issuer_name(certificate);
    for (int i = 0; i < sk_X509_NAME_num(names); i++) {
        if (!X509_NAME_cmp(sk_X509_NAME_value(names, i), issuer)) {
            return 1;
        }
    }
    return 0;
}

/* Select a client certificate when the server requests one. Select the first certificate that was
 * issued by a CA in the server's list. If there is none, select the first of all certificates. */
static int proxy_certificate(SSL *ssl, X509 **certificate, EVP_PKEY **key)
{
    const proxy_context *p = proxy_context_of(ssl);
    const STACK_OF(X509_NAME) *names = SSL_get_client_CA_list(ssl);
    const X509_INFO *chosen = NULL;
    for (int i = 0; i < sk_X509_INFO_num(p->machine); i++) {
        const X509_INFO *info = sk_X509_INFO_value(p->machine, i);
        if (!info->x509 || !info->x_pkey || !info->x_pkey->dec_pkey) {
            continue;
        }
        if (!chosen || proxy_is_issuer(names, info->x509)) {
            chosen = info;
        }
        if (proxy_is_issuer(names, info->x509)) {
            break;
        }
    }
    if (!chosen) {
        return 0;
    }
    X509_up_ref(*certificate = chosen->x509);
    EVP_PKEY_up_ref(*key = chosen->x_pkey->dec_pkey);
    return 1;
}

/* ---- PEM texts ---- */

static STACK_OF(X509_INFO) * proxy_read(const char *text)
{
    BIO *bio = text ? BIO_new_mem_buf(text, -1) : NULL;
    STACK_OF(X509_INFO) *all = bio ? PEM_X509_INFO_read_bio(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return all;
}

/* Add certificates and revocation lists to the trust store. */
static int proxy_trust(X509_STORE *store, const char *text)
{
    STACK_OF(X509_INFO) *all = proxy_read(text);
    int ok = !text || all != NULL;
    for (int i = 0; i < sk_X509_INFO_num(all); i++) {
        const X509_INFO *info = sk_X509_INFO_value(all, i);
        ok &= !info->x509 || X509_STORE_add_cert(store, info->x509);
        ok &= !info->crl || X509_STORE_add_crl(store, info->crl);
    }
    sk_X509_INFO_pop_free(all, X509_INFO_free);
    return ok;
}

static int proxy_add_chain(SSL_CTX *context, const char *text)
{
    STACK_OF(X509_INFO) *all = proxy_read(text);
    int ok = !text || all != NULL;
    for (int i = 0; i < sk_X509_INFO_num(all); i++) {
        X509 *x = sk_X509_INFO_value(all, i)->x509;
        if (x && X509_up_ref(x)) {
            ok &= SSL_CTX_add_extra_chain_cert(context, x) == 1;
        }
    }
    sk_X509_INFO_pop_free(all, X509_INFO_free);
    return ok;
}

/* ---- Versions ---- */

/* Parse SSLProxyProtocol, which is a list of words, each with an optional + or -. @return the
 * OpenSSL options that disable the other versions */
static uint64_t proxy_versions_off(const char *words)
{
    static const struct {
        const char *name;
        uint64_t off;
    } versions[] = {
        {"TLSv1", SSL_OP_NO_TLSv1},
        {"TLSv1.1", SSL_OP_NO_TLSv1_1},
        {"TLSv1.2", SSL_OP_NO_TLSv1_2},
        {"TLSv1.3", SSL_OP_NO_TLSv1_3},
        {"SSLv3", 0},
        {"all", SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1 | SSL_OP_NO_TLSv1_2 | SSL_OP_NO_TLSv1_3}};
    const uint64_t all = versions[5].off;
    uint64_t off = all;
    while (*(words += strspn(words, " \t"))) {
        char sign = *words == '+' || *words == '-' ? *words++ : 0;
        size_t len = strcspn(words, " \t");
        for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
            if (strlen(versions[i].name) == len && !strncasecmp(versions[i].name, words, len)) {
                off = sign == '-'   ? off | versions[i].off
                      : sign == '+' ? off & ~versions[i].off
                                    : all & ~versions[i].off;
            }
        }
        words += len;
    }
    return off;
}

/* ---- Contexts ---- */

static int proxy_set_verification(SSL_CTX *context, const ws_ssl_proxy *s)
{
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    int ok = proxy_trust(store, s->ca) && proxy_trust(store, s->crl);
    ok = ok && (!s->ca_path || X509_STORE_load_path(store, s->ca_path));
    ok = ok && (!s->crl_path || X509_STORE_load_path(store, s->crl_path));
    if (s->crl_check >= WS_SSL_ON) {
        X509_STORE_set_flags(store,
                             X509_V_FLAG_CRL_CHECK
                                 | (s->crl_check == WS_SSL_CHAIN ? X509_V_FLAG_CRL_CHECK_ALL : 0));
    }
    SSL_CTX_set_verify_depth(context, proxy_depth(s));
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, proxy_verify);
    return ok;
}

static int proxy_configure(proxy_context *p)
{
    const ws_ssl_proxy *s = &p->settings;
    SSL_CTX *context = p->context;
    int ok = proxy_set_verification(context, s) && proxy_add_chain(context, s->chain);
    SSL_CTX_set_app_data(context, p);
    if (s->machine) {
        p->machine = proxy_read(s->machine);
        ok &= p->machine != NULL;
        SSL_CTX_set_client_cert_cb(context, proxy_certificate);
    }
    if (s->protocols) {
        SSL_CTX_set_min_proto_version(context, 0);
        SSL_CTX_set_options(context, proxy_versions_off(s->protocols));
    }
    return ok && (!s->ciphers || SSL_CTX_set_cipher_list(context, s->ciphers))
           && (!s->suites || SSL_CTX_set_ciphersuites(context, s->suites));
}

static proxy_context *proxy_context_new(request_rec *r, const ws_ssl_proxy *s)
{
    proxy_context *p = calloc(1, sizeof(*p));
    const char *reason;
    ERR_clear_error();
    if (p && (p->context = ws_tls_plain_context())) {
        p->settings = *s;
        if (proxy_configure(p)) {
            return p;
        }
    }
    reason = ERR_reason_error_string(ERR_peek_last_error());
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  "websocket: no TLS to servers: cannot use a file or list of the SSLProxy "
                  "directives: %s",
                  reason ? reason : "out of memory");
    ERR_clear_error();
    if (p) {
        sk_X509_INFO_pop_free(p->machine, X509_INFO_free);
        SSL_CTX_free(p->context);
        free(p);
    }
    return NULL;
}

static void proxy_warn_unverified(request_rec *r, const ws_ssl_proxy *s)
{
    if (s->verify <= WS_SSL_VERIFY_NONE) {
        ap_log_rerror(APLOG_MARK, s->verify == WS_SSL_VERIFY_NONE ? APLOG_INFO : APLOG_WARNING, 0,
                      r,
                      "websocket: certificates of wss servers are not verified, as for mod_proxy; "
                      "set \"SSLProxyVerify require\" and SSLProxyCACertificateFile");
    }
}

SSL_CTX *ws_ssl_proxy_context(request_rec *r)
{
    const ws_ssl_proxy *s = &ws_dir_config_of(r)->ssl_proxy;
    proxy_context *p;
    pthread_mutex_lock(&proxy_contexts_lock);
    for (p = proxy_contexts; p && !ws_ssl_proxy_same(&p->settings, s); p = p->next) {
    }
    if (!p && (p = proxy_context_new(r, s))) {
        proxy_warn_unverified(r, s);
        p->next = proxy_contexts;
        proxy_contexts = p;
    }
    pthread_mutex_unlock(&proxy_contexts_lock);
    return p ? p->context : NULL;
}
