/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Creates, checks and encodes channel messages. A message is framed once and shared by all
 * of its receivers; the last reference frees it.
 */

#include "channels/message.h"

#include <apr_fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/frame.h"
#include "protocol/utf8.h"

/* Whether a character needs no escaping in a URL path and has no special meaning in patterns. */
static int message_allowed(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
           || (c && strchr("-_.~:/@+=!", c));
}

int ws_channel_valid_len(const char *channel, apr_size_t len)
{
    if (len == 0 || len > WS_CHANNEL_MAX) {
        return 0;
    }
    for (apr_size_t i = 0; i < len; i++) {
        if (!message_allowed((unsigned char)channel[i])) {
            return 0;
        }
    }
    return 1;
}

int ws_channel_valid(const char *channel)
{
    return channel && ws_channel_valid_len(channel, strlen(channel));
}

/* Get the length of a pattern's first element: a character with its backslash, or [...]. */
static apr_size_t message_element_length(const char *pattern)
{
    const char *end = pattern + 1;
    if (*pattern == '\\') {
        return end[0] ? 2 : 1;
    }
    if (*pattern == '[') {
        end += *end == '!' || *end == '^';
        end += *end == ']'; /* at the start, this is an ordinary character */
        while (*end && *end != ']') {
            end += *end == '\\' && end[1] ? 2 : 1;
        }
    }
    return *end && *pattern == '[' ? (apr_size_t)(end + 1 - pattern) : 1;
}

/* Whether an element of a pattern matches any character of channels' names. */
static int message_element_matches(const char *element, apr_size_t len)
{
    char *pattern = strndup(element, len);
    int found = 0;
    for (unsigned char c = 1; pattern && c < 128 && !found; c++) {
        found = message_allowed(c) && !apr_fnmatch(pattern, (const char[]){(char)c, 0}, 0);
    }
    free(pattern);
    return found;
}

int ws_channel_pattern_valid(const char *pattern)
{
    apr_size_t shortest = 0; /* length of the shortest names that the pattern matches */
    for (const char *c = pattern; *c; c++) {
        if (!message_allowed((unsigned char)*c) && !strchr("*?[]\\^", *c)) {
            return 0;
        }
    }
    for (const char *c = pattern; *c; c += message_element_length(c)) {
        if (!message_element_matches(c, message_element_length(c))) {
            return 0;
        }
        shortest += *c != '*';
    }
    return *pattern && shortest <= WS_CHANNEL_MAX;
}

int ws_channel_pattern_hidden(const char *pattern, const char *earlier)
{
    return !strcmp(pattern, earlier) || !earlier[strspn(earlier, "*")];
}

int ws_wildcard_valid(const char *text, apr_size_t len)
{
    return len > 2 && len <= WS_CHANNEL_MAX && !memcmp(text + len - 2, "/*", 2)
           && ws_channel_valid_len(text, len - 2);
}

apr_size_t ws_text_prefix(const char *text, apr_size_t len, apr_size_t max)
{
    return ws_utf8_prefix((const unsigned char *)text, len, max);
}

int ws_message_valid(ws_type type, const char *data, apr_size_t len)
{
    return type == WS_BINARY || (type == WS_TEXT && ws_utf8_valid(data, len));
}

int ws_member_valid(const char *data, apr_size_t len)
{
    return len <= WS_MEMBER_MAX && ws_utf8_valid(data, len);
}

apr_uint64_t ws_channel_hash(const char *channel, apr_size_t len)
{
    return ws_hash(0, channel, len);
}

const char *ws_member_split(const char *whole, apr_size_t len, apr_size_t *data_len)
{
    const char *nul = len ? memrchr(whole, 0, len) : NULL;
    if (!nul || !ws_member_valid(whole, (apr_size_t)(nul - whole))
        || whole + len - nul > WS_USER_MAX + 1
        || !ws_utf8_valid(nul + 1, (apr_size_t)(whole + len - nul) - 1)) {
        return NULL;
    }
    *data_len = (apr_size_t)(nul - whole);
    return nul + 1;
}

/* ---- Fields ---- */

int ws_field_valid(const char *text)
{
    apr_size_t len = strlen(text);
    for (const char *at = text; *at; at++) {
        if ((unsigned char)*at < ' ' || *at == 127) {
            return 0;
        }
    }
    return len > 0 && len <= WS_FIELD_MAX && ws_utf8_valid(text, len);
}

static unsigned char *message_put_text(unsigned char *at, const char *text)
{
    apr_size_t len = text ? strlen(text) : 0;
    *at++ = (unsigned char)len;
    memcpy(at, text ? text : "", len);
    return at + len;
}

apr_size_t ws_fields_encode(const ws_message_fields *fields,
                            unsigned char out[static WS_FIELDS_MAX])
{
    unsigned char *at = out;
    if (!fields->expires && !fields->event && !fields->key && !fields->source) {
        return 0;
    }
    for (int shift = 56; shift >= 0; shift -= 8) {
        *at++ = (unsigned char)((apr_uint64_t)fields->expires >> shift);
    }
    at = message_put_text(at, fields->event);
    at = message_put_text(at, fields->key);
    at = message_put_text(at, fields->source);
    return (apr_size_t)(at - out);
}

