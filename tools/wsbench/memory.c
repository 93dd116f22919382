/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Ends the process when memory is exhausted: a load generator has nothing to fall back on. */

#include <stdio.h>
#include <unistd.h>
#include <zlib.h>

#include "tools/wsbench/wsbench.h"

void *memory_must(void *memory)
{
    if (!memory) {
        fputs("wsbench: out of memory\n", stderr);
        _exit(1);
    }
    return memory;
}

void memory_must_zlib(int result)
{
    memory_must(result == Z_OK ? &result : NULL);
}
