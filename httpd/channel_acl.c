/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements WebSocketSubscribe, WebSocketPublish and WebSocketWildcards, which control access to
 * channels. An expression that fails denies access.
 */

#include "httpd/channel_acl.h"

#include <ap_expr.h>
#include <apr_strings.h>
#include <http_log.h>
#include <string.h>

#include "channels/message.h"
#include "httpd/arguments.h"
#include "httpd/config.h"
#include "httpd/reauthorize.h"
#include "httpd/token_conn.h"
#include "httpd/token_request.h"

APLOG_USE_MODULE(websocket);

#define VARIABLE "WEBSOCKET_CHANNEL"
#define ACL_WORD "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

struct ws_channel_acl {
    enum { HANDLER, NOBODY, EVERYBODY, EXPRESSION } kind;
    ap_expr_info_t *expr;
    const char *unseen; /* see ws_channelrule_unseen() */
};

/* ---- The variable for expressions ---- */

static const char *acl_variable(ap_expr_eval_ctx_t *ctx, const void *data)
{
    (void)data;
    return ctx->r ? apr_table_get(ctx->r->notes, VARIABLE) : NULL;
}

static int acl_look_up(ap_expr_lookup_parms *parms)
{
    if (parms->type != AP_EXPR_FUNC_VAR || strcasecmp(parms->name, VARIABLE)) {
        return DECLINED;
    }
    *parms->func = (const void *)acl_variable;
    *parms->data = NULL;
    return OK;
}

void ws_channelrules_register(apr_pool_t *p)
{
    (void)p;
    ap_hook_expr_lookup(acl_look_up, NULL, NULL, APR_HOOK_MIDDLE);
}

/* ---- The directives ---- */

/* Whether an expression calls a function, as name(...) or %{name:...}. */
static int acl_calls(const char *expression, const char *name)
{
    apr_size_t len = strlen(name);
    for (const char *at = expression; (at = strcasestr(at, name)); at += len) {
        const char *after = at + len;
        after += strspn(after, " \t");
        if ((at == expression || !strchr(ACL_WORD, at[-1]))
            && (*after == '(' || (*after == ':' && at > expression && at[-1] == '{'))) {
            return 1;
        }
    }
    return 0;
}

static const char *acl_find_unseen(const char *expression)
{
    static const char *const functions[] = {"env", "reqenv", "note", "resp"};
    for (int i = 0; i < 4; i++) {
        if (acl_calls(expression, functions[i])) {
            return functions[i];
        }
    }
    return strcasestr(expression, "%{SSL_") ? "SSL_..." : NULL;
}

const char *ws_channelrule_set(cmd_parms *cmd, void *config, const char *arg)
{
    ws_action action = (ws_action)(apr_uintptr_t)cmd->info;
    ws_channel_acl *parsed = apr_pcalloc(cmd->pool, sizeof(*parsed));
    const char *error = NULL;
    ((ws_dir_config *)config)->may[action] = parsed;
    if (!strcasecmp(arg, "all")) {
        parsed->kind = EVERYBODY;
    }
    else if (!strcasecmp(arg, "none")) {
        parsed->kind = NOBODY;
    }
    else if (!strcasecmp(arg, "handler")) {
        parsed->kind = HANDLER;
    }
    else {
        parsed->kind = EXPRESSION;
        parsed->expr = ap_expr_parse_cmd(cmd, arg, 0, &error, NULL);
        parsed->unseen = acl_find_unseen(arg);
    }
    if (error && !arg[strspn(arg, ACL_WORD)]) { /* the parser's error does not help with a word */
        return ws_wrong(cmd, arg,
                        "all, none, handler, or a quoted expression that is true for allowed "
                        "clients, such as \"%{REMOTE_USER} == 'ann'\"");
    }
    return error ? apr_psprintf(cmd->pool,
                                "%s takes all, none, handler, or a quoted expression that is true "
                                "for allowed clients: %s",
                                cmd->cmd->name, error)
                 : NULL;
}

int ws_channelrule_decides(const ws_channel_acl *rule)
{
    return rule && rule->kind != HANDLER;
}

int ws_channelrule_needs_request(const ws_channel_acl *rule)
{
    return rule && rule->kind == EXPRESSION;
}

