/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements WebSocketHandler in a .htaccess file. There, the directive can select only a page
 * below the file's directory. The administrator has chosen the handler for all .htaccess files.
 */

#ifndef WS_HTTPD_HTACCESS_H
#define WS_HTTPD_HTACCESS_H

#include "httpd/config.h"

/** Whether a directive is in a .htaccess file. */
int ws_htaccess_here(cmd_parms *cmd);

/** Parse WebSocketHandler in a .htaccess file. @return NULL, or the error */
const char *ws_htaccess_set(cmd_parms *cmd, ws_dir_config *d, int argc, char *const argv[]);

/** Parse the directive WebSocketHtaccess. */
const char *ws_htaccess_allow(cmd_parms *cmd, void *config, int argc, char *const argv[]);

/**
 * Select the handler for a request whose WebSocketHandler is set in a .htaccess file.
 * @return OK, or the status of the refusal
 */
int ws_htaccess_choose(request_rec *r, const ws_dir_config *d, ws_handler_line **line);

#endif
