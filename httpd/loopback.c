/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Signs and checks the credentials of requests that the server sends to itself. A credential is
 *  valid for one request, and only for a short time. */

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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "httpd/shm.h"
#include "websocket_loopback.h"

APLOG_USE_MODULE(websocket);

#define KEY_BYTES 32
#define MAC_BYTES 32
#define MAC_TEXT (2 * MAC_BYTES)
#define RETAINED "websocket_loopback_key"

/* Size of the fields after the MAC, in hexadecimal digits. The fields are the expiry time
 * (milliseconds of the monotonic clock), the number of the process that signs, and the number of
 * credentials that this process has signed so far. */
#define HEAD_TEXT (16 + 8 + 8)

/* A request is refused if this many later requests of the same process have arrived before it. */
#define WINDOW 4096u

/* The numbers of used credentials, each at index number % WINDOW, so that a credential is accepted
 * only once. One row per slot. */
WS_SHM_STRUCT(loopback_seen, {
    /* Atomic; number of the process that signed, and number of the credential. */
    apr_uint64_t taken[WINDOW];
});

WS_SHM_NUMBER(KEY_BYTES);

const ws_shm_layout *const ws_loopback_layout[] = {&loopback_seen_layout, &KEY_BYTES_layout, NULL};

static loopback_seen *loopback_rows;

/* The key for the MAC. It is kept across reloads, since old children send requests to new ones. */
static unsigned char *loopback_key;

static apr_uint32_t loopback_count;

/* The properties of the client that a credential claims. */
typedef struct {
    const char *user, *auth_type, *ip, *host, *path, *dir;
    apr_table_t *tls;
} loopback_client;

apr_status_t ws_loopback_init(apr_pool_t *ptemp, server_rec *s)
{
    (void)ptemp;
    loopback_rows = ws_shm_table(s, "loopback", sizeof(*loopback_rows) * ws_shm_slots());
    if (!loopback_rows) {
        return APR_ENOMEM;
    }
    if (!(loopback_key = ap_retained_data_get(RETAINED))) {
        loopback_key = ap_retained_data_create(RETAINED, KEY_BYTES);
        if (RAND_bytes(loopback_key, KEY_BYTES) != 1) {
            return APR_EGENERAL;
        }
    }
    return APR_SUCCESS;
}

static void loopback_mac(const char *text, char mac[MAC_TEXT + 1])
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    HMAC(EVP_sha256(), loopback_key, KEY_BYTES, (const unsigned char *)text, strlen(text), raw,
         &len);
    ap_bin2hex(raw, MAC_BYTES, mac);
}

/* ---- Claims and signing ---- */

/* Names and values, each NUL-terminated. */
typedef struct {
    char bytes[(WS_LOOPBACK_MAX - MAC_TEXT - HEAD_TEXT) / 4 * 3 - 3];
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

static const char *ws_loopback_claims(request_rec *r, const char *path, const char *dir)
{
    loopback_pairs *pairs = apr_pcalloc(r->pool, sizeof(*pairs));
    const char *host = apr_table_get(r->headers_in, "Host");
    char *text;

    if (!host || !loopback_add(pairs, "ip", r->useragent_ip) || !loopback_add(pairs, "host", host)
        || !loopback_add(pairs, "path", path) || (dir && !loopback_add(pairs, "dir", dir))
        || (r->user && !loopback_add(pairs, "user", r->user))
        || (r->ap_auth_type && !loopback_add(pairs, "auth", r->ap_auth_type))) {
        return NULL;
    }
    apr_table_do(loopback_add_tls, pairs, r->subprocess_env, NULL);
    text = apr_palloc(r->pool, (apr_size_t)apr_base64_encode_len((int)pairs->len));
    apr_base64_encode(text, pairs->bytes, (int)pairs->len);
    return text;
}

static apr_uint64_t loopback_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (apr_uint64_t)t.tv_sec * 1000 + (apr_uint64_t)t.tv_nsec / 1000000;
}

static int ws_loopback_sign(const char *claims, apr_uint32_t ms, char *out, apr_size_t size)
{
    apr_size_t len = strlen(claims);
    char mac[MAC_TEXT + 1];
    if (!loopback_key || ws_shm_slot() < 0 || len >= size
        || size - len < MAC_TEXT + HEAD_TEXT + 1) {
        return 0;
    }
    snprintf(out + MAC_TEXT, size - MAC_TEXT, "%016llx%08x%08x%s",
             (unsigned long long)(loopback_now() + ms), ws_shm_process(),
             __atomic_add_fetch(&loopback_count, 1, __ATOMIC_RELAXED), claims);
    loopback_mac(out + MAC_TEXT, mac);
    memcpy(out, mac, MAC_TEXT);
    return 1;
}

/* ---- Checking ---- */

static void loopback_set(loopback_client *client, const char *name, const char *value)
{
    const char **field = !strcmp(name, "ip")     ? &client->ip
                         : !strcmp(name, "user") ? &client->user
                         : !strcmp(name, "auth") ? &client->auth_type
                         : !strcmp(name, "host") ? &client->host
                         : !strcmp(name, "path") ? &client->path
                                                 : &client->dir;
    *field = value;
}

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
            loopback_set(client, name, value);
        }
        name = value + strlen(value) + 1;
    }
    return client;
}

