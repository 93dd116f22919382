/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Where a client's events go, and with which headers. */

#ifndef HTTP_DESCRIBE_H
#define HTTP_DESCRIBE_H

#include "courier.h"

/** Notes of a request to which a line of WebSocketHtaccess belongs: the page's path, and the directory of files
 *  that it has to be in. */
#define HTTP_NOTE_TO "websocket-htaccess-to"
#define HTTP_NOTE_DIR "websocket-htaccess-dir"

/** Fill in URL, headers and id of a session. @return 0, or the HTTP status of a refusal */
int describe_session(ws_request *rq, const http_config *config, session *s);

#endif
