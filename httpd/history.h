/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** WebSocketHistory: which channels have a history, and where it lies. */

#ifndef WS_HTTPD_HISTORY_H
#define WS_HTTPD_HISTORY_H

#include <httpd.h>
#include <http_config.h>

#include "channels/history_lmdb.h"

/** pre_config: a new configuration is going to be read. */
void ws_httpd_history_reset(apr_pool_t *pconf);

/** WebSocketHistory. @return NULL, or what is wrong */
const char *ws_httpd_history_add(cmd_parms *cmd, void *config, const char *pattern,
                                 const char *count, const char *age);

/** WebSocketHistorySize. */
const char *ws_httpd_history_size(cmd_parms *cmd, void *config, const char *arg);

/** What the configuration keeps. @return how many rules there are  [any thread] */
unsigned ws_httpd_history_rules(const ws_history_rule **rules);

/** post_config: make its directory, and look whether what lies there is in order.
 *  @return APR_SUCCESS, or why there can be no history, which has been logged */
apr_status_t ws_httpd_history_init(apr_pool_t *ptemp, server_rec *s);

/** child_init. @return the history, or NULL: there is none, which has been logged if it should */
ws_history *ws_httpd_history_child_init(apr_pool_t *pchild, server_rec *s);

/** Behind ws_engine_stop(). */
void ws_httpd_history_child_exit(void);

#endif
