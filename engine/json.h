/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#ifndef WS_ENGINE_JSON_H
#define WS_ENGINE_JSON_H

#include "base/strbuf.h"

/** Add a JSON string with its quotes; s NULL: null. Text that is not UTF-8 is taken for Latin-1. */
void ws_strbuf_json(ws_strbuf *t, const char *s, apr_size_t len);

/** Whether some text of it has a NUL, as the byte or as \u0000. A parser whose texts end with a NUL would cut it off
 *  there. */
int ws_json_has_nul(const char *json, apr_size_t len);

#endif
