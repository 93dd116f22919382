/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses untrusted messages from clients, and escapes messages to clients. */

#include "sockjs/text.h"

#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "protocol/frame.h"

/* ---- From the client ---- */

typedef struct text_input {
    const char *at, *end;
    ws_strbuf string; /* the string being parsed */
} text_input;

static void text_skip_space(text_input *in)
{
    while (in->at < in->end && strchr(" \t\r\n", *in->at) && *in->at) {
        in->at++;
    }
}

static int text_take(text_input *in, char c)
{
    text_skip_space(in);
    if (in->at == in->end || *in->at != c) {
        return 0;
    }
    in->at++;
    return 1;
}

static void text_add_utf8(ws_strbuf *t, unsigned c)
{
    char b[4];
    apr_size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (apr_size_t i = n; i-- > 1; c >>= 6) {
        b[i] = (char)(0x80 | (c & 0x3F));
    }
    b[0] = (char)(lead[n] | c);
    ws_strbuf_add(t, b, n);
}

/* Parse the four digits after \u. @return the code unit, or -1 */
static int text_unit(text_input *in)
{
    apr_uint64_t unit;
    if (in->end - in->at < 4 || !ws_parse_hex(in->at, 4, &unit)) {
        return -1;
    }
    in->at += 4;
    return (int)unit;
}

static int text_unicode(text_input *in)
{
    int unit = text_unit(in), low;
    if (unit < 0) {
        return 0;
    }
    if (unit >= 0xD800 && unit < 0xDC00 && in->end - in->at >= 6 && in->at[0] == '\\'
        && in->at[1] == 'u') {
        const char *before = in->at;
        in->at += 2;
        low = text_unit(in);
        if (low >= 0xDC00 && low < 0xE000) {
            text_add_utf8(&in->string,
                          0x10000u + ((unsigned)(unit - 0xD800) << 10) + (unsigned)(low - 0xDC00));
            return 1;
        }
        in->at = before;
    }
    text_add_utf8(&in->string, unit >= 0xD800 && unit < 0xE000 ? 0xFFFD : (unsigned)unit);
    return 1;
}

static int text_escape(text_input *in)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *found;
    if (in->at == in->end) {
        return 0;
    }
    if (*in->at == 'u') {
        in->at++;
        return text_unicode(in);
    }
    if (!*in->at || !(found = strchr(from, *in->at))) {
        return 0;
    }
    in->at++;
    ws_strbuf_add(&in->string, &to[found - from], 1);
    return 1;
}

/* Parse a string after its first quote. @return whether it is valid */
static int text_string(text_input *in)
{
    in->string.len = 0;
    while (in->at < in->end) {
        const char *from = in->at;
        while (in->at < in->end && *in->at != '"' && *in->at != '\\'
               && (unsigned char)*in->at >= 0x20) {
            in->at++;
        }
        ws_strbuf_add(&in->string, from, (apr_size_t)(in->at - from));
        if (in->at == in->end || (unsigned char)*in->at < 0x20) {
            return 0;
        }
        if (*in->at++ == '"') {
            return 1;
        }
        if (!text_escape(in)) {
            return 0;
        }
    }
    return 0;
}

void ws_sockjs_client_frame(ws_strbuf *frames, unsigned first, const void *data, apr_size_t len)
{
    /* RFC 6455 requires a masking key. The frame does not leave the machine, so a zero key
     * suffices. */
    static const unsigned char no_mask[4];
    unsigned char head[WS_HEADER_MAX];
    ws_strbuf_add(frames, (char *)head, ws_frame_header(head, first, len, no_mask));
    ws_strbuf_add(frames, data, len);
}

static int text_message(text_input *in, ws_strbuf *frames)
{
    if (!text_take(in, '"') || !text_string(in)) {
        return 0;
    }
    ws_sockjs_client_frame(frames, WS_FIN | WS_OP_TEXT, in->string.data, in->string.len);
    return 1;
}

static int text_array(text_input *in, ws_strbuf *frames)
{
    if (text_take(in, ']')) {
        return 1;
    }
    do {
        if (!text_message(in, frames)) {
            return 0;
        }
    } while (text_take(in, ','));
    return text_take(in, ']');
}

