/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The headers of one request: those of its session, and those created for each request. */

#ifndef HTTP_HEADERS_H
#define HTTP_HEADERS_H

#include "courier.h"

/** A Grip-Sig for all connections, renewed every few minutes. Initially zeroed. */
typedef struct {
    char *line; /* malloc'ed */
    long long until;
} headers_sig;

/** @return a list that continues with the session's headers; NULL: out of memory */
struct curl_slist *headers_make(const http_config *config, headers_sig *sig, const session *s);

/** Free the headers that headers_make() has added. */
void headers_free(struct curl_slist *list, const session *s);

/** Set a session's Meta- fields from an answer. @return 0: the fields are too long */
int headers_set_meta(session *s, const struct curl_slist *changes);

#endif
