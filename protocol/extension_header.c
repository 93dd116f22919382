/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parser for Sec-WebSocket-Extensions. It works in place and allocates nothing. */

#include "protocol/extension_header.h"

#include <string.h>

#include "protocol/handshake.h"

static char *exthdr_skip_blanks(char *s)
{
    return s + strspn(s, " \t");
}

/* Skip a token. @return its end; NULL: there is no token */
static char *exthdr_skip_token(char *s)
{
    char *end = s;
    while (*end && ws_is_token(end, 1)) {
        end++;
    }
    return end == s ? NULL : end;
}

/* Parse a quoted string (RFC 9110, section 5.6.4) whose content is a token. Moves the content to
 * the position of the opening quote. @return the end; NULL: the string is malformed */
static char *exthdr_unquote(char *s)
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

/* Parse name or name=value. Advances *list to the delimiter that follows, and sets *delimiter. */
static int exthdr_read_parameter(char **list, ws_parameter *p, char *delimiter)
{
    char *s = exthdr_skip_blanks(*list), *end;
    p->name = s;
    p->value = NULL;
    if (!(end = exthdr_skip_token(s))) {
        return -1;
    }
    s = exthdr_skip_blanks(end);
    *delimiter = *s;
    *end = '\0';
    if (*delimiter == '=') {
        s = exthdr_skip_blanks(s + 1);
        p->value = s;
        if (!(end = *s == '"' ? exthdr_unquote(s) : exthdr_skip_token(s))) {
            return -1;
        }
        s = exthdr_skip_blanks(end);
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
    if (exthdr_read_parameter(list, &p, &delimiter) < 0 || p.value) {
        return -1;
    }
    offer->name = p.name;
    offer->count = 0;
    while (delimiter == ';') {
        ++*list;
        if (exthdr_read_parameter(list, &p, &delimiter) < 0) {
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
