/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Creates TLS contexts and connections for clients. A context is cached until its files change.
 * Certificates are verified unless the options disable that.
 */

#include "client/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/address_list.h"

/* ---- Contexts, which are cached because reading certificates takes tens of ms ---- */

/* Maximum number of cached contexts. A process usually uses few different sets of files. */
#define KEPT_MAX 32

typedef struct kept {
    struct kept *next;
    char *stamp; /* text with the names, times and sizes of the files */
    SSL_CTX *context;
} kept;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static kept *all;

static void tls_add_stamp(char **out, const char *file)
{
    struct stat s;
    if (!file) {
        *out += sprintf(*out, "-\n");
        return;
    }
    if (stat(file, &s) < 0) {
        memset(&s, 0, sizeof(s));
    }
    *out += sprintf(*out, "%s\n%lld.%09ld %lld %lld\n", file, (long long)s.st_mtim.tv_sec,
                    s.st_mtim.tv_nsec, (long long)s.st_size, (long long)s.st_ino);
}

/* Build the stamp of a set of files. @return a text, which the caller frees */
static char *tls_stamp_of(const ws_tls_files *f)
{
    const char *const files[] = {f->ca_file, f->certificate, f->key};
    size_t size = 32 + (f->key_log ? strlen(f->key_log) : 0);
    char *stamp, *out;
    for (int i = 0; i < 3; i++) {
        size += (files[i] ? strlen(files[i]) : 0) + 96;
    }
    if (!(stamp = out = malloc(size))) {
        return NULL;
    }
    for (int i = 0; i < 3; i++) {
        tls_add_stamp(&out, files[i]);
    }
    sprintf(out, "%d %s", f->insecure, f->key_log ? f->key_log : "");
    return stamp;
}

/* Get the text of the first error in OpenSSL's queue. Later errors name the functions that have
 * failed because of it. */
static const char *tls_complaint(void)
{
    unsigned long e = ERR_peek_error();
    const char *text = e ? ERR_reason_error_string(e) : NULL;
    return ERR_SYSTEM_ERROR(e) ? strerror(ERR_GET_REASON(e)) : text ? text : "unknown reason";
}

static int tls_refuse(char *error, const char *what, const char *file)
{
    snprintf(error, WS_TLS_ERROR, "certificate: %s %s: %s", what, file, tls_complaint());
    return -1;
}

static int tls_load(SSL_CTX *context, const ws_tls_files *f, char *error)
{
    const char *key = f->key ? f->key : f->certificate;
    if (!f->insecure) {
        if (f->ca_file ? SSL_CTX_load_verify_locations(context, f->ca_file, NULL) != 1
                       : SSL_CTX_set_default_verify_paths(context) != 1) {
            return tls_refuse(error, "no trusted certificates in",
                              f->ca_file ? f->ca_file : "the system's store");
        }
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    }
    if (f->certificate) {
        if (SSL_CTX_use_certificate_chain_file(context, f->certificate) != 1) {
            return tls_refuse(error, "no certificate in", f->certificate);
        }
        if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1
            || SSL_CTX_check_private_key(context) != 1) {
            return tls_refuse(error, "no key of the certificate in", key);
        }
    }
    return 0;
}

/* ---- The key log, written with one write() per line so that processes can share a file ---- */

static int key_log_index = -1;

static void tls_close_key_log(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long argl,
                              void *argp)
{
    (void)parent, (void)data, (void)index, (void)argl, (void)argp;
    if (ptr) {
        close((int)(intptr_t)ptr - 1);
    }
}

static void tls_log_key(const SSL *ssl, const char *line)
{
    void *ptr = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), key_log_index);
    char text[1024];
    int len = snprintf(text, sizeof(text), "%s\n", line);
    if (ptr && len > 0 && len < (int)sizeof(text)
        && write((int)(intptr_t)ptr - 1, text, (size_t)len) < 0) {
        return; /* ignore the error, because a full disk is no reason to end the connection */
    }
}

/* Make a context append its secrets to a file. Called with the lock held. @return 0; -1: error is
 * set */
static int tls_log_keys(SSL_CTX *context, const char *file, char *error)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        snprintf(error, WS_TLS_ERROR, "tls: key log %s: %s", file, strerror(errno));
        return -1;
    }
    if (key_log_index < 0) {
        key_log_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, tls_close_key_log);
    }
    SSL_CTX_set_ex_data(context, key_log_index, (void *)(intptr_t)(fd + 1));
    SSL_CTX_set_keylog_callback(context, tls_log_key);
    return 0;
}

