/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses WebSocketLimit, and admits or refuses handshakes. A handshake that cannot be counted is
 *  refused. If the expression of a limit fails, the limit is not applied. */

#include "httpd/limits.h"

#include <ap_expr.h>
#include <apr_strings.h>
#include <apr_tables.h>
#include <http_core.h>
#include <http_log.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "engine/hash.h"
#include "httpd/accept.h"
#include "httpd/arguments.h"
#include "httpd/config.h"
#include "httpd/counters.h"
#include "httpd/descriptors.h"
#include "httpd/limit_table.h"
#include "httpd/refusals.h"
#include "httpd/shm.h"

APLOG_USE_MODULE(websocket);

/* Maximum for a number, a rate or a burst. The product of two such values fits into 64 bits. */
#define NUMBER_MAX (1000000000)

/* Value of Retry-After, seconds, if it is unknown when the limit will allow a handshake again. */
#define RETRY_AFTER 10

#define TOO_MANY "the limit is reached"

typedef enum { OFF, CONNECTIONS, HANDSHAKES, MESSAGES, BYTES, LIFETIME, IDLE } limit_kind;

static const char *const names[] = {"off",   "connections", "handshakes", "messages",
                                    "bytes", "lifetime",    "idle"};

struct ws_limit {
    limit_kind kind;
    int dry_run;
    apr_uint64_t value; /**< maximum number, or milliseconds */
    apr_uint64_t burst; /**< burst of a rate */
    int by_address;     /**< 1: count separately for each client address */
    /** Count separately for each value of this expression; NULL: one count for all clients. */
    const ap_expr_info_t *key;
    const char *text; /**< arguments of the directive, for the log */
    /** Seed for hashing keys, unique to this line and the same after reloads. */
    apr_uint64_t seed;
};

/* ---- The directive ---- */

/* Maps a text that identifies a directive to the number of directives so far with that text. */
static apr_hash_t *seeds;

void ws_limits_reset(apr_pool_t *pconf)
{
    seeds = apr_hash_make(pconf);
}

static apr_uint64_t limits_mix(apr_uint64_t hash, const void *data, apr_size_t len)
{
    const unsigned char *p = data;
    for (; len; len--) { /* FNV-1a */
        hash = (hash ^ *p++) * 0x100000001B3u;
    }
    /* The upper bits select the bucket. Make them depend on the last bytes, too. */
    hash ^= hash >> 29;
    hash *= 0xBF58476D1CE4E5B9u;
    return hash ^ hash >> 32;
}

/* Compute a seed from the directive's section, limit and key, so that it is the same after
 * reloads. */
static apr_uint64_t limits_seed_of(cmd_parms *cmd, const ws_limit *l, const char *key)
{
    const server_rec *s = cmd->server;
    const char *name =
        apr_psprintf(cmd->pool, "%s:%u %s %s %s %d", s->server_hostname ? s->server_hostname : "",
                     s->port, cmd->path ? cmd->path : "", names[l->kind], key, l->dry_run);
    int *same = apr_hash_get(seeds, name, APR_HASH_KEY_STRING);
    if (!same) {
        same = apr_pcalloc(cmd->pool, sizeof(*same));
        apr_hash_set(seeds, name, APR_HASH_KEY_STRING, same);
    }
    name = apr_psprintf(cmd->pool, "%s %d", name, (*same)++);
    return limits_mix(0xCBF29CE484222325u, name, strlen(name));
}

/* Parse the value after "=". *n is set in the unit of the kind of limit, which is a number, bytes
 * or milliseconds. @return NULL, or the error */
static const char *limits_set_number(cmd_parms *cmd, const char *word, limit_kind kind,
                                     apr_uint64_t *n)
{
    const char *value = strchr(word, '=') + 1, *error;
    apr_int64_t number = 0;
    if (kind == LIFETIME || kind == IDLE) {
        error = ws_parse_interval(cmd->pool, value, 1, WS_INTERVAL_MAX, &number);
    }
    else if (kind == BYTES) {
        error = ws_parse_size(cmd->pool, value, 1, WS_SIZE_MAX, &number);
    }
    else {
        error = ws_parse_count(cmd->pool, value, 1, NUMBER_MAX, &number);
    }
    *n = (apr_uint64_t)number;
    return error ? apr_psprintf(cmd->pool, "WebSocketLimit: invalid value \"%s\": %.*s= %s", word,
                                (int)(value - 1 - word), word, error)
                 : NULL;
}

