/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Writes a session as a transcript for wshandler-test, and adds waits where the server may have
 *  used a timer. */

#include "tools/wsclient/record.h"

#include <apr_strings.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tools/wshandler-test/transcript.h"
#include "tools/wsclient/options.h"

/* If a message from the server arrives more than this many milliseconds later than the waits in the
 * transcript explain, a timer of the handler may have sent the message. A further wait is then
 * recorded. */
#define PAUSE 100

/* Milliseconds that are added to a recorded wait, so that the timer has fired when the transcript
 * continues. */
#define SLACK 30

static FILE *file;
/* Time when the session started, and sum of the waits in the transcript; milliseconds. */
static apr_uint64_t start, waited;

static apr_uint64_t record_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (apr_uint64_t)t.tv_sec * 1000 + (apr_uint64_t)t.tv_nsec / 1000000;
}

int ws_record_open(const char *name)
{
    start = record_now();
    return (file = fopen(name, "w")) ? 0 : -1;
}

static void record_put_header(const char *name, const char *value)
{
    if (value) {
        fprintf(file, "    %s: %s\n", name, value);
    }
}

void ws_record_connect(int status, const char *protocol)
{
    const ws_connect_options *to = &ws_options.to;
    const char *path = strstr(to->url, "://") + 3;
    path += strcspn(path, "/?#");
    if (!file) {
        return;
    }
    start = record_now();
    fprintf(file, "# Recorded by wsclient.\n\nconnect %s%.*s\n", *path == '/' ? "" : "/",
            (int)strcspn(path, "#"), path);
    record_put_header("Origin", to->origin);
    record_put_header("Sec-WebSocket-Protocol", to->protocols);
    for (const char *const *h = to->headers; *h; h += 2) {
        record_put_header(h[0], h[1]);
    }
    if (to->version == 8) {
        fputs("    version 8\n", file);
    }
    fprintf(file, "< %d\n", status);
    record_put_header("Sec-WebSocket-Protocol", protocol);
}

static void record_put(char sign, const char *before, ws_say say, int code, const char *data,
                       apr_size_t len, const char *behind)
{
    apr_pool_t *pool;
    apr_uint64_t at = record_now() - start;
    const char *shown;
    size_t word;
    apr_pool_create(&pool, NULL);
    if (sign == '<' && at > waited + PAUSE) {
        fprintf(file, "wait %dms\n", (int)(at + SLACK - waited));
        waited = at + SLACK;
    }
    shown = ws_transcript_show(say, code, data, len, 0, pool);
    word = strcspn(shown, " ");
    fprintf(file, "%c %.*s%s%s%s%s\n", sign, (int)word, shown, shown[word] ? " " : "", before,
            shown[word] ? shown + word + 1 : "", behind);
    apr_pool_destroy(pool);
}

void ws_record_message(char sign, ws_type type, const char *data, apr_size_t len, unsigned where)
{
    if (file) {
        record_put(sign, where & WS_FIRST ? "" : "...", (ws_say)type, 0, data, len,
                   where & WS_LAST ? "" : "...");
    }
}

void ws_record_close(char sign, int code, const char *reason, apr_size_t len)
{
    if (file) {
        record_put(sign, "", code == WS_CLOSE_ABNORMAL ? WS_SAY_BREAK : WS_SAY_CLOSE, code,
                   code == WS_CLOSE_ABNORMAL ? NULL : reason, len, "");
    }
}

int ws_record_end(void)
{
    int failed = file && (ferror(file) | fclose(file));
    file = NULL;
    return failed ? -1 : 0;
}
