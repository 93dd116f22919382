/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** TLS as a client: contexts, whom to believe, and what went wrong in words. */

#ifndef WS_CLIENT_TLS_H
#define WS_CLIENT_TLS_H

#include <openssl/ssl.h>

/** What a context is made of. Strings may be NULL. */
typedef struct ws_tls_files {
    const char *ca_file, *certificate, *key;
    int insecure;
    const char *key_log; /**< the secrets of each session are appended to it, as NSS has it */
} ws_tls_files;

/** Longest text of an error, with its NUL. */
#define WS_TLS_ERROR 512

/**
 * A context for these files: one that was made for the same before, as long as the files have not
 * changed; or a new one. Reads files.  [any thread that is no loop]
 * @param error  WS_TLS_ERROR bytes, set if it fails
 * @return a reference, or NULL
 */
SSL_CTX *ws_tls_context(const ws_tls_files *files, char *error);

/** A connection to a name or address, on a connected socket. A dot at the end of a name belongs to the name
 *  service only: it is neither sent nor compared. NULL when there is no memory, or the name is none. */
SSL *ws_tls_connect(SSL_CTX *context, int fd, const char *host, int insecure);

/** Why a call of OpenSSL has failed: "certificate: host name mismatch", "tls: ...". */
void ws_tls_explain(const SSL *ssl, int ssl_error, int system_error, char *error);

/** Forget all contexts. Nobody may use them any more. */
void ws_tls_forget(void);

#endif
