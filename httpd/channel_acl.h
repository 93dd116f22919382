/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements WebSocketSubscribe and WebSocketPublish, which set the clients that may subscribe and
 * publish to channels.
 */

#ifndef WS_HTTPD_CHANNEL_ACL_H
#define WS_HTTPD_CHANNEL_ACL_H

#include <httpd.h>
#include <http_config.h>

#include "include/mod_websocket.h"

/**
 * A channel rule, which is the value of one of these directives: all, none, an expression, or
 * `handler`. The value `handler` means that the handler decides.
 */
typedef struct ws_channel_acl ws_channel_acl;

/** register_hooks: define the variable for the channel's name, which expressions can use. */
void ws_channelrules_register(apr_pool_t *p);

/** Setters of WebSocketSubscribe, WebSocketPublish and WebSocketWildcards. config: a ws_dir_config;
 *  cmd->info: the ws_action. */
const char *ws_channelrule_set(cmd_parms *cmd, void *config, const char *arg);
const char *ws_channelrule_set_wildcard(cmd_parms *cmd, void *config, const char *arg);

/** Whether any section allows wildcards. */
int ws_channelrules_wildcards(void);

/** Get the name of a function or variable in a rule's expression that is empty for a WebSocket, since
 *  the values of other modules are not kept after the handshake. @return NULL: the rule has none */
const char *ws_channelrule_unseen(const ws_channel_acl *rule);

/** pre_config: reset ws_channelrules_wildcards(). */
void ws_channelrules_reset(apr_pool_t *pconf);

/** Whether a rule itself decides about requests. The rules `handler` and NULL do not. */
int ws_channelrule_decides(const ws_channel_acl *rule);

/** Whether evaluating a rule needs the request from the connection's handshake. */
int ws_channelrule_needs_request(const ws_channel_acl *rule);

/**
 * Like ws_may(). Evaluates expressions with the saved request from the connection's handshake
 * (reauthorize.h).
 */
int ws_channelrules_may(ws_conn *c, ws_action action, const char *channel);

/** Like ws_channelrules_may(), for a request such as one that publishes over HTTP. @return -1: no
 *  rule decides */
int ws_channelrules_request_may(request_rec *r, ws_action action, const char *channel);

#endif
