/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses the lines that a shared program writes. */

#include "line.h"

#include <string.h>

#include "websocket_parse.h"

int exec_line_read(const char *data, apr_size_t len, exec_line *l)
{
    const char *kind = memchr(data, '\t', len), *text;
    apr_size_t id_len;

    if (!kind || !(text = memchr(kind + 1, '\t', len - (apr_size_t)(kind + 1 - data)))) {
        return 0;
    }
    id_len = (apr_size_t)(kind++ - data);
    *l = (exec_line){0, kind, text + 1, (apr_size_t)(text - kind),
                     len - (apr_size_t)(text + 1 - data)};
    return (id_len == 1 && *data == '*') || ws_parse_id(data, id_len, &l->id);
}

int exec_line_is(const exec_line *l, const char *kind)
{
    return strlen(kind) == l->kind_len && !memcmp(kind, l->kind, l->kind_len);
}

char *exec_line_close(const char *text, apr_size_t len, char *words, apr_size_t size,
                      apr_int64_t *code)
{
    size_t digits;
    char after;

    len = len < size - 1 ? len : size - 1;
    memcpy(words, text, len);
    words[len] = '\0';
    digits = strcspn(words, " ");
    after = words[digits];
    words[digits] = '\0';
    *code = WS_CLOSE_NORMAL;
    if (!ws_parse_count(NULL, words, 1000, 4999, code)) {
        return words + digits + (after == ' ');
    }
    words[digits] = after;
    return words;
}
