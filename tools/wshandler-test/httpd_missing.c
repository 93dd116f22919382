/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Defines a stub for each httpd function, so that every handler can be loaded. A call to a stub
 * ends the test and names the function. The stubs are weak symbols, so the functions in
 * httpd_stubs.c and environment.c replace them.
 */

#include "tools/wshandler-test/harness.h"

static __attribute__((noreturn)) void httpd_missing(const char *name)
{
    ws_harness_bail_out("the handler calls %s(), a function of httpd, which is not available here",
                        name);
}

#define WS_MISSING(NAME)                                                                           \
    WS_API void NAME(void) __attribute__((weak, noreturn));                                        \
    void NAME(void)                                                                                \
    {                                                                                              \
        httpd_missing(#NAME);                                                                      \
    }

#include "tools/wshandler-test/functions.inc"
