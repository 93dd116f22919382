/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Checks that the configuration decides about access to each section. A `Require` in a <Directory>
 * or a .htaccess file does not apply to a <Location>'s handler, which has no file. A section that
 * publishes or delivers messages, or closes connections, is not open by default.
 */

#ifndef WS_HTTPD_ACCESS_H
#define WS_HTTPD_ACCESS_H

#include <httpd.h>
#include <http_config.h>

#include "include/mod_websocket.h"

/** The effect of a section's Require directives. A set of methods has the bit 1 << M_GET for GET,
 *  and so on. */
typedef struct ws_access {
    int set;
    apr_int64_t decided;    /**< methods with a Require that applies to the URL, or that restricts
                             *    access */
    apr_int64_t restricted; /**< methods with a Require other than `Require all granted` */
    /** 1: the section has `AuthMerging And`, so the Require of earlier sections applies too. */
    int joins;
    /** Length of the path of the <Location> with the Require; 0: another kind of section. */
    apr_size_t path;
    /** 1 plus the length of the path of the section with SetHandler websocket-status or
     *  websocket-control; 0: no such section. */
    apr_size_t status;
    /** 1: a less specific section's Require has replaced that of the section with SetHandler. */
    int overruled;
} ws_access;

/**
 * A row of the directive table. httpd passes a directive to every module that declares it, so
 * mod_authz_core still enforces Require, and this module only records it.
 */
#define WS_ACCESS_REQUIRE                                                                          \
    AP_INIT_RAW_ARGS("Require", ws_access_require, NULL, OR_AUTHCFG, "see mod_authz_core")
const char *ws_access_require(cmd_parms *cmd, void *config, const char *args);

#define WS_ACCESS_MERGING                                                                          \
    AP_INIT_RAW_ARGS("AuthMerging", ws_access_merging, NULL, OR_AUTHCFG, "see mod_authz_core")
const char *ws_access_merging(cmd_parms *cmd, void *config, const char *args);

#define WS_ACCESS_SET_HANDLER                                                                      \
    AP_INIT_RAW_ARGS("SetHandler", ws_access_set_handler, NULL, OR_FILEINFO, "see httpd's core")
const char *ws_access_set_handler(cmd_parms *cmd, void *config, const char *args);

/** Merge the access rules of an earlier section (base) and a later one (add). */
ws_access ws_access_merge(const ws_access *base, const ws_access *add);

/** Whether a Require decides about the method of a request. */
int ws_access_decided(const request_rec *r);

/** Whether a request may publish or subscribe. If the section has a channel rule for the action,
 *  that rule decides. Otherwise the request may do so if a Require decides about its method. */
int ws_access_request_may(request_rec *r, ws_action action, const char *channel);

/** pre_config: discard the directives recorded from the previous configuration. */
void ws_access_reset(apr_pool_t *pconf);

/**
 * Record a directive that gives clients access, such as WebSocketHandler. After httpd has read the
 * whole configuration, the module checks the section of each recorded directive. If no Require in
 * the <Location> decides about access, the module warns or refuses to start.
 */
void ws_access_opens(const cmd_parms *cmd);

/**
 * register_hooks: make `httpd -t` and each start refuse unrestricted publishing and an unrestricted
 * control API.
 */
void ws_access_register(apr_pool_t *p);

/**
 * parent_init: warn of sections that are open to all clients, or closed to all subscribers, because
 * no directive decides about access; and of sections that require tokens but have no key.
 */
apr_status_t ws_access_parent_init(apr_pool_t *ptemp, server_rec *s);

#endif
