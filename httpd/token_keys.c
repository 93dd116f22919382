/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Reads the keys for tokens and verifies signatures. Each key has one algorithm, and a token's
 *  header cannot select a different one. */

#include "httpd/token_keys.h"

#include <apr_encode.h>
#include <apr_file_io.h>
#include <apr_strings.h>
#include <cjose/header.h>
#include <cjose/jwk.h>
#include <cjose/jws.h>
#include <cjson/cJSON.h>
#include <http_core.h>
#include <http_log.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

APLOG_USE_MODULE(websocket);

#define FILE_MAX (256 * 1024)
#define SECRET_MIN 32 /* bytes: RFC 7518, section 3.2 */
#define RSA_MIN 2048  /* bits: RFC 7518, section 3.3 */
#define P256_BYTES 32
#define ED25519_BYTES 32

enum { HS256, RS256, ES256, EDDSA, ALGORITHMS };

static const char *const names[] = {"HS256", "RS256", "ES256", "EdDSA"};

/* Each key has one algorithm. A token's header cannot select a different one. */
typedef struct token_key {
    int alg;
    const char *kid;  /* NULL: matches any kid */
    cjose_jwk_t *jwk; /* key for all algorithms except EdDSA */
    EVP_PKEY *ed25519;
} token_key;

static int token_keys_algorithm(const char *name)
{
    int i = 0;
    while (i < ALGORITHMS && (!name || strcmp(names[i], name))) {
        i++;
    }
    return i;
}

/* ---- Reading ---- */

static apr_status_t token_keys_free(void *key)
{
    token_key *k = key;
    cjose_jwk_release(k->jwk);
    EVP_PKEY_free(k->ed25519);
    return APR_SUCCESS;
}

static const char *token_keys_push(apr_pool_t *p, apr_array_header_t *keys, token_key *k)
{
    token_key *copy = apr_pmemdup(p, k, sizeof(*k));
    apr_pool_cleanup_register(p, copy, token_keys_free, apr_pool_cleanup_null);
    if (keys->nelts == WS_TOKEN_KEYS_MAX) {
        return "a section can have at most 32 keys";
    }
    APR_ARRAY_PUSH(keys, token_key *) = copy;
    return NULL;
}

/* Read a file. *open is set to 1 if all users may read it. @return NULL, or the error */
static const char *token_keys_read(apr_pool_t *p, const char *path, char **data, apr_size_t *len,
                                   int *open)
{
    apr_file_t *file;
    apr_finfo_t info;
    char text[120];
    apr_status_t rv = apr_file_open(&file, path, APR_FOPEN_READ | APR_FOPEN_BINARY, 0, p);
    if (rv == APR_SUCCESS) {
        rv = apr_file_info_get(&info, APR_FINFO_NORM, file);
    }
    if (rv == APR_SUCCESS && (info.filetype != APR_REG || info.size > FILE_MAX)) {
        return "must be a file of at most 256 KiB";
    }
    if (rv == APR_SUCCESS) {
        *len = (apr_size_t)info.size;
        *data = apr_pcalloc(p, *len + 1);
        *open = (info.protection & APR_FPROT_WREAD) != 0;
        rv = apr_file_read_full(file, *data, *len, len);
        apr_file_close(file);
    }
    return rv == APR_SUCCESS || APR_STATUS_IS_EOF(rv)
               ? NULL
               : apr_psprintf(p, "cannot be read: %s", apr_strerror(rv, text, sizeof(text)));
}

/* Warn only once. At start-up, httpd reads the configuration twice, so this skips the first time.
 * With -t, httpd reads it only once. */
static void token_keys_warn(cmd_parms *cmd, const char *path)
{
    if (ap_state_query(AP_SQ_MAIN_STATE) != AP_SQ_MS_CREATE_PRE_CONFIG
        || ap_state_query(AP_SQ_RUN_MODE) == AP_SQ_RM_CONFIG_TEST) {
        ap_log_error(
            APLOG_MARK, APLOG_STARTUP | APLOG_WARNING, 0, cmd->server,
            "websocket: WebSocketTokenKey: every user of this machine can read the secret in %s "
            "and create tokens with it: chmod 600 %s",
            path, path);
    }
}

