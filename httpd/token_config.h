/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses the directives for tokens. */

#ifndef WS_HTTPD_TOKEN_CONFIG_H
#define WS_HTTPD_TOKEN_CONFIG_H

#include <httpd.h>
#include <http_config.h>

#include "httpd/arguments.h"

const char *ws_token_set_key(cmd_parms *cmd, void *config, const char *kind, const char *file,
                             const char *kid);
const char *ws_token_set_audience(cmd_parms *cmd, void *config, int argc, char *const argv[]);
const char *ws_token_set_issuer(cmd_parms *cmd, void *config, int argc, char *const argv[]);
const char *ws_token_set_leeway(cmd_parms *cmd, void *config, const char *arg);

/** Rows of the directive table. WHERE: the contexts in which the directives are allowed.
 *  FIELD(name): the offset of a field of ws_dir_config. */
/* clang-format off */
#define WS_TOKEN_DIRECTIVES(WHERE, FIELD) \
    AP_INIT_TAKE123("WebSocketTokenKey", ws_token_set_key, NULL, WHERE, \
                    "HS256, RS256, ES256, EdDSA or JWKS, then a file, then kid=ID; or off"), \
    WS_INIT_ARGUMENTS("WebSocketTokenAudience", ws_token_set_audience, WHERE, \
                      "the accepted values of aud; a token must have one"), \
    WS_INIT_ARGUMENTS("WebSocketTokenIssuer", ws_token_set_issuer, WHERE, \
                      "the accepted values of iss; a token must have one"), \
    AP_INIT_TAKE1("WebSocketTokenLeeway", ws_token_set_leeway, NULL, WHERE, \
                  "the maximum difference between the clocks of application and server"), \
    AP_INIT_TAKE1("WebSocketTokenRequired", ws_set_flag, FIELD(token_required), WHERE, \
                  "on or off: whether requests without a token are refused")
/* clang-format on */

#endif