static const char *limits_set_key(cmd_parms *cmd, ws_limit *l, const char *word, const char *key)
{
    const char *error = NULL;
    if (!strcasecmp(key, "address")) {
        l->by_address = 1;
        return NULL;
    }
    if (!strstr(key, "%{")) {
        return apr_psprintf(cmd->pool,
                            "WebSocketLimit: \"%s\" is the same for all clients: key= takes "
                            "address, or an expression such as %%{REMOTE_USER}",
                            word);
    }
    l->key = ap_expr_parse_cmd(cmd, key, AP_EXPR_FLAG_STRING_RESULT, &error, NULL);
    return l->key ? NULL
                  : apr_psprintf(cmd->pool, "WebSocketLimit: \"%s\" is not a valid expression: %s",
                                 word, error);
}

static const char *limits_takes(cmd_parms *cmd, const char *word)
{
    return apr_psprintf(
        cmd->pool,
        "WebSocketLimit: invalid value \"%s\": expected one of connections=N, handshakes=N, "
        "messages=N, bytes=SIZE (per second), lifetime=INTERVAL and idle=INTERVAL (1ms to 24h), "
        "and then burst=N, key=address or key=EXPRESSION, and dry-run; or off",
        word);
}

static const char *limits_parse_word(cmd_parms *cmd, ws_limit *l, const char *word,
                                     const char **key)
{
    const char *equals = strchr(word, '=');
    apr_size_t len = equals ? (apr_size_t)(equals - word) : 0;

    if (!strcasecmp(word, "dry-run")) {
        l->dry_run = 1;
        return NULL;
    }
    if (!equals) {
        return limits_takes(cmd, word);
    }
    if (!strncasecmp(word, "key=", 4)) {
        *key = equals + 1;
        return limits_set_key(cmd, l, word, *key);
    }
    if (!strncasecmp(word, "burst=", 6)) {
        return limits_set_number(cmd, word, l->kind == BYTES ? BYTES : MESSAGES, &l->burst);
    }
    for (limit_kind k = CONNECTIONS; k <= IDLE; k++) {
        if (strlen(names[k]) == len && !strncasecmp(word, names[k], len)) {
            if (l->kind != OFF) {
                return apr_psprintf(
                    cmd->pool,
                    "WebSocketLimit: \"%s\" follows %s: write one directive for each "
                    "limit",
                    word, names[l->kind]);
            }
            l->kind = k;
            return limits_set_number(cmd, word, k, &l->value);
        }
    }
    return limits_takes(cmd, word);
}

static const char *limits_fits_together(cmd_parms *cmd, const ws_limit *l, const char *key)
{
    if (l->burst && (l->kind == CONNECTIONS || l->kind == LIFETIME || l->kind == IDLE)) {
        return apr_psprintf(cmd->pool, "WebSocketLimit: remove burst=: %s= is not a rate",
                            names[l->kind]);
    }
    if (key && l->kind != CONNECTIONS && l->kind != HANDSHAKES) {
        return apr_psprintf(cmd->pool,
                            "WebSocketLimit: remove key=: %s= is a limit of each connection",
                            names[l->kind]);
    }
    return NULL;
}

const char *ws_limit_set(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    apr_array_header_t **limits = &((ws_dir_config *)config)->limits;
    ws_limit *l = apr_pcalloc(cmd->pool, sizeof(*l));
    const char *error = NULL, *key = NULL;

    if (argc == 0) {
        return limits_takes(cmd, "");
    }
    l->text = "";
    if (argc > 1 || strcasecmp(argv[0], "off")) {
        for (int i = 0; i < argc && !error; i++) {
            error = i || strchr(argv[0], '=') ? limits_parse_word(cmd, l, argv[i], &key)
                                              : limits_takes(cmd, argv[0]);
            if (!error && l->kind == OFF) {
                error = limits_takes(cmd, argv[0]);
            }
            l->text = apr_pstrcat(cmd->pool, l->text, i ? " " : "", argv[i], NULL);
        }
    }
    if (error || (error = ws_check_repeated(cmd, argc, argv, ws_compare_keys))
        || (error = limits_fits_together(cmd, l, key))) {
        return error;
    }
    if (!*limits) {
        *limits = apr_array_make(cmd->pool, 2, sizeof(ws_limit *));
    }
    for (int i = 0; i < (*limits)->nelts; i++) {
        const ws_limit *other = APR_ARRAY_IDX(*limits, i, ws_limit *);
        if (l->kind >= MESSAGES && other->kind == l->kind && other->dry_run == l->dry_run) {
            return apr_psprintf(cmd->pool,
                                "WebSocketLimit: this section already has \"%s\"; a second limit "
                                "of this kind must be a dry-run",
                                other->text);
        }
    }
    if (!l->burst) {
        l->burst = l->value;
    }
    if (l->kind == CONNECTIONS || l->kind == HANDSHAKES) {
        l->seed = limits_seed_of(cmd, l, key ? key : "");
    }
    APR_ARRAY_PUSH(*limits, ws_limit *) = l;
    return NULL;
}

