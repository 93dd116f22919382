/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Unit tests with TAP output, for prove. Each check prints one line; done_testing() prints the
 * plan. Names are printf formats. Checks may be made on any thread.
 */

#ifndef WS_T_UNIT_TAP_H
#define WS_T_UNIT_TAP_H

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t tap_lock = PTHREAD_MUTEX_INITIALIZER;
static int tap_run, tap_failed;

/* A test may use only some of the checks. */
#define TAP_UNUSED __attribute__((unused))
#define TAP_PRINTF(FORMAT, FIRST) __attribute__((unused, format(printf, FORMAT, FIRST)))

TAP_PRINTF(1, 2)
static void diag(const char *format, ...)
{
    va_list args;
    pthread_mutex_lock(&tap_lock);
    fputs("# ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    pthread_mutex_unlock(&tap_lock);
}

/** Print the result of a check, and diagnostics if it has failed. @return passed */
TAP_PRINTF(4, 0)
static int tap_check(int passed, const char *file, int line, const char *format, va_list args)
{
    char name[256];
    vsnprintf(name, sizeof(name), format, args);
    pthread_mutex_lock(&tap_lock);
    tap_failed += !passed;
    printf("%sok %d - %s\n", passed ? "" : "not ", ++tap_run, name);
    fflush(stdout);
    pthread_mutex_unlock(&tap_lock);
    if (!passed) {
        diag("failed: %s (%s:%d)", name, file, line);
    }
    return passed;
}

TAP_PRINTF(4, 5)
static int tap_ok(const char *file, int line, int passed, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tap_check(passed, file, line, format, args);
    va_end(args);
    return passed;
}

TAP_PRINTF(5, 6)
static int tap_is_int(const char *file, int line, long long got, long long expected,
                      const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tap_check(got == expected, file, line, format, args);
    va_end(args);
    if (got != expected) {
        diag("got %lld, expected %lld", got, expected);
    }
    return got == expected;
}

TAP_PRINTF(5, 6)
static int tap_is_str(const char *file, int line, const char *got, const char *expected,
                      const char *format, ...)
{
    int same = got && expected ? !strcmp(got, expected) : got == expected;
    va_list args;
    va_start(args, format);
    tap_check(same, file, line, format, args);
    va_end(args);
    if (!same) {
        diag("got \"%s\", expected \"%s\"", got ? got : "(null)", expected ? expected : "(null)");
    }
    return same;
}

TAP_PRINTF(7, 8)
static int tap_is_mem(const char *file, int line, const void *got, size_t got_len,
                      const void *expected, size_t expected_len, const char *format, ...)
{
    const unsigned char *g = got, *e = expected;
    size_t at = 0;
    va_list args;
    while (at < got_len && at < expected_len && g[at] == e[at]) {
        at++;
    }
    va_start(args, format);
    tap_check(at == got_len && at == expected_len, file, line, format, args);
    va_end(args);
    if (at < got_len && at < expected_len) {
        diag("byte %zu is 0x%02x, expected 0x%02x", at, g[at], e[at]);
    }
    if (got_len != expected_len) {
        diag("got %zu bytes, expected %zu", got_len, expected_len);
    }
    return at == got_len && at == expected_len;
}

/** ok(condition, name...) */
#define ok(...) tap_ok(__FILE__, __LINE__, __VA_ARGS__)
/** is_int(got, expected, name...) */
#define is_int(...) tap_is_int(__FILE__, __LINE__, __VA_ARGS__)
/** is_str(got, expected, name...); either may be NULL */
#define is_str(...) tap_is_str(__FILE__, __LINE__, __VA_ARGS__)
/** is_mem(got, got_len, expected, expected_len, name...) */
#define is_mem(...) tap_is_mem(__FILE__, __LINE__, __VA_ARGS__)

/** End a test that cannot continue, for example after a timeout or when no socket is available. */
TAP_PRINTF(1, 2)
__attribute__((noreturn)) static void bail_out(const char *format, ...)
{
    va_list args;
    pthread_mutex_lock(&tap_lock);
    fputs("Bail out! ", stdout);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
    _exit(255);
}

/** Print the plan. @return the value for main() to return: 0 if all checks have passed */
TAP_UNUSED static int done_testing(void)
{
    printf("1..%d\n", tap_run);
    return tap_failed || !tap_run;
}

#endif
