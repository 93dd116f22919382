/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses the URL of a Redis server and the options after it. */

#include "redis/options.h"

#include <apr_strings.h>
#include <string.h>

#include "base/parse.h"

#define PORT 6379
#define SENTINEL_PORT 26379

const char ws_redis_options_takes[] =
    "redis://[user:password@]host[:port][/db], unix:/path, "
    "sentinel://[user:password@]host[:port][,host[:port]...]/master[/db], or "
    "redis-cluster://[user:password@]host[:port][,host[:port]...]; with TLS rediss://, "
    "rediss-sentinel:// or rediss-cluster://; then prefix=TEXT, sentinel=[user:]password, "
    "ca=FILE, cert=FILE, key=FILE, name=HOST and sharded=on|off";

typedef struct options_scheme {
    const char *text;
    int tls, sentinel, cluster, port;
} options_scheme;

static const options_scheme schemes[] = {{"redis", 0, 0, 0, PORT},
                                         {"rediss", 1, 0, 0, PORT},
                                         {"sentinel", 0, 1, 0, SENTINEL_PORT},
                                         {"redis-sentinel", 0, 1, 0, SENTINEL_PORT},
                                         {"rediss-sentinel", 1, 1, 0, SENTINEL_PORT},
                                         {"redis-cluster", 0, 0, 1, PORT},
                                         {"rediss-cluster", 1, 0, 1, PORT}};

static const char *options_db(apr_pool_t *p, const char *text, int *db)
{
    apr_int64_t n = 0;
    const char *error = ws_parse_count(p, text, 0, 65535, &n);
    *db = (int)n;
    return error ? apr_psprintf(p, "invalid database number \"%s\": %s", text, error) : NULL;
}

/* Decode percent-encoding in place. @return 0: the encoding is invalid */
static int options_decode(char *text)
{
    return ws_percent_decode(text, strlen(text), 0, text, strlen(text) + 1) >= 0;
}

/* Parse user:password. @return NULL, or the error */
static const char *options_login(char *login, ws_redis_options *o)
{
    char *colon = strchr(login, ':');
    if (!colon) {
        return "a user needs a password: user:password@";
    }
    *colon = 0;
    if (!options_decode(login) || !options_decode(colon + 1)) {
        return "in user name and password, write % as %25, @ as %40, : as %3A and / as %2F";
    }
    o->user = *login ? login : NULL;
    o->password = colon + 1;
    return NULL;
}

/* Parse host, host:port or [address]:port. @return NULL, or the error */
static const char *options_host(apr_pool_t *p, char *text, int port, ws_redis_options *o)
{
    ws_redis_host *h = &o->hosts[o->host_count];
    char *bracket = *text == '[' ? strchr(text, ']') : NULL;
    char *end = bracket ? bracket + 1 : text + strcspn(text, *text == '[' ? "" : ":");
    const char *error = ws_parse_host(text, (apr_size_t)(end - text));
    apr_int64_t n = port;
    if (!*text) {
        return apr_psprintf(p, "invalid URL: expected %s", ws_redis_options_takes);
    }
    if (error) {
        *end = 0;
        return apr_psprintf(p, "invalid host \"%s\": %s", text, error);
    }
    if (*end && (*end != ':' || ws_parse_count(p, end + 1, 1, 65535, &n))) {
        return apr_psprintf(p, "invalid port \"%s\": expected 1 to 65535", end + 1);
    }
    if (o->host_count == WS_REDIS_HOSTS_MAX) {
        return "at most 16 addresses are possible";
    }
    *(bracket ? bracket : end) = 0;
    h->name = bracket ? text + 1 : text;
    h->port = (int)n;
    o->host_count++;
    return NULL;
}

static const char *options_hosts(apr_pool_t *p, char *text, const options_scheme *s,
                                 ws_redis_options *o)
{
    const char *error = NULL;
    char *next = text;
    while (!error && next) {
        char *comma = strchr(next, ',');
        if (comma) {
            *comma = 0;
        }
        error = options_host(p, next, s->port, o);
        next = comma ? comma + 1 : NULL;
    }
    if (!error && o->host_count > 1 && !s->sentinel && !s->cluster) {
        error = "several addresses need sentinel://a,b/master or redis-cluster://a,b";
    }
    return error;
}

/* Parse the path after the hosts: the master's name, and the number of the database.
 * @return NULL, or the error */
static const char *options_path(apr_pool_t *p, char *path, const options_scheme *s,
                                ws_redis_options *o)
{
    char *slash;
    if (s->cluster) {
        return *path ? "a cluster has one database: remove the path after the addresses" : NULL;
    }
    if (s->sentinel) {
        if (!*path || *path == '/') {
            return "add the name of the master after the sentinels: sentinel://host/mymaster";
        }
        o->master = path;
        slash = strchr(path, '/');
        if (!slash) {
            return NULL;
        }
        *slash = 0;
        path = slash + 1;
    }
    return *path ? options_db(p, path, &o->db) : NULL;
}

