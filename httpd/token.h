/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A token of the application (JWT, RFC 7519): its claims, and what they permit. [any thread] */

#ifndef WS_HTTPD_TOKEN_H
#define WS_HTTPD_TOKEN_H

#include <apr_tables.h>
#include <apr_time.h>

#include "include/mod_websocket.h"

struct cJSON;

/** Tokens of more bytes are refused. */
#define WS_TOKEN_MAX (8 * 1024)

/** What a section accepts. Pointers live as long as the child. */
typedef struct ws_token_rules {
    const apr_array_header_t *keys;      /**< see token_keys.h; NULL: no tokens */
    const apr_array_header_t *audiences; /**< const char *; NULL: tokens without aud */
    const apr_array_header_t *issuers;   /**< const char *; NULL: any */
    apr_int64_t leeway;                  /**< milliseconds */
} ws_token_rules;

typedef struct ws_token {
    struct cJSON *claims;
    const char *user; /**< sub, or NULL */
    apr_time_t ends;  /**< exp and the leeway */
    apr_time_t soon;  /**< when its client is reminded */
    int reminded;
} ws_token;

/**
 * Check a token and read its claims.
 * @param why  set to the reason of a refusal, a static text
 * @return NULL if it is refused; for ws_token_free()
 */
ws_token *ws_token_read(const ws_token_rules *rules, const char *text, const char **why);

/** NULL is nothing to free. */
void ws_token_free(ws_token *t);

/** Whether it permits this on a channel. */
int ws_token_permits(const ws_token *t, ws_action action, const char *channel);

#endif
