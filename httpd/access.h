/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Whether the administrator has decided who has access to a section. A `Require` in a <Directory> or .htaccess does
 * not apply to a handler of a <Location>, which has no file; and what gives or takes messages, or closes
 * connections, is not open because nothing was said.
 */

#ifndef WS_HTTPD_ACCESS_H
#define WS_HTTPD_ACCESS_H

#include <httpd.h>
#include <http_config.h>

/** What the Require directives of a section say: methods, as bits of 1 << M_GET and so on. */
typedef struct ws_access {
    int set;
    apr_int64_t decided; /**< a Require applies that was written for the URL, or refuses anybody */
    apr_int64_t restricted; /**< one that is not `Require all granted` */
    int joins;       /**< AuthMerging And: it is asked for besides those of earlier sections */
    apr_size_t path; /**< of the section of a Require: so long */
    apr_size_t
        status;    /**< of that with SetHandler websocket-status or websocket-control: so long, and
                            1; 0: none */
    int overruled; /**< a Require of a wider section has replaced that of such a section */
} ws_access;

/** A row of the directive table. httpd calls all modules that have a directive: mod_authz_core carries it out,
 *  this module notes it. */
#define WS_ACCESS_REQUIRE                                                                          \
    AP_INIT_RAW_ARGS("Require", ws_access_require, NULL, OR_AUTHCFG, "see mod_authz_core")
const char *ws_access_require(cmd_parms *cmd, void *config, const char *args);

#define WS_ACCESS_MERGING                                                                          \
    AP_INIT_RAW_ARGS("AuthMerging", ws_access_merging, NULL, OR_AUTHCFG, "see mod_authz_core")
const char *ws_access_merging(cmd_parms *cmd, void *config, const char *args);

#define WS_ACCESS_SET_HANDLER                                                                      \
    AP_INIT_RAW_ARGS("SetHandler", ws_access_set_handler, NULL, OR_FILEINFO, "see httpd's core")
const char *ws_access_set_handler(cmd_parms *cmd, void *config, const char *args);

/** What an earlier section and a later one say together. */
ws_access ws_access_merge(const ws_access *base, const ws_access *add);

/** Whether a Require applies to a request. */
int ws_access_decided(const request_rec *r);

/** pre_config. */
void ws_access_reset(apr_pool_t *pconf);

/**
 * A directive that opens a section, which is looked at when the whole configuration has been read: who is let
 * in is decided in its <Location>, or else is warned of.
 */
void ws_access_opens(const cmd_parms *cmd);

/** register_hooks: `httpd -t`, and each start, refuse publishing that nothing guards. */
void ws_access_register(apr_pool_t *p);

/** parent_init: warn of sections that are open, or closed to all, because nothing was said. */
apr_status_t ws_access_parent_init(apr_pool_t *ptemp, server_rec *s);

#endif
