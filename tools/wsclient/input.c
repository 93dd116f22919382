/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Converts input to messages. Reads only as much as the connection accepts, and sends long lines in
 * parts.
 */

#include "tools/wsclient/input.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"
#include "protocol/close.h"
#include "protocol/utf8.h"
#include "tools/wsclient/session.h"

/* Size of a --binary message, and of each piece of a long line, bytes. */
#define BLOCK (64 * 1024)

static char data[BLOCK];
static size_t len, pos; /* number of bytes that were read, and number of them that were sent */
static int at_end;      /* 1: the end of input has been reached */
static int inside;      /* 1: a part of the current line has been sent */
static ws_utf8_state utf8;
static int half = -1; /* the first hexadecimal digit of an incomplete byte, or -1 */
static unsigned long line_number = 1;
static unsigned next_message; /* index of the next --execute message */

int ws_input_over(void)
{
    if (ws_options.message_count) {
        return next_message == ws_options.message_count;
    }
    return at_end && pos == len && !inside;
}

static const char *input_wrong(const char *what)
{
    static char text[128];
    snprintf(text, sizeof(text), "line %lu: %s", line_number, what);
    return text;
}

/* Send pairs of hexadecimal digits as bytes. Blanks are ignored. */
static const char *input_send_hex(const char *from, size_t n, unsigned where)
{
    static char bytes[BLOCK];
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)from[i];
        int digit = ws_hex_digit(c);
        if (isspace(c) && half < 0) {
            continue;
        }
        if (digit < 0) {
            return input_wrong("expected pairs of hexadecimal digits, such as 00 7f ff");
        }
        if (half < 0) {
            half = digit;
            continue;
        }
        bytes[count++] = (char)(half * 16 + digit);
        half = -1;
    }
    if ((where & WS_LAST) && half >= 0) {
        return input_wrong("a hexadecimal digit is missing");
    }
    ws_session_send(WS_BINARY, where, bytes, count);
    return NULL;
}

/* Send a line or a part of a line. */
static const char *input_send_piece(const char *from, size_t n, int last)
{
    unsigned where = (inside ? 0 : WS_FIRST) | (last ? WS_LAST : 0);
    const char *error = NULL;
    if (ws_options.form == WS_FORM_HEX) {
        error = input_send_hex(from, n, where);
    }
    else {
        utf8 = ws_utf8_check(inside ? utf8 : WS_UTF8_START, (const unsigned char *)from, n);
        if (utf8 == WS_UTF8_REJECT || (last && utf8 != WS_UTF8_START)) {
            return input_wrong("this is not UTF-8; --binary sends any bytes");
        }
        ws_session_send(WS_TEXT, where, from, n);
    }
    inside = !last;
    line_number += last != 0;
    return error;
}

const char *ws_input_messages(void)
{
    const char *error = NULL;
    while (!error && next_message < ws_options.message_count && ws_session_takes()) {
        const char *text = ws_options.messages[next_message++];
        if (ws_options.form == WS_FORM_BINARY) {
            ws_session_send(WS_BINARY, WS_FIRST | WS_LAST, text, strlen(text));
        }
        else {
            error = ws_input_line(text, strlen(text));
        }
    }
    return error;
}

/* Whether a line is the command /name. *rest is set to its arguments. */
static int input_is_command(const char *line, const char *name, const char **rest)
{
    size_t length = strlen(name);
    if (*line != '/' || strncmp(line + 1, name, length)
        || (line[length + 1] && line[length + 1] != ' ')) {
        return 0;
    }
    *rest = line + length + 1 + strspn(line + length + 1, " ");
    return 1;
}

static const char *input_close_command(const char *rest)
{
    apr_int64_t code = WS_CLOSE_NORMAL;
    const char *end = *rest ? ws_parse_digits(rest, &code) : rest;
    const char *reason = end ? end + strspn(end, " ") : "";
    if (!end || (*end && *end != ' ') || code > 4999 || !ws_close_code_valid((int)code)) {
        return "/close takes a code from 1000 to 1003, 1007 to 1014 or 3000 to 4999, then a reason";
    }
    if (strlen(reason) > WS_REASON_MAX) {
        return "/close: the reason is longer than 123 bytes";
    }
    ws_session_close((int)code, reason);
    return NULL;
}

const char *ws_input_typed(const char *line)
{
    const char *rest;
    if (input_is_command(line, "ping", &rest)) {
        if (strlen(rest) > WS_CONTROL_MAX) {
            return "/ping: the text is longer than 125 bytes";
        }
        ws_session_ping(rest);
        return NULL;
    }
    if (input_is_command(line, "close", &rest)) {
        return input_close_command(rest);
    }
    line += *line == '/'
            && (input_is_command(line + 1, "ping", &rest)
                || input_is_command(line + 1, "close", &rest));
    return ws_input_line(line, strlen(line));
}

const char *ws_input_line(const char *line, apr_size_t n)
{
    const char *error = NULL;
    /* send long lines in pieces, because input_send_hex() has a buffer for at most BLOCK digits */
    while (!error && n > BLOCK) {
        error = input_send_piece(line, BLOCK, 0);
        line += BLOCK;
        n -= BLOCK;
    }
    error = error ? error : input_send_piece(line, n, 1);
    if (error) {
        half = -1;
    }
    return error;
}

/* Find the end of the next message in `data`. @return NULL: the message is incomplete */
static const char *input_next_end(void)
{
    const char *newline;
    if (ws_options.form == WS_FORM_BINARY) {
        return pos < len ? data + len : NULL;
    }
    if ((newline = memchr(data + pos, '\n', len - pos))) {
        return newline;
    }
    return len - pos == BLOCK || (at_end && (pos < len || inside)) ? data + len : NULL;
}

const char *ws_input_send(void)
{
    const char *end, *error = NULL;
    while (!error && ws_session_takes() && (end = input_next_end())) {
        size_t n = (size_t)(end - data) - pos;
        int newline = end < data + len;
        if (ws_options.form == WS_FORM_BINARY) {
            ws_session_send(WS_BINARY, WS_FIRST | WS_LAST, data + pos, n);
        }
        else {
            error = input_send_piece(data + pos, n, newline || at_end);
        }
        pos += n + (newline ? 1 : 0);
    }
    return error;
}

int ws_input_wanted(void)
{
    return !ws_options.message_count && !at_end && ws_session_takes() && !input_next_end();
}

const char *ws_input_read(void)
{
    ssize_t n;
    memmove(data, data + pos, len - pos);
    len -= pos;
    pos = 0;
    n = read(STDIN_FILENO, data + len, BLOCK - len);
    if (n < 0 && errno != EINTR && errno != EAGAIN) {
        at_end = 1;
        return strerror(errno);
    }
    if (n == 0) {
        at_end = 1;
    }
    len += n > 0 ? (size_t)n : 0;
    return ws_input_send();
}
