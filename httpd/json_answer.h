/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Sends JSON responses, checks members of JSON objects, and detects requests that a page on another
 * site may have sent. [the request's thread]
 */

#ifndef WS_HTTPD_JSON_ANSWER_H
#define WS_HTTPD_JSON_ANSWER_H

#include <httpd.h>

#include "base/strbuf.h"

/** Send a text as the response, and free it. @return the value for the handler to return */
int ws_json_send(request_rec *r, int status, ws_strbuf *t);

/**
 * Refuse a request. This logs the reason, discards the body, and sends {"error": why}.
 * @param what  the subsystem, for the log
 * @return the value for the handler to return
 */
int ws_json_refuse(request_rec *r, const char *what, int status, const char *why);

/**
 * Discard a request's body before refusing it.
 * @return OK, or the value for the handler to return
 */
int ws_json_discard(request_rec *r, int status);

struct cJSON;

/**
 * Check that members of a JSON object are strings or absent. Needs cJSON.
 * @param names  ends with NULL
 * @return NULL, or an error text that names a member
 */
const char *ws_json_no_text(apr_pool_t *p, const struct cJSON *o, const char *const *names);

/**
 * Whether a browser sent the request for a page from another origin.
 * @return NULL: no; or the reason
 */
const char *ws_foreign_page(const request_rec *r);

#endif