static apr_uint64_t loopback_number(const char *text, int digits)
{
    char copy[17];
    apr_cpystrn(copy, text, (apr_size_t)digits + 1);
    return strtoull(copy, NULL, 16);
}

/* Mark a credential as used. A compromised process can write anything to the row. At worst, this
 * causes a request to be refused, or to be accepted twice. @return 1: the credential was not used
 * before; 0: it was used or is too old (WINDOW), or the process that signed it has ended */
static int loopback_is_new(apr_uint32_t process, apr_uint32_t number)
{
    for (unsigned slot = 0; slot < ws_shm_slots(); slot++) {
        ws_shm_owner owner;
        if (ws_shm_owner_of(slot, &owner) && owner.process == process) {
            apr_uint64_t *taken = &loopback_rows[slot].taken[number % WINDOW], before;
            before = __atomic_load_n(taken, __ATOMIC_RELAXED);
            do {
                if (before >> 32 == process && (apr_int32_t)((apr_uint32_t)before - number) >= 0) {
                    return 0;
                }
            } while (!__atomic_compare_exchange_n(taken, &before,
                                                  (apr_uint64_t)process << 32 | number, 0,
                                                  __ATOMIC_RELAXED, __ATOMIC_RELAXED));
            return 1;
        }
    }
    return 0; /* the signing process has ended */
}

/* Check that the credential is valid for this request. @return NULL, or the reason for the
 * refusal */
static const char *loopback_objection(request_rec *r, const loopback_client *client,
                                      const char *head)
{
    const char *host = apr_table_get(r->headers_in, "Host");
    if (!client->ip || !client->host || !client->path || !host || strcmp(host, client->host)
        || strcmp(r->uri, client->path) || r->method_number != M_POST) {
        return "it was signed for another page";
    }
    if (loopback_number(head, 16) < loopback_now()) {
        return "it has expired";
    }
    return loopback_is_new((apr_uint32_t)loopback_number(head + 16, 8),
                           (apr_uint32_t)loopback_number(head + 24, 8))
               ? NULL
               : "it was used before, or the process that signed it has ended";
}

/* Check a credential, and read its client. @return NULL: the credential is refused, and *why is set
 * to the reason */
static loopback_client *loopback_accept(request_rec *r, const char *value, const char **why)
{
    char mac[MAC_TEXT + 1];
    loopback_client *client = NULL;
    *why = "it was not signed by this server";
    if (!loopback_key || strlen(value) <= MAC_TEXT + HEAD_TEXT) {
        return NULL;
    }
    if (!apr_sockaddr_equal(r->connection->client_addr, r->connection->local_addr)) {
        *why = "it was sent from another machine";
        return NULL;
    }
    loopback_mac(value + MAC_TEXT, mac);
    if (!CRYPTO_memcmp(mac, value, MAC_TEXT)) {
        client = loopback_read(r->pool, value + MAC_TEXT + HEAD_TEXT);
        *why = loopback_objection(r, client, value + MAC_TEXT);
    }
    return *why ? NULL : client;
}

/* Get the client on whose behalf a request was sent. An internal redirect or a subrequest has the
 * client of the original request. */
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
    const char *value = apr_table_get(r->headers_in, WS_LOOPBACK_HEADER), *why;

    if (value) {
        apr_table_unset(r->headers_in, WS_LOOPBACK_HEADER);
        if (!client && !(client = loopback_accept(r, value, &why))) {
            ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                          "websocket: refused with 403: the header " WS_LOOPBACK_HEADER
                          " cannot be trusted: %s",
                          why);
            return HTTP_FORBIDDEN;
        }
        apr_pool_userdata_setn(client, WS_LOOPBACK_HEADER, NULL, r->pool);
    }
    if (client) {
        loopback_apply(r, client);
    }
    return DECLINED;
}

/* Whether the request maps to a file in the credential's directory. */
static int loopback_is_below(const request_rec *r, const loopback_client *client)
{
    return !client->dir || (r->filename && !strncmp(r->filename, client->dir, strlen(client->dir)));
}

/* Check the file. This hook runs after the mapping to a file, since a rewrite can change the
 * file. */
static int loopback_header_parser(request_rec *r)
{
    const loopback_client *client = loopback_of(r);
    if (client && !loopback_is_below(r, client)) {
        r->user = NULL;
        r->ap_auth_type = NULL;
        apr_table_unset(r->subprocess_env, "WEBSOCKET");
    }
    return DECLINED;
}

/* Set the request's user, whom the handshake has authenticated. */
static int loopback_authn(request_rec *r)
{
    const loopback_client *client = loopback_of(r);
    return client && r->user && loopback_is_below(r, client) ? OK : DECLINED;
}

/* Set the TLS variables of the client. This hook runs after mod_ssl, which sets the variables of
 * the loopback connection. */
static int loopback_fixups(request_rec *r)
{
    const loopback_client *client = loopback_of(r);
    if (client && loopback_is_below(r, client)) {
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
    ap_hook_header_parser(loopback_header_parser, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_check_authn(loopback_authn, NULL, NULL, APR_HOOK_FIRST, AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_fixups(loopback_fixups, ssl, NULL, APR_HOOK_LAST);
    APR_REGISTER_OPTIONAL_FN(ws_loopback_claims);
    APR_REGISTER_OPTIONAL_FN(ws_loopback_sign);
}
