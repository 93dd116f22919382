/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Replaces token.c and token_keys.c in builds without libcjose or cJSON. It accepts no keys, so no
 *  token is ever read. */

#include "httpd/token.h"
#include "httpd/token_keys.h"

const char *ws_token_keys_add(cmd_parms *cmd, apr_array_header_t **keys, const char *kind,
                              const char *file, const char *kid)
{
    (void)cmd, (void)keys, (void)kind, (void)file, (void)kid;
    return "WebSocketTokenKey: this module was built without tokens: install libcjose-dev and "
           "libcjson-dev and rebuild";
}

ws_token *ws_token_read(const ws_token_rules *rules, const char *text, const char **why)
{
    (void)rules, (void)text;
    *why = "tokens are not accepted here";
    return NULL;
}

void ws_token_free(ws_token *t)
{
    (void)t;
}

int ws_token_permits(const ws_token *t, ws_action action, const char *channel)
{
    (void)t, (void)action, (void)channel;
    return 0;
}
