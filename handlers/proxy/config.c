/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */
/** Parses the keys of ws_proxy.so, and builds the URL and the headers of a request to the
 *  server. */

#include "config.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <apr_lib.h>
#include <apr_strings.h>
#include <ap_expr.h>
#include <http_log.h>

#include "proxypass.h"
#include "websocket_parse.h"

APLOG_USE_MODULE(websocket);

#define TIMEOUT_MAX (10 * 60 * 1000)
#define RETRY (10 * 1000)

/* The characters of a URL's scheme: RFC 3986, section 3.1. */
#define SCHEME "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-."

/* How long an httpd thread waits for the server's answer to the handshake, and how long it waits
 * for the connection before that, milliseconds. */
#define HANDSHAKE_TIMEOUT (10 * 1000)
#define CONNECT_TIMEOUT (3 * 1000)

static const char *config_takes_switch = "takes on or off";
static const char *config_takes_file = "takes an absolute path";
static const char *config_takes_servers =
    "takes ws://host:port/path or wss://host:port/path, or several of these separated by commas";
static const char *config_takes_names = "takes names of headers, separated by commas";

static proxy_config *config_new(apr_pool_t *p)
{
    proxy_config *config = apr_pcalloc(p, sizeof(*config));
    config->servers = apr_array_make(p, 2, sizeof(proxy_server));
    config->headers = apr_array_make(p, 4, sizeof(const char *));
    config->forwarded = 1;
    config->retry = RETRY;
    config->options.size = sizeof(config->options);
    config->options.connect_timeout = CONNECT_TIMEOUT;
    config->options.handshake_timeout = HANDSHAKE_TIMEOUT;
    return config;
}

/* Split "unix:/path|URL", and set *url to the URL. @return whether the text is valid */
static int config_set_socket(apr_pool_t *p, char **url, const char **path)
{
    char *bar;
    *path = NULL;
    if (strncmp(*url, "unix:", 5)) {
        return 1;
    }
    if ((*url)[5] != '/' || !(bar = strchr(*url, '|'))) {
        return 0;
    }
    *path = apr_pstrmemdup(p, *url + 5, (apr_size_t)(bar - *url - 5));
    *url = bar + 1;
    return 1;
}

/* Parse a path with %{...}. Scheme, host and port must not depend on the request. */
static const char *config_set_expression(apr_pool_t *p, proxy_server *s, char *url, size_t scheme)
{
    char *path = url + scheme + strcspn(url + scheme, "/?");
    ap_expr_info_t *info;
    const char *error;

    if (!strstr(url, "%{")) {
        return NULL;
    }
    if (*path != '/' || strstr(url, "%{") < path) {
        return "takes a scheme, host and port that do not depend on the request: %{...} may "
               "only follow the / of the path";
    }
    info = apr_pcalloc(p, sizeof(*info));
    info->filename = "WebSocketHandler";
    info->flags = AP_EXPR_FLAG_STRING_RESULT | AP_EXPR_FLAG_DONT_VARY;
    info->module_index = APLOG_NO_MODULE;
    if ((error = ap_expr_parse(p, p, info, path, NULL))) {
        return apr_pstrcat(p, "takes a path whose expression can be parsed: ", error, NULL);
    }
    s->path = info;
    *path = '\0';
    return NULL;
}

/* Check the URL and the socket with the parsers of the client that will use them. */
static const char *config_check_server(apr_pool_t *p, const proxy_server *s)
{
    const ws_connect_options o = {.size = sizeof(o), .url = s->url};
    const char *error = s->socket ? ws_parse_socket(s->socket) : NULL;
    if (error || !(error = ws_connect_check(p, &o))) {
        return error;
    }
    error += strncmp(error, "url: ", 5) ? 0 : 5;
    return apr_psprintf(p, "takes servers that can be reached, but %s cannot: %s", s->shown, error);
}

