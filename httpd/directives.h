/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Declares the directive table and the functions that merge sections. The module record refers to
 *  them. */

#ifndef WS_HTTPD_DIRECTIVES_H
#define WS_HTTPD_DIRECTIVES_H

#include <httpd.h>
#include <http_config.h>

void *ws_create_dir_config(apr_pool_t *p, char *dir);
void *ws_merge_dir_config(apr_pool_t *p, void *base, void *add);
void *ws_create_server_config(apr_pool_t *p, server_rec *s);

/** The directive table. */
extern const command_rec ws_directives[];

#endif
