/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses and checks the keys of `ws_http.so` while httpd reads its configuration, so that a
 *  request never fails because of an invalid value. */

#include "config.h"

#include <string.h>

#include <apr_encode.h>
#include <apr_strings.h>
#include <apr_uri.h>
#include <httpd.h>
#include <http_config.h>

#include "websocket_parse.h"

#define TIMEOUT (30 * 1000)
#define TIMEOUT_MAX (10 * 60 * 1000)
#define RETRY (5 * 1000)
#define CONCURRENCY 16
#define CONCURRENCY_MAX 4096
#define QUEUE 1024
#define QUEUE_MAX 65536
#define LONGEST (1024 * 1024)
#define LONGEST_MAX (64 * 1024 * 1024)

static const char *takes_url = "takes a path of this server, http://..., https://... "
                               "or unix:/socket|http://host/path";

static int is_url(apr_pool_t *p, const char *value)
{
    apr_uri_t uri;
    apr_int64_t port;
    return (!strncmp(value, "http://", 7) || !strncmp(value, "https://", 8))
           && apr_uri_parse(p, value, &uri) == APR_SUCCESS && uri.hostname && *uri.hostname
           && (!uri.port_str || !ws_parse_count(p, uri.port_str, 1, 65535, &port));
}

/* Check the host of a valid URL. */
static const char *check_host(apr_pool_t *p, const char *url)
{
    const char *host = strstr(url, "://") + 3, *error;
    size_t len = strcspn(host, "/?");
    for (size_t i = len; i > 0; i--) {
        if (host[i - 1] == '@') {
            host += i;
            len -= i;
            break;
        }
    }
    len = *host == '[' && memchr(host, ']', len) ? strcspn(host, "]") + 1 : strcspn(host, ":/?");
    error = ws_parse_host(host, len);
    return error ? apr_psprintf(p, "the host \"%.*s\" is invalid: it %s", (int)len, host, error)
                 : NULL;
}

/* Check a path of this server. */
static const char *check_path(apr_pool_t *p, const char *path)
{
    size_t len = strcspn(path, "?");
    return ws_percent_decode(path, len, 0, apr_palloc(p, len + 1), len + 1) < 0
               ? "takes a path in which % is written as %25"
               : NULL;
}

static const char *set_to(apr_pool_t *p, http_config *config, const char *value)
{
    const char *error;
    if (value[strcspn(value, " \t\"<>#")]) {
        return takes_url;
    }
    if (!strncmp(value, "unix:/", 6)) {
        const char *bar = strchr(value, '|');
        if (!bar) {
            return takes_url;
        }
        config->unix_socket = apr_pstrmemdup(p, value + 5, (apr_size_t)(bar - value - 5));
        if ((error = ws_parse_socket(config->unix_socket))) {
            return error;
        }
        value = bar + 1;
    }
    config->to = apr_pstrdup(p, value);
    if (!strcmp(value, HTTP_TO_HTACCESS) && !config->unix_socket) {
        return NULL;
    }
    if (*value == '/' && value[1] != '/' && !config->unix_socket) {
        return check_path(p, value);
    }
    return is_url(p, value) ? check_host(p, value) : takes_url;
}

static const char *set_interval(apr_pool_t *p, const char *value, apr_uint32_t *field)
{
    apr_int64_t ms = *field;
    const char *error = ws_parse_interval(p, value, 1, TIMEOUT_MAX, &ms);
    *field = (apr_uint32_t)ms;
    return error;
}

static const char *set_style(http_config *config, const char *value)
{
    config->grip = !strcmp(value, "grip");
    return config->grip || !strcmp(value, "form") ? NULL : "takes form or grip";
}

static const char *set_issuer(apr_pool_t *p, http_config *config, const char *value)
{
    for (const char *c = value; *c; c++) {
        if (*c <= ' ' || *c > '~' || *c == '"' || *c == '\\') {
            return "takes printable characters except quotes and backslashes";
        }
    }
    config->issuer = apr_pstrdup(p, value);
    return *value && strlen(value) <= 100 ? NULL : "takes 1 to 100 characters";
}

/* Set the key for Grip-Sig. As in GRIP libraries, the value is either text, or "base64:" and the
 * encoded bytes. */
static const char *set_key(apr_pool_t *p, http_config *config, const char *value)
{
    if (!strncmp(value, "base64:", 7)) {
        config->key = (const char *)apr_pdecode_base64_binary(p, value + 7, -1, APR_ENCODE_NONE,
                                                              &config->key_len);
    }
    else {
        config->key = apr_pstrdup(p, value);
        config->key_len = strlen(value);
    }
    return config->key && config->key_len && config->key_len <= 4096
               ? NULL
               : "takes a secret, or base64: and a secret in base64";
}

static const char *set_ca(apr_pool_t *p, http_config *config, const char *value)
{
    ws_connect_options o = {.size = sizeof(o)};
    const char *error;
    o.ca_file = config->ca = ap_server_root_relative(p, value);
    if (!*value || !config->ca) {
        return "takes a file of certificates (PEM) that can be read";
    }
    error = ws_connect_check(p, &o);
    return error ? apr_pstrcat(p, "takes a file of certificates (PEM) that can be read: ", error,
                               NULL)
                 : NULL;
}

static const char *config_complete(const http_config *config)
{
    if (!config->to) {
        return "to= is missing: name the path or URL of the application";
    }
    if (config->issuer && !config->key) {
        return "iss= is part of the signature, which needs key=: add key=, or remove iss=";
    }
    if (config->key && !config->grip) {
        return "key= is only for style=grip: remove key=, or add style=grip";
    }
    if (config->ca && strncmp(config->to, "https://", 8)) {
        return "ca= is only for an application at https://...: remove ca=";
    }
    return NULL;
}

static http_config *config_new(apr_pool_t *p)
{
    http_config *config = apr_pcalloc(p, sizeof(*config));
    config->timeout = TIMEOUT;
    config->retry = RETRY;
    config->concurrency = CONCURRENCY;
    config->queue = QUEUE;
    config->longest = LONGEST;
    return config;
}

const char *http_configure(apr_pool_t *p, const char *key, const char *value, void **data)
{
    http_config *config = *data;
    if (!config) {
        *data = config = config_new(p);
    }
    if (!key || !value) {
        return config_complete(config);
    }
    if (!strcmp(key, "to")) {
        return set_to(p, config, value);
    }
    if (!strcmp(key, "style")) {
        return set_style(config, value);
    }
    if (!strcmp(key, "key")) {
        return set_key(p, config, value);
    }
    if (!strcmp(key, "iss")) {
        return set_issuer(p, config, value);
    }
    if (!strcmp(key, "ca")) {
        return set_ca(p, config, value);
    }
    if (!strcmp(key, "timeout")) {
        return set_interval(p, value, &config->timeout);
    }
    if (!strcmp(key, "retry")) {
        return set_interval(p, value, &config->retry);
    }
    if (!strcmp(key, "concurrency")) {
        return ws_parse_count(p, value, 1, CONCURRENCY_MAX, &config->concurrency);
    }
    if (!strcmp(key, "queue")) {
        return ws_parse_count(p, value, 1, QUEUE_MAX, &config->queue);
    }
    if (!strcmp(key, "longest")) {
        return ws_parse_size(p, value, 1, LONGEST_MAX, &config->longest);
    }
    return "unknown key; the keys are to=, style=, key=, iss=, ca=, timeout=, retry=, "
           "concurrency=, queue= and longest=";
}
