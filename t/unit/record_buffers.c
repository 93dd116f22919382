/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests OpenSSL's record buffers: active connections keep theirs, idle connections have none,
 *  and a limit applies to their number. The test counts OpenSSL's large allocations. */

#include <malloc.h>
#include <openssl/err.h>

#include "t/unit/tls.h"

/* Allocations of at least this size are record buffers, bytes. */
#define LARGE 16000

static int large; /* number of record buffers; atomic */

static void count_large(void *p, int change)
{
    if (p && malloc_usable_size(p) >= LARGE) {
        __atomic_add_fetch(&large, change, __ATOMIC_RELAXED);
    }
}

static void *count_malloc(size_t size, const char *file, int line)
{
    void *p = size ? malloc(size) : NULL;
    (void)file, (void)line;
    count_large(p, 1);
    return p;
}

static void count_free(void *p, const char *file, int line)
{
    (void)file, (void)line;
    count_large(p, -1);
    free(p);
}

static void *count_realloc(void *p, size_t size, const char *file, int line)
{
    if (!size) {
        count_free(p, file, line);
        return NULL;
    }
    count_large(p, -1);
    p = realloc(p, size);
    count_large(p, 1);
    return p;
}

/* Number of clients. The SSL object of each client keeps two buffers after the handshake. */
static int clients;

static int of_server(void)
{
    return __atomic_load_n(&large, __ATOMIC_RELAXED) - 2 * clients;
}

static void set_max(ws_loop *loop, void *arg)
{
    loop->warm.max = *(apr_uint32_t *)arg;
}

/* Only the test advances the clock, so that a connection on a slow machine does not look idle. */
static void stop_time(ws_loop *loop, void *arg)
{
    (void)arg;
    loop->warm.ms = NEVER;
}

static void check_twice(ws_loop *loop, void *arg)
{
    (void)arg;
    loop->warm.alarm.fn(&loop->warm.alarm);
    loop->warm.alarm.fn(&loop->warm.alarm);
}

static void buffers_are(rig *r, int expected, const char *what)
{
    turns(r, 0);
    is_int(of_server(), expected, "%s", what);
}

static wire enter_client(rig *r)
{
    clients++;
    return tls_enter(r, "a");
}

static void leave_client(wire *w)
{
    leave(w, "a");
    clients--;
}

static int seen; /* number of the server's buffers while it handled the last message */

static void echo_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    seen = of_server();
    ws_send(c, type, data, len);
}

static const ws_handler echo = {
    .on_open = rec_open, .on_message = echo_message, .on_close = rec_close};

/* Leaves an error in the thread's OpenSSL queue, as a handler that uses OpenSSL may do. */
static void fail_and_echo(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    ERR_raise(ERR_LIB_USER, ERR_R_MALLOC_FAILURE);
    ws_send(c, type, data, len);
}

static const ws_handler failing = {
    .on_open = rec_open, .on_message = fail_and_echo, .on_close = rec_close};

static void is_echoed(wire *w, const char *text)
{
    char expected[TEXT_SIZE];
    wire_text(w, text);
    wire_next_is(w, describe(expected, TEXT, text, strlen(text)), "\"%s\" is echoed", text);
}

static void keep_busy(wire *w)
{
    for (int i = 0; i < 3; i++) {
        is_echoed(w, "busy");
    }
}

static void idle_connections_hold_none(rig *r)
{
    wire w[3];
    on_loop_of(r, 0, stop_time, NULL);
    for (int i = 0; i < 3; i++) {
        w[i] = enter_client(r);
        is_echoed(&w[i], "one");
    }
    buffers_are(r, 0, "after a single message, no buffers are kept");
    for (int i = 0; i < 3; i++) {
        keep_busy(&w[i]);
    }
    buffers_are(r, 6, "busy connections keep two buffers each");
    on_loop_of(r, 0, check_twice, NULL);
    buffers_are(r, 0, "idle connections keep no buffers");
    keep_busy(&w[0]);
    buffers_are(r, 2, "a connection that is busy again keeps two buffers");
    wire_free(&w[0]);
    clients--;
    told_is("a", "close 1006 \"\"", "the busy connection ends");
    buffers_are(r, 0, "the buffers of the busy connection are freed");
    on_loop_of(r, 0, check_twice, NULL);
    for (int i = 1; i < 3; i++) {
        is_echoed(&w[i], "other connections still echo");
        leave_client(&w[i]);
    }
}

static void incomplete_records_are_kept(rig *r)
{
    unsigned char plain[100], cipher[300];
    wire w = enter_client(r);
    size_t n;
    on_loop_of(r, 0, stop_time, NULL);
    keep_busy(&w);
    n = sealed(&w, cipher, sizeof(cipher), -1, plain, frame_put(plain, FIN | TEXT, "late", 4));
    send_raw(&w, cipher, n - 1);
    turns(r, 0);
    on_loop_of(r, 0, check_twice, NULL);
    buffers_are(r, 2, "a connection with half a record keeps its buffers");
    send_raw(&w, cipher + n - 1, 1);
    wire_next_is(&w, "text \"late\"", "the record is read when its last byte arrives");
    on_loop_of(r, 0, check_twice, NULL);
    buffers_are(r, 0, "after the record, no buffers are kept");
    leave_client(&w);
}

static void their_number_is_bounded(rig *r)
{
    apr_uint32_t max = 1;
    wire w[3];
    on_loop_of(r, 0, stop_time, NULL);
    on_loop_of(r, 0, check_twice, NULL);
    on_loop_of(r, 0, set_max, &max);
    for (int i = 0; i < 3; i++) {
        w[i] = enter_client(r);
        keep_busy(&w[i]);
    }
    buffers_are(r, 2, "with a limit, only one of three connections keeps its buffers");
    leave_client(&w[0]);
    on_loop_of(r, 0, check_twice, NULL);
    for (int i = 1; i < 3; i++) {
        keep_busy(&w[i]);
    }
    buffers_are(r, 2, "when that connection has ended, another one keeps its buffers");
    leave_client(&w[1]);
    leave_client(&w[2]);
}

static void old_errors_are_not_of_this_connection(rig *r)
{
    wire w = enter_client(r);
    keep_busy(&w);
    leave_client(&w);
}

int main(void)
{
    static test *const of_buffers[] = {idle_connections_hold_none, incomplete_records_are_kept,
                                       their_number_is_bounded, NULL};
    static test *const of_errors[] = {old_errors_are_not_of_this_connection, NULL};
    if (!CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free)) {
        bail_out("OpenSSL has allocated already");
    }
    signal(SIGPIPE, SIG_IGN);
    make_contexts();
    for (int i = 0; i < 2; i++) {
        version = i ? TLS1_3_VERSION : TLS1_2_VERSION;
        diag("TLS 1.%d", i + 2);
        rig_run((rig){0}, &echo, 1, of_buffers);
        rig_run((rig){0}, &failing, 1, of_errors);
    }
    free_contexts();
    return done_testing();
}
