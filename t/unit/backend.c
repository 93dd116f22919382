/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests how backends are selected by name. Also tests a seccomp filter that forbids io_uring, as
 *  in containers. */

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "t/unit/rig.h"

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static int infos, warnings; /* number of log lines about the backend */
static char last[512];

static void log_backend(ws_log_level level, const ws_settings *settings, const ws_conn *c,
                        const char *text)
{
    (void)settings, (void)c;
    pthread_mutex_lock(&log_lock);
    if (strstr(text, "WebSocketBackend")) {
        ++*(level == WS_LOG_INFO ? &infos : &warnings);
        snprintf(last, sizeof(last), "%s", text);
    }
    pthread_mutex_unlock(&log_lock);
}

static const ws_handler handler = {ECHO_RECORDER};

static void names(void)
{
    static const char *const right[] = {"epoll", "io_uring", "auto"};
    ws_backend b;
    for (int i = 0; i < 3; i++) {
        is_int(ws_backend_parse(right[i], &b), 0, "\"%s\" is a backend", right[i]);
        is_str(ws_backend_name(b), right[i], "the backend's name is the one that selects it");
    }
    is_int(ws_backend_parse("Auto", &b), 0, "the name of a backend can be written in any case");
    is_int(ws_backend_parse("kqueue", &b), -1, "kqueue is not a backend");
    is_int(ws_backend_parse("", &b), -1, "an empty name is not a backend");
}

static void a_client_is_echoed(rig *r)
{
    wire w = enter(r, "a");
    wire_text(&w, "hello");
    told_is("a", "text \"hello\"", "a message arrives");
    wire_next_is(&w, "text \"hello\"", "the message is echoed");
    leave(&w, "a");
}

static void auto_works(void)
{
    static test *const tests[] = {a_client_is_echoed, NULL};
    setenv("WS_TEST_BACKEND", "auto", 1);
    rig_run((rig){0}, &handler, 1, tests);
}

/* Make io_uring_setup(2) fail with EPERM in this process from now on. */
static int forbid_io_uring(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {sizeof(filter) / sizeof(*filter), filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
                   || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0
               ? -1
               : 0;
}

static void start_loops(ws_backend backend)
{
    ws_engine_options o = {
        .backend = backend, .loops = 3, .blocking = 1, .log = log_backend, .logs = rig_logs};
    apr_pool_t *pool;
    ws_engine *e;
    infos = warnings = 0;
    apr_pool_create(&pool, NULL);
    if (ws_engine_create(&e, &o, pool) != APR_SUCCESS) {
        bail_out("no engine");
    }
    ws_engine_stop(e); /* returns when all loops have ended, so all their log lines are counted */
    ws_engine_destroy(e);
    apr_pool_destroy(pool);
}

static void where_io_uring_is_forbidden(void)
{
    char why[WS_BACKEND_TEXT] = "";
    if (forbid_io_uring() < 0) {
        diag("a seccomp filter cannot be set: %s", strerror(errno));
        return;
    }
    ok(ws_backend_check(WS_BACKEND_URING, why) != APR_SUCCESS,
       "io_uring is refused where a seccomp filter forbids it");
    ok(strstr(why, "built without") || strstr(why, "seccomp"), "the error explains the refusal: %s",
       why);
    is_int(ws_backend_check(WS_BACKEND_AUTO, why), APR_SUCCESS,
           "the backend auto is accepted where io_uring is forbidden");
    start_loops(WS_BACKEND_AUTO);
    is_int(warnings, 0, "auto: no warning");
    is_int(infos, 1, "one line of information for three loops: %s", last);
    start_loops(WS_BACKEND_URING);
    is_int(warnings, 3, "io_uring: each loop warns: %s", last);
    start_loops(WS_BACKEND_EPOLL);
    is_int(infos + warnings, 0, "epoll: nothing is logged");
    auto_works();
}

int main(void)
{
    apr_initialize();
    names();
    auto_works();
    where_io_uring_is_forbidden();
    return done_testing();
}