static const char *config_set_server(apr_pool_t *p, proxy_server *s, char *url)
{
    const char *at, *slash, *shown, *error;
    size_t scheme;

    if (!config_set_socket(p, &url, &s->socket)) {
        return "takes unix:/path|ws://host/path for a unix socket";
    }
    at = strchr(url, '@');
    scheme = !strncmp(url, "wss://", 6) ? 6 : !strncmp(url, "ws://", 5) ? 5 : 0;
    if (!scheme || !url[scheme] || url[scheme] == '/' || strchr(url, '#')
        || (!strstr(url, "%{") && url[strcspn(url, " \"<>")])) {
        return config_takes_servers;
    }
    slash = strchr(url + scheme, '/');
    shown = at && (!slash || at < slash)
                ? apr_pstrcat(p, apr_pstrmemdup(p, url, scheme), at + 1, NULL)
                : url;
    /* A query string can contain a token. */
    s->shown = apr_pstrmemdup(p, shown, strcspn(shown, "?"));
    s->url = url;
    if ((error = config_set_expression(p, s, url, scheme))) {
        return error;
    }
    return config_check_server(p, s);
}

static const char *config_set_servers(apr_pool_t *p, proxy_config *config, const char *text)
{
    const apr_array_header_t *list = ws_parse_list(p, text);
    const char *error = list ? NULL : config_takes_servers;
    if (!strcmp(text, "proxypass")) {
        config->proxypass = 1;
        return proxypass_available();
    }
    for (int i = 0; !error && i < list->nelts; i++) {
        proxy_server *s = apr_array_push(config->servers);
        memset(s, 0, sizeof(*s));
        error = config_set_server(p, s, APR_ARRAY_IDX(list, i, char *));
    }
    return error;
}

static int config_is_token(const char *s)
{
    for (const char *c = s; *c; c++) {
        if (!apr_isalnum(*c) && !strchr("!#$%&'*+-.^_`|~", *c)) {
            return 0;
        }
    }
    return *s != '\0';
}

/* Whether a header belongs to the handshake or is a hop-by-hop header (RFC 9110, section 7.6.1). */
static int config_is_reserved(const char *name)
{
    static const char *const names[] = {
        "Host", "Upgrade", "Connection", "Content-Length",    "Keep-Alive",
        "TE",   "Trailer", "Origin",     "Transfer-Encoding", "Proxy-Connection"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (!strcasecmp(names[i], name)) {
            return 1;
        }
    }
    return !strncasecmp(name, "Sec-WebSocket-", 14);
}

static const char *config_set_headers(apr_pool_t *p, proxy_config *config, const char *text)
{
    const apr_array_header_t *list = ws_parse_list(p, text);
    if (!list) {
        return config_takes_names;
    }
    for (int n = 0; n < list->nelts; n++) {
        const char *name = APR_ARRAY_IDX(list, n, const char *);
        if (!config_is_token(name)) {
            return config_takes_names;
        }
        if (config_is_reserved(name)) {
            return apr_pstrcat(p, name, " belongs to each handshake and cannot be passed on", NULL);
        }
        for (int i = 0; i < config->headers->nelts; i++) {
            if (!strcasecmp(name, APR_ARRAY_IDX(config->headers, i, const char *))) {
                return apr_pstrcat(p, name, " is given twice: remove one", NULL);
            }
        }
        APR_ARRAY_PUSH(config->headers, const char *) = name;
    }
    return NULL;
}

static const char *config_set_switch(const char *value, int on, int off, int *field)
{
    if (strcasecmp(value, "on") && strcasecmp(value, "off")) {
        return config_takes_switch;
    }
    *field = !strcasecmp(value, "on") ? on : off;
    return NULL;
}

static const char *config_set_interval(apr_pool_t *p, const char *value, apr_uint32_t *field)
{
    apr_int64_t ms = *field;
    const char *error = ws_parse_interval(p, value, 1, TIMEOUT_MAX, &ms);
    *field = (apr_uint32_t)ms;
    return error;
}

