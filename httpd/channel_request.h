/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses the channel names in a URL, and handles CORS. [the request's thread] */

#ifndef WS_HTTPD_CHANNEL_REQUEST_H
#define WS_HTTPD_CHANNEL_REQUEST_H

#include <httpd.h>

#include "httpd/channel_http.h"
#include "include/mod_websocket.h"

/**
 * Get the channel names in a request, as const char *: the part of the path after the Location's
 * path, and the value of each channel= argument.
 */
apr_array_header_t *ws_channel_names(request_rec *r, const ws_channel_http *h);

/** Split the names of a subscriber at commas. */
apr_array_header_t *ws_channel_names_split(request_rec *r, const apr_array_header_t *names);

/**
 * Check the names.
 * @param subscriber  the request, if it subscribes and may therefore name wildcards; otherwise NULL
 * @return NULL, or the error
 */
const char *ws_channel_names_problem(const apr_array_header_t *names, request_rec *subscriber);
const char *ws_channel_subscribe_problem(request_rec *r, const apr_array_header_t *names);

/**
 * Check whether the section's directives allow an action on the channels.
 * @return NULL if they do; otherwise the reason
 */
const char *ws_channel_forbidden(request_rec *r, ws_action action, const apr_array_header_t *names);

/**
 * Add the CORS headers for a page from this origin. The caller must have checked that
 * WebSocketOrigin allows the origin. If origin is NULL, the client is not a page.
 */
void ws_channel_add_cors(request_rec *r, const char *origin);

/**
 * Respond to OPTIONS.
 * @param allow  the methods for the header Allow
 * @return the value for the handler to return
 */
int ws_channel_preflight(request_rec *r, const char *allow);

#endif
