/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Finds the sections that no Require protects, at start-up. To apply httpd's own rules for merging
 * sections, it lets httpd process an internal request to each section.
 */

#include "httpd/access.h"

#include <ap_mpm.h>
#include <apr_fnmatch.h>
#include <apr_strings.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <string.h>

#include "httpd/channel_acl.h"
#include "httpd/channel_http.h"
#include "httpd/config.h"
#include "httpd/settings.h"

APLOG_USE_MODULE(websocket);

typedef struct opening {
    server_rec *server;
    const char *directive, *file;
    const char *path;    /* a path of the section */
    const char *section; /* "<Location "/path">" */
    int line;
} opening;

static apr_array_header_t *openings; /* array of opening */

void ws_access_reset(apr_pool_t *pconf)
{
    openings = apr_array_make(pconf, 8, sizeof(opening));
}

/* ---- Require ---- */

/* Whether a directive is in a section that httpd selects by file, not by URL. */
static int access_by_file(const cmd_parms *cmd)
{
    for (const ap_directive_t *d = cmd->directive->parent; d; d = d->parent) {
        if (!strncasecmp(d->directive, "<Directory", 10)
            || !strncasecmp(d->directive, "<Files", 6)) {
            return 1;
        }
    }
    return ap_check_cmd_context((cmd_parms *)cmd, NOT_IN_HTACCESS) != NULL;
}

/* Get the specificity of a section. This is the length of a <Location>'s path, and 0 for all other
 * sections. */
static apr_size_t access_path(const cmd_parms *cmd)
{
    const ap_directive_t *d = cmd->directive->parent;
    while (d && strcasecmp(d->directive, "<Location")) {
        d = d->parent;
    }
    return d && cmd->path && *d->args != '~' ? strlen(cmd->path) : 0;
}

const char *ws_access_merging(cmd_parms *cmd, void *config, const char *args)
{
    ((ws_dir_config *)config)->access.joins =
        !strcasecmp(ap_getword_conf(cmd->temp_pool, &args), "and");
    return NULL;
}

const char *ws_access_set_handler(cmd_parms *cmd, void *config, const char *args)
{
    ws_dir_config *d = config;
    const char *name = ap_getword_conf(cmd->temp_pool, &args);
    int control = !strcasecmp(name, "websocket-control");
    if (control || !strcasecmp(name, "websocket-status")) {
        d->access.status = access_path(cmd) + 1;
    }
#ifndef WS_WITH_CJSON
    if (control) {
        return "SetHandler websocket-control: mod_websocket was built without cJSON, which the "
               "control API needs: install libcjson-dev and rebuild";
    }
#else
    if (control) {
        d->control = ws_section_base(cmd);
        if (!d->control || ap_check_cmd_context(cmd, NOT_IN_HTACCESS)) {
            return "SetHandler websocket-control is allowed only in a <Location> without "
                   "wildcards, since the rest of the path selects the resource";
        }
        ws_access_opens(cmd);
    }
#endif
    return NULL;
}

ws_access ws_access_merge(const ws_access *base, const ws_access *add)
{
    ws_access a = add->set ? *add : *base;
    int replaces = add->set && !add->joins;
    a.status = add->status ? add->status : base->status;
    a.overruled = add->overruled || (base->overruled && !replaces);
    if (replaces && !add->status && base->set && base->status) {
        a.overruled = add->path + 1 < base->status;
    }
    if (add->set && base->set) {
        a.joins = base->joins; /* combine the result with earlier sections as `base` does */
    }
    if (add->set && add->joins) {
        a.decided |= base->decided;
        a.restricted |= base->restricted;
    }
    return a;
}

const char *ws_access_require(cmd_parms *cmd, void *config, const char *args)
{
    ws_access *access = &((ws_dir_config *)config)->access;
    char *provider = ap_getword_conf(cmd->temp_pool, &args);
    int granted = !strcasecmp(provider, "all")
                  && !strcasecmp(ap_getword_conf(cmd->temp_pool, &args), "granted");

    if (!ap_find_linked_module("mod_authz_core.c")) {
        return "Invalid command 'Require', perhaps misspelled or defined by a module not included "
               "in "
               "the server configuration (mod_authz_core)";
    }
    access->set = 1;
    access->path = access_path(cmd);
    access->restricted |= granted ? 0 : cmd->limited;
    /* `Require all granted` in a <Directory> applies to files in the directory, not to a
     * handler. */
    access->decided |= granted && access_by_file(cmd) ? 0 : cmd->limited;
    return NULL;
}

