/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A stand-in for each function of httpd, so that any handler can be loaded. One that is called ends the
 * test and names itself. httpd_stubs.c and environment.c have those that do something, and they win.
 */

#include "tools/wshandler-test/harness.h"

static __attribute__((noreturn)) void missing(const char *name)
{
    ws_harness_bail_out("the handler calls %s(): that is httpd's, and there is no httpd here",
                        name);
}

#define WS_MISSING(NAME)                                                                           \
    WS_API void NAME(void) __attribute__((weak, noreturn));                                        \
    void NAME(void)                                                                                \
    {                                                                                              \
        missing(#NAME);                                                                            \
    }

#include "tools/wshandler-test/functions.inc"
