/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Records the values of mod_ssl's SSLProxy directives, for handlers' connections to wss
 *  servers. */

#include "httpd/ssl_proxy.h"

#include <apr_file_io.h>
#include <apr_strings.h>
#include <stddef.h>
#include <string.h>

#include "base/parse.h"
#include "httpd/config.h"

/* Size limit of PEM files, bytes. */
#define PEM_MAX (8 * 1024 * 1024)

/* ---- Files. mod_ssl reports invalid files, so the code below ignores errors. ---- */

static const char *ssl_proxy_read(apr_pool_t *p, const char *name)
{
    apr_file_t *file;
    apr_finfo_t info;
    apr_size_t len;
    char *text = NULL;
    if (apr_file_open(&file, name, APR_FOPEN_READ, 0, p) != APR_SUCCESS) {
        return NULL;
    }
    if (apr_file_info_get(&info, APR_FINFO_SIZE | APR_FINFO_TYPE, file) == APR_SUCCESS
        && info.filetype == APR_REG && info.size <= PEM_MAX) {
        text = apr_pcalloc(p, (apr_size_t)info.size + 2);
        if (apr_file_read_full(file, text, (apr_size_t)info.size, &len) == APR_SUCCESS && len
            && text[len - 1] != '\n') {
            text[len] = '\n';
        }
    }
    apr_file_close(file);
    return text;
}

/* Concatenate the files of a directory. */
static const char *ssl_proxy_read_all(apr_pool_t *p, const char *path)
{
    apr_array_header_t *texts = apr_array_make(p, 8, sizeof(const char *));
    apr_finfo_t info;
    apr_dir_t *dir;
    if (apr_dir_open(&dir, path, p) != APR_SUCCESS) {
        return NULL;
    }
    while (apr_dir_read(&info, APR_FINFO_NAME, dir) == APR_SUCCESS) {
        const char *text = *info.name == '.'
                               ? NULL
                               : ssl_proxy_read(p, apr_pstrcat(p, path, "/", info.name, NULL));
        if (text) {
            APR_ARRAY_PUSH(texts, const char *) = text;
        }
    }
    apr_dir_close(dir);
    return apr_array_pstrcat(p, texts, 0);
}

/* ---- Values ---- */

static ws_ssl_verify ssl_proxy_verify(const char *word)
{
    return !strcasecmp(word, "none") || !strcasecmp(word, "off") ? WS_SSL_VERIFY_NONE
           : !strcasecmp(word, "optional_no_ca")                 ? WS_SSL_VERIFY_NO_CA
                                                                 : WS_SSL_VERIFY_FULL;
}

static void ssl_proxy_set_ciphers(apr_pool_t *p, ws_ssl_proxy *s, const char *args)
{
    const char *first = ap_getword_conf(p, &args), *second = ap_getword_conf(p, &args);
    if (!*second) {
        s->ciphers = first;
    }
    else if (!strcasecmp(first, "TLSv1.3")) {
        s->suites = second;
    }
    else {
        s->ciphers = second;
    }
}

static void ssl_proxy_set_crl_check(apr_pool_t *p, ws_ssl_proxy *s, const char *args)
{
    const char *mode = ap_getword_conf(p, &args);
    s->crl_check = !strcasecmp(mode, "chain")  ? WS_SSL_CHAIN
                   : !strcasecmp(mode, "leaf") ? WS_SSL_ON
                                               : WS_SSL_OFF;
    s->crl_may_miss =
        !strcasecmp(ap_getword_conf(p, &args), "no_crl_for_cert_ok") ? WS_SSL_ON : WS_SSL_OFF;
}

/* The types of directives' values. */
typedef enum ssl_proxy_kind { SSL_FILE, SSL_DIRECTORY, SSL_PATH, SSL_FLAG } ssl_proxy_kind;

