/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Splits a byte stream into messages, and replaces invalid UTF-8. */

#include "framing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Size of a read, bytes. */
#define READ_SIZE (64 * 1024)

#define PREFIX 4 /* size of the length field, in network byte order */

static char framing_end_of(exec_framing framing)
{
    return framing == EXEC_LINE ? '\n' : '\0';
}

int exec_fits(exec_framing framing, const char *data, apr_size_t len)
{
    return framing == EXEC_LENGTH || len == 0 || !memchr(data, framing_end_of(framing), len);
}

int exec_put(outbox *to, exec_framing framing, const char *data, apr_size_t len)
{
    char end = framing_end_of(framing);
    unsigned char prefix[PREFIX] = {(unsigned char)(len >> 24), (unsigned char)(len >> 16),
                                    (unsigned char)(len >> 8), (unsigned char)len};

    if (framing == EXEC_LENGTH) {
        return outbox_add(to, prefix, PREFIX) < 0 || outbox_add(to, data, len) < 0 ? -1 : 0;
    }
    return outbox_add(to, data, len) < 0 || outbox_add(to, &end, 1) < 0 ? -1 : 0;
}

apr_ssize_t exec_get(exec_framing framing, const char *data, apr_size_t len, int over,
                     apr_size_t longest, const char **start, apr_size_t *size)
{
    const char *end;

    if (framing == EXEC_LENGTH) {
        const unsigned char *p = (const unsigned char *)data;
        if (len < PREFIX) {
            return 0;
        }
        *start = data + PREFIX;
        *size = (apr_size_t)p[0] << 24 | (apr_size_t)p[1] << 16 | (apr_size_t)p[2] << 8 | p[3];
        return *size > longest ? -1 : len - PREFIX < *size ? 0 : (apr_ssize_t)(PREFIX + *size);
    }
    end = len ? memchr(data, framing_end_of(framing), len) : NULL;
    *start = data;
    *size = end ? (apr_size_t)(end - data) : len;
    if (*size > longest) {
        return -1;
    }
    return end ? (apr_ssize_t)(*size + 1) : over ? (apr_ssize_t)len : 0;
}

int exec_input_take(exec_input *in, int fd, exec_framing framing, apr_size_t longest,
                    void (*take)(void *arg, const char *line, apr_size_t len), void *arg)
{
    char *more = realloc(in->data, in->len + READ_SIZE);
    apr_size_t done = 0, len;
    apr_ssize_t n = 0;
    const char *start;
    ssize_t got;

    if (!more) {
        return -1;
    }
    in->data = more;
    got = read(fd, in->data + in->len, READ_SIZE);
    if (got <= 0) {
        return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    }
    in->len += (apr_size_t)got;
    while (done < in->len
           && (n = exec_get(framing, in->data + done, in->len - done, 0, longest, &start, &len))
                  > 0) {
        take(arg, start, len);
        done += (apr_size_t)n;
    }
    in->len -= done;
    memmove(in->data, in->data + done, in->len);
    return n < 0 ? -2 : 1;
}

void exec_input_clear(exec_input *in)
{
    free(in->data);
    *in = (exec_input){NULL, 0};
}

/* Get the length of the first character, bytes. 0: the character is invalid (table 3-7 of the
 * Unicode standard). */
static apr_size_t framing_character(const unsigned char *s, apr_size_t len)
{
    apr_size_t n = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;

    if (n == 1) {
        return 1;
    }
    if (n == 0 || s[0] > 0xF4 || n > len || (s[0] == 0xE0 && s[1] < 0xA0)
        || (s[0] == 0xED && s[1] > 0x9F) || (s[0] == 0xF0 && s[1] < 0x90)
        || (s[0] == 0xF4 && s[1] > 0x8F)) {
        return 0;
    }
    for (apr_size_t i = 1; i < n; i++) {
        if ((s[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return n;
}

char *exec_fix_utf8(const char *text, apr_size_t *len)
{
    const unsigned char *s = (const unsigned char *)text;
    apr_size_t wrong = 0, n;
    char *fixed, *to;

    for (apr_size_t i = 0; i < *len; i += n ? n : 1) {
        n = framing_character(s + i, *len - i);
        wrong += n == 0;
    }
    if (wrong == 0) {
        return NULL;
    }
    if (!(to = fixed = malloc(*len + 2 * wrong))) {
        *len = 0;
        return NULL;
    }
    for (apr_size_t i = 0; i < *len; i += n ? n : 1) {
        n = framing_character(s + i, *len - i);
        memcpy(to, n ? text + i : "\xEF\xBF\xBD", n ? n : 3);
        to += n ? n : 3;
    }
    *len = (apr_size_t)(to - fixed);
    return fixed;
}
