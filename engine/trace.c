/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Logs received and sent frames, at level trace4. At trace6 the lines include the first bytes of
 *  the payload. */

#include <stdio.h>

#include "engine/conn.h"
#include "engine/output.h"

/* Maximum number of payload bytes in a line. */
#define SHOWN 64

/* Names by opcode. Other opcodes are neither accepted nor sent. */
static const char *const names[16] = {"continuation", "text", "binary", "?", "?", "?", "?", "?",
                                      "close",        "ping", "pong",   "?", "?", "?", "?", "?"};

/* Format the first bytes in quotes, or nothing if payload is not traced. Bytes other than printable
 * ASCII become %HH, because httpd's log does not escape that again. */
static const char *trace_show(const ws_conn *c, const unsigned char *data, apr_size_t len,
                              char buf[4 * SHOWN + 8])
{
    char *out = buf;
    if (c->settings->trace < 2) {
        return "";
    }
    out += sprintf(out, ": \"");
    for (apr_size_t i = 0; i < len && i < SHOWN; i++) {
        int plain =
            data[i] >= ' ' && data[i] < 127 && data[i] != '"' && data[i] != '\\' && data[i] != '%';
        out += sprintf(out, plain ? "%c" : "%%%02x", data[i]);
    }
    sprintf(out, len > SHOWN ? "\"..." : "\"");
    return buf;
}

void ws_trace_in(const ws_conn *c, const ws_piece *p)
{
    char bytes[4 * SHOWN + 8], more[48] = "";
    if (!(p->flags & WS_FRAME_LAST)) {
        snprintf(more, sizeof(more), ", %" APR_UINT64_T_FMT " of the frame to come",
                 (apr_uint64_t)c->rare->parser.left);
    }
    ws_engine_log(c->loop->engine, WS_LOG_TRACE, c, "in: %s%s, %" APR_SIZE_T_FMT " bytes%s%s",
                  names[p->opcode & 0xF], p->flags & WS_MESSAGE_LAST ? " fin" : "", p->len, more,
                  trace_show(c, p->data, p->len, bytes));
}

void ws_trace_out(const ws_conn *c, unsigned first, const void *payload, apr_size_t len)
{
    char bytes[4 * SHOWN + 8];
    ws_engine_log(c->loop->engine, WS_LOG_TRACE, c, "out: %s%s, %" APR_SIZE_T_FMT " bytes%s",
                  names[first & 0xF], first & WS_FIN ? " fin" : "", len,
                  trace_show(c, payload, len, bytes));
}
