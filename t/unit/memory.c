/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** If memory is used up, the engine closes the connection that needs more, and no other. */

#include <sys/resource.h>

#include "t/unit/rig.h"

#define MIB ((size_t)1 << 20)

/* Memory that the process may still allocate, bytes. */
#define ROOM (40 * MIB)

static const ws_handler handler = {ECHO_RECORDER};

static size_t address_space(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%lu", &pages) != 1) {
        bail_out("no /proc/self/statm");
    }
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void a_message_that_memory_cannot_hold(rig *r)
{
    /* The header of a frame of 1 GiB, masked with zeros. */
    static const unsigned char head[] = {0x82, 0xFF, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0};
    char *zeros = calloc(1, MIB);
    struct rlimit before, limit;
    wire w = enter(r, "a"), other = enter(r, "b");

    getrlimit(RLIMIT_AS, &before);
    limit = before;
    limit.rlim_cur = address_space() + ROOM;
    if (setrlimit(RLIMIT_AS, &limit) < 0) {
        bail_out("no limit: %s", strerror(errno));
    }
    wire_send(&w, head, sizeof(head));
    for (int i = 0; i < 1024 && w.len == w.pos && !w.end; i++) {
        wire_send(&w, zeros, MIB);
        wire_try_read(&w);
    }
    wire_next_is(&w, "close 1011 \"out of memory\"",
                 "a message that needs more memory than there is closes its connection");
    told_is("a", "close 1011 \"out of memory\"", "on_close");
    wire_text(&other, "still here");
    told_is("b", "text \"still here\"", "a message of another connection is delivered");
    wire_next_is(&other, "text \"still here\"", "the other connection still echoes");
    setrlimit(RLIMIT_AS, &before);
    wire_free(&w);
    leave(&other, "b");
    nobody_is_left(r);
    free(zeros);
}

int main(void)
{
    static test *const tests[] = {a_message_that_memory_cannot_hold, NULL};
    rig r = {.settings = RIG_SETTINGS};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    ok(1, "with a sanitizer, the address space cannot be limited # SKIP");
    return done_testing();
#endif
    r.settings.max_frame = r.settings.max_message = 1024 * MIB;
    rig_run(r, &handler, 1, tests);
    return done_testing();
}