static const char *config_set_file(apr_pool_t *p, const char *value, const char **field)
{
    *field = apr_pstrdup(p, value);
    return *value != '/' ? config_takes_file
           : access(value, R_OK) < 0
               ? apr_psprintf(p, "%s cannot be read: %s", value, strerror(errno))
               : NULL;
}

/* Whether a text is an origin as browsers send it: scheme "://" host [":" port], or "null". */
static int config_is_origin(const char *text)
{
    const char *host = strstr(text, "://"), *port;
    size_t scheme = host ? (size_t)(host - text) : 0, len;
    apr_int64_t n;
    if (!host) {
        return !strcmp(text, "null");
    }
    host += 3;
    port = strchr(host + (*host == '[' ? strcspn(host, "]") : 0), ':');
    len = port ? (size_t)(port - host) : strlen(host);
    return scheme && strspn(text, SCHEME) == scheme && !ws_parse_host(host, len)
           && (!port || !ws_parse_count(NULL, port + 1, 1, 65535, &n));
}

static const char *config_set_origin(apr_pool_t *p, proxy_config *config, const char *value)
{
    config->origin = !strcasecmp(value, "pass")   ? NULL
                     : !strcasecmp(value, "none") ? ""
                                                  : apr_pstrdup(p, value);
    return !config->origin || !*config->origin || config_is_origin(value)
               ? NULL
               : "takes pass, none, or an origin without a path: https://example.org";
}

/* Values of compression=. */
enum { COMPRESSION_UNSET, COMPRESSION_PASS, COMPRESSION_ON, COMPRESSION_OFF };

static const char *config_set_compression(proxy_config *config, const char *value)
{
    config->compression = !strcasecmp(value, "pass")  ? COMPRESSION_PASS
                          : !strcasecmp(value, "on")  ? COMPRESSION_ON
                          : !strcasecmp(value, "off") ? COMPRESSION_OFF
                                                      : COMPRESSION_UNSET;
    return config->compression ? NULL : "takes pass, on or off";
}

/* Load the files once, so that httpd -t reports what no handshake could use. */
static const char *config_check_files(apr_pool_t *p, const ws_connect_options *from)
{
    const ws_connect_options ca = {.size = sizeof(ca), .ca_file = from->ca_file};
    const ws_connect_options own = {
        .size = sizeof(own), .certificate = from->certificate, .key = from->key, .insecure = 1};
    const char *error;
    if (from->key && !from->certificate) {
        return "key= needs a certificate: add certificate=FILE, or remove key=";
    }
    if (ca.ca_file && (error = ws_connect_check(p, &ca))) {
        return apr_pstrcat(p, "ca= cannot be used: ", error, NULL);
    }
    if (own.certificate && (error = ws_connect_check(p, &own))) {
        return apr_pstrcat(p,
                           own.key ? "certificate= and key= cannot be used: "
                                   : "certificate= without key= cannot be used: ",
                           error, NULL);
    }
    return NULL;
}

/* Check keys that depend on how the servers are reached. */
static const char *config_check_use(const proxy_config *config)
{
    const ws_connect_options *o = &config->options;
    int secure = 0, sockets = 0;
    for (int i = 0; i < config->servers->nelts; i++) {
        const proxy_server *s = &APR_ARRAY_IDX(config->servers, i, proxy_server);
        secure |= !strncmp(s->url, "wss:", 4);
        sockets |= s->socket != NULL;
    }
    if (!secure && (o->ca_file || o->certificate || o->server_name || o->insecure)) {
        return "ca=, certificate=, key=, server-name= and insecure=on need a server with TLS: "
               "write wss:// in to=, or remove them";
    }
    return sockets && o->proxy
               ? "via= cannot reach a unix socket: remove via=, or the unix socket from to="
               : NULL;
}

