/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Builds the headers of a request. Some headers are the same for all requests of a session, and
 *  the others are created for each request. */

#ifndef HTTP_HEADERS_H
#define HTTP_HEADERS_H

#include "courier.h"

/** A Grip-Sig header for all connections, which is renewed every few minutes. The caller sets all
 *  members to zero before the first use. */
typedef struct {
    char *line; /* allocated with malloc() */
    long long until;
} headers_sig;

/** Build the headers of a request. @return a list whose tail is the list of the session's headers;
 *  NULL: out of memory */
struct curl_slist *headers_make(const http_config *config, headers_sig *sig, const session *s);

/** Free the headers that headers_make() has added. */
void headers_free(struct curl_slist *list, const session *s);

/** Set a session's Meta- fields from an answer. @return 0: the fields are too long */
int headers_set_meta(session *s, const struct curl_slist *changes);

#endif
