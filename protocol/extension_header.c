/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "protocol/extension_header.h"

#include <string.h>

#include "protocol/handshake.h"

static char *skip_blanks(char *s)
{
    return s + strspn(s, " \t");
}

/* @return behind the token; NULL if there is none */
static char *skip_token(char *s)
{
    char *end = s;
    while (*end && ws_is_token(end, 1)) {
        end++;
    }
    return end == s ? NULL : end;
}

/* A quoted string: RFC 9110, section 5.6.4. Its content is put where the quote was, and has to be a
 * token. @return behind it; NULL if it is malformed */
static char *unquote(char *s)
{
    char *to = s, *from = s + 1;
    while (*from && *from != '"') {
        if (*from == '\\') {
            from++;
        }
        if (!*from || !ws_is_token(from, 1)) {
            return NULL;
        }
        *to++ = *from++;
    }
    if (*from != '"' || to == s) {
        return NULL;
    }
    *to = '\0';
    return from + 1;
}

/* name, or name=value. *list moves behind it and blanks; *delimiter: what stands there */
static int read_parameter(char **list, ws_parameter *p, char *delimiter)
{
    char *s = skip_blanks(*list), *end;
    p->name = s;
    p->value = NULL;
    if (!(end = skip_token(s))) {
        return -1;
    }
    s = skip_blanks(end);
    *delimiter = *s;
    *end = '\0';
    if (*delimiter == '=') {
        s = skip_blanks(s + 1);
        p->value = s;
        if (!(end = *s == '"' ? unquote(s) : skip_token(s))) {
            return -1;
        }
        s = skip_blanks(end);
        *delimiter = *s;
        *end = '\0';
    }
    *list = s;
    return 0;
}

int ws_offer_next(char **list, ws_offer *offer)
{
    ws_parameter p;
    char delimiter;

    *list += strspn(*list, " \t,");
    if (!**list) {
        return 0;
    }
    if (read_parameter(list, &p, &delimiter) < 0 || p.value) {
        return -1;
    }
    offer->name = p.name;
    offer->count = 0;
    while (delimiter == ';') {
        ++*list;
        if (read_parameter(list, &p, &delimiter) < 0) {
            return -1;
        }
        if (offer->count < WS_PARAMETERS_MAX) {
            offer->parameters[offer->count] = p;
        }
        offer->count++;
    }
    if (delimiter && delimiter != ',') {
        return -1;
    }
    *list += delimiter != '\0';
    return 1;
}
