/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Writes JSON strings. */

#ifndef WS_ENGINE_JSON_H
#define WS_ENGINE_JSON_H

#include "base/strbuf.h"

/** Append a JSON string with quotes. If s is NULL, append null. Text that is not UTF-8 is read as
 *  Latin-1. */
void ws_strbuf_json(ws_strbuf *t, const char *s, apr_size_t len);

#endif