const char *ws_channelrule_unseen(const ws_channel_acl *rule)
{
    return rule ? rule->unseen : NULL;
}

/* ---- Wildcards ---- */

static int wildcards_used;

void ws_channelrules_reset(apr_pool_t *pconf)
{
    (void)pconf;
    wildcards_used = 0;
}

int ws_channelrules_wildcards(void)
{
    return wildcards_used;
}

const char *ws_channelrule_set_wildcard(cmd_parms *cmd, void *config, const char *arg)
{
    apr_array_header_t **wildcards = &((ws_dir_config *)config)->wildcards;
    int off = !strcasecmp(arg, "off");
    if (*wildcards && (off || !(*wildcards)->nelts)) {
        return "WebSocketWildcards: off cannot be combined with other values: remove one";
    }
    if (!*wildcards) {
        *wildcards = apr_array_make(cmd->pool, 2, sizeof(const char *));
    }
    if (off) {
        return NULL;
    }
    if (!ws_wildcard_valid(arg, strlen(arg))) {
        return apr_psprintf(
            cmd->pool,
            "WebSocketWildcards: invalid value \"%s\": expected a channel name followed by /*, "
            "such as news/*; or off",
            arg);
    }
    APR_ARRAY_PUSH(*wildcards, const char *) = arg;
    wildcards_used = 1;
    return ws_check_repeated(cmd, (*wildcards)->nelts, (char *const *)(*wildcards)->elts, strcmp);
}

/* Whether WebSocketWildcards allows an action on a channel. The directive restricts only the
 * subscription to a wildcard, which a listed wildcard must cover. */
static int acl_wildcard_allowed(const apr_array_header_t *wildcards, ws_action action,
                                const char *channel)
{
    if (action != WS_MAY_SUBSCRIBE || !ws_wildcard_valid(channel, strlen(channel))) {
        return 1;
    }
    for (int i = 0; wildcards && i < wildcards->nelts; i++) {
        const char *listed = APR_ARRAY_IDX(wildcards, i, const char *);
        if (!strncmp(channel, listed, strlen(listed) - 1)) {
            return 1;
        }
    }
    return 0;
}

/* ---- Evaluation ---- */

static int acl_evaluate(request_rec *r, const ws_channel_acl *rule, const char *channel)
{
    const char *error = NULL;
    int result;
    apr_table_setn(r->notes, VARIABLE, channel);
    result = ap_expr_exec(r, rule->expr, &error);
    apr_table_unset(r->notes, VARIABLE);
    if (result < 0 || error) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, r->server,
                     "websocket: %s: the expression fails for channel %s, so access is refused: %s",
                     r->uri, channel, error ? error : "");
        return 0;
    }
    return result > 0;
}

static int acl_without_request(const ws_channel_acl *rule)
{
    return !rule || rule->kind == HANDLER ? -1 : rule->kind == EVERYBODY;
}

int ws_channelrules_may(ws_conn *c, ws_action action, const char *channel)
{
    const ws_channel_acl *rule = ws_conn_settings(c)->may[action];
    apr_pool_t *p;
    request_rec *r;
    int result = 0;

    if (!acl_wildcard_allowed(ws_conn_settings(c)->wildcards, action, channel)) {
        return 0;
    }
    if (!(rule && rule->kind == NOBODY) && ws_token_conn_permits(c, action, channel)) {
        return 1;
    }
    if (!ws_channelrule_needs_request(rule)) {
        return acl_without_request(rule);
    }
    if (apr_pool_create_unmanaged(&p) != APR_SUCCESS) {
        return 0;
    }
    if ((r = ws_reauthorize_request(c, p))) {
        result = acl_evaluate(r, rule, channel);
    }
    apr_pool_destroy(p);
    return result;
}

int ws_channelrules_request_may(request_rec *r, ws_action action, const char *channel)
{
    const ws_channel_acl *rule = ws_dir_config_of(r)->may[action];
    if (!acl_wildcard_allowed(ws_dir_config_of(r)->wildcards, action, channel)) {
        return 0;
    }
    return !(rule && rule->kind == NOBODY) && ws_token_request_permits(r, action, channel) ? 1
           : !ws_channelrule_decides(rule)                                                 ? -1
           : ws_channelrule_needs_request(rule) ? acl_evaluate(r, rule, channel)
                                                : acl_without_request(rule);
}