static const char *config_complete(apr_pool_t *p, proxy_config *config)
{
    const char *error = config_check_files(p, &config->options);
    if (error) {
        return error;
    }
    if (!config->compression) {
        config->compression = config->proxypass ? COMPRESSION_PASS : COMPRESSION_OFF;
    }
    config->pass_compression = config->compression == COMPRESSION_PASS;
    config->options.deflate = config->compression == COMPRESSION_ON ? WS_DEFLATE_OFFER : 0;
    if (!config->proxypass) {
        return config->servers->nelts ? config_check_use(config)
                                      : "to= is missing: name the URL of the server";
    }
    return config->servers->nelts
               ? "to=proxypass cannot be combined with servers: mod_proxy selects them"
           : config->headers->nelts || config->user_header || !config->forwarded
                   || config->preserve_host
               ? "to=proxypass passes on the same headers as mod_proxy: instead of headers=, "
                 "user=, "
                 "forwarded= and preserve-host=, use RequestHeader, ProxyAddHeaders and "
                 "ProxyPreserveHost"
               : NULL;
}

static const char *config_set_server_name(apr_pool_t *p, const char *value, ws_connect_options *o)
{
    const char *host = strchr(value, ':') ? apr_pstrcat(p, "[", value, "]", NULL) : value;
    o->server_name = apr_pstrdup(p, value);
    return ws_parse_host(host, strlen(host)) ? "takes the name in the server's certificate" : NULL;
}

static const char *config_set_proxy(apr_pool_t *p, const char *value, ws_connect_options *to)
{
    const ws_connect_options o = {.size = sizeof(o), .proxy = apr_pstrdup(p, value)};
    const char *host = value + 7, *error;
    to->proxy = o.proxy;
    if (strncmp(value, "http://", 7) || host[strcspn(host, "?#")]
        || strcspn(host, "/") + 1 < strlen(host)) {
        return "takes http://host:port, or http://user:password@host:port, without a path";
    }
    error = ws_connect_check(p, &o);
    return error ? apr_pstrcat(p, "takes http://host:port: ", error, NULL) : NULL;
}

/* Parse the keys for connections to the servers. */
static const char *config_set_connection(apr_pool_t *p, const char *key, const char *value,
                                         ws_connect_options *o)
{
    if (!strcmp(key, "insecure")) {
        return config_set_switch(value, 1, 0, &o->insecure);
    }
    if (!strcmp(key, "ca")) {
        return config_set_file(p, value, &o->ca_file);
    }
    if (!strcmp(key, "certificate")) {
        return config_set_file(p, value, &o->certificate);
    }
    if (!strcmp(key, "key")) {
        return config_set_file(p, value, &o->key);
    }
    if (!strcmp(key, "server-name")) {
        return config_set_server_name(p, value, o);
    }
    if (!strcmp(key, "via")) {
        return config_set_proxy(p, value, o);
    }
    if (!strcmp(key, "connect-timeout")) {
        return config_set_interval(p, value, &o->connect_timeout);
    }
    if (!strcmp(key, "timeout")) {
        return config_set_interval(p, value, &o->handshake_timeout);
    }
    return "unknown key; the keys are to=, headers=, user=, origin=, forwarded=, preserve-host=, "
           "compression=, ca=, certificate=, key=, server-name=, insecure=, via=, "
           "connect-timeout=, timeout= and retry=";
}

const char *proxy_configure(apr_pool_t *p, const char *key, const char *value, void **data)
{
    proxy_config *config = *data;

    if (!config) {
        *data = config = config_new(p);
    }
    if (!key) {
        return config_complete(p, config);
    }
    if (!strcmp(key, "to")) {
        return config_set_servers(p, config, value);
    }
    if (!strcmp(key, "headers")) {
        return config_set_headers(p, config, value);
    }
    if (!strcmp(key, "user")) {
        config->user_header = apr_pstrdup(p, value);
        return config_is_token(value) && !config_is_reserved(value) ? NULL
                                                                    : "takes the name of a header";
    }
    if (!strcmp(key, "origin")) {
        return config_set_origin(p, config, value);
    }
    if (!strcmp(key, "forwarded")) {
        return config_set_switch(value, 1, 0, &config->forwarded);
    }
    if (!strcmp(key, "preserve-host")) {
        return config_set_switch(value, 1, 0, &config->preserve_host);
    }
    if (!strcmp(key, "compression")) {
        return config_set_compression(config, value);
    }
    if (!strcmp(key, "retry")) {
        return config_set_interval(p, value, &config->retry);
    }
    return config_set_connection(p, key, value, &config->options);
}

