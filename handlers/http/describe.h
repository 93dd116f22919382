/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Determines the URL and headers of a connection's requests. */

#ifndef HTTP_DESCRIBE_H
#define HTTP_DESCRIBE_H

#include "courier.h"

/** Fill in URL, headers and id of a session. @return 0, or the HTTP status of a refusal */
int describe_session(ws_request *rq, const http_config *config, session *s);

#endif
