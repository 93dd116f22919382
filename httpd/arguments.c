/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Splits a directive's line into any number of arguments. */

#include "httpd/arguments.h"

const char *ws_set_arguments(cmd_parms *cmd, void *config, const char *line)
{
    const ws_arguments_setter *setter = cmd->info;
    apr_array_header_t *words = apr_array_make(cmd->pool, 8, sizeof(char *));
    while (*line) {
        APR_ARRAY_PUSH(words, char *) = ap_getword_conf(cmd->pool, &line);
    }
    return setter->set(cmd, config, words->nelts, (char *const *)words->elts);
}
