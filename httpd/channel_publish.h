/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Publishes messages over HTTP. [the request's thread] */

#ifndef WS_HTTPD_CHANNEL_PUBLISH_H
#define WS_HTTPD_CHANNEL_PUBLISH_H

#include <httpd.h>

#include "httpd/channel_wait.h"

/** Maximum time to live of a message, seconds. */
#define WS_TTL_MAX 1000000000

/** Publish the body as one message to each channel. @return the value for the handler to return */
int ws_channel_publish(request_rec *r, const apr_array_header_t *names);

/** Whether each line of the body is a message, according to Content-Type. */
int ws_channel_has_lines(request_rec *r);

/**
 * Publish each line of the body.
 * @param names  array with the channel for lines that name none, or an empty array
 * @return the value for the handler to return
 */
int ws_channel_publish_lines(request_rec *r, const apr_array_header_t *names);

/** Get the error text for a message that could not be created. */
const char *ws_channel_problem(ws_status status);

/**
 * Publish a message and release it.
 * @param line  number of the line, from 1; 0: the body is one message
 * @param m  the message; NULL: out of memory
 */
void ws_channel_publish_one(ws_channel_wait *w, const char *name, ws_message *m, unsigned line);

/** Wait for the reports on all messages, and send a JSON object whose member `name` is the array of
 *  reports. @return the value for the handler to return */
int ws_channel_answer(request_rec *r, ws_channel_wait *w, const char *name);

#endif
