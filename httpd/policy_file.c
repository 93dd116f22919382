/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Serves socket policy files. A client sends the text REQUEST, defined below, and a NUL as the
 * first bytes of a connection. The server sends the policy and closes the connection. The policy is
 * created and checked at start-up.
 *
 * No HTTP method begins with "<". Therefore the hook peeks at the first bytes. If they differ from
 * the beginning of REQUEST, the hook leaves the connection alone. Otherwise the hook reads the rest
 * of the request, and closes the connection if the rest differs.
 */

#include "httpd/policy_file.h"

#include <apr_buckets.h>
#include <apr_hooks.h>
#include <apr_strings.h>
#include <apr_xml.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_log.h>
#include <string.h>
#include <util_filter.h>

#include "base/parse.h"
#include "httpd/arguments.h"
#include "httpd/config.h"

APLOG_USE_MODULE(websocket);

#define REQUEST "<policy-file-request/>" /* sizeof(REQUEST) bytes, including the NUL */
#define ROOT "cross-domain-policy"

/* Maximum size of a policy, bytes. */
#define POLICY_MAX (64 * 1024)

/* A note that marks connections whose first bytes have been examined. */
#define NOTE "websocket-policy-file"

static int hooked; /* 1: the current configuration has a policy */

void ws_policy_file_reset(apr_pool_t *pconf)
{
    (void)pconf;
    hooked = 0;
}

/* ---- Connections ---- */

/* Read the first bytes of a connection. @param len  maximum number of bytes; set to the number of
 * bytes read */
static apr_status_t policy_read(conn_rec *c, ap_input_mode_t mode, char *to, apr_size_t *len)
{
    apr_bucket_brigade *bb = apr_brigade_create(c->pool, c->bucket_alloc);
    apr_status_t rv = ap_get_brigade(c->input_filters, bb, mode, APR_BLOCK_READ, (apr_off_t)*len);
    if (rv == APR_SUCCESS) {
        rv = apr_brigade_flatten(bb, to, len);
    }
    apr_brigade_destroy(bb);
    return rv == APR_SUCCESS && !*len ? APR_EOF : rv;
}

/* Read the request, which may arrive in pieces. The timeout of one read applies to the whole
 * request.
 * @return 0: the bytes are different, or the timeout has expired */
static int policy_take_request(conn_rec *c)
{
    apr_time_t until = apr_time_now() + c->base_server->timeout;
    char text[sizeof(REQUEST)];
    apr_size_t len = 0, n;
    for (; len < sizeof(REQUEST) && apr_time_now() < until; len += n) {
        n = sizeof(REQUEST) - len;
        if (policy_read(c, AP_MODE_READBYTES, text + len, &n) != APR_SUCCESS
            || memcmp(text + len, &REQUEST[len], n)) {
            return 0;
        }
    }
    return len == sizeof(REQUEST);
}

static void policy_send(conn_rec *c, const char *policy)
{
    apr_bucket_brigade *bb = apr_brigade_create(c->pool, c->bucket_alloc);
    ap_fputs(c->output_filters, bb, policy);
    ap_fflush(c->output_filters, bb);
    ap_log_cerror(APLOG_MARK, APLOG_DEBUG, 0, c, "websocket: sent the policy file");
}

static int policy_process_connection(conn_rec *c)
{
    const char *policy = ws_server_config_of(c->base_server)->policy;
    char text[sizeof(REQUEST)];
    apr_size_t len = sizeof(text);
    if (c->master || !policy || !*policy || apr_table_get(c->notes, NOTE)) {
        return DECLINED;
    }
    apr_table_setn(c->notes, NOTE, ""); /* the event MPM calls this hook again for each request */
    if (policy_read(c, AP_MODE_SPECULATIVE, text, &len) != APR_SUCCESS
        || memcmp(text, REQUEST, len)) {
        return DECLINED;
    }
    if (policy_take_request(c)) {
        policy_send(c, policy);
    }
    c->keepalive = AP_CONN_CLOSE;
    if (c->cs) {
        c->cs->state = CONN_STATE_LINGER;
    }
    return OK;
}

