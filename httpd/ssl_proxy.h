/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Records mod_ssl's SSLProxy directives, for connections to wss servers that mod_proxy has
 * selected. mod_ssl has no function that returns their values. httpd passes a directive to all
 * modules that define it, so this module records the values while httpd reads the configuration. At
 * that time it also reads the files, as root, since child processes may not be allowed to read a
 * key.
 */

#ifndef WS_HTTPD_SSL_PROXY_H
#define WS_HTTPD_SSL_PROXY_H

#include <httpd.h>
#include <http_config.h>
#include <openssl/ssl.h>

/** Values of SSLProxyVerify. */
typedef enum ws_ssl_verify {
    WS_SSL_VERIFY_UNSET,
    WS_SSL_VERIFY_NONE,
    WS_SSL_VERIFY_NO_CA, /**< optional_no_ca: the CA may be unknown */
    /** `optional` and `require`, which are the same, since a server always sends a certificate. */
    WS_SSL_VERIFY_FULL
} ws_ssl_verify;

/** Values of the flags and of SSLProxyCARevocationCheck. */
enum { WS_SSL_UNSET, WS_SSL_OFF, WS_SSL_ON, WS_SSL_CHAIN };

/** The values of a section's directives. NULL and 0: not set. PEM texts are the files'
 *  contents. */
typedef struct ws_ssl_proxy {
    const char *ca, *crl, *machine, *chain; /**< PEM texts */
    const char *ca_path, *crl_path;         /**< directories whose files are named by hashes */
    const char *protocols, *ciphers, *suites;
    ws_ssl_verify verify;
    int check_name, check_cn, check_expire; /**< WS_SSL_OFF or WS_SSL_ON */
    int crl_check;                          /**< WS_SSL_OFF, WS_SSL_ON (leaf), WS_SSL_CHAIN */
    /** Whether no_crl_for_cert_ok is set: WS_SSL_OFF or WS_SSL_ON. */
    int crl_may_miss;
    unsigned depth; /**< SSLProxyVerifyDepth + 1, since 0 is a valid depth */
} ws_ssl_proxy;

const char *ws_ssl_proxy_set(cmd_parms *cmd, void *config, const char *args);

#define WS_SSL_PROXY_ROW(name)                                                                     \
    AP_INIT_RAW_ARGS("SSLProxy" name, ws_ssl_proxy_set, NULL, RSRC_CONF | PROXY_CONF, "see mod_ssl")

/** Rows of the directive table. */
#define WS_SSL_PROXY_DIRECTIVES                                                                    \
    WS_SSL_PROXY_ROW("CACertificateFile"), WS_SSL_PROXY_ROW("CACertificatePath"),                  \
        WS_SSL_PROXY_ROW("CARevocationFile"), WS_SSL_PROXY_ROW("CARevocationPath"),                \
        WS_SSL_PROXY_ROW("CARevocationCheck"), WS_SSL_PROXY_ROW("MachineCertificateFile"),         \
        WS_SSL_PROXY_ROW("MachineCertificatePath"),                                                \
        WS_SSL_PROXY_ROW("MachineCertificateChainFile"), WS_SSL_PROXY_ROW("Protocol"),             \
        WS_SSL_PROXY_ROW("CipherSuite"), WS_SSL_PROXY_ROW("Verify"),                               \
        WS_SSL_PROXY_ROW("VerifyDepth"), WS_SSL_PROXY_ROW("CheckPeerName"),                        \
        WS_SSL_PROXY_ROW("CheckPeerCN"), WS_SSL_PROXY_ROW("CheckPeerExpire")

/** Merge the values of an outer section (base) and an inner one (add). */
ws_ssl_proxy ws_ssl_proxy_merge(const ws_ssl_proxy *base, const ws_ssl_proxy *add);

/** Whether a and b come from the same directives. Compares the pointers, not the texts. */
int ws_ssl_proxy_same(const ws_ssl_proxy *a, const ws_ssl_proxy *b);

/**
 * Get the TLS context for a request's section. Sections with the same directives share a context,
 * which is valid until the child process exits. May read files. [any httpd thread]
 * @return the context, without a new reference; NULL: creation failed, the reason is logged
 */
SSL_CTX *ws_ssl_proxy_context(request_rec *r);

#endif
