/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** WebSocketHandler in .htaccess: of all handlers only one that the administrator has chosen, with a page below the
 *  file's own folder. */

#ifndef WS_HTTPD_HTACCESS_H
#define WS_HTTPD_HTACCESS_H

#include "httpd/config.h"

/** Whether a directive stands in a .htaccess. */
int ws_htaccess_here(cmd_parms *cmd);

/** WebSocketHandler in a .htaccess. @return NULL, or what is wrong */
const char *ws_htaccess_set(cmd_parms *cmd, ws_dir_config *d, int argc, char *const argv[]);

/** The directive WebSocketHtaccess. */
const char *ws_htaccess_allow(cmd_parms *cmd, void *config, int argc, char *const argv[]);

/** The handler for a request to which a WebSocketHandler of a .htaccess belongs. @return OK, or the status to refuse with */
int ws_htaccess_choose(request_rec *r, const ws_dir_config *d, ws_handler_line **line);

#endif
