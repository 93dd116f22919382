/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Publishing by HTTP. [the request's thread] */

#ifndef WS_HTTPD_CHANNEL_PUBLISH_H
#define WS_HTTPD_CHANNEL_PUBLISH_H

#include <httpd.h>

#include "httpd/channel_wait.h"

/** The body is one message for each of the channels. @return as a handler of httpd, like the others */
int ws_channel_publish(request_rec *r, const apr_array_header_t *names);

/** Whether each line of the body is a message, by Content-Type. */
int ws_channel_has_lines(request_rec *r);

/** Such a body. @param names  the channel of lines that name none, or nothing */
int ws_channel_publish_lines(request_rec *r, const apr_array_header_t *names);

/** What is wrong with a message that could not be made. */
const char *ws_channel_problem(ws_status status);

/** Publish a message and release it. @param line  from 1, or 0; @param m  or NULL: no memory */
void ws_channel_publish_one(ws_channel_wait *w, const char *name, ws_message *m, unsigned line);

/** Wait for all parts, and answer with an object that has them as its member `name`. */
int ws_channel_answer(request_rec *r, ws_channel_wait *w, const char *name);

/** Whether the section's directives let the request do something with the channels. @return NULL, or why not */
const char *ws_channel_forbidden(request_rec *r, ws_action action, const apr_array_header_t *names);

#endif