/* Register the hook. The lists of names set its order among the modules that process the beginning
 * of a connection. The hooks for TLS and the read timeouts run before it. The hook for HTTP/2,
 * which looks for the preface, runs after it. httpd sorts hooks after it has read the
 * configuration. */
static void policy_hook(void)
{
    static const char *const before[] = {"mod_ssl.c", "mod_reqtimeout.c", NULL};
    static const char *const after[] = {"mod_http2.c", NULL};
    if (!hooked) {
        const char *current = apr_hook_debug_current;
        apr_hook_debug_current = websocket_module.name;
        ap_hook_process_connection(policy_process_connection, before, after, APR_HOOK_LAST);
        apr_hook_debug_current = current;
        hooked = 1;
    }
}

/* ---- The directive ---- */

/* Longest domain (DNS), characters. */
#define DOMAIN_MAX 253

/* Longest list of ports, characters. */
#define PORTS_MAX 600

/* Whether a text is "*", or a host name or address, which may begin with "*.". */
static int policy_is_domain(const char *text, apr_size_t len)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "-_.";
    apr_size_t star = len && *text == '*' ? (len > 1 ? 2 : 1) : 0;
    return len && len <= DOMAIN_MAX && (star != 2 || (text[1] == '.' && len > 2))
           && strspn(text + star, letters) >= len - star;
}

/* Whether a text is "*", or numbers and ranges, separated by commas. */
static int policy_is_ports(apr_pool_t *p, const char *text)
{
    const apr_array_header_t *items = ws_parse_list(p, text);
    if (!strcmp(text, "*")) {
        return 1;
    }
    for (int i = 0; items && i < items->nelts; i++) {
        const char *item = APR_ARRAY_IDX(items, i, char *);
        char *dash = strchr(item, '-');
        apr_int64_t first, last = 65535;
        if (dash) {
            *dash = 0;
        }
        if ((dash && ws_parse_count(NULL, dash + 1, 1, 65535, &last))
            || ws_parse_count(NULL, item, 1, last, &first)) {
            return 0;
        }
    }
    return items && strlen(text) <= PORTS_MAX;
}

/* Append the element for DOMAIN:PORTS. Neither part may contain a character that XML would have to
 * escape. */
static const char *policy_add(cmd_parms *cmd, const char *arg, const char **elements)
{
    const char *colon = strrchr(arg, ':');
    apr_size_t len = colon ? (apr_size_t)(colon - arg) : 0;
    if (!colon || !policy_is_domain(arg, len) || !policy_is_ports(cmd->temp_pool, colon + 1)) {
        return apr_psprintf(cmd->pool,
                            "%s: invalid value \"%s\": expected a domain with ports, such as "
                            "\"*.example.org:80,443\", \"*:8000-8999\" or \"example.org:*\"",
                            cmd->cmd->name, arg);
    }
    *elements =
        apr_psprintf(cmd->pool, "%s  <allow-access-from domain=\"%.*s\" to-ports=\"%s\"/>\n",
                     *elements, (int)len, arg, colon + 1);
    return NULL;
}

static const char *policy_of_domains(cmd_parms *cmd, int argc, char *const argv[],
                                     const char **policy)
{
    const char *elements = "", *error = ws_check_repeated(cmd, argc, argv, strcasecmp);
    for (int i = 0; i < argc && !error; i++) {
        error = policy_add(cmd, argv[i], &elements);
    }
    *policy =
        apr_pstrcat(cmd->pool,
                    "<?xml version=\"1.0\"?>\n<!DOCTYPE " ROOT " SYSTEM "
                    "\"http://www.adobe.com/xml/dtds/cross-domain-policy.dtd\">\n<" ROOT ">\n",
                    elements, "</" ROOT ">\n", NULL);
    if (!error && strlen(*policy) > POLICY_MAX) {
        error = apr_psprintf(cmd->pool,
                             "%s: the domains make a policy of more than %d bytes: remove domains",
                             cmd->cmd->name, POLICY_MAX);
    }
    return error;
}