apr_array_header_t *ws_limits_merge(apr_pool_t *p, apr_array_header_t *outer,
                                    apr_array_header_t *inner)
{
    /* "off" discards the limits of outer sections only. */
    for (int i = 0; inner && i < inner->nelts; i++) {
        if (APR_ARRAY_IDX(inner, i, ws_limit *)->kind == OFF) {
            return inner;
        }
    }
    return !inner ? outer : !outer ? inner : apr_array_append(p, outer, inner);
}

void ws_limits_bounds(const apr_array_header_t *limits, ws_bounds bounds[2])
{
    /* The last limit is that of the innermost section. */
    for (int i = 0; limits && i < limits->nelts; i++) {
        const ws_limit *l = APR_ARRAY_IDX(limits, i, ws_limit *);
        ws_bounds *b = &bounds[l->dry_run];
        switch (l->kind) {
        case MESSAGES:
            b->messages = l->value;
            b->message_burst = l->burst;
            break;
        case BYTES:
            b->bytes = l->value;
            b->byte_burst = l->burst;
            break;
        case LIFETIME:
            b->lifetime = (apr_uint32_t)l->value;
            break;
        case IDLE:
            b->idle = (apr_uint32_t)l->value;
            break;
        default:
            break;
        }
    }
}

/* ---- Life of a process ---- */

static int table_told, descriptors_told; /* atomic */

apr_status_t ws_limits_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options)
{
    (void)s, (void)options;
    ws_limit_table_child_init(pchild);
    return APR_SUCCESS;
}

/* ---- Handshakes ---- */

typedef struct limits_ticket {
    ws_ticket ticket;
    unsigned count;
    apr_uint64_t keys[];
} limits_ticket;

static void limits_release(ws_ticket *ticket)
{
    limits_ticket *t = (limits_ticket *)ticket;
    for (unsigned i = 0; i < t->count; i++) {
        ws_limit_table_remove(t->keys[i]);
    }
    free(t);
}

/* Hash an address. Of an IPv6 address, use only the first 64 bits, because one client usually
 * controls the whole /64. */
static apr_uint64_t limits_network_of(const apr_sockaddr_t *a, apr_uint64_t seed)
{
    const unsigned char *address = a->ipaddr_ptr;
    apr_size_t len = (apr_size_t)a->ipaddr_len;
    if (len == sizeof(struct in6_addr)) {
        int is_ipv4 = IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)a->ipaddr_ptr);
        address += is_ipv4 ? 12 : 0;
        len = is_ipv4 ? 4 : 8;
    }
    return ws_hash(seed, address, len);
}

/* Compute the key under which a handshake is counted. @return 0: do not count the handshake */
static apr_uint64_t limits_key_of(request_rec *r, const ws_limit *l, const char **text)
{
    const char *error = NULL;
    *text = "";
    if (l->by_address) {
        *text = r->useragent_ip;
        return limits_network_of(r->useragent_addr, l->seed);
    }
    if (l->key) {
        *text = ap_expr_str_exec(r, l->key, &error);
        if (error) {
            ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                          "websocket: \"WebSocketLimit %s\" cannot be applied: %s", l->text, error);
            return 0;
        }
        return *text && **text ? ws_hash(l->seed, *text, strlen(*text)) : 0;
    }
    return ws_hash(l->seed, "", 0);
}

