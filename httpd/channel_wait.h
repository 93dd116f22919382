/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A request that waits until other threads have reported on each of its channels, and its response. */

#ifndef WS_HTTPD_CHANNEL_WAIT_H
#define WS_HTTPD_CHANNEL_WAIT_H

#include <httpd.h>

#include "base/strbuf.h"
#include "channels/channels.h"

/** The state of one waiting request, shared with the threads that report. */
typedef struct ws_channel_wait ws_channel_wait;

/** The report on one channel. */
typedef struct ws_channel_part {
    struct ws_channel_part *next; /**< in the list of open reports */
    ws_channel_wait *w;
    ws_message *m; /**< the published message, or NULL */
    apr_uint32_t subscribers;
    unsigned line; /**< of a request with several messages, from 1; 0: it has one */
    char channel[WS_CHANNEL_MAX + 1];
} ws_channel_part;

/** @param retries  repeating the request is harmless: always send Retry-After
 *  @return NULL when there is no memory */
ws_channel_wait *ws_channel_wait_new(int retries);

/** @param m  or NULL; a reference is taken  @return NULL when there is no memory */
ws_channel_part *ws_channel_part_new(ws_channel_wait *w, const char *channel, ws_message *m);

/** Begin to write a report. Call ws_channel_part_end() afterwards.  [any thread] */
ws_strbuf *ws_channel_part_begin(ws_channel_part *p);
void ws_channel_part_end(ws_channel_part *p);

/** Report a failure. uncertain: the outcome is unknown, else nothing happened.  [any thread] */
void ws_channel_part_fail(ws_channel_part *p, int uncertain);

/** Report that the application has refused it.  [any thread] */
void ws_channel_part_refuse(ws_channel_part *p);

/** Report that a part could not be allocated. */
void ws_channel_wait_fail(ws_channel_wait *w);

/**
 * Wait for all reports, at most ten seconds and while the client is connected. Then withdraw what is still
 * open and count it as failed. Frees w.
 * @param text  set to an array of objects; the caller frees it
 * @return 200; 403 if the application refused a part; 503 if a part failed, with Retry-After if repeating the request is harmless; 504 if the
 *         outcome of a part is unknown
 */
int ws_channel_wait_end(request_rec *r, ws_channel_wait *w, ws_strbuf *text);

#endif
