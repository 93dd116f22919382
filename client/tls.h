/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Creates TLS contexts and connections for clients, verifies servers, and describes errors. */

#ifndef WS_CLIENT_TLS_H
#define WS_CLIENT_TLS_H

#include <openssl/ssl.h>

/** The files from which a context is created. Strings may be NULL. */
typedef struct ws_tls_files {
    const char *ca_file, *certificate, *key;
    int insecure;
    /** File to which the secrets of each session are appended, in NSS format. */
    const char *key_log;
} ws_tls_files;

/** Maximum size of an error text, including the NUL, bytes. */
#define WS_TLS_ERROR 512

/**
 * Get a context for these files. The context is cached until the files change. This function reads
 * files, so it must not run on a loop. [any other thread]
 * @param error  WS_TLS_ERROR bytes, set if it fails
 * @return a reference, or NULL
 */
SSL_CTX *ws_tls_context(const ws_tls_files *files, char *error);

/** Load these files as ws_tls_context() does, and discard the result.
 *  @param error  WS_TLS_ERROR bytes, set if it fails
 *  @return 0, or -1 */
int ws_tls_check(const ws_tls_files *files, char *error);

/** Create a context without certificates that verifies nothing yet. @return NULL: out of memory */
SSL_CTX *ws_tls_plain_context(void);

/**
 * Create a TLS connection to a name or address on a connected socket. A dot at the end of the name
 * is neither sent nor compared.
 * @return NULL: out of memory, or an invalid name
 */
SSL *ws_tls_connect(SSL_CTX *context, int fd, const char *host, int insecure);

/** Free an SSL object whose socket does not block. Sends close_notify first if the handshake is
 *  complete (RFC 8446, section 6.1). NULL has no effect. */
void ws_tls_close(SSL *ssl);

/** Write the reason why an OpenSSL call has failed, such as "certificate: host name mismatch" or
 *  "tls: ...". */
void ws_tls_explain(const SSL *ssl, int ssl_error, int system_error, char *error);

/** Free all cached contexts. None of them may be in use. */
void ws_tls_forget(void);

#endif