static const char *token_keys_text(apr_pool_t *p, const EVP_PKEY *pkey, const char *number,
                                   int size)
{
    BIGNUM *n = NULL;
    const char *text = NULL;
    if (EVP_PKEY_get_bn_param(pkey, number, &n) == 1) {
        int len = size ? size : BN_num_bytes(n);
        unsigned char *bytes = apr_palloc(p, (apr_size_t)len + 1);
        if (BN_bn2binpad(n, bytes, len) == len) {
            text = apr_pencode_base64_binary(p, bytes, len, APR_ENCODE_BASE64URL, NULL);
        }
    }
    BN_free(n);
    return text;
}

/* Add a JWK for this algorithm. Takes ownership of the key. @return NULL, or the error */
static const char *token_keys_add_jwk(apr_pool_t *p, apr_array_header_t *keys, token_key *k,
                                      const char *json)
{
    cjose_err error;
    const char *wrong;
    if (!(k->jwk = cjose_jwk_import(json, strlen(json), &error))) {
        return apr_psprintf(p, "has a key that the JOSE library refuses: %s", error.message);
    }
    wrong = k->alg == RS256 && cjose_jwk_get_keysize(k->jwk, &error) < RSA_MIN
                ? "has an RSA key of fewer than 2048 bits: create a longer one"
            : k->alg == HS256 && cjose_jwk_get_keysize(k->jwk, &error) < 8 * SECRET_MIN
                ? "has a secret of fewer than 32 bytes: create a longer one with openssl rand "
                  "-base64 48"
                : token_keys_push(p, keys, k);
    if (wrong) {
        cjose_jwk_release(k->jwk);
    }
    return wrong;
}

static const char *token_keys_add_secret(apr_pool_t *p, apr_array_header_t *keys, token_key *k,
                                         const char *data, apr_size_t len)
{
    const char *text;
    if (strstr(data, "-----BEGIN ")) {
        return "is a PEM file, so it holds a key, not a secret: use RS256, ES256 or EdDSA, or a "
               "file with a secret";
    }
    if (len && data[len - 1] == '\n') {
        len -= 1 + (len > 1 && data[len - 2] == '\r');
    }
    if (len < SECRET_MIN) {
        return "has a secret of fewer than 32 bytes: create a longer one with openssl rand "
               "-base64 48";
    }
    text = apr_pencode_base64_binary(p, (const unsigned char *)data, (apr_ssize_t)len,
                                     APR_ENCODE_BASE64URL, NULL);
    return token_keys_add_jwk(p, keys, k, apr_psprintf(p, "{\"kty\":\"oct\",\"k\":\"%s\"}", text));
}

static EVP_PKEY *token_keys_public(const char *data, apr_size_t len)
{
    BIO *bio = BIO_new_mem_buf(data, (int)len);
    EVP_PKEY *pkey = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    X509 *cert = NULL;
    if (bio && !pkey) {
        (void)BIO_reset(bio);
        cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        pkey = cert ? X509_get_pubkey(cert) : NULL;
    }
    X509_free(cert);
    BIO_free(bio);
    return pkey;
}

/* Convert an OpenSSL key to a JWK for the JOSE library. @return NULL: the key is not suitable for
 * the algorithm */
static const char *token_keys_jwk(apr_pool_t *p, const EVP_PKEY *pkey, int alg)
{
    char curve[32] = "";
    const char *a, *b;
    if (alg == RS256 && EVP_PKEY_is_a(pkey, "RSA")) {
        a = token_keys_text(p, pkey, OSSL_PKEY_PARAM_RSA_N, 0);
        b = token_keys_text(p, pkey, OSSL_PKEY_PARAM_RSA_E, 0);
        return apr_psprintf(p, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"}", a, b);
    }
    if (alg == ES256 && EVP_PKEY_is_a(pkey, "EC")
        && EVP_PKEY_get_group_name(pkey, curve, sizeof(curve), NULL)
        && !strcmp(curve, "prime256v1")) {
        a = token_keys_text(p, pkey, OSSL_PKEY_PARAM_EC_PUB_X, P256_BYTES);
        b = token_keys_text(p, pkey, OSSL_PKEY_PARAM_EC_PUB_Y, P256_BYTES);
        return apr_psprintf(p, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"}", a,
                            b);
    }
    return NULL;
}

