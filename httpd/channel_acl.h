/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** WebSocketSubscribe and WebSocketPublish: who may do what on which channel. */

#ifndef WS_HTTPD_CHANNELRULES_H
#define WS_HTTPD_CHANNELRULES_H

#include <httpd.h>
#include <http_config.h>

#include "include/mod_websocket.h"

/** What a directive says: all, none, an expression, or that the handler decides. */
typedef struct ws_channel_acl ws_channel_acl;

/** register_hooks: the variable of expressions that is the channel's name. */
void ws_channelrules_register(apr_pool_t *p);

/** @return NULL, or what is wrong */
const char *ws_channelrule_parse(cmd_parms *cmd, const char *arg, const ws_channel_acl **rule);

/** WebSocketWildcards. @return NULL, or what is wrong */
const char *ws_channelrule_wildcard(cmd_parms *cmd, apr_array_header_t **wildcards,
                                    const char *arg);

/** Whether any section allows wildcards. */
int ws_channelrules_wildcards(void);

/** pre_config. */
void ws_channelrules_reset(apr_pool_t *pconf);

/** Whether a rule says anything to requests; `handler` and NULL do not. */
int ws_channelrule_decides(const ws_channel_acl *rule);

/** Whether a rule can be asked only with the connection's handshake. */
int ws_channelrule_needs_request(const ws_channel_acl *rule);

/** As ws_may(). The connection's handshake has been kept (reauthorize.h). */
int ws_channelrules_may(ws_conn *c, ws_action action, const char *channel);

/** The same for a request: a publisher over HTTP, say. Where no rule says anything, a Require must
 *  apply (access.h). */
int ws_channelrules_request_may(request_rec *r, ws_action action, const char *channel);

#endif
