/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements the handler of event streams and polls, and formats their events. [the loop's thread,
 *  unless noted] */

#ifndef WS_HTTPD_SSE_STREAM_H
#define WS_HTTPD_SSE_STREAM_H

#include <httpd.h>

#include "base/strbuf.h"
#include "engine/engine.h"

/** One channel of a stream. */
typedef struct ws_sse_channel {
    char name[WS_CHANNEL_MAX + 1];
    int resume, gap, live;
    /** Number of old messages to start with, counted from the newest; 0: see resume. */
    apr_uint32_t last;
    /** Position of the last event. If its epoch is 0, start with new messages, or with all
     *  messages if resume is set. */
    ws_position at;
} ws_sse_channel;

/** A subscriber. It belongs to its connection. */
typedef struct ws_sse_stream {
    ws_ticket ticket; /**< frees the stream */
    int polls, answered;
    int due;            /**< the time of wait= has passed */
    int json;           /**< 1: events are JSON objects that name their channel */
    apr_uint32_t wait;  /**< timeout of a poll, milliseconds */
    char *head;         /**< head of a poll's response; NULL: httpd sends the head */
    ws_strbuf messages; /**< the messages for a poll's response */
    unsigned count;
    ws_sse_channel channels[];
} ws_sse_stream;

/** Create a subscriber. @return NULL: out of memory  [any thread] */
ws_sse_stream *ws_sse_stream_new(const apr_array_header_t *names);

/** Free a subscriber.  [any thread] */
void ws_sse_stream_free(ws_sse_stream *s);

/**
 * Set where to resume. [any thread]
 * @param after  "all", or a position for each channel, in the order of names, separated by commas;
 *               "-": no position
 * @return whether after is valid
 */
int ws_sse_stream_resume(ws_sse_stream *s, const char *after);

extern const ws_handler ws_sse_stream_handler;

#endif
