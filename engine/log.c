/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Formats log lines; the owner of the engine writes them. Lines of a disabled level are not
 *  formatted. */

#include <stdarg.h>
#include <stdio.h>

#include "engine/conn.h"

void ws_engine_log(ws_engine *engine, ws_log_level level, const ws_conn *c, const char *format, ...)
{
    const ws_settings *settings = c ? c->settings : NULL;
    char text[1024];
    va_list args;
    if (!engine->options.logs(level, settings)) {
        return;
    }
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    engine->options.log(level, settings, c, text);
}