/* Check the text of a policy file. @return the error, or NULL */
static const char *policy_obstacle(apr_pool_t *p, const char *text, apr_size_t len)
{
    apr_xml_parser *parser = apr_xml_parser_create(p);
    apr_xml_doc *doc = NULL;
    if (memchr(text, 0, len)) {
        return "contains a NUL: save it as UTF-8, without NUL";
    }
    if (apr_xml_parser_feed(parser, text, len) != APR_SUCCESS
        || apr_xml_parser_done(parser, &doc) != APR_SUCCESS || !doc || !doc->root) {
        char why[200];
        return apr_psprintf(p, "is not valid XML: %s",
                            apr_xml_parser_geterror(parser, why, sizeof(why)));
    }
    return strcmp(doc->root->name, ROOT) ? "is not a policy: its root element is not <" ROOT ">"
                                         : NULL;
}

static const char *policy_of_file(cmd_parms *cmd, const char *arg, const char **policy)
{
    const char *name = ap_server_root_relative(cmd->pool, arg), *why = NULL;
    apr_size_t len = 0;
    apr_file_t *f;
    apr_finfo_t info;
    char *text, reason[120];
    apr_status_t rv = name ? apr_file_open(&f, name, APR_READ, 0, cmd->temp_pool) : APR_EBADPATH;
    if (rv == APR_SUCCESS) {
        rv = apr_file_info_get(&info, APR_FINFO_TYPE | APR_FINFO_SIZE, f);
    }
    if (rv != APR_SUCCESS) {
        return apr_psprintf(cmd->pool,
                            "%s: \"%s\" is neither a readable file (%s) nor a domain with ports, "
                            "such as \"*.example.org:80,443\"",
                            cmd->cmd->name, arg, apr_strerror(rv, reason, sizeof(reason)));
    }
    if (info.filetype != APR_REG || info.size > POLICY_MAX) {
        return apr_psprintf(cmd->pool, "%s: \"%s\" must be a file of at most %d bytes",
                            cmd->cmd->name, arg, POLICY_MAX);
    }
    text = apr_pcalloc(cmd->pool, (apr_size_t)info.size + 1);
    rv = apr_file_read_full(f, text, (apr_size_t)info.size, &len);
    apr_file_close(f);
    *policy = text;
    why = rv != APR_SUCCESS && !APR_STATUS_IS_EOF(rv) ? "cannot be read"
                                                      : policy_obstacle(cmd->temp_pool, text, len);
    return why ? apr_psprintf(cmd->pool, "%s: \"%s\" %s", cmd->cmd->name, arg, why) : NULL;
}

const char *ws_policy_file_set(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    ws_server_config *own = ws_server_config_of(cmd->server);
    const char *error;
    (void)config;
    if (!argc) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, " takes ", cmd->cmd->errmsg, NULL);
    }
    if (own->policy) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, " is set twice: name all domains in one line",
                           NULL);
    }
    if (argc == 1 && !strcasecmp(argv[0], "off")) {
        own->policy = "";
        return NULL;
    }
    error = argc == 1 && (*argv[0] == '/' || !strchr(argv[0], ':'))
                ? policy_of_file(cmd, argv[0], &own->policy)
                : policy_of_domains(cmd, argc, argv, &own->policy);
    if (!error) {
        policy_hook();
    }
    return error;
}

apr_status_t ws_policy_file_init(apr_pool_t *ptemp, server_rec *s)
{
    const char *policy = ws_server_config_of(s)->policy;
    (void)ptemp;
    for (; s; s = s->next) {
        ws_server_config *own = ws_server_config_of(s);
        if (!own->policy) {
            own->policy = policy;
        }
    }
    return APR_SUCCESS;
}
