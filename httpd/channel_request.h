/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** What requests for channels have in common: the names in a URL, and CORS. [the request's thread] */

#ifndef WS_HTTPD_CHANNEL_REQUEST_H
#define WS_HTTPD_CHANNEL_REQUEST_H

#include <httpd.h>

#include "httpd/channel_http.h"

/** The names, of const char *: the path behind the Location's, and each argument channel=. */
apr_array_header_t *ws_channel_names(request_rec *r, const ws_channel_http *h);

/** Names of a subscriber, which a comma separates, too. */
apr_array_header_t *ws_channel_names_split(request_rec *r, const apr_array_header_t *names);

/** @param subscriber  the request, if it subscribes: it can name wildcards; or NULL
 *  @return NULL, or what is wrong */
const char *ws_channel_names_problem(const apr_array_header_t *names, request_rec *subscriber);
const char *ws_channel_subscribe_problem(request_rec *r, const apr_array_header_t *names);

/** Headers for pages of an origin that WebSocketOrigin lets in; NULL: for none. */
void ws_channel_add_cors(request_rec *r, const char *origin);

/** Answer an OPTIONS. @return as a handler of httpd */
int ws_channel_preflight(request_rec *r, const char *allow);

#endif
