/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements WebSocketPolicyFile, which answers the policy request that Flash Player and similar
 * clients send before they open a socket. Without the directive, the hook is not registered.
 */

#ifndef WS_HTTPD_POLICY_FILE_H
#define WS_HTTPD_POLICY_FILE_H

#include <httpd.h>
#include <http_config.h>

/** pre_config: reset the previous configuration's state. */
void ws_policy_file_reset(apr_pool_t *pconf);

/** Setter of the directive, whose value is `DOMAIN:PORTS ...`, a file, or off. */
const char *ws_policy_file_set(cmd_parms *cmd, void *config, int argc, char *const argv[]);

/** post_config: let virtual hosts without the directive inherit the main server's policy. */
apr_status_t ws_policy_file_init(apr_pool_t *ptemp, server_rec *s);

#endif
