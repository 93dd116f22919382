/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Checks tokens (JWT) and what they permit. A token permits nothing if any part of it is
 *  invalid. */

#include "httpd/token.h"

#include <apr_encode.h>
#include <apr_pools.h>
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "httpd/token_keys.h"
#include "protocol/utf8.h"
#include "websocket_parse.h"

/* A reminder is sent in the last quarter of a token's lifetime, at most this long before the token
 * expires. */
#define REMIND_MAX apr_time_from_sec(60)

/* Latest valid time, seconds since 1970. A larger value is probably a time in milliseconds. */
#define TIME_MAX 1e11

#define USER_MAX 255 /* bytes */

/* ---- The parts of a token ---- */

/* Whether a token has three parts of base64url characters, separated by dots. */
static int token_is_compact(const char *text, apr_size_t len)
{
    int dots = 0;
    for (apr_size_t i = 0; i < len; i++) {
        dots += text[i] == '.';
    }
    return dots == 2
           && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
                  == len;
}

/* Decode and parse a part of a token. This refuses strings with a NUL, because cJSON would truncate
 * them: the user "root\u0000x" would become root. @return NULL: *why is set to the reason */
static cJSON *token_part(apr_pool_t *p, const char *text, apr_size_t len, const char *no_object,
                         const char **why)
{
    apr_size_t size = 0;
    const unsigned char *data = apr_pdecode_base64_binary(p, text, (apr_ssize_t)len, 0, &size);
    cJSON *o = data ? cJSON_ParseWithLength((const char *)data, size) : NULL;
    *why = !cJSON_IsObject(o)                          ? no_object
           : ws_json_has_nul((const char *)data, size) ? "a string in the token contains U+0000"
                                                       : NULL;
    if (*why) {
        cJSON_Delete(o);
        o = NULL;
    }
    return o;
}

/* Verify the signature of a token. @return NULL, or the reason for the refusal */
static const char *token_check_signature(const ws_token_rules *rules, apr_pool_t *p,
                                         const char *text, apr_size_t len, apr_size_t header_len)
{
    const char *why;
    cJSON *header =
        token_part(p, text, header_len, "the token's header is not a JSON object", &why);
    const char *alg = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(header, "alg"));
    const cJSON *kid = cJSON_GetObjectItemCaseSensitive(header, "kid");
    why = !header                       ? why
          : !alg                        ? "the token's header has no alg"
          : kid && !cJSON_IsString(kid) ? "the token's kid is not a string"
          : cJSON_HasObjectItem(header, "crit") /* RFC 7515, section 4.1.11 */
              ? "the token's header has crit, which is not supported"
              : ws_token_keys_check(rules->keys, p, text, len, alg, cJSON_GetStringValue(kid));
    cJSON_Delete(header);
    return why;
}

/* ---- Claims ---- */

static int token_is_list(const cJSON *o)
{
    const cJSON *item;
    if (!o || cJSON_IsString(o)) {
        return 1;
    }
    cJSON_ArrayForEach(item, o)
    {
        if (!cJSON_IsString(item)) {
            return 0;
        }
    }
    return cJSON_IsArray(o);
}

/* Whether fn accepts at least one text in a list. */
static int token_any(const cJSON *o, int (*fn)(const char *text, const void *arg), const void *arg)
{
    const cJSON *item;
    if (cJSON_IsString(o)) {
        return fn(o->valuestring, arg);
    }
    cJSON_ArrayForEach(item, o)
    {
        if (cJSON_IsString(item) && fn(item->valuestring, arg)) {
            return 1;
        }
    }
    return 0;
}

static int token_is_one_of(const char *text, const void *list)
{
    const apr_array_header_t *a = list;
    for (int i = 0; i < a->nelts; i++) {
        if (!strcmp(text, APR_ARRAY_IDX(a, i, const char *))) {
            return 1;
        }
    }
    return 0;
}

/* Check aud (RFC 7519, section 4.1.3). Without WebSocketTokenAudience, a token with aud is for
 * another service, so it is refused too. */
static const char *token_check_audience(const ws_token_rules *rules, const cJSON *claims)
{
    const cJSON *aud = cJSON_GetObjectItemCaseSensitive(claims, "aud"),
                *iss = cJSON_GetObjectItemCaseSensitive(claims, "iss");
    if (!rules->audiences && aud) {
        return "the token has an aud, but WebSocketTokenAudience is not set";
    }
    if (rules->audiences
        && (!token_is_list(aud) || !token_any(aud, token_is_one_of, rules->audiences))) {
        return "the token is not for this audience (aud)";
    }
    if (rules->issuers
        && (!cJSON_IsString(iss) || !token_is_one_of(iss->valuestring, rules->issuers))) {
        return "the token's issuer is not accepted (iss)";
    }
    return NULL;
}

/* Convert a time in a token. @return the time as apr_time_t; -1: the value is not a time in seconds
 * since 1970 */
