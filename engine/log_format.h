/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Formats the log line of an ended connection (WebSocketLog). */

#ifndef WS_ENGINE_LOG_FORMAT_H
#define WS_ENGINE_LOG_FORMAT_H

#include <apr_pools.h>

#include "engine/engine.h"
#include "base/strbuf.h"

typedef struct ws_log_format ws_log_format;

#define WS_LOG_FORMAT_DEFAULT                                                                      \
    "%t %a %u %v \"%U%q\" %{way}w v%{version}w %{subprotocol}w %Ts"                                \
    " in=%{messages-in}w/%{bytes-in}w out=%{messages-out}w/%{bytes-out}w"                          \
    " %{closer}w %{code}w \"%{reason}w\""

/**
 * Parse a format: mod_log_config's letters with the same meaning, %{NAME}w for fields of the
 * module, or the name "json".
 * @return NULL, or an error text
 */
const char *ws_log_format_parse(apr_pool_t *p, const char *text, const ws_log_format **format);

/** Append the line and its newline. why: as for on_end.  [the connection's loop] */
void ws_log_format_write(const ws_log_format *format, const ws_conn *c, const char *why,
                         ws_strbuf *t);

#endif