int ws_access_decided(const request_rec *r)
{
    return (ws_dir_config_of(r)->access.decided & (AP_METHOD_BIT << r->method_number)) != 0;
}

int ws_access_request_may(request_rec *r, ws_action action, const char *channel)
{
    int may = ws_channelrules_request_may(r, action, channel);
    return may < 0 ? ws_access_decided(r) : may;
}

/* ---- Open sections ---- */

/* Get the path up to the first special character of a pattern. The section may match this path, and
 * httpd has no other way to find out what a section with a pattern covers. */
static const char *access_beginning(apr_pool_t *p, const char *pattern, int regular)
{
    const char *from = regular && *pattern == '^' ? pattern + 1 : pattern;
    apr_size_t len = strcspn(from, regular ? "\\^$.[]|()?*+{}" : "*?[\\");
    if (regular && len && from[len] && strchr("?*{", from[len])) {
        len--; /* the character before may be absent */
    }
    return *from == '/' && len ? apr_pstrmemdup(p, from, len) : "/";
}

void ws_access_opens(const cmd_parms *cmd)
{
    const ap_directive_t *section = cmd->directive->parent;
    int match = section && !strcasecmp(section->directive, "<LocationMatch");
    int regular = match || (section && *section->args == '~');
    opening *o;
    /* A section that httpd selects by file is subject to the Require of that file. */
    if (cmd->path && !match && (!section || strcasecmp(section->directive, "<Location"))) {
        return;
    }
    o = apr_array_push(openings);
    o->server = cmd->server;
    o->directive = cmd->cmd->name;
    o->path = !cmd->path ? "/"
              : regular || apr_fnmatch_test(cmd->path)
                  ? access_beginning(cmd->pool, cmd->path, regular)
                  : apr_pstrdup(cmd->pool, cmd->path);
    o->section = apr_psprintf(cmd->pool,
                              match     ? "<LocationMatch \"%s\">"
                              : regular ? "<Location ~ \"%s\">"
                                        : "<Location \"%s\">",
                              cmd->path ? cmd->path : "/");
    o->file = cmd->directive->filename;
    o->line = cmd->directive->line_num;
}

/* Run only the core's hook. The hooks of other modules expect a client and a child process. */
static void access_create_request(request_rec *r)
{
    const apr_array_header_t *hooks = ap_hook_get_create_request();
    for (int i = 0; i < hooks->nelts; i++) {
        const ap_LINK_create_request_t *hook = &APR_ARRAY_IDX(hooks, i, ap_LINK_create_request_t);
        if (!strcmp(hook->szName, "core.c")) {
            hook->pFunc(r);
        }
    }
}

/* Create a GET request for a path, with the server's default configuration. */
static request_rec *access_probe(apr_pool_t *p, server_rec *s, const char *path)
{
    conn_rec *c = apr_pcalloc(p, sizeof(*c));
    request_rec *r = apr_pcalloc(p, sizeof(*r));
    c->pool = r->pool = p;
    c->base_server = r->server = s;
    c->conn_config = ap_create_conn_config(p);
    c->notes = apr_table_make(p, 1);
    c->bucket_alloc = apr_bucket_alloc_create(p);
    c->client_ip = c->local_ip = (char *)"-";
    r->useragent_ip = c->client_ip;
    r->connection = c;
    r->per_dir_config = s->lookup_defaults;
    r->request_config = ap_create_request_config(p);
    r->headers_in = apr_table_make(p, 1);
    r->headers_out = apr_table_make(p, 1);
    r->err_headers_out = apr_table_make(p, 1);
    r->subprocess_env = apr_table_make(p, 1);
    r->notes = apr_table_make(p, 1);
    r->method = "GET";
    r->method_number = M_GET;
    r->protocol = (char *)"HTTP/1.1";
    r->the_request = (char *)"";
    r->unparsed_uri = r->uri = r->parsed_uri.path = apr_pstrdup(p, path);
    access_create_request(r);
    return r;
}

/* Append `below` to the section's path, and merge the configuration of all <Location>s that match
 * the result. */
