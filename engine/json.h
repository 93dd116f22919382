/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#ifndef WS_ENGINE_JSON_H
#define WS_ENGINE_JSON_H

#include "base/strbuf.h"

/** Append a JSON string with quotes; s NULL: null. Text that is not UTF-8 is read as Latin-1. */
void ws_strbuf_json(ws_strbuf *t, const char *s, apr_size_t len);

/** Whether a string in the JSON text contains NUL, as a byte or as \u0000. A parser with
 * NUL-terminated strings would truncate it there. */
int ws_json_has_nul(const char *json, apr_size_t len);

#endif