/* ---- The request to the server ---- */

static void config_add_header(apr_array_header_t *headers, const char *name, const char *value)
{
    if (value && *value) {
        APR_ARRAY_PUSH(headers, const char *) = name;
        APR_ARRAY_PUSH(headers, const char *) = value;
    }
}

/* Append to the value of a header that a proxy in front of this server may have set. */
static void config_append_header(request_rec *r, apr_array_header_t *headers, const char *name,
                                 const char *value)
{
    const char *before = apr_table_get(r->headers_in, name);
    config_add_header(headers, name,
                      before && value ? apr_pstrcat(r->pool, before, ", ", value, NULL) : value);
}

/* Whether forwarded=on adds a header. */
static int config_is_forwarded(const char *name)
{
    return !strcasecmp(name, "X-Forwarded-For") || !strcasecmp(name, "X-Forwarded-Host")
           || !strcasecmp(name, "X-Forwarded-Server");
}

const char *const *proxy_headers(ws_request *rq, const proxy_config *config)
{
    request_rec *r = ws_request_rec(rq);
    apr_array_header_t *headers = apr_array_make(r->pool, 16, sizeof(const char *));
    const char *host = ws_request_header(rq, "Host");

    for (int i = 0; i < config->headers->nelts; i++) {
        const char *name = APR_ARRAY_IDX(config->headers, i, const char *);
        if ((!config->user_header || strcasecmp(name, config->user_header))
            && !(config->forwarded && config_is_forwarded(name))) {
            config_add_header(headers, name, ws_request_header(rq, name));
        }
    }
    if (config->user_header) { /* never pass on the header that the client has sent */
        config_add_header(headers, config->user_header, r->user);
    }
    if (config->forwarded) {
        config_append_header(r, headers, "X-Forwarded-For", r->useragent_ip);
        config_append_header(r, headers, "X-Forwarded-Host", host);
        config_append_header(r, headers, "X-Forwarded-Server", r->server->server_hostname);
    }
    if (config->preserve_host) {
        config_add_header(headers, "Host", host);
    }
    APR_ARRAY_PUSH(headers, const char *) = NULL;
    return (const char *const *)headers->elts;
}

/* Get the value of the expression, or the rest of the path after the section's. @return NULL: an
 * error, which has been logged */
static const char *config_path(ws_request *rq, const proxy_server *server)
{
    request_rec *r = ws_request_rec(rq);
    const char *base = ws_request_location(rq), *error = NULL, *path;
    size_t len = base ? strlen(base) : 0, end = strlen(server->url);

    if (server->path) {
        path = ap_expr_str_exec(r, server->path, &error);
        if (error || !path || *path != '/') {
            ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                          "websocket: proxy: cannot build the path for %s: %s", server->shown,
                          error ? error : "it does not begin with a slash");
            return NULL;
        }
        return ap_os_escape_path(r->pool, path, 1);
    }
    if (!base || server->url[end - 1] != '/' || strchr(server->url, '?')
        || strncmp(r->uri, base, len)) {
        return "";
    }
    path = r->uri + len;
    return ap_os_escape_path(r->pool, path + (*path == '/'), 1);
}

const char *proxy_url(ws_request *rq, const proxy_server *server)
{
    request_rec *r = ws_request_rec(rq);
    const char *path = config_path(rq, server), *url;
    if (!path) {
        return NULL;
    }
    url = apr_pstrcat(r->pool, server->url, path, NULL);
    if (!r->args || strchr(server->url, '?')) {
        return url;
    }
    return apr_pstrcat(r->pool, url, strchr(strstr(url, "://") + 3, '/') ? "?" : "/?", r->args,
                       NULL);
}
