/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Waits until other threads have reported on each channel of a request, and builds the response.
 */

#ifndef WS_HTTPD_CHANNEL_WAIT_H
#define WS_HTTPD_CHANNEL_WAIT_H

#include <httpd.h>

#include "base/strbuf.h"
#include "channels/channels.h"

/** The state of one waiting request, shared with the threads that report. */
typedef struct ws_channel_wait ws_channel_wait;

/** A part of a request, which is one channel and the report on this channel. */
typedef struct ws_channel_part {
    struct ws_channel_part *next; /**< next part without a report */
    ws_channel_wait *w;
    ws_message *m;     /**< the published message or the order to clear, or NULL */
    const char *doubt; /**< the error if the outcome is unknown; NULL: WS_UNCERTAIN_TEXT */
    apr_uint32_t subscribers;
    unsigned line; /**< line of the request's body, from 1; 0: the body is one message */
    char channel[WS_CHANNEL_MAX + 1];
} ws_channel_part;

/**
 * Create the state for a request that will wait.
 * @param retries  1: the request can be repeated safely, so always send Retry-After
 * @return NULL when out of memory
 */
ws_channel_wait *ws_channel_wait_new(int retries);

/**
 * Add a part for a channel.
 * @param m  a message that can be withdrawn, to which the part adds a reference; or NULL
 * @return NULL when out of memory
 */
ws_channel_part *ws_channel_part_new(ws_channel_wait *w, const char *channel, ws_message *m);

/** Start a report. ws_channel_part_end() must follow.  [any thread] */
ws_strbuf *ws_channel_part_begin(ws_channel_part *p);
void ws_channel_part_end(ws_channel_part *p);

/**
 * Report a failure. If uncertain is 1, the outcome is unknown. If it is 0, nothing was
 * done.  [any thread]
 */
void ws_channel_part_fail(ws_channel_part *p, int uncertain);

/** Report that the application has refused the request.  [any thread] */
void ws_channel_part_refuse(ws_channel_part *p);

/** Report that a part could not be allocated. */
void ws_channel_wait_fail(ws_channel_wait *w);

/**
 * Wait for all reports, for at most ten seconds and only while the client is connected. Then
 * withdraw the parts without a report, and treat these parts as failed. Frees w.
 * @param text  set to an array of objects; the caller frees it
 * @return 200; 403 if the application refused a part; 503 if a part failed, with Retry-After if
 *         repeating the request is harmless; 504 if the outcome of a part is unknown
 */
int ws_channel_wait_end(request_rec *r, ws_channel_wait *w, ws_strbuf *text);

#endif
