/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Splits a directive's line into any number of arguments, and refuses arguments that are given
 *  twice, because the directive would ignore one of the two. */

#include "httpd/arguments.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

const char *ws_set_arguments(cmd_parms *cmd, void *config, const char *line)
{
    const ws_arguments_setter *setter = cmd->info;
    apr_array_header_t *words = apr_array_make(cmd->pool, 8, sizeof(char *));
    while (*line) {
        char *word = ap_getword_conf(cmd->pool, &line);
        if (!*word && !*line) {
            break; /* TAKE_ARGV in httpd's server/config.c does the same */
        }
        APR_ARRAY_PUSH(words, char *) = word;
    }
    return setter->set(cmd, config, words->nelts, (char *const *)words->elts);
}

static apr_size_t arguments_key_length(const char *arg)
{
    return strcspn(arg, "=");
}

int ws_compare_keys(const char *a, const char *b)
{
    apr_size_t len = arguments_key_length(a), other = arguments_key_length(b);
    int order = strncasecmp(a, b, len < other ? len : other);
    return order || len == other ? order : len < other ? -1 : 1;
}

/* For qsort_r(): order pointers to arguments by their texts. Equal arguments keep their order. */
static int arguments_compare(const void *a, const void *b, void *compare)
{
    char *const *one = *(char *const *const *)a, *const *two = *(char *const *const *)b;
    int order = (*(int (**)(const char *, const char *))compare)(*one, *two);
    return order ? order : one < two ? -1 : one > two;
}

const char *ws_find_repeated(apr_pool_t *p, int argc, char *const argv[],
                             int (*compare)(const char *, const char *))
{
    char *const **sorted = apr_palloc(p, ((apr_size_t)argc + 1) * sizeof(*sorted));
    char *const *first = NULL;
    apr_size_t len;
    for (int i = 0; i < argc; i++) {
        sorted[i] = argv + i;
    }
    qsort_r(sorted, (size_t)argc, sizeof(*sorted), arguments_compare, &compare);
    for (int i = 1; i < argc; i++) {
        if (!compare(*sorted[i - 1], *sorted[i]) && (!first || sorted[i] < first)) {
            first = sorted[i];
        }
    }
    if (!first) {
        return NULL;
    }
    len = compare == ws_compare_keys ? arguments_key_length(*first) : strlen(*first);
    return apr_psprintf(p, "%.*s%s is given twice: remove one", (int)len, *first,
                        (*first)[len] ? "=" : "");
}

const char *ws_check_repeated(cmd_parms *cmd, int argc, char *const argv[],
                              int (*compare)(const char *, const char *))
{
    const char *error = ws_find_repeated(cmd->pool, argc, argv, compare);
    return error ? apr_pstrcat(cmd->pool, cmd->cmd->name, ": ", error, NULL) : NULL;
}
