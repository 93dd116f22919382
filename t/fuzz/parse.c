/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** This target parses numbers, sizes, intervals, positions and query strings, and compares the
 *  results with simple references. */

#include "base/parse.h"

#include "t/fuzz/fuzz.h"

#define UNREAD -2

/* Parse digits and a unit with 128-bit arithmetic.
 * @return the number, or -1 if the text must be refused */
static apr_int64_t reference(const char *text, const char *units, const long *factors,
                             apr_int64_t least, apr_int64_t most)
{
    size_t digits = strspn(text, "0123456789");
    __extension__ __int128 n = 0;
    char unit[8];

    if (!digits || strlen(text + digits) > 4 || strchr(text, '|')) {
        return -1;
    }
    for (size_t i = 0; i < digits && n < ((__extension__(__int128) 1) << 80); i++) {
        n = n * 10 + (text[i] - '0');
    }
    snprintf(unit, sizeof(unit), "|%s|", text + digits);
    for (char *c = unit; *c; c++) {
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 'a' - 'A') : *c;
    }
    units = strstr(units, unit);
    if (!units) {
        return -1;
    }
    for (; *units; units++) { /* skip one factor for each remaining unit */
        factors += *units == '|';
    }
    n *= factors[-2];
    return n >= least && n <= most ? (apr_int64_t)n : -1;
}

static void check(const char *error, apr_int64_t n, apr_int64_t expected)
{
    MUST(!error == (expected >= 0));
    MUST(n == (error ? UNREAD : expected));
    MUST(!error || !strncmp(error, "takes ", 6));
}

static void numbers(const char *text, apr_int64_t least, apr_int64_t most)
{
    /* factors of the units, from the last unit to the first */
    static const long count[] = {1}, times[] = {1000, 86400000, 3600000, 60000, 1000, 1};
    static const long sizes[] = {1, 1L << 30, 1L << 20, 1L << 10};
    apr_int64_t n = UNREAD;
    const char *error = ws_parse_count(NULL, text, least, most, &n);
    check(error, n, reference(text, "||", count, least, most));
    n = UNREAD;
    error = ws_parse_interval(NULL, text, least, most, &n);
    check(error, n, reference(text, "|ms|s|min|h|d||", times, least, most));
    n = UNREAD;
    error = ws_parse_size(NULL, text, least, most, &n);
    check(error, n, reference(text, "|k|m|g||", sizes, least, most));
}

/* Encode each byte of a value as %XX, and check that the result decodes to the same value. */
static void again(const char *value)
{
    char *text = malloc(3 * strlen(value) + 1), *out = malloc(strlen(value) + 1);
    MUST(text && out);
    for (size_t i = 0; i <= strlen(value); i++) {
        snprintf(text + 3 * i, value[i] ? 4 : 1, "%%%02x", (unsigned char)value[i]);
    }
    MUST(ws_percent_decode(text, strlen(text), 1, out, strlen(value) + 1) == (int)strlen(value));
    MUST(!strcmp(out, value));
    free(out);
    free(text);
}

static void query(const char *text)
{
    const char *at = text;
    size_t size = strlen(text) + 1, found = 0;
    char *value = malloc(size);
    int result;
    MUST(value);
    while ((result = ws_query_next(&at, "a", value, size)) != 0) {
        MUST(at > text && at <= text + size - 1 && ++found <= size);
        if (result > 0) {
            again(value);
        }
        else {
            MUST(strchr(text, '%'));
        }
    }
    MUST(!*value && !*at);
    free(value);
}

/* Check that the text which is printed for a parsed position parses to the same position, and is
 * not longer than the original text. */
static void position(const char *text)
{
    char out[WS_POSITION_SIZE];
    ws_position p = {0, 0}, again;
    if (ws_parse_position(text, &p) && p.epoch) {
        MUST(ws_parse_position(ws_print_position(p, out), &again));
        MUST(again.epoch == p.epoch && again.offset == p.offset);
        MUST(strlen(out) <= strlen(text));
    }
    else {
        MUST(!p.epoch);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    apr_int64_t least = take_byte(&data, &len), most = least << take_byte(&data, &len) % 54;
    char *text = malloc(len + 1);
    MUST(text);
    memcpy(text, data, len);
    text[len] = '\0';
    numbers(text, least, most);
    query(text);
    position(text);
    free(text);
    return 0;
}