static ws_dir_config *access_location(apr_pool_t *p, const opening *o, const char *below)
{
    request_rec *r = access_probe(p, o->server, apr_pstrcat(p, o->path, below, NULL));
    return ap_location_walk(r) == OK ? ws_dir_config_of(r) : NULL;
}

static int access_is_decided(apr_pool_t *p, const opening *o, int method)
{
    apr_size_t len = strlen(o->path);
    const char *below[] = {"", len && o->path[len - 1] == '/' ? "x" : "/x"};
    for (int i = 0; i < 2; i++) {
        const ws_dir_config *d = access_location(p, o, below[i]);
        if (d && d->access.decided & (AP_METHOD_BIT << method)) {
            return 1;
        }
    }
    return 0;
}

/* Map a path to a file with mod_alias's and the core's hooks. */
static const char *access_file(request_rec *r)
{
    static const char *const mappers[] = {"mod_alias.c", "core.c"};
    const apr_array_header_t *hooks = ap_hook_get_translate_name();
    for (int m = 0; m < 2; m++) {
        for (int i = 0; i < hooks->nelts; i++) {
            const ap_LINK_translate_name_t *hook =
                &APR_ARRAY_IDX(hooks, i, ap_LINK_translate_name_t);
            if (!strcmp(hook->szName, mappers[m]) && hook->pFunc(r) == OK && r->filename) {
                return r->filename;
            }
        }
    }
    return NULL;
}

/* Map the section's path to a file. @return the file if a <Directory> or .htaccess file restricts
 * access to it; otherwise NULL */
static const char *access_restricted_file(apr_pool_t *p, const opening *o)
{
    request_rec *r = access_probe(p, o->server, o->path);
    const char *file;
    if (ap_location_walk(r) != OK || !(file = access_file(r))) {
        return NULL;
    }
    file = apr_pstrdup(p, file);
    r->per_dir_config = o->server->lookup_defaults;
    ap_directory_walk(r);
    return ws_dir_config_of(r)->access.restricted & (AP_METHOD_BIT << M_GET) ? file : NULL;
}

/* Warn that a section refuses all requests, since no key can check the tokens that it requires. */
static void access_warn_no_key(const opening *o, const ws_dir_config *d)
{
    int serves = ws_has_handler(d) || (d->channel_http && d->channel_http->what);
    if (serves && d->token_required > 0 && !ws_token_rules_of(d).keys) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, o->server,
                     "websocket: %s:%d: %s refuses all clients of %s, since "
                     "WebSocketTokenRequired is on and no key can check a token: add "
                     "WebSocketTokenKey, or set WebSocketTokenRequired off",
                     o->file, o->line, o->section, o->directive);
    }
}

/* Warn that an expression uses values that are empty when the module evaluates it for a WebSocket. */
static void access_warn_unseen(const opening *o, const ws_dir_config *d)
{
    static const char *const directives[] = {
        [WS_MAY_SUBSCRIBE] = "WebSocketSubscribe", [WS_MAY_PUBLISH] = "WebSocketPublish"};
    for (int action = 0; action < 2; action++) {
        const char *name = ws_channelrule_unseen(d->may[action]);
        if (name) {
            ap_log_error(
                APLOG_MARK, APLOG_WARNING, 0, o->server,
                "websocket: %s:%d: %s: %s uses %s, which is empty for "
                "WebSockets, since the module keeps only the handshake's method, URI, query "
                "string, headers, addresses and user: use one of these",
                o->file, o->line, o->section, directives[action], name);
        }
    }
}

static void access_warn_no_handler(const opening *o, const ws_dir_config *d)
{
    if (d->transports && d->transports->sockjs && d->site_handlers <= 0 && !ws_has_handler(d)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, o->server,
                     "websocket: %s:%d: WebSocketTransports sockjs: %s has no "
                     "handler: add a WebSocketHandler to it",
                     o->file, o->line, o->section);
    }
}

