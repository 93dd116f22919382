/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Checks tokens (JWT, RFC 7519) that the application has issued, and what the tokens permit. [any
 *  thread] */

#ifndef WS_HTTPD_TOKEN_H
#define WS_HTTPD_TOKEN_H

#include <apr_tables.h>
#include <apr_time.h>

#include "include/mod_websocket.h"

struct cJSON;

/** Size limit for a token, bytes. */
#define WS_TOKEN_MAX (8 * 1024)

/** The tokens that a section accepts. Pointers are valid until the child exits. */
typedef struct ws_token_rules {
    const apr_array_header_t *keys;      /**< see token_keys.h; NULL: accept no tokens */
    const apr_array_header_t *audiences; /**< const char *; NULL: only tokens without aud */
    const apr_array_header_t *issuers;   /**< const char *; NULL: any */
    apr_int64_t leeway;                  /**< milliseconds */
} ws_token_rules;

typedef struct ws_token {
    struct cJSON *claims;
    const char *user; /**< the claim sub, or NULL */
    apr_time_t ends;  /**< the claim exp plus the leeway */
    apr_time_t soon;  /**< when to remind the handler that the token will expire */
    int reminded;     /**< the handler has been reminded */
} ws_token;

/**
 * Check a token and read its claims.
 * @param why  set to the reason for a refusal, a static text
 * @return the token, to be freed by ws_token_free(); NULL: it is refused
 */
ws_token *ws_token_read(const ws_token_rules *rules, const char *text, const char **why);

/** Free a token. Ignores NULL. */
void ws_token_free(ws_token *t);

/** Whether a token permits an action on a channel. */
int ws_token_permits(const ws_token *t, ws_action action, const char *channel);

#endif
