/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** wshandler-test runs a handler without httpd. It plays transcripts of clients to the handler,
 *  compares the handler's answers, and reports in TAP. */

#include <apr_general.h>
#include <apr_getopt.h>
#include <apr_strings.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "event/clock.h"
#include "tools/wshandler-test/play.h"
#include "tools/wshandler-test/harness.h"

/* Values of the exit status. */
enum { PASSED, FAILED, NOT_PLAYED };

static const char usage[] =
    "Usage: wshandler-test [OPTIONS] HANDLER.so [KEY=VALUE ...] TRANSCRIPT...\n"
    "Runs a WebSocket handler with transcripts of its exchange with clients, without httpd.\n"
    "\n"
    "  -v, --verbose           show the module's and the handler's log (-vv: every frame's event)\n"
    "  -n, --check             check the syntax of the transcripts, but do not play them\n"
    "  -p, --patience=SECONDS  time limit for a message or a callback (10)\n"
    "      --version           show the version of this program\n"
    "  -h, --help              show this text\n"
    "\n"
    "A transcript:\n"
    "    connect ann /chat?name=ann       with one client, > and < need no name\n"
    "        Cookie: a=b\n"
    "    ann> \"hello\"                     the client sends\n"
    "    ann< \"ann: hello\"                and the handler answers\n"
    "    wait 5s                          time passes only here\n"
    "    ann< close 1000 \"bye\"\n"
    "\n"
    "The output is TAP. Exit code: 0 all steps passed, 1 a step failed, 2 the transcript could "
    "not\n"
    "be run. wshandler-test(1) describes the language.\n";

static const apr_getopt_option_t options[] = {{"verbose", 'v', 0, NULL},  {"check", 'n', 0, NULL},
                                              {"patience", 'p', 1, NULL}, {"version", 'V', 0, NULL},
                                              {"help", 'h', 0, NULL},     {0}};

static __attribute__((noreturn)) void handler_test_give_up(const char *text)
{
    ws_print_line(stderr, "wshandler-test: %s", text);
    exit(NOT_PLAYED);
}

static int handler_test_set_patience(const char *text)
{
    apr_int64_t ms = ws_harness_patience;
    const char *error = ws_parse_seconds(NULL, text, 1, 3600 * 1000, &ms);
    ws_harness_patience = (int)ms;
    return !error;
}

/* Read the options. @return the index of the first operand */
static int handler_test_read_options(int argc, const char *const *argv, apr_pool_t *pool,
                                     int *only_check)
{
    apr_getopt_t *o;
    const char *value;
    apr_status_t rv;
    int c;
    apr_getopt_init(&o, pool, argc, argv);
    while ((rv = apr_getopt_long(o, options, &c, &value)) == APR_SUCCESS) {
        switch (c) {
        case 'v':
            ws_harness_log_level =
                ws_harness_log_level < WS_LOG_DEBUG ? WS_LOG_DEBUG : WS_LOG_TRACE;
            break;
        case 'n':
            *only_check = 1;
            break;
        case 'p':
            if (!handler_test_set_patience(value)) {
                handler_test_give_up("--patience takes seconds, 0.001 to 3600");
            }
            break;
        case 'V':
            puts("wshandler-test " WS_VERSION);
            exit(PASSED);
        default:
            fputs(usage, stdout);
            exit(PASSED);
        }
    }
    if (rv != APR_EOF) {
        handler_test_give_up("try --help");
    }
    return o->ind;
}

/* Use the absolute path, because dlopen() and the module search other directories for a name
 * without a path. */
static const char *handler_test_handler_file(const char *name)
{
    char *path = realpath(name, NULL);
    if (!path) {
        fprintf(stderr, "wshandler-test: ");
        perror(name);
        exit(NOT_PLAYED);
    }
    return path;
}

int main(int argc, const char *const argv[])
{
    apr_pool_t *pool;
    apr_array_header_t *keys;
    ws_checks checks = {0, 0};
    const char *handler, *error;
    int i, only_check = 0, not_played = 0;

    apr_app_initialize(&argc, &argv, NULL);
    atexit(apr_terminate);
    apr_pool_create(&pool, NULL);
    keys = apr_array_make(pool, 4, sizeof(char *));
    i = handler_test_read_options(argc, argv, pool, &only_check);
    setvbuf(stdout, NULL, _IOLBF, 0);
    ws_clock_hold();
    if (argc - i < 2) {
        handler_test_give_up("a handler and a transcript are missing; try --help");
    }
    handler = handler_test_handler_file(argv[i++]);
    for (; i < argc && strchr(argv[i], '='); i++) {
        APR_ARRAY_PUSH(keys, const char *) = argv[i];
    }
    if (i == argc) {
        handler_test_give_up("the transcript is missing; try --help");
    }
    for (; i < argc; i++) {
        ws_transcript t;
        if ((error = ws_transcript_read(&t, argv[i], pool))) {
            handler_test_give_up(error);
        }
        if (!only_check && (error = ws_play(&checks, &t, handler, keys, pool))) {
            ws_print_line(stderr, "wshandler-test: %s", error);
            not_played = 1;
        }
    }
    free((void *)handler);
    if (only_check) {
        return PASSED;
    }
    if (!checks.run && !not_played) {
        handler_test_give_up("the transcript expects nothing");
    }
    printf("1..%d\n", checks.run);
    return not_played ? NOT_PLAYED : checks.failed ? FAILED : PASSED;
}