ws_sockjs_parsed ws_sockjs_parse(const char *text, apr_size_t len, ws_strbuf *frames)
{
    text_input in = {.at = text, .end = text + len};
    int valid;
    text_skip_space(&in);
    if (in.at == in.end) {
        return WS_SOCKJS_EMPTY;
    }
    valid = text_take(&in, '[') ? text_array(&in, frames) : text_message(&in, frames);
    text_skip_space(&in);
    valid &= in.at == in.end;
    ws_strbuf_free(&in.string);
    return in.string.broken || frames->broken ? WS_SOCKJS_MEMORY
           : valid                            ? WS_SOCKJS_PARSED
                                              : WS_SOCKJS_BROKEN;
}

/* ---- To the client ---- */

void ws_sockjs_puts(ws_strbuf *t, int nested, const char *s)
{
    if (!nested) {
        ws_strbuf_puts(t, s);
        return;
    }
    for (; *s; s++) {
        if (*s == '<') { /* "</script>" would end the page's script */
            ws_strbuf_puts(t, "\\u003c");
            continue;
        }
        if (*s == '"' || *s == '\\') {
            ws_strbuf_add(t, "\\", 1);
        }
        ws_strbuf_add(t, s, 1);
    }
}

/* Every non-ASCII character that must be escaped has three bytes, and the first is one of these. */
static int text_is_lead(unsigned char c)
{
    return c == 0xE2 || c == 0xEF;
}

static int text_is_plain(unsigned char c, int nested)
{
    return c >= 0x20 && c != '"' && c != '\\' && !text_is_lead(c) && !(nested && c == '<');
}

/* Whether a character is escaped: U+200C to U+200F, U+2028 to U+202F, U+2060 to U+206F, and U+FFF0
 * to U+FFFF. */
static int text_is_escaped(unsigned c)
{
    return (c >= 0x200C && c <= 0x200F) || (c >= 0x2028 && c <= 0x202F)
           || (c >= 0x2060 && c <= 0x206F) || c >= 0xFFF0;
}

static void text_put_wide(ws_strbuf *t, int nested, const unsigned char b[3])
{
    unsigned c = (b[0] & 0xFu) << 12 | (b[1] & 0x3Fu) << 6 | (b[2] & 0x3Fu);
    char escaped[8];
    if (!text_is_escaped(c)) {
        ws_strbuf_add(t, (const char *)b, 3);
        return;
    }
    snprintf(escaped, sizeof(escaped), "\\u%04x", c);
    ws_sockjs_puts(t, nested, escaped);
}

static void text_put_special(ws_strbuf *t, int nested, unsigned char c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *found = c ? strchr(from, c) : NULL;
    char escaped[8];
    if (c == '<') {
        snprintf(escaped, sizeof(escaped), "<");
    }
    else if (found) {
        snprintf(escaped, sizeof(escaped), "\\%c", to[found - from]);
    }
    else {
        snprintf(escaped, sizeof(escaped), "\\u%04x", c);
    }
    ws_sockjs_puts(t, nested, escaped);
}

/* Complete a character that was split between the previous piece and this one. @return the number
 * of bytes taken from data */
static apr_size_t text_complete(ws_strbuf *t, ws_sockjs_cut *cut, int nested, const char *data,
                                apr_size_t len)
{
    apr_size_t n = 3u - cut->count;
    unsigned char b[3];
    if (!cut->count) {
        return 0;
    }
    if (len < n) {
        memcpy(cut->held + cut->count, data, len);
        cut->count += (unsigned char)len;
        return len;
    }
    memcpy(b, cut->held, cut->count);
    memcpy(b + cut->count, data, n);
    cut->count = 0;
    text_put_wide(t, nested, b);
    return n;
}

void ws_sockjs_escape(ws_strbuf *t, ws_sockjs_cut *cut, int nested, const char *data,
                      apr_size_t len)
{
    const char *end = data + len;
    data += text_complete(t, cut, nested, data, len);
    while (data < end) {
        const char *from = data;
        while (data < end && text_is_plain((unsigned char)*data, nested)) {
            data++;
        }
        ws_strbuf_add(t, from, (apr_size_t)(data - from));
        if (data == end) {
            return;
        }
        if (!text_is_lead((unsigned char)*data)) {
            text_put_special(t, nested, (unsigned char)*data++);
        }
        else if (end - data < 3) {
            cut->count = (unsigned char)(end - data);
            memcpy(cut->held, data, cut->count);
            return;
        }
        else {
            text_put_wide(t, nested, (const unsigned char *)data);
            data += 3;
        }
    }
}

int ws_sockjs_callback_valid(const char *name)
{
    apr_size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789_-.");
    return len && !name[len] && len <= WS_SOCKJS_CALLBACK_MAX;
}