SSL_CTX *ws_tls_plain_context(void)
{
    static const unsigned char http[] = "\x08http/1.1";
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context) {
        return NULL;
    }
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_alpn_protos(context, http, sizeof(http) - 1);
    /* If only a <Location> requires a certificate, httpd requests it after the handshake. */
    SSL_CTX_set_post_handshake_auth(context, 1);
    /* Sessions are not resumed, so do not store them. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    return context;
}

static SSL_CTX *tls_make(const ws_tls_files *f, char *error)
{
    SSL_CTX *context = ws_tls_plain_context();
    if (!context) {
        snprintf(error, WS_TLS_ERROR, "tls: out of memory");
        return NULL;
    }
    if (tls_load(context, f, error) < 0
        || (f->key_log && *f->key_log && tls_log_keys(context, f->key_log, error) < 0)) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

static void tls_keep(char *stamp, SSL_CTX *context)
{
    unsigned count = 0;
    kept *k = malloc(sizeof(*k)), **link;
    if (!k) {
        free(stamp);
        return;
    }
    *k = (kept){all, stamp, context};
    SSL_CTX_up_ref(context);
    all = k;
    for (link = &all; *link; link = &(*link)->next) {
        if (++count == KEPT_MAX && (*link)->next) {
            kept *oldest = (*link)->next; /* the last context in the list */
            (*link)->next = NULL;
            SSL_CTX_free(oldest->context);
            free(oldest->stamp);
            free(oldest);
        }
    }
}

SSL_CTX *ws_tls_context(const ws_tls_files *f, char *error)
{
    char *stamp = tls_stamp_of(f);
    SSL_CTX *context = NULL;
    if (!stamp) {
        snprintf(error, WS_TLS_ERROR, "tls: out of memory");
        return NULL;
    }
    pthread_mutex_lock(&lock);
    for (kept *k = all; k && !context; k = k->next) {
        if (!strcmp(k->stamp, stamp)) {
            context = k->context;
            SSL_CTX_up_ref(context);
        }
    }
    if (!context) {
        ERR_clear_error();
        if ((context = tls_make(f, error))) {
            tls_keep(stamp, context);
            stamp = NULL;
        }
        ERR_clear_error();
    }
    pthread_mutex_unlock(&lock);
    free(stamp);
    return context;
}

int ws_tls_check(const ws_tls_files *f, char *error)
{
    SSL_CTX *context;
    ERR_clear_error();
    context = tls_make(f, error);
    ERR_clear_error();
    SSL_CTX_free(context);
    return context ? 0 : -1;
}

void ws_tls_forget(void)
{
    kept *k;
    pthread_mutex_lock(&lock);
    while ((k = all)) {
        all = k->next;
        SSL_CTX_free(k->context);
        free(k->stamp);
        free(k);
    }
    pthread_mutex_unlock(&lock);
}

/* ---- Connections ---- */

/* Whether the resolver accepts a name as an address, including old forms such as 127.1 and
 * 0x7f000001. */
static int tls_is_numeric(const char *name)
{
    struct in_addr buf;
    return ws_is_address(name) || inet_aton(name, &buf);
}

SSL *ws_tls_connect(SSL_CTX *context, int fd, const char *host, int insecure)
{
    SSL *ssl = SSL_new(context);
    X509_VERIFY_PARAM *verify = ssl ? SSL_get0_param(ssl) : NULL;
    char name[256];
    size_t len = strlen(host);
    int address, ok = ssl && SSL_set_fd(ssl, fd) && len < sizeof(name);

    len -= len > 0 && host[len - 1] == '.'; /* omit a trailing dot (RFC 6066, section 3) */
    snprintf(name, sizeof(name), "%.*s", (int)len, host);
    ok = ok && *name;
    address = ws_is_address(name);

    if (ok && !insecure) { /* set the name to verify (RFC 9110, section 4.3.4) */
        X509_VERIFY_PARAM_set_hostflags(verify, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        ok = address ? X509_VERIFY_PARAM_set1_ip_asc(verify, name)
                     : X509_VERIFY_PARAM_set1_host(verify, name, 0);
    }
    if (ok && !tls_is_numeric(name)) { /* send only names (RFC 6066, section 3) */
        ok = SSL_set_tlsext_host_name(ssl, name) == 1;
    }
    if (!ok) {
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_set_connect_state(ssl);
    return ssl;
}

void ws_tls_close(SSL *ssl)
{
    if (ssl && SSL_is_init_finished(ssl)) {
        ERR_clear_error();
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
}

void ws_tls_explain(const SSL *ssl, int ssl_error, int system_error, char *error)
{
    long verify = SSL_get_verify_result(ssl);
    unsigned long e = ERR_peek_error();

    if (ERR_GET_REASON(e) == SSL_R_CERTIFICATE_VERIFY_FAILED && verify != X509_V_OK) {
        const char *what;
        switch (verify) {
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH:
            what = "host name mismatch";
            break;
        case X509_V_ERR_CERT_HAS_EXPIRED:
            what = "expired";
            break;
        case X509_V_ERR_CERT_NOT_YET_VALID:
            what = "not valid yet";
            break;
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
            what = "unknown CA";
            break;
        default:
            what = X509_verify_cert_error_string(verify);
        }
        snprintf(error, WS_TLS_ERROR, "certificate: %s", what);
    }
    else if (e && ERR_GET_REASON(e) != SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        snprintf(error, WS_TLS_ERROR, "tls: %s", tls_complaint());
    }
    else if (ssl_error == SSL_ERROR_SYSCALL && system_error) {
        snprintf(error, WS_TLS_ERROR, "tls: %s", strerror(system_error));
    }
    else {
        snprintf(error, WS_TLS_ERROR, "tls: the server closed the connection");
    }
    ERR_clear_error();
}
