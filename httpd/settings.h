/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses the directives for the settings of connections, applies defaults, and keeps shared copies
 *  of settings. */

#ifndef WS_HTTPD_SETTINGS_H
#define WS_HTTPD_SETTINGS_H

#include "httpd/config.h"

/** child_init: prepare the shared copies. Must run before the first ws_settings_of(). */
apr_status_t ws_settings_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);

/**
 * Get the settings of a request's section, with defaults. Connections with equal settings share one
 * copy, which is valid until the child ends.
 * @return NULL when out of memory
 */
const ws_settings *ws_settings_of(request_rec *r);

/** Get the rules for tokens in a section. */
ws_token_rules ws_token_rules_of(const ws_dir_config *d);

/** Get the protocol versions that a section accepts, as bits WS_V13 and so on. */
unsigned ws_versions_of(const ws_dir_config *d);

/** Setters of the directives. config: a ws_dir_config. */
const char *ws_set_fragment(cmd_parms *cmd, void *config, const char *arg);
const char *ws_set_ping(cmd_parms *cmd, void *config, const char *interval, const char *grace);
const char *ws_set_message_timeout(cmd_parms *cmd, void *config, const char *time,
                                   const char *rate);
const char *ws_set_slow_reader(cmd_parms *cmd, void *config, const char *policy,
                               const char *max_delay);
const char *ws_set_versions(cmd_parms *cmd, void *config, int argc, char *const argv[]);
const char *ws_set_subscriptions(cmd_parms *cmd, void *config, const char *arg);

#endif