static void access_warn(apr_pool_t *p, const opening *o)
{
    const char *file;
    const ws_dir_config *d =
        strcasecmp(o->directive, "SetHandler") ? access_location(p, o, "") : NULL;
    int http = !strcasecmp(o->directive, "WebSocketChannelHTTP");
    if (d && !strcasecmp(o->directive, "WebSocketTransports")) {
        access_warn_no_handler(o, d);
        return;
    }
    if (d) {
        access_warn_no_key(o, d);
    }
    if (d && !http) {
        access_warn_unseen(o, d);
    }
    if (!d || !(http || ws_has_handler(d)) || access_is_decided(p, o, M_GET)) {
        return;
    }
    if (http && d->channel_http && d->channel_http->what & WS_CHANNEL_HTTP_SUBSCRIBE
        && !ws_channelrule_decides(d->may[WS_MAY_SUBSCRIBE]) && !ws_token_rules_of(d).keys) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, o->server,
                     "websocket: %s:%d: every subscription in %s is refused, since no rule "
                     "allows it: add \"WebSocketSubscribe all\", an expression, or a Require",
                     o->file, o->line, o->section);
    }
    if (!http && (file = access_restricted_file(p, o))) {
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, o->server,
            "websocket: %s:%d: %s in %s is open to everyone: the Require for the "
            "directory of %s does not apply to it. Repeat it in the <Location>, or add \"Require "
            "all granted\" there",
            o->file, o->line, o->directive, o->section, file);
    }
}

/* Check that a section does not allow unrestricted publishing. @return 0 if it does, and the error
 * has been logged */
static int access_check_publish(apr_pool_t *p, const opening *o)
{
    const ws_dir_config *d = access_location(p, o, "");
    if (strcasecmp(o->directive, "WebSocketChannelHTTP") || !d || !d->channel_http
        || !(d->channel_http->what & WS_CHANNEL_HTTP_PUBLISH)
        || ws_channelrule_decides(d->may[WS_MAY_PUBLISH]) || ws_token_rules_of(d).keys
        || access_is_decided(p, o, M_POST)) {
        return 1;
    }
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, o->server,
                 "%s:%d: WebSocketChannelHTTP publish in %s: no rule restricts "
                 "publishing. Add a Require to this <Location> (those of <Directory> and "
                 ".htaccess do not apply), WebSocketPublish all|none|\"EXPRESSION\", or "
                 "WebSocketTokenKey",
                 o->file, o->line, o->section);
    return 0;
}

/* Check that a section does not serve an unrestricted control API. @return 0 if it does, and the
 * error has been logged */
static int access_check_control(apr_pool_t *p, const opening *o)
{
    const apr_int64_t all = AP_METHOD_BIT << M_GET | AP_METHOD_BIT << M_POST
                            | AP_METHOD_BIT << M_PUT | AP_METHOD_BIT << M_DELETE;
    const ws_dir_config *d =
        strcasecmp(o->directive, "SetHandler") ? NULL : access_location(p, o, "");
    if (!d || !d->control || d->control_open > 0 || (d->access.restricted & all) == all) {
        return 1;
    }
    ap_log_error(
        APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, o->server,
        "%s:%d: SetHandler websocket-control in %s is open to everyone. Add a "
        "Require that restricts it, such as \"Require local\" or \"Require user NAME\", for all "
        "methods to this <Location> (those of <Directory> and .htaccess do not apply); or, where "
        "something else protects it, \"WebSocketControlOpen on\"",
        o->file, o->line, o->section);
    return 0;
}

static int access_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                               server_rec *s)
{
    int testing = ap_state_query(AP_SQ_RUN_MODE) == AP_SQ_RM_CONFIG_TEST, status = OK;
    (void)pconf, (void)plog, (void)s;
    for (int i = 0; i < openings->nelts; i++) {
        const opening *o = &APR_ARRAY_IDX(openings, i, opening);
        if (!access_check_publish(ptemp, o) || !access_check_control(ptemp, o)) {
            status = HTTP_INTERNAL_SERVER_ERROR;
        }
        if (testing) { /* otherwise ws_access_parent_init() warns, after the log has been opened */
            access_warn(ptemp, o);
        }
    }
    return status;
}

apr_status_t ws_access_parent_init(apr_pool_t *ptemp, server_rec *s)
{
    (void)s;
    for (int i = 0; i < openings->nelts; i++) {
        access_warn(ptemp, &APR_ARRAY_IDX(openings, i, opening));
    }
    return APR_SUCCESS;
}

void ws_access_register(apr_pool_t *p)
{
    (void)p;
    ap_hook_check_config(access_check_config, NULL, NULL, APR_HOOK_LAST);
}
