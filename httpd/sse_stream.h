/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** What an event stream or a poll sends: the handler of its connection, and the formats of events. [the loop's
 *  thread, if not said otherwise] */

#ifndef WS_HTTPD_SSE_STREAM_H
#define WS_HTTPD_SSE_STREAM_H

#include <httpd.h>

#include "base/strbuf.h"
#include "engine/engine.h"

/** One channel of a stream. */
typedef struct ws_sse_channel {
    char name[WS_CHANNEL_MAX + 1];
    int resume, gap, live;
    apr_uint32_t last; /**< how many of the newest messages to begin with; 0: see resume */
    ws_position
        at; /**< of the last event; epoch 0: none, or all that is kept where resume is set */
} ws_sse_channel;

/** A subscriber. Belongs to its connection. */
typedef struct ws_sse_stream {
    ws_ticket ticket; /**< releases it */
    int polls, answered;
    int json; /**< events are objects that name their channel */
    apr_uint32_t wait;  /**< of a poll, milliseconds */
    char *head;         /**< of a poll's answer; NULL: somebody else sends it */
    ws_strbuf messages; /**< of a poll */
    unsigned count;
    ws_sse_channel channels[];
} ws_sse_stream;

/** @return NULL if there is no memory. [any thread] */
ws_sse_stream *ws_sse_stream_new(const apr_array_header_t *names);

/** [any thread] */
void ws_sse_stream_free(ws_sse_stream *s);

/**
 * Where to resume: "all", or a position for each channel in the order of their names, separated by commas; "-" is
 * none. [any thread]
 * @return whether it is that
 */
int ws_sse_stream_resume(ws_sse_stream *s, const char *after);

extern const ws_handler ws_sse_stream_handler;

#endif
