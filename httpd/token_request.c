/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Finds the token of a request, removes it from all texts that are logged, and authenticates the
 *  request. */

#include "httpd/token_request.h"

#include <apr_strings.h>
#include <http_config.h>
#include <http_protocol.h>
#include <http_request.h>
#include <scoreboard.h>
#include <string.h>

#include "httpd/config.h"
#include "httpd/counters.h"
#include "httpd/refusals.h"
#include "httpd/settings.h"
#include "protocol/handshake.h"
#include "websocket_parse.h"

#define ARGUMENT "token"
#define SCHEME "Bearer "
#define SUBPROTOCOL "bearer."

/* A leeway in milliseconds that is so large that no token counts as expired. */
#define ANY_TIME 100000000000000

/* The token of a request. */
typedef struct token_request {
    const char *text; /* NULL: none found yet */
    ws_token *token;
} token_request;

static const char KEY[] = "websocket-token";

static token_request *token_request_of(request_rec *r)
{
    void *t = NULL;
    apr_pool_userdata_get(&t, KEY, r->pool);
    return t;
}

static apr_status_t token_request_free(void *data)
{
    token_request *t = data;
    ws_token_free(t->token);
    t->token = NULL;
    return APR_SUCCESS;
}

static token_request *token_request_new(request_rec *r)
{
    token_request *t = token_request_of(r);
    if (!t) {
        t = apr_pcalloc(r->pool, sizeof(*t));
        apr_pool_userdata_setn(t, KEY, NULL, r->pool);
        apr_pool_cleanup_register(r->pool, t, token_request_free, apr_pool_cleanup_null);
    }
    return t;
}

int ws_token_request_wanted(request_rec *r)
{
    const ws_dir_config *d = ws_dir_config_of(r);
    return d && d->token_keys && d->token_keys->nelts;
}

/* ---- Query strings ---- */

/* Remove all tokens from a query string, and set *token to the last one. @return the rest; NULL:
 * the rest is empty */
static char *token_request_strip(apr_pool_t *p, const char *query, const char **token)
{
    char *rest = NULL;
    while (query && *query) {
        apr_size_t len = strcspn(query, "&");
        const char *argument = apr_pstrmemdup(p, query, len), *at = argument;
        char *value = apr_palloc(p, len + 1);
        int found = ws_query_next(&at, ARGUMENT, value, len + 1);
        if (found) {
            *token = found > 0 ? value : "%";
        }
        else {
            rest = rest ? apr_pstrcat(p, rest, "&", argument, NULL) : apr_pstrdup(p, argument);
        }
        query += len + (query[len] == '&');
    }
    return rest;
}

/* Remove all tokens from a text that contains a query string. The query string begins after "?" and
 * ends at a space or at the end of the text. */
static char *token_request_strip_text(apr_pool_t *p, char *text)
{
    const char *begin = text ? strchr(text, '?') : NULL, *token = NULL;
    apr_size_t len = begin ? strcspn(begin, " ") : 0;
    char *query =
        begin ? token_request_strip(p, apr_pstrmemdup(p, begin + 1, len - 1), &token) : NULL;
    return token ? apr_pstrcat(p, apr_pstrmemdup(p, text, (apr_size_t)(begin - text)),
                               query ? "?" : "", query ? query : "", begin + len, NULL)
                 : text;
}

/* Hide the token of a request in logs. This hook runs before access control, because httpd also
 * logs the requests that access control refuses. If a rewrite rule has changed the query string,
 * the token is taken from the original one. */
static int token_request_hide(request_rec *r)
{
    const char *rewritten = NULL, *sent = NULL;
    if (!ws_token_request_wanted(r) || (!r->args && !r->parsed_uri.query)) {
        return DECLINED;
    }
    r->args = token_request_strip(r->pool, r->args, &rewritten);
    r->parsed_uri.query = token_request_strip(r->pool, r->parsed_uri.query, &sent);
    if (sent || rewritten) {
        r->unparsed_uri = token_request_strip_text(r->pool, r->unparsed_uri);
        r->the_request = token_request_strip_text(r->pool, r->the_request);
        token_request_new(r)->text = sent ? sent : rewritten;
        /* Hide the token in mod_status, too. */
        ap_update_child_status(r->connection->sbh, SERVER_BUSY_WRITE, r);
    }
    return DECLINED;
}

/* ---- Other places of tokens ---- */

static const char *token_request_bearer(request_rec *r)
{
    const char *value = apr_table_get(r->headers_in, "Authorization");
    if (!value || strncasecmp(value, SCHEME, sizeof(SCHEME) - 1)) {
        return NULL;
    }
    value += sizeof(SCHEME) - 1;
    return value + strspn(value, " ");
}