static const char *token_keys_add_pem(apr_pool_t *p, apr_array_header_t *keys, token_key *k,
                                      const char *data, apr_size_t len)
{
    EVP_PKEY *pkey = strstr(data, "PRIVATE KEY-----") ? NULL : token_keys_public(data, len);
    const char *wrong = NULL, *json;
    if (!pkey) {
        return "has no public key or certificate in PEM: create it from the private key with "
               "openssl pkey -in private.pem -pubout, and leave the private key with the "
               "application";
    }
    if (k->alg == EDDSA && EVP_PKEY_is_a(pkey, "ED25519")) {
        k->ed25519 = pkey;
        return token_keys_push(p, keys, k);
    }
    json = token_keys_jwk(p, pkey, k->alg);
    wrong = json ? token_keys_add_jwk(p, keys, k, json)
                 : apr_psprintf(p, "has a key that is not for %s, which takes %s", names[k->alg],
                                k->alg == RS256   ? "an RSA key"
                                : k->alg == ES256 ? "a key on the curve P-256"
                                                  : "an Ed25519 key");
    EVP_PKEY_free(pkey);
    return wrong;
}

/* ---- JWKS: RFC 7517, section 5 ---- */

static const char *token_keys_member(const cJSON *o, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, name));
    return text ? text : "";
}

/* Get the algorithm of a JWK. @return the algorithm; ALGORITHMS: skip the key, because it is for
 * another use (RFC 7517, section 5) */
static int token_keys_jwk_algorithm(const cJSON *o)
{
    const char *kty = token_keys_member(o, "kty"), *crv = token_keys_member(o, "crv"),
               *alg = token_keys_member(o, "alg"), *use = token_keys_member(o, "use");
    int a = !strcmp(kty, "oct")                              ? HS256
            : !strcmp(kty, "RSA")                            ? RS256
            : !strcmp(kty, "EC") && !strcmp(crv, "P-256")    ? ES256
            : !strcmp(kty, "OKP") && !strcmp(crv, "Ed25519") ? EDDSA
                                                             : ALGORITHMS;
    return (*use && strcmp(use, "sig")) || (*alg && token_keys_algorithm(alg) != a) ? ALGORITHMS
                                                                                    : a;
}

static const char *token_keys_add_okp(apr_pool_t *p, apr_array_header_t *keys, token_key *k,
                                      const cJSON *o)
{
    const char *x = token_keys_member(o, "x");
    apr_size_t len = 0;
    const unsigned char *bytes = apr_pdecode_base64_binary(p, x, (apr_ssize_t)strlen(x), 0, &len);
    if (!bytes || len != ED25519_BYTES
        || !(k->ed25519 = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, bytes, len))) {
        return "has an Ed25519 key with an invalid x";
    }
    return token_keys_push(p, keys, k);
}

static const char *token_keys_add_one(apr_pool_t *p, apr_array_header_t *keys, const cJSON *o,
                                      int *secret)
{
    token_key k = {.alg = token_keys_jwk_algorithm(o)};
    const char *kid = token_keys_member(o, "kid"), *wrong;
    char *json;
    if (k.alg == ALGORITHMS) {
        return NULL;
    }
    k.kid = *kid ? apr_pstrdup(p, kid) : NULL;
    *secret |= k.alg == HS256;
    if (k.alg == EDDSA) {
        return token_keys_add_okp(p, keys, &k, o);
    }
    json = cJSON_PrintUnformatted(o);
    wrong = json ? token_keys_add_jwk(p, keys, &k, json) : "cannot be read: out of memory";
    cJSON_free(json);
    return wrong;
}

static const char *token_keys_add_set(apr_pool_t *p, apr_array_header_t *keys, const char *data,
                                      apr_size_t len, int *secret)
{
    cJSON *set = cJSON_ParseWithLength(data, len);
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(set, "keys"), *o;
    const char *wrong =
        cJSON_IsArray(list) ? NULL : "is not a JWKS, which is a JSON object with an array \"keys\"";
    int before = keys->nelts;
    cJSON_ArrayForEach(o, list)
    {
        wrong = wrong ? wrong : token_keys_add_one(p, keys, o, secret);
    }
    if (!wrong && keys->nelts == before) {
        wrong = "has no key for HS256, RS256, ES256 or EdDSA";
    }
    cJSON_Delete(set);
    return wrong;
}

