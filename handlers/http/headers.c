/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Builds the headers of a request. Each request to a page on this server has a new loopback
 * credential (websocket_loopback.h), which is valid for this request only and for a short time.
 * With style=grip and key=, all requests share a header Grip-Sig, which is valid for an hour.
 */

#include "headers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <apr_encode.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define META_BYTES_MAX 4096
#define SIG_LIFE (60 * 60) /* seconds */
#define SIG_RENEW (5 * 60)

/* ---- Grip-Sig: a JSON Web Token, RFC 7519, with HMAC-SHA256, RFC 7515 ---- */

static void headers_base64(char *out, const void *bytes, size_t len)
{
    apr_encode_base64(out, bytes, (apr_ssize_t)len, APR_ENCODE_BASE64URL, NULL);
}

static int headers_sign(const http_config *config, char *out, size_t size, long long now)
{
    static const char head[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    char claim[256], head64[64], claim64[400], mac64[64];
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    int n = snprintf(claim, sizeof(claim), "{\"iss\":\"%s\",\"exp\":%lld}",
                     config->issuer ? config->issuer : "mod_websocket", now + SIG_LIFE);
    if (n >= (int)sizeof(claim)) {
        return 0;
    }
    headers_base64(head64, head, sizeof(head) - 1);
    headers_base64(claim64, claim, (size_t)n);
    n = snprintf(out, size, "Grip-Sig: %s.%s", head64, claim64);
    if (n >= (int)size
        || !HMAC(EVP_sha256(), config->key, (int)config->key_len, (const unsigned char *)out + 10,
                 (size_t)n - 10, mac, &len)) {
        return 0;
    }
    headers_base64(mac64, mac, len);
    return snprintf(out + n, size - (size_t)n, ".%s", mac64) < (int)(size - (size_t)n);
}

static const char *headers_sig_line(const http_config *config, headers_sig *sig)
{
    long long now = time(NULL);
    char line[640];
    if (sig->line && now < sig->until && sig->until <= now + SIG_RENEW) {
        return sig->line;
    }
    free(sig->line);
    sig->line = headers_sign(config, line, sizeof(line), now) ? strdup(line) : NULL;
    sig->until = now + SIG_RENEW;
    return sig->line;
}

/* ---- The list ---- */

/* Add a line to a list. @return 0: out of memory */
static int headers_add(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = line ? curl_slist_append(*list, line) : NULL;
    *list = longer ? longer : *list;
    return longer != NULL;
}

static int headers_add_credential(struct curl_slist **list, const http_config *config,
                                  const session *s)
{
    char line[sizeof(WS_LOOPBACK_HEADER) + 1 + WS_LOOPBACK_MAX] = WS_LOOPBACK_HEADER ": ";
    size_t n = strlen(line);
    return config->sign && config->sign(s->claims, config->timeout, line + n, sizeof(line) - n)
           && headers_add(list, line);
}

struct curl_slist *headers_make(const http_config *config, headers_sig *sig, const session *s)
{
    struct curl_slist *list = NULL, *last;
    int ok = 1;
    if (s->claims) {
        ok = headers_add_credential(&list, config, s);
    }
    if (config->key) {
        ok = ok && headers_add(&list, headers_sig_line(config, sig));
    }
    for (const struct curl_slist *m = s->meta; ok && m; m = m->next) {
        ok = headers_add(&list, m->data);
    }
    if (!ok) {
        curl_slist_free_all(list);
        return NULL;
    }
    if (!list) {
        return s->headers;
    }
    for (last = list; last->next; last = last->next) {
    }
    last->next = s->headers;
    return list;
}

void headers_free(struct curl_slist *list, const session *s)
{
    struct curl_slist *last = list;
    if (!list || list == s->headers) {
        return;
    }
    while (last->next != s->headers) {
        last = last->next;
    }
    last->next = NULL;
    curl_slist_free_all(list);
}

/* ---- Meta- fields ---- */

static size_t headers_name(const char *line)
{
    return strcspn(line, ":");
}

static void headers_remove_meta(session *s, const char *line)
{
    size_t len = headers_name(line);
    for (struct curl_slist **m = &s->meta; *m; m = &(*m)->next) {
        struct curl_slist *old = *m;
        if (headers_name(old->data) == len && !strncasecmp(old->data, line, len)) {
            *m = old->next;
            old->next = NULL;
            curl_slist_free_all(old);
            return;
        }
    }
}

int headers_set_meta(session *s, const struct curl_slist *changes)
{
    size_t bytes = 0;
    for (; changes; changes = changes->next) {
        size_t len = headers_name(changes->data);
        headers_remove_meta(s, changes->data);
        if (changes->data[len + 1] && changes->data[len + 2]
            && !headers_add(&s->meta, changes->data)) {
            return 0;
        }
    }
    for (const struct curl_slist *m = s->meta; m; m = m->next) {
        bytes += strlen(m->data);
    }
    return bytes <= META_BYTES_MAX;
}
