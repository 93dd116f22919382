/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** This target parses answers in the format of WebSocket-over-HTTP. No event extends beyond the
 *  body. The close codes of accepted events can be sent. Events that are written and parsed again
 *  are the same. */

#include "handlers/http/answer.c"
#include "handlers/http/form.c"
#include "handlers/http/grip.c"
#include "t/fuzz/fuzz.h"

/* Parse a body, and write all its events to the form. @return the last result of grip_next() */
static int again(const char *body, size_t len, form *f)
{
    const char *at = body, *end = body + len, *before = at;
    grip_event e;
    int found;
    while ((found = grip_next(&at, end, &e)) > 0) {
        MUST(at > before && at <= end);
        MUST(!e.data || (e.data >= before && e.data + e.len + 2 <= at));
        MUST(e.data || !e.len);
        if (e.kind == GRIP_CLOSE && e.data) {
            int code = grip_close_code(&e);
            MUST(code < 0 || answer_close_code_valid(code));
        }
        grip_add(f, e.kind, e.data, e.len);
        before = at;
    }
    return found;
}

static void check(char *body, size_t len)
{
    answer a = {.body = body, .len = len};
    grip_check_events(&a, 1);
    if (a.kind == ANSWER_GOOD) {
        MUST(len >= 6 && !memcmp(body, "OPEN", 4));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *body = (char *)copy_of(data, len);
    form once = {0}, twice = {0};
    int end = again(body, len, &once);
    check(body, len);
    if (!end) {
        MUST(!again(once.text ? once.text : "", once.len, &twice));
        MUST(once.len == twice.len
             && !memcmp(once.text ? once.text : "", twice.text ? twice.text : "", once.len));
    }
    free(once.text);
    free(twice.text);
    free(body);
    return 0;
}
