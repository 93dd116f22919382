/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Reads the keys for WebSocketTokenKey, and verifies tokens' signatures, with the JOSE library
 *  and OpenSSL. */

#ifndef WS_HTTPD_TOKEN_KEYS_H
#define WS_HTTPD_TOKEN_KEYS_H

#include <httpd.h>
#include <http_config.h>

/** Maximum number of keys per section. */
#define WS_TOKEN_KEYS_MAX 32

/**
 * Read keys from a file.
 * @param keys  the section's keys, of a private type; created if *keys is NULL
 * @param kind  HS256, RS256, ES256, EdDSA or JWKS
 * @param kid   the key's id, or NULL
 * @return NULL, or the error
 */
const char *ws_token_keys_add(cmd_parms *cmd, apr_array_header_t **keys, const char *kind,
                              const char *file, const char *kid);

/**
 * Verify the signature of a JWS in compact form.
 * @param token  len bytes, with exactly two dots and otherwise only A-Z, a-z, 0-9, - and _
 * @param alg, kid  from the token's header; kid may be NULL
 * @return NULL, or the reason for the refusal, a static string.  [any thread]
 */
const char *ws_token_keys_check(const apr_array_header_t *keys, apr_pool_t *p, const char *token,
                                apr_size_t len, const char *alg, const char *kid);

#endif