/* Get the token from Sec-WebSocket-Protocol, the only header of a handshake that scripts in
 * browsers can set. The handler does not see the subprotocol with the token. */
static const char *token_request_subprotocol(request_rec *r)
{
    const char *list = apr_table_get(r->headers_in, "Sec-WebSocket-Protocol"), *name, *token = NULL;
    char *others = NULL;
    size_t len;
    while (list && (name = ws_header_list_next(&list, &len))) {
        name = apr_pstrmemdup(r->pool, name, len);
        if (!strncmp(name, SUBPROTOCOL, sizeof(SUBPROTOCOL) - 1)) {
            token = name + sizeof(SUBPROTOCOL) - 1;
        }
        else {
            others = others ? apr_pstrcat(r->pool, others, ", ", name, NULL) : (char *)name;
        }
    }
    if (token && others) {
        apr_table_setn(r->headers_in, "Sec-WebSocket-Protocol", others);
    }
    else if (token) {
        apr_table_unset(r->headers_in, "Sec-WebSocket-Protocol");
    }
    return token;
}

/* ---- Checking ---- */

/* Refuse a request with 401 (RFC 6750, section 3). @param given  1: the request has a token */
static int token_request_refuse(request_rec *r, const char *why, int given)
{
    ws_refusal_log(r, WS_REFUSAL_ACCESS, "refused with 401: %s (%s)", why,
                   given ? "WebSocketTokenKey" : "WebSocketTokenRequired");
    apr_table_setn(r->err_headers_out, "WWW-Authenticate",
                   given ? apr_psprintf(
                       r->pool, "Bearer error=\"invalid_token\", error_description=\"%s\"", why)
                         : "Bearer");
    return HTTP_UNAUTHORIZED;
}

static const char *token_request_find(request_rec *r, token_request *t)
{
    const char *subprotocol = token_request_subprotocol(r), *bearer = token_request_bearer(r);
    t->text = bearer ? bearer : t->text ? t->text : subprotocol;
    return t->text && *t->text ? t->text : NULL;
}

static int token_request_check(request_rec *r, const ws_token_rules *rules, const char **why)
{
    const ws_dir_config *d = ws_dir_config_of(r);
    token_request *t = token_request_new(r);
    const char *text = token_request_find(r, t);

    *why = NULL;
    if (!text) {
        *why = "a token is required: ?token=, Authorization: Bearer, or the subprotocol "
               "bearer.TOKEN";
        return d->token_required > 0 ? token_request_refuse(r, *why, 0) : OK;
    }
    ws_token_free(t->token); /* free the token of an earlier check */
    if (!(t->token = ws_token_read(rules, text, why))) {
        return token_request_refuse(r, *why, 1);
    }
    if (t->token->user) {
        r->user = apr_pstrdup(r->pool, t->token->user);
        r->ap_auth_type = (char *)"Bearer";
    }
    return OK;
}

int ws_token_request_admit(request_rec *r, const char **why)
{
    const ws_dir_config *d = ws_dir_config_of(r);
    ws_token_rules rules = ws_token_rules_of(d);
    *why = NULL;
    if (!rules.keys && d->token_required > 0) {
        *why = "a token is required, but the server has no key to check it";
        return token_request_refuse(r, *why, 0);
    }
    return rules.keys ? token_request_check(r, &rules, why) : OK;
}

int ws_token_request_identify(request_rec *r)
{
    ws_token_rules rules = ws_token_rules_of(ws_dir_config_of(r));
    const char *why;
    int status = OK;
    rules.leeway = ANY_TIME;
    if (ws_token_request_wanted(r)) {
        status = token_request_check(r, &rules, &why);
        ws_token_free(ws_token_request_take(r)); /* an invalid token permits nothing */
    }
    return status;
}

int ws_token_request_permits(request_rec *r, ws_action action, const char *channel)
{
    const token_request *t = token_request_of(r);
    /* DELETE clears a history. Tokens never permit that. */
    return t && t->token && r->method_number != M_DELETE
           && ws_token_permits(t->token, action, channel);
}

ws_token *ws_token_request_take(request_rec *r)
{
    token_request *t = token_request_of(r);
    ws_token *token = t ? t->token : NULL;
    if (t) {
        t->token = NULL;
    }
    return token;
}

void ws_token_request_register(apr_pool_t *p)
{
    (void)p;
    ap_hook_header_parser(token_request_hide, NULL, NULL, APR_HOOK_REALLY_FIRST);
}
