/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Expands placeholders in channel names. It refuses a value with characters that a channel name
 * cannot contain.
 */

#include "names.h"

#include <apr_strings.h>
#include <string.h>

int channel_argument(ws_conn *c, const char *name, char *out, apr_size_t size)
{
    const char *args = ws_args(c);
    return ws_query_next(&args, name, out, size);
}

static int names_segment(ws_conn *c, int n, char *out, apr_size_t size)
{
    const char *at = ws_uri(c);
    apr_size_t len;
    while (n-- > 0 && (at = strchr(at, '/'))) {
        at++;
    }
    len = at ? strcspn(at, "/") : 0;
    if (len >= size) {
        return 0;
    }
    memcpy(out, at ? at : "", len);
    out[len] = 0;
    return 1;
}

#define PATH "path:"
#define ARGUMENT "arg:"
#define SEGMENTS_MAX 100

/* Set `out` to a placeholder's value. Without a connection, set it to a sample value. @return 0:
 * the placeholder is unknown, or its value is invalid in a channel name */
static int names_fill_in(ws_conn *c, const char *name, char *out, apr_size_t size)
{
    apr_int64_t n;
    apr_cpystrn(out, "x", size);
    if (!strcmp(name, "user")) {
        if (c) {
            apr_cpystrn(out, ws_user(c) ? ws_user(c) : "", size);
        }
        return 1;
    }
    if (!strncmp(name, PATH, sizeof(PATH) - 1)) {
        return !ws_parse_count(NULL, name + sizeof(PATH) - 1, 1, SEGMENTS_MAX, &n)
               && (!c || names_segment(c, (int)n, out, size));
    }
    if (!strncmp(name, ARGUMENT, sizeof(ARGUMENT) - 1) && name[sizeof(ARGUMENT) - 1]) {
        return !c || channel_argument(c, name + sizeof(ARGUMENT) - 1, out, size) >= 0;
    }
    return 0;
}

int channel_expand(ws_conn *c, const char *pattern, char *out, apr_size_t size)
{
    while (*pattern) {
        const char *end = !strncmp(pattern, "%{", 2) ? strchr(pattern, '}') : NULL;
        char name[WS_CHANNEL_MAX + 1];
        apr_size_t len = 1;
        if (size < 2) {
            return 0;
        }
        if (!end) {
            *out = *pattern++;
        }
        else {
            apr_size_t n = (apr_size_t)(end - pattern) - 2;
            if (n >= sizeof(name)) {
                return 0;
            }
            apr_cpystrn(name, pattern + 2, n + 1);
            if (!names_fill_in(c, name, out, size)) {
                return 0;
            }
            len = strlen(out);
            pattern = end + 1;
        }
        out += len;
        size -= len;
    }
    *out = 0;
    return 1;
}
