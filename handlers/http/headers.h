/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The headers of one request: those of its session, and those made for each request. */

#ifndef HTTP_HEADERS_H
#define HTTP_HEADERS_H

#include "courier.h"

/** A Grip-Sig for all connections, renewed every few minutes. Zeroed at first. */
typedef struct {
    char *line; /* malloc'ed */
    long long until;
} headers_sig;

/** @return a list that ends in the session's; NULL: no memory */
struct curl_slist *headers_make(const http_config *config, headers_sig *sig, const session *s);

/** Free what headers_make() has added. */
void headers_free(struct curl_slist *list, const session *s);

/** Set Meta- fields of a session as an answer says. @return 0: the fields have too many bytes */
int headers_set_meta(session *s, const struct curl_slist *changes);

#endif