const char *ws_token_keys_add(cmd_parms *cmd, apr_array_header_t **keys, const char *kind,
                              const char *file, const char *kid)
{
    apr_pool_t *p = cmd->pool;
    const char *path = ap_server_root_relative(p, file), *wrong;
    token_key k = {.alg = token_keys_algorithm(kind), .kid = kid};
    int set = !strcmp(kind, "JWKS"), open = 0, secret = k.alg == HS256;
    char *data = NULL;
    apr_size_t len = 0;

    if (!*keys) {
        *keys = apr_array_make(p, 2, sizeof(token_key *));
    }
    if (k.alg == ALGORITHMS && !set) {
        return apr_psprintf(
            p,
            "WebSocketTokenKey: invalid value \"%s\": expected HS256, RS256, ES256, EdDSA or "
            "JWKS, then a file, then kid=ID; or off",
            kind);
    }
    if (set && kid) {
        return "WebSocketTokenKey: remove kid=, since a JWKS contains the kid of each key";
    }
    wrong = path ? token_keys_read(p, path, &data, &len, &open) : "is not a valid path";
    if (!wrong) {
        wrong = set              ? token_keys_add_set(p, *keys, data, len, &secret)
                : k.alg == HS256 ? token_keys_add_secret(p, *keys, &k, data, len)
                                 : token_keys_add_pem(p, *keys, &k, data, len);
    }
    if (!wrong && open && secret) {
        token_keys_warn(cmd, path);
    }
    return wrong ? apr_psprintf(p, "WebSocketTokenKey: %s %s", file, wrong) : NULL;
}

/* ---- Checking ---- */

static int token_keys_verify_ed25519(EVP_PKEY *pkey, apr_pool_t *p, const char *token,
                                     apr_size_t len)
{
    const char *dot = memchr(strchr(token, '.') + 1, '.', len);
    apr_size_t signed_len = (apr_size_t)(dot - token), size = 0;
    const unsigned char *signature =
        apr_pdecode_base64_binary(p, dot + 1, (apr_ssize_t)(len - signed_len - 1), 0, &size);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int valid =
        ctx && signature && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1
        && EVP_DigestVerify(ctx, signature, size, (const unsigned char *)token, signed_len) == 1;
    EVP_MD_CTX_free(ctx);
    return valid;
}

/* The library parses the header again, and must find the same algorithm as the code that selected
 * the key. */
static int token_keys_verify(const token_key *k, apr_pool_t *p, const char *token, apr_size_t len)
{
    cjose_err error;
    cjose_jws_t *jws;
    const char *alg;
    int valid = 0;
    if (k->ed25519) {
        return token_keys_verify_ed25519(k->ed25519, p, token, len);
    }
    if ((jws = cjose_jws_import(token, len, &error))) {
        alg = cjose_header_get(cjose_jws_get_protected(jws), CJOSE_HDR_ALG, &error);
        valid = alg && !strcmp(alg, names[k->alg]) && cjose_jws_verify(jws, k->jwk, &error);
        cjose_jws_release(jws);
    }
    return valid;
}

const char *ws_token_keys_check(const apr_array_header_t *keys, apr_pool_t *p, const char *token,
                                apr_size_t len, const char *alg, const char *kid)
{
    int wanted = token_keys_algorithm(alg), found = 0, tried = 0;
    if (wanted == ALGORITHMS) {
        return "the token's alg is not HS256, RS256, ES256 or EdDSA";
    }
    for (int i = 0; i < keys->nelts; i++) {
        const token_key *k = APR_ARRAY_IDX(keys, i, token_key *);
        found |= k->alg == wanted;
        if (k->alg == wanted && (!kid || !k->kid || !strcmp(kid, k->kid))) {
            tried = 1;
            if (token_keys_verify(k, p, token, len)) {
                return NULL;
            }
        }
    }
    return !found   ? "no key is for the token's alg"
           : !tried ? "no key has the token's kid"
                    : "the token's signature does not match";
}
