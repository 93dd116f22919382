/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A request that waits for what other threads tell of each of its channels, and the answer that it gives. */

#ifndef WS_HTTPD_CHANNEL_WAIT_H
#define WS_HTTPD_CHANNEL_WAIT_H

#include <httpd.h>

#include "base/strbuf.h"
#include "channels/channels.h"

/** What one request waits for. Belongs to it and to those who are going to tell. */
typedef struct ws_channel_wait ws_channel_wait;

/** What is told of one channel. */
typedef struct ws_channel_part {
    struct ws_channel_part *next; /**< of those that are open */
    ws_channel_wait *w;
    ws_message *m; /**< what is published, or NULL */
    apr_uint32_t subscribers;
    char channel[WS_CHANNEL_MAX + 1];
} ws_channel_part;

/** @param retries  a request that is sent again does nothing twice: it may always be told to
 *  @return NULL when there is no memory */
ws_channel_wait *ws_channel_wait_new(int retries);

/** @param m  or NULL; a reference is taken  @return NULL when there is no memory */
ws_channel_part *ws_channel_part_new(ws_channel_wait *w, const char *channel, ws_message *m);

/** Begin to write about a channel. ws_channel_part_end() has to follow.  [any thread] */
ws_strbuf *ws_channel_part_begin(ws_channel_part *p);
void ws_channel_part_end(ws_channel_part *p);

/** It has not happened, and will not; or, uncertain, nobody knows.  [any thread] */
void ws_channel_part_fail(ws_channel_part *p, int uncertain);

/** There is no memory for one of the parts. */
void ws_channel_wait_fail(ws_channel_wait *w);

/**
 * Wait until all has been told, for ten seconds, or until the client has gone: what can then be withdrawn
 * is, and has failed. Frees w.
 * @param text  an array of objects, to be freed
 * @return 200. 503: some have failed, with Retry-After if a second request does nothing twice. 504:
 *         of some nobody knows
 */
int ws_channel_wait_end(request_rec *r, ws_channel_wait *w, ws_strbuf *text);

#endif
