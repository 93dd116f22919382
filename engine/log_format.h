/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A line about a connection that has ended, in a format that the owner chooses. */

#ifndef WS_ENGINE_RECORD_H
#define WS_ENGINE_RECORD_H

#include <apr_pools.h>

#include "engine/engine.h"
#include "base/strbuf.h"

typedef struct ws_log_format ws_log_format;

#define WS_LOG_FORMAT_DEFAULT                                                                      \
    "%t %a %u %v \"%U%q\" %{way}w v%{version}w %{subprotocol}w %Ts"                                \
    " in=%{messages-in}w/%{bytes-in}w out=%{messages-out}w/%{bytes-out}w"                          \
    " %{closer}w %{code}w \"%{reason}w\""

/**
 * Read a format: mod_log_config's letters where they mean the same, %{NAME}w for our own fields, or
 * the name "json".
 * @return NULL, or what is wrong with it, in words
 */
const char *ws_log_format_parse(apr_pool_t *p, const char *text, const ws_log_format **format);

/** Add the line, with its end. why: as for on_end.  [the connection's loop] */
void ws_log_format_write(const ws_log_format *format, const ws_conn *c, const char *why,
                         ws_strbuf *t);

#endif
