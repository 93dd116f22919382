/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Keys that sign tokens, and the check of a signature: WebSocketTokenKey. The JOSE library and OpenSSL do the
 *  cryptography. */

#ifndef WS_HTTPD_TOKEN_KEYS_H
#define WS_HTTPD_TOKEN_KEYS_H

#include <httpd.h>
#include <http_config.h>

/** Keys of one section at most. */
#define WS_TOKEN_KEYS_MAX 32

/**
 * Read keys from a file.
 * @param keys  the section's, of a private type; NULL: made
 * @param kind  HS256, RS256, ES256, EdDSA or JWKS
 * @param kid   the key's id, or NULL
 * @return NULL, or the error
 */
const char *ws_token_keys_add(cmd_parms *cmd, apr_array_header_t **keys, const char *kind,
                              const char *file, const char *kid);

/**
 * Check the signature of a JWS in its compact form; len bytes, all of A-Z a-z 0-9 - _ and exactly two dots.
 * @param alg, kid  of its header; kid may be NULL
 * @return NULL, or why it is refused, a static text.  [any thread]
 */
const char *ws_token_keys_check(const apr_array_header_t *keys, apr_pool_t *p, const char *token,
                                apr_size_t len, const char *alg, const char *kid);

#endif
