/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "httpd/loopback.h"

#include <apr_base64.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <string.h>

#include "websocket_loopback.h"

APLOG_USE_MODULE(websocket);

#define KEY_BYTES 32
#define MAC_BYTES 32
#define MAC_TEXT (2 * MAC_BYTES)
#define RETAINED "websocket_loopback_key"

/* Old children and new ones have the same: connections outlive reloads, and their credentials with them. */
static unsigned char *loopback_key;

/* What a request is to be taken for. */
typedef struct {
    const char *user, *auth_type, *ip;
    apr_table_t *tls;
} loopback_client;

apr_status_t ws_loopback_init(apr_pool_t *ptemp, server_rec *s)
{
    (void)ptemp, (void)s;
    if (!(loopback_key = ap_retained_data_get(RETAINED))) {
        loopback_key = ap_retained_data_create(RETAINED, KEY_BYTES);
        if (RAND_bytes(loopback_key, KEY_BYTES) != 1) {
            return APR_EGENERAL;
        }
    }
    return APR_SUCCESS;
}

static void loopback_sign(const char *text, char mac[MAC_TEXT + 1])
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    HMAC(EVP_sha256(), loopback_key, KEY_BYTES, (const unsigned char *)text, strlen(text), raw,
         &len);
    ap_bin2hex(raw, MAC_BYTES, mac);
}

/* ---- What a handler gets ---- */

/* Pairs of NUL-terminated texts. */
typedef struct {
    char bytes[WS_LOOPBACK_MAX / 4 * 3 - MAC_TEXT];
    apr_size_t len;
} loopback_pairs;

static int loopback_add(loopback_pairs *pairs, const char *name, const char *value)
{
    apr_size_t n = strlen(name) + 1, v = strlen(value) + 1;
    if (n + v > sizeof(pairs->bytes) - pairs->len) {
        return 0;
    }
    memcpy(pairs->bytes + pairs->len, name, n);
    memcpy(pairs->bytes + pairs->len + n, value, v);
    pairs->len += n + v;
    return 1;
}

static int loopback_add_tls(void *pairs, const char *name, const char *value)
{
    if (!strncmp(name, "SSL_", 4)) {
        loopback_add(pairs, name, value);
    }
    return 1;
}

static const char *ws_loopback_value(request_rec *r)
{
    loopback_pairs *pairs = apr_pcalloc(r->pool, sizeof(*pairs));
    char mac[MAC_TEXT + 1], *text;

    if (!loopback_key || !loopback_add(pairs, "ip", r->useragent_ip)
        || (r->user && !loopback_add(pairs, "user", r->user))
        || (r->ap_auth_type && !loopback_add(pairs, "auth", r->ap_auth_type))) {
        return NULL;
    }
    apr_table_do(loopback_add_tls, pairs, r->subprocess_env, NULL);
    text = apr_palloc(r->pool, (apr_size_t)apr_base64_encode_len((int)pairs->len));
    apr_base64_encode(text, pairs->bytes, (int)pairs->len);
    loopback_sign(text, mac);
    return apr_pstrcat(r->pool, mac, text, NULL);
}

/* ---- What comes back ---- */

static loopback_client *loopback_read(apr_pool_t *p, const char *text)
{
    loopback_client *client = apr_pcalloc(p, sizeof(*client));
    char *bytes = apr_palloc(p, (apr_size_t)apr_base64_decode_len(text) + 1);
    const char *end = bytes + apr_base64_decode(bytes, text);

    client->tls = apr_table_make(p, 8);
    for (const char *name = bytes; name < end;) {
        const char *value = name + strlen(name) + 1;
        if (!strncmp(name, "SSL_", 4)) {
            apr_table_setn(client->tls, name, value);
        }
        else {
            *(!strcmp(name, "ip")     ? &client->ip
              : !strcmp(name, "user") ? &client->user
                                      : &client->auth_type) = value;
        }
        name = value + strlen(value) + 1;
    }
    return client;
}

/* Signed by this server, and from this machine: a value that has been read somewhere is of no use elsewhere. */
static loopback_client *loopback_accept(request_rec *r, const char *value)
{
    char mac[MAC_TEXT + 1];
    if (!loopback_key || strlen(value) <= MAC_TEXT
        || !apr_sockaddr_equal(r->connection->client_addr, r->connection->local_addr)) {
        return NULL;
    }
    loopback_sign(value + MAC_TEXT, mac);
    return CRYPTO_memcmp(mac, value, MAC_TEXT) ? NULL : loopback_read(r->pool, value + MAC_TEXT);
}

/* Of the request that came, for its internal redirects and subrequests, too. */
static loopback_client *loopback_of(request_rec *r)
{
    void *client = NULL;
    while (r->main || r->prev) {
        r = r->main ? r->main : r->prev;
    }
    apr_pool_userdata_get(&client, WS_LOOPBACK_HEADER, r->pool);
    return client;
}

static void loopback_apply(request_rec *r, loopback_client *client)
{
    apr_sockaddr_t *address;
    apr_port_t port = r->connection->client_addr->port;
    if (apr_sockaddr_info_get(&address, client->ip, APR_UNSPEC, port, 0, r->pool) == APR_SUCCESS) {
        r->useragent_addr = address;
        r->useragent_ip = (char *)client->ip;
    }
    r->user = (char *)client->user;
    r->ap_auth_type = (char *)client->auth_type;
    apr_table_setn(r->subprocess_env, "WEBSOCKET", "1");
}

static int loopback_post_read(request_rec *r)
{
    loopback_client *client = loopback_of(r);
    const char *value = apr_table_get(r->headers_in, WS_LOOPBACK_HEADER);

    if (value) {
        apr_table_unset(r->headers_in, WS_LOOPBACK_HEADER);
        if (!client && !(client = loopback_accept(r, value))) {
            ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                          "websocket: refused with 403: a header " WS_LOOPBACK_HEADER
                          " that this server has not signed, or not for this machine");
            return HTTP_FORBIDDEN;
        }
        apr_pool_userdata_setn(client, WS_LOOPBACK_HEADER, NULL, r->pool);
    }
    if (client) {
        loopback_apply(r, client);
    }
    return DECLINED;
}

/* The handshake was authenticated. */
static int loopback_authn(request_rec *r)
{
    return loopback_of(r) && r->user ? OK : DECLINED;
}

/* Behind mod_ssl, which has told of the server's own connection. */
static int loopback_fixups(request_rec *r)
{
    loopback_client *client = loopback_of(r);
    if (client) {
        apr_table_overlap(r->subprocess_env, client->tls, APR_OVERLAP_TABLES_SET);
    }
    return DECLINED;
}

void ws_loopback_register(apr_pool_t *p)
{
    static const char *const before[] = {"mod_remoteip.c", NULL};
    static const char *const ssl[] = {"mod_ssl.c", NULL};
    (void)p;
    ap_hook_post_read_request(loopback_post_read, before, NULL, APR_HOOK_FIRST);
    ap_hook_check_authn(loopback_authn, NULL, NULL, APR_HOOK_FIRST, AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_fixups(loopback_fixups, ssl, NULL, APR_HOOK_LAST);
    APR_REGISTER_OPTIONAL_FN(ws_loopback_value);
}