static apr_time_t token_time(const cJSON *o)
{
    double t = cJSON_IsNumber(o) ? o->valuedouble : -1;
    return t >= 0 && t < TIME_MAX ? (apr_time_t)(t * APR_USEC_PER_SEC) : -1;
}

static const char *token_check_times(const ws_token_rules *rules, ws_token *t)
{
    const cJSON *exp = cJSON_GetObjectItemCaseSensitive(t->claims, "exp"),
                *nbf = cJSON_GetObjectItemCaseSensitive(t->claims, "nbf");
    apr_time_t now = apr_time_now(), leeway = apr_time_from_msec(rules->leeway), quarter;
    if (!exp) {
        return "the token has no exp";
    }
    if (token_time(exp) < 0 || (nbf && token_time(nbf) < 0)) {
        return "the token's exp or nbf is not a time in seconds";
    }
    if (nbf && token_time(nbf) > now + leeway) {
        return "the token is not valid yet (nbf)";
    }
    t->ends = token_time(exp) + leeway;
    if (t->ends <= now) {
        return "the token has expired (exp)";
    }
    quarter = (t->ends - now) / 4;
    t->soon = t->ends - (quarter < REMIND_MAX ? quarter : REMIND_MAX);
    return NULL;
}

/* Whether a user name is valid. Names are restricted, since they appear in logs and are sent to
 * other clients. */
static int token_user_valid(const char *user)
{
    apr_size_t len = strlen(user);
    for (const char *s = user; *s; s++) {
        if ((unsigned char)*s < ' ' || *s == 0x7F) {
            return 0;
        }
    }
    return len > 0 && len <= USER_MAX && ws_utf8_valid(user, len);
}

static const char *token_check_claims(const ws_token_rules *rules, ws_token *t)
{
    const cJSON *sub = cJSON_GetObjectItemCaseSensitive(t->claims, "sub"),
                *publish = cJSON_GetObjectItemCaseSensitive(t->claims, "publish");
    const char *why;
    if ((why = token_check_times(rules, t)) || (why = token_check_audience(rules, t->claims))) {
        return why;
    }
    if (sub && !(cJSON_IsString(sub) && token_user_valid(sub->valuestring))) {
        return "the token's sub is not a string of 1 to 255 bytes without control characters";
    }
    if (!token_is_list(cJSON_GetObjectItemCaseSensitive(t->claims, "channels"))
        || !(cJSON_IsBool(publish) || token_is_list(publish))) {
        return "the token's channels and publish must be lists of patterns";
    }
    t->user = cJSON_GetStringValue(sub);
    return NULL;
}

ws_token *ws_token_read(const ws_token_rules *rules, const char *text, const char **why)
{
    apr_size_t len = strlen(text), header, claims;
    ws_token *t = calloc(1, sizeof(*t));
    apr_pool_t *p = NULL;

    *why = len > WS_TOKEN_MAX             ? "the token is larger than 8 KiB"
           : !token_is_compact(text, len) ? "not a signed token (JWS in compact form)"
           : !t || apr_pool_create_unmanaged(&p) != APR_SUCCESS ? "try again later"
                                                                : NULL;
    if (!*why) {
        header = strcspn(text, ".");
        claims = strcspn(text + header + 1, ".");
        if (!(*why = token_check_signature(rules, p, text, len, header))) {
            t->claims = token_part(p, text + header + 1, claims,
                                   "the token's claims are not a JSON object", why);
            *why = t->claims ? token_check_claims(rules, t) : *why;
        }
        apr_pool_destroy(p);
    }
    if (*why) {
        ws_token_free(t);
        t = NULL;
    }
    return t;
}

void ws_token_free(ws_token *t)
{
    if (t) {
        cJSON_Delete(t->claims);
        free(t);
    }
}

/* Whether a pattern matches the name of a channel or a wildcard. A star matches any characters,
 * including slashes, and names of channels contain no star. Therefore a pattern that matches the
 * text of a wildcard ("news/" and a star) also matches all channels that begin with "news/". */
static int token_matches(const char *pattern, const void *arg)
{
    const char *name = arg, *star = NULL, *again = NULL;
    while (*name) {
        if (*pattern == '*') {
            star = pattern++;
            again = name;
        }
        else if (*pattern == *name) {
            pattern++;
            name++;
        }
        else if (star) {
            pattern = star + 1;
            name = ++again;
        }
        else {
            return 0;
        }
    }
    return pattern[strspn(pattern, "*")] == '\0';
}

int ws_token_permits(const ws_token *t, ws_action action, const char *channel)
{
    const cJSON *channels = cJSON_GetObjectItemCaseSensitive(t->claims, "channels"),
                *publish = cJSON_GetObjectItemCaseSensitive(t->claims, "publish");
    return action == WS_MAY_SUBSCRIBE || cJSON_IsTrue(publish)
               ? token_any(channels, token_matches, channel)
               : token_any(publish, token_matches, channel);
}