static const struct ssl_proxy_row {
    const char *name; /* name of the directive without "SSLProxy" */
    ssl_proxy_kind kind;
    size_t field;
} ssl_proxy_rows[] = {
    {"CACertificateFile", SSL_FILE, offsetof(ws_ssl_proxy, ca)},
    {"CACertificatePath", SSL_PATH, offsetof(ws_ssl_proxy, ca_path)},
    {"CARevocationFile", SSL_FILE, offsetof(ws_ssl_proxy, crl)},
    {"CARevocationPath", SSL_PATH, offsetof(ws_ssl_proxy, crl_path)},
    {"MachineCertificateFile", SSL_FILE, offsetof(ws_ssl_proxy, machine)},
    {"MachineCertificatePath", SSL_DIRECTORY, offsetof(ws_ssl_proxy, machine)},
    {"MachineCertificateChainFile", SSL_FILE, offsetof(ws_ssl_proxy, chain)},
    {"CheckPeerName", SSL_FLAG, offsetof(ws_ssl_proxy, check_name)},
    {"CheckPeerCN", SSL_FLAG, offsetof(ws_ssl_proxy, check_cn)},
    {"CheckPeerExpire", SSL_FLAG, offsetof(ws_ssl_proxy, check_expire)},
};

static void ssl_proxy_set_row(apr_pool_t *p, ws_ssl_proxy *s, const struct ssl_proxy_row *row,
                              const char *word)
{
    const char *path = ap_server_root_relative(p, word), **text;
    if (row->kind == SSL_FLAG) {
        *(int *)((char *)s + row->field) = !strcasecmp(word, "on") ? WS_SSL_ON : WS_SSL_OFF;
        return;
    }
    text = (const char **)((char *)s + row->field);
    *text = !path                        ? NULL
            : row->kind == SSL_FILE      ? ssl_proxy_read(p, path)
            : row->kind == SSL_DIRECTORY ? ssl_proxy_read_all(p, path)
                                         : path;
}

const char *ws_ssl_proxy_set(cmd_parms *cmd, void *config, const char *args)
{
    ws_ssl_proxy *s = &((ws_dir_config *)config)->ssl_proxy;
    const char *name = cmd->cmd->name + strlen("SSLProxy"), *rest = args;
    apr_pool_t *p = cmd->pool;
    const char *word = ap_getword_conf(p, &rest), *wrong;

    if (!ap_find_linked_module("mod_ssl.c")) {
        return apr_pstrcat(p, "Invalid command '", cmd->cmd->name,
                           "', perhaps misspelled or defined by a module not included in the "
                           "server configuration (mod_ssl)",
                           NULL);
    }
    for (size_t i = 0; i < sizeof(ssl_proxy_rows) / sizeof(*ssl_proxy_rows); i++) {
        if (!strcasecmp(name, ssl_proxy_rows[i].name)) {
            ssl_proxy_set_row(p, s, &ssl_proxy_rows[i], word);
            return NULL;
        }
    }
    if (!strcasecmp(name, "Verify")) {
        s->verify = ssl_proxy_verify(word);
    }
    else if (!strcasecmp(name, "VerifyDepth")) {
        apr_int64_t depth;
        if ((wrong = ws_parse_count(p, word, 0, APR_INT32_MAX, &depth))) {
            return apr_pstrcat(p, cmd->cmd->name, " ", wrong, NULL);
        }
        s->depth = (unsigned)depth + 1;
    }
    else if (!strcasecmp(name, "Protocol")) {
        s->protocols = apr_pstrdup(p, args);
    }
    else if (!strcasecmp(name, "CipherSuite")) {
        ssl_proxy_set_ciphers(p, s, args);
    }
    else {
        ssl_proxy_set_crl_check(p, s, args);
    }
    return NULL;
}

#define SSL_PROXY_FIELDS(X)                                                                        \
    X(ca)                                                                                          \
    X(crl)                                                                                         \
    X(machine)                                                                                     \
    X(chain)                                                                                       \
    X(ca_path)                                                                                     \
    X(crl_path)                                                                                    \
    X(protocols)                                                                                   \
    X(ciphers)                                                                                     \
    X(suites)                                                                                      \
    X(verify)                                                                                      \
    X(check_name)                                                                                  \
    X(check_cn)                                                                                    \
    X(check_expire)                                                                                \
    X(crl_check)                                                                                   \
    X(crl_may_miss)                                                                                \
    X(depth)

ws_ssl_proxy ws_ssl_proxy_merge(const ws_ssl_proxy *base, const ws_ssl_proxy *add)
{
    ws_ssl_proxy merged = *add;
#define MERGE(field) merged.field = merged.field ? merged.field : base->field;
    SSL_PROXY_FIELDS(MERGE)
    return merged;
}

int ws_ssl_proxy_same(const ws_ssl_proxy *a, const ws_ssl_proxy *b)
{
#define SAME(field) a->field == b->field &&
    return SSL_PROXY_FIELDS(SAME) 1;
}
