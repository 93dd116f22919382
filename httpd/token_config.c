/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses the directives for tokens. Keys are read from their files when httpd reads the
 *  configuration, while it is still running as root. */

#include "httpd/token_config.h"

#include <apr_strings.h>
#include <string.h>

#include "httpd/config.h"
#include "httpd/token_keys.h"
#include "protocol/utf8.h"
#include "websocket_parse.h"

#define LEEWAY_MAX 300000 /* milliseconds */

const char *ws_token_set_key(cmd_parms *cmd, void *config, const char *kind, const char *file,
                             const char *kid)
{
    ws_dir_config *d = config;
    const char *error;
    if (!file && !strcasecmp(kind, "off")) {
        if (d->token_keys) {
            return "WebSocketTokenKey off and a key are in the same section: remove one";
        }
        d->token_keys = apr_array_make(cmd->pool, 0, sizeof(void *));
        return NULL;
    }
    if (!file) {
        return "WebSocketTokenKey takes HS256, RS256, ES256, EdDSA or JWKS, then a file, then "
               "kid=ID; or "
               "off";
    }
    if (kid && (strncmp(kid, "kid=", 4) || !kid[4])) {
        return apr_psprintf(cmd->pool, "WebSocketTokenKey: invalid value \"%s\": expected kid=ID",
                            kid);
    }
    if (d->token_keys && !d->token_keys->nelts) {
        return "WebSocketTokenKey off and a key are in the same section: remove one";
    }
    if ((error = ws_check_repeated_line(cmd))) {
        return error;
    }
    return ws_token_keys_add(cmd, &d->token_keys, kind, file, kid ? kid + 4 : NULL);
}

static const char *token_config_list(cmd_parms *cmd, apr_array_header_t **list, int argc,
                                     char *const argv[])
{
    if (!argc) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, " takes ", cmd->cmd->errmsg, NULL);
    }
    *list = apr_array_make(cmd->pool, argc, sizeof(const char *));
    for (int i = 0; i < argc; i++) {
        if (!ws_utf8_valid(argv[i], strlen(argv[i]))) {
            return ws_wrong(cmd, argv[i], "UTF-8, as in all tokens");
        }
        APR_ARRAY_PUSH(*list, const char *) = argv[i];
    }
    return ws_check_repeated(cmd, argc, argv, strcmp);
}

const char *ws_token_set_audience(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    return token_config_list(cmd, &((ws_dir_config *)config)->token_audiences, argc, argv);
}

const char *ws_token_set_issuer(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    return token_config_list(cmd, &((ws_dir_config *)config)->token_issuers, argc, argv);
}

const char *ws_token_set_leeway(cmd_parms *cmd, void *config, const char *arg)
{
    return ws_refused(
        cmd, arg,
        ws_parse_interval(cmd->pool, arg, 0, LEEWAY_MAX, &((ws_dir_config *)config)->token_leeway),
        "");
}