/* Log that a limit is reached. @return 1: refuse the handshake; 0: dry run */
static int limits_refused(request_rec *r, const ws_limit *l, const char *key,
                          apr_int64_t retry_after, const char *why)
{
    ws_refusal_log(
        r, WS_REFUSAL_LIMIT,
        l->dry_run ? "dry run: handshake would be refused with 503: %s, for %s (WebSocketLimit %s)"
                   : "handshake refused with 503: %s, for %s (WebSocketLimit %s)",
        why, *key ? key : "all clients", l->text);
    if (l->dry_run) {
        return 0;
    }
    ws_counters_add(WS_COUNT_REFUSED_LIMIT);
    apr_table_setn(r->err_headers_out, "Retry-After",
                   apr_psprintf(r->pool, "%" APR_INT64_T_FMT, retry_after));
    return 1;
}

/* Refuse the handshake, because a client that is not counted would have no limit. @return the
 * same as limits_refused() */
static int limits_table_full(request_rec *r, const ws_limit *l, const char *key)
{
    if (!__atomic_exchange_n(&table_told, 1, __ATOMIC_RELAXED)) {
        ap_log_rerror(
            APLOG_MARK, APLOG_ERR, 0, r,
            "websocket: the table of WebSocketLimit is full, or this child has none: "
            "handshakes with a key that is not in the table are refused with 503. Use a key= "
            "with fewer values, or increase ServerLimit (needs a stop and start)");
    }
    return limits_refused(r, l, key, RETRY_AFTER, "not countable, since the table is full");
}

static int limits_descriptors_short(request_rec *r)
{
    ws_descriptors left = ws_descriptors_left();
    int level;
    if (left == WS_DESCRIPTORS_ENOUGH) {
        return 0;
    }
    ws_accept_spread();
    if (left == WS_DESCRIPTORS_LOW) {
        return 0;
    }
    level = __atomic_exchange_n(&descriptors_told, 1, __ATOMIC_RELAXED) ? APLOG_INFO : APLOG_ERR;
    ap_log_rerror(APLOG_MARK, level, 0, r,
                  "websocket: handshake refused with 503: too few descriptors left in this child, "
                  "and httpd needs them. Increase the hard limit (LimitNOFILE, ulimit -Hn)");
    ws_counters_add(WS_COUNT_REFUSED_DESCRIPTORS);
    apr_table_setn(r->err_headers_out, "Retry-After", APR_STRINGIFY(RETRY_AFTER));
    return 1;
}

/* Check a handshake against one limit. A connection that is counted is added to the ticket. @return
 * whether the limit admits the handshake */
static int limits_admits(request_rec *r, const ws_limit *l, limits_ticket *t)
{
    const char *text;
    apr_uint64_t key = limits_key_of(r, l, &text);

    if (!key) {
        return 1;
    }
    if (l->kind == HANDSHAKES) {
        apr_int64_t wait = ws_limit_table_rate(key, l->value, l->burst);
        return wait < 0
                   ? !limits_table_full(r, l, text)
                   : !wait || !limits_refused(r, l, text, wait / APR_USEC_PER_SEC + 1, TOO_MANY);
    }
    if (l->kind == CONNECTIONS) {
        apr_uint64_t sum;
        if (!ws_limit_table_add(key, &sum)) {
            return !limits_table_full(r, l, text);
        }
        t->keys[t->count++] = key;
        return sum <= l->value || !limits_refused(r, l, text, RETRY_AFTER, TOO_MANY);
    }
    return 1;
}

int ws_limits_admit(request_rec *r, const apr_array_header_t *limits, ws_ticket **ticket)
{
    limits_ticket *t;
    int n = limits ? limits->nelts : 0, i;

    *ticket = NULL;
    if (limits_descriptors_short(r)) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if (!n) {
        return OK;
    }
    if (!(t = malloc(sizeof(*t) + (apr_size_t)n * sizeof(*t->keys)))) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    t->ticket.release = limits_release;
    t->count = 0;
    for (i = 0; i < n && limits_admits(r, APR_ARRAY_IDX(limits, i, ws_limit *), t); i++) {
    }
    if (i < n || !t->count) {
        limits_release(&t->ticket);
        return i < n ? HTTP_SERVICE_UNAVAILABLE : OK;
    }
    t->ticket.next = NULL;
    *ticket = &t->ticket;
    return OK;
}