static const options_scheme *options_scheme_of(const char *url)
{
    const char *rest = strstr(url, "://");
    for (unsigned i = 0; rest && i < sizeof(schemes) / sizeof(*schemes); i++) {
        if (strlen(schemes[i].text) == (apr_size_t)(rest - url)
            && !strncmp(schemes[i].text, url, (apr_size_t)(rest - url))) {
            return &schemes[i];
        }
    }
    return NULL;
}

const char *ws_redis_options_url(apr_pool_t *p, const char *url, ws_redis_options *o)
{
    char *text = apr_pstrdup(p, url), *at, *slash;
    const options_scheme *s = options_scheme_of(url);
    const char *error = NULL;
    if (!strncmp(url, "unix:/", 6)) {
        o->path = url + 5;
        error = ws_parse_socket(o->path);
        return error ? apr_pstrcat(p, "unix: ", error, NULL) : NULL;
    }
    if (!s) {
        return apr_psprintf(p, "invalid URL: expected %s", ws_redis_options_takes);
    }
    o->tls.on = s->tls;
    o->cluster = s->cluster;
    text += strlen(s->text) + 3;
    slash = strchr(text, '/');
    if (slash) {
        *slash++ = 0;
    }
    if ((at = strrchr(text, '@'))) {
        *at = 0;
        error = options_login(text, o);
        text = at + 1;
    }
    if (!error && !(error = options_hosts(p, text, s, o))) {
        error = options_path(p, slash ? slash : (char *)"", s, o);
    }
    return error;
}

static const char *options_sentinel(char *text, ws_redis_options *o)
{
    char *colon;
    if ((colon = strchr(text, ':'))) {
        *colon = 0;
        o->sentinel_user = *text ? text : NULL;
        text = colon + 1;
    }
    o->sentinel_password = text;
    return *text ? NULL : "sentinel= needs the sentinel's password";
}

/* Parse the name in a certificate, an address without brackets. @return NULL, or the error */
static const char *options_name(apr_pool_t *p, const char *value, ws_redis_options *o)
{
    const char *host = strchr(value, ':') ? apr_pstrcat(p, "[", value, "]", NULL) : value;
    o->tls.name = value;
    return ws_parse_host(host, strlen(host)) ? apr_psprintf(
               p, "invalid value \"name=%s\": expected a host name or an address", value)
                                             : NULL;
}

const char *ws_redis_options_word(apr_pool_t *p, char *text, ws_redis_options *o)
{
    char *value = strchr(text, '=');
    apr_size_t len = value ? (apr_size_t)(value++ - text) : 0;
    if (len == 6 && !strncmp(text, "prefix", len)) {
        o->prefix = value;
        return strlen(value) > 100 || strchr(value, '{')
                   ? "a prefix may have at most 100 characters, and no {"
                   : NULL;
    }
    if (len == 8 && !strncmp(text, "sentinel", len)) {
        return options_sentinel(value, o);
    }
    if (len == 7 && !strncmp(text, "sharded", len)) {
        o->sharded_given = 1;
        o->unsharded = strcmp(value, "on") != 0;
        return o->unsharded && strcmp(value, "off") != 0 ? "sharded= must be on or off" : NULL;
    }
    if (len == 4 && !strncmp(text, "name", len)) {
        return options_name(p, value, o);
    }
    if (len == 2 && !strncmp(text, "ca", len)) {
        o->tls.ca = value;
    }
    else if (len == 4 && !strncmp(text, "cert", len)) {
        o->tls.cert = value;
    }
    else if (len == 3 && !strncmp(text, "key", len)) {
        o->tls.key = value;
    }
    else {
        return apr_psprintf(p, "invalid value \"%s\": expected %s", text, ws_redis_options_takes);
    }
    return NULL;
}

static apr_status_t options_free_tls(void *ctx)
{
    SSL_CTX_free(ctx);
    return APR_SUCCESS;
}

/* Check combinations of options, and read the TLS files as root. */
const char *ws_redis_options_check(apr_pool_t *p, ws_redis_options *o)
{
    char *why;
    if (o->sentinel_password && !o->master) {
        return "sentinel= is the password of a sentinel, so it needs a sentinel:// URL";
    }
    if (o->sharded_given && !o->cluster) {
        return "sharded= is for a cluster, so it needs a redis-cluster:// URL";
    }
    if (!o->tls.on) {
        return o->tls.ca || o->tls.cert || o->tls.key || o->tls.name
                   ? "ca=, cert=, key= and name= need TLS: use rediss://"
                   : NULL;
    }
    if (o->tls.key && !o->tls.cert) {
        return "key= needs a certificate: add cert=FILE";
    }
    why = apr_palloc(p, 200);
    if (!(o->tls_ctx = ws_redis_tls_create(&o->tls, why))) {
        return why;
    }
    apr_pool_cleanup_register(p, o->tls_ctx, options_free_tls, apr_pool_cleanup_null);
    return NULL;
}
