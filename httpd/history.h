/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements WebSocketHistory, which sets the channels that have a history, and
 *  WebSocketHistoryDirectory, which sets where histories are stored. */

#ifndef WS_HTTPD_HISTORY_H
#define WS_HTTPD_HISTORY_H

#include <httpd.h>
#include <http_config.h>

#include "channels/history.h"
#include "channels/history_rules.h"

/** pre_config: discard the rules of the previous configuration. */
void ws_httpd_history_reset(apr_pool_t *pconf);

/** Parse WebSocketHistory. @return NULL, or the error */
const char *ws_httpd_history_add(cmd_parms *cmd, void *config, const char *pattern,
                                 const char *count, const char *age);

/** Parse WebSocketHistorySize. @return NULL, or the error */
const char *ws_httpd_history_size(cmd_parms *cmd, void *config, const char *arg);

/** ws_httpd_history_set_directory() parses WebSocketHistoryDirectory. ws_httpd_history_directory()
 *  returns its value, or NULL if it is not set. */
const char *ws_httpd_history_set_directory(cmd_parms *cmd, void *config, const char *arg);
const char *ws_httpd_history_directory(void);

/** Get the rules of WebSocketHistory. @return their number  [any thread] */
unsigned ws_httpd_history_rules(const ws_history_rule **rules);

/** Get the value of WebSocketHistorySize or its default, bytes. */
apr_int64_t ws_httpd_history_bytes(void);

/** register_hooks: make `httpd -t` refuse WebSocketHistory in a build without a store for it. */
void ws_httpd_history_register(apr_pool_t *p);

/**
 * post_config: create the directory of the file, and check an existing file. Errors are logged.
 * @return APR_SUCCESS; when httpd starts, but not at a reload: an error if the history is
 *         unavailable
 */
apr_status_t ws_httpd_history_init(apr_pool_t *ptemp, server_rec *s);

/** child_init: open the history. @return the history; NULL: none is configured, or an error has
 *  been logged */
ws_history *ws_httpd_history_child_init(apr_pool_t *pchild, server_rec *s);

/** Close the history. Called after ws_engine_stop(). */
void ws_httpd_history_child_exit(void);

#endif
