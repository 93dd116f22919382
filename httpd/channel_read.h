/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Reads histories and lists channels over HTTP. [the request's thread] */

#ifndef WS_HTTPD_CHANNEL_READ_H
#define WS_HTTPD_CHANNEL_READ_H

#include <httpd.h>

#include "base/strbuf.h"

/**
 * Answer a GET with ?history: send a page of the history of one channel.
 * @param subscriber  1: the section allows subscribing
 * @return the value for the handler to return
 */
int ws_channel_read(request_rec *r, const apr_array_header_t *names, int subscriber);

/** Answer a GET with ?prefix=: send the list of channels. @return the value for the handler to
 *  return */
int ws_channel_list(request_rec *r);

/**
 * Write the channels with subscribers as JSON:
 * {"channels":[{"channel":"a","subscribers":3}],"more":false,"complete":true}
 * @param allowed  returns whether to list a channel; NULL: list all
 * @return 0; -1: prefix, after or limit is invalid, or this process has no channels
 */
int ws_channel_list_json(request_rec *r, const char *prefix, const char *after, apr_uint32_t limit,
                         int (*allowed)(request_rec *r, const char *channel), ws_strbuf *t);

#endif
