/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Sets CGI variables (RFC 3875, section 4.1) for handlers that start programs, from the values in
 * the transcript.
 */

#pragma GCC visibility push(default)
#include <httpd.h>
#include <http_config.h>
#include <util_script.h>
#pragma GCC visibility pop

#include <apr_lib.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#pragma GCC visibility push(default)

const char *ap_get_server_banner(void)
{
    return "wshandler-test";
}

/* Resolve a path. It is relative to the working directory, since the test has no ServerRoot. */
char *ap_server_root_relative(apr_pool_t *pool, const char *path)
{
    return apr_pstrdup(pool, path);
}

char *ap_make_dirstr_parent(apr_pool_t *pool, const char *path)
{
    const char *slash = strrchr(path, '/');
    return apr_pstrmemdup(pool, path, slash ? (apr_size_t)(slash + 1 - path) : 0);
}

/* Add the variable of a header. Like httpd, omit credentials and the header Proxy, which would
 * become HTTP_PROXY and so configure some programs. */
static int environment_add_header(void *request, const char *name, const char *value)
{
    static const char *const secret[] = {"Authorization", "Proxy-Authorization", "Proxy"};
    request_rec *r = request;
    char *variable = apr_pstrcat(r->pool, "HTTP_", name, NULL);
    for (size_t i = 0; i < sizeof(secret) / sizeof(*secret); i++) {
        if (!strcasecmp(name, secret[i])) {
            return 1;
        }
    }
    for (char *c = variable; *c; c++) {
        *c = *c == '-' ? '_' : (char)apr_toupper(*c);
    }
    apr_table_set(r->subprocess_env, variable, value);
    return 1;
}

void ap_add_common_vars(request_rec *r)
{
    const char *path = getenv("PATH");
    const struct {
        const char *name, *value;
    } variables[] = {{"PATH", path ? path : DEFAULT_PATH},
                     {"SERVER_SOFTWARE", ap_get_server_banner()},
                     {"SERVER_NAME", r->hostname},
                     {"SERVER_ADDR", r->connection->local_ip},
                     {"SERVER_PORT", apr_itoa(r->pool, r->server->port)},
                     {"REMOTE_ADDR", r->useragent_ip},
                     {"REMOTE_USER", r->user},
                     {"AUTH_TYPE", r->ap_auth_type}};
    apr_table_do(environment_add_header, r, r->headers_in, NULL);
    for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++) {
        if (variables[i].value) {
            apr_table_set(r->subprocess_env, variables[i].name, variables[i].value);
        }
    }
}

void ap_add_cgi_vars(request_rec *r)
{
    apr_table_set(r->subprocess_env, "GATEWAY_INTERFACE", "CGI/1.1");
    apr_table_set(r->subprocess_env, "SERVER_PROTOCOL", r->protocol);
    apr_table_set(r->subprocess_env, "REQUEST_METHOD", r->method);
    apr_table_set(r->subprocess_env, "REQUEST_URI", r->unparsed_uri);
    apr_table_set(r->subprocess_env, "SCRIPT_NAME", r->uri);
    apr_table_set(r->subprocess_env, "QUERY_STRING", r->args ? r->args : "");
}

char **ap_create_environment(apr_pool_t *pool, apr_table_t *table)
{
    const apr_array_header_t *all = apr_table_elts(table);
    char **env = apr_pcalloc(pool, ((apr_size_t)all->nelts + 1) * sizeof(*env));
    for (int i = 0; i < all->nelts; i++) {
        const apr_table_entry_t *e = &APR_ARRAY_IDX(all, i, apr_table_entry_t);
        env[i] = apr_pstrcat(pool, e->key, "=", e->val, NULL);
    }
    return env;
}

#pragma GCC visibility pop
