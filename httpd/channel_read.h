/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Reading of histories, and the list of channels, by HTTP. [the request's thread] */

#ifndef WS_HTTPD_CHANNEL_READ_H
#define WS_HTTPD_CHANNEL_READ_H

#include <httpd.h>

#include "base/strbuf.h"

/** GET with ?history: a page of one channel. @param subscriber  the section is for subscribers
 *  @return as a handler of httpd */
int ws_channel_read(request_rec *r, const apr_array_header_t *names, int subscriber);

/** GET with ?prefix=. @return as a handler of httpd */
int ws_channel_list(request_rec *r);

/**
 * Write the channels that have subscribers as JSON:
 * {"channels":[{"channel":"a","subscribers":3}],"more":false,"complete":true}
 * @param allowed  whether one is to be listed; NULL: all are
 * @return 0; -1: prefix, after or limit is wrong, or there are no channels
 */
int ws_channel_list_json(request_rec *r, const char *prefix, const char *after, apr_uint32_t limit,
                         int (*allowed)(request_rec *r, const char *channel), ws_strbuf *t);

#endif