/* Read a length and a text. @return the byte after the text; NULL: the encoding is invalid */
static const unsigned char *message_get_text(const unsigned char *at, const unsigned char *end,
                                             char *copy, const char **text)
{
    apr_size_t len;
    if (at == end) {
        return NULL;
    }
    len = *at++;
    if ((apr_size_t)(end - at) < len || memchr(at, 0, len)) {
        return NULL;
    }
    memcpy(copy, at, len);
    copy[len] = 0;
    *text = len ? copy : NULL;
    return !len || ws_field_valid(copy) ? at + len : NULL;
}

int ws_fields_decode(ws_message_fields *fields, const void *bytes, apr_size_t len,
                     ws_fields_buffer *buffer)
{
    const unsigned char *at = bytes, *end;
    apr_uint64_t expires = 0;
    memset(fields, 0, sizeof(*fields));
    if (!len) {
        return 1; /* bytes may be NULL */
    }
    if (len < 8 + 3) {
        return 0;
    }
    end = at + len;
    for (int i = 0; i < 8; i++) {
        expires = expires << 8 | *at++;
    }
    fields->expires = (apr_time_t)expires;
    return fields->expires >= 0 && (at = message_get_text(at, end, buffer->event, &fields->event))
           && (at = message_get_text(at, end, buffer->key, &fields->key))
           && (at = message_get_text(at, end, buffer->source, &fields->source)) && at == end
           && (!fields->source || ws_channel_valid(fields->source));
}

/* ---- Messages ---- */

/* Create a message with room for `more` bytes after the channel's name. @param extra  set to the
 * address of that room */
static ws_message *message_new(const char *channel, ws_type type, const char *data, apr_size_t len,
                               apr_size_t more, char **extra)
{
    apr_size_t name = strlen(channel), size;
    ws_message *m = calloc(1, sizeof(*m) + name + 1 + more);
    if (!m || !(m->frames = ws_frames_build(WS_FIN | (unsigned)type, data, len))) {
        free(m);
        return NULL;
    }
    m->refs = 1;
    m->type = type;
    m->data = (const char *)ws_frames_payload(m->frames, &size);
    m->len = size;
    m->hash = ws_channel_hash(channel, name);
    m->channel_len = (unsigned)name;
    memcpy(m->channel, channel, name + 1);
    *extra = m->channel + name + 1;
    return m;
}

static const char *message_copy(char **extra, const char *text)
{
    char *copy = text ? strcpy(*extra, text) : NULL;
    *extra += text ? strlen(text) + 1 : 0;
    return copy;
}

static apr_size_t message_text_size(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

ws_message *ws_message_new_with(const char *channel, ws_type type, const char *data, apr_size_t len,
                                const ws_message_fields *fields)
{
    static const ws_message_fields none;
    const ws_message_fields *f = fields ? fields : &none;
    char *extra;
    ws_message *m = message_new(channel, type, data, len,
                                message_text_size(f->event) + message_text_size(f->key)
                                    + message_text_size(f->source),
                                &extra);
    if (m) {
        m->fields.expires = f->expires;
        m->fields.event = message_copy(&extra, f->event);
        m->fields.key = message_copy(&extra, f->key);
        m->fields.source = message_copy(&extra, f->source);
        m->frames->key = f->key ? ws_hash(m->hash, f->key, strlen(f->key)) : 0;
    }
    return m;
}

ws_message *ws_message_new(const char *channel, ws_type type, const char *data, apr_size_t len)
{
    return ws_message_new_with(channel, type, data, len, NULL);
}

ws_message *ws_message_about(const char *channel, const char *whole, apr_size_t len)
{
    apr_size_t data_len, user_len;
    const char *user = ws_member_split(whole, len, &data_len);
    char *extra;
    ws_message *m;
    if (!user) {
        return NULL;
    }
    user_len = (apr_size_t)(whole + len - user);
    if ((m = message_new(channel, WS_TEXT, whole, data_len, user_len + 1, &extra)) && user_len) {
        m->user = memcpy(extra, user, user_len);
    }
    return m;
}

enum { WAITS, TAKEN, WITHDRAWN };

static apr_uint32_t message_decide(ws_message *m, apr_uint32_t fate)
{
    apr_uint32_t waits = WAITS;
    __atomic_compare_exchange_n(&m->fate, &waits, fate, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return __atomic_load_n(&m->fate, __ATOMIC_SEQ_CST);
}

int ws_message_take(ws_message *m)
{
    return message_decide(m, TAKEN) == TAKEN;
}

int ws_message_withdraw(ws_message *m)
{
    return message_decide(m, WITHDRAWN) == WITHDRAWN;
}

ws_message *ws_message_ref(ws_message *m)
{
    __atomic_add_fetch(&m->refs, 1, __ATOMIC_RELAXED);
    return m;
}

void ws_message_unref(ws_message *m)
{
    if (__atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        ws_frames_unref(m->frames);
        free(m->by);
        free(m);
    }
}
