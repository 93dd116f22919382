/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Loads extensions, limits zlib's memory, and negotiates Sec-WebSocket-Extensions. Unknown or
 * unsuitable offers are ignored (RFC 6455, section 9.1).
 */

#include "httpd/extensions.h"

#include <apr_strings.h>
#include <http_log.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "httpd/arguments.h"
#include "httpd/shm.h"
#include "protocol/deflate.h"
#include "protocol/frame.h"
#include "protocol/handshake.h"
#include "protocol/extension_header.h"

APLOG_USE_MODULE(websocket);

#define DEFAULT_LEVEL 6
#define DEFAULT_THRESHOLD 64
#define DEFAULT_MEMORY (256u * 1024 * 1024)
#define MEMORY_MIN (320 * 1024) /* a connection with the largest windows needs 301 KiB */

/* Loaded extensions by index. Descriptors identify them, because the tables are copies. */
static const ws_extension *extensions[WS_EXTENSIONS_MAX];
static const ws_plugin_descriptor *descriptors[WS_EXTENSIONS_MAX];
static unsigned extension_count;

#define DEFLATE_INDEX 0

void ws_extensions_reset(apr_pool_t *pconf)
{
    (void)pconf;
    extensions[DEFLATE_INDEX] = &ws_deflate;
    extension_count = 1;
}

/* ---- zlib's memory ---- */

/* The row of one child. Each row has a separate cache line. */
WS_SHM_STRUCT(account, {
    apr_uint64_t used;
    char apart[56];
});

const ws_shm_layout *const ws_extensions_layout[] = {&account_layout, NULL};

static account *accounts;
static account alone; /* the counter of a child without a slot, which is not shared */

static apr_uint64_t extensions_used_by_all(void)
{
    apr_uint64_t sum = __atomic_load_n(&alone.used, __ATOMIC_RELAXED);
    for (unsigned i = 0; accounts && i < ws_shm_slots(); i++) {
        sum += __atomic_load_n(&accounts[i].used, __ATOMIC_RELAXED);
    }
    return sum;
}

static ws_deflate_memory memory = {DEFAULT_MEMORY, &alone.used, extensions_used_by_all};

void ws_extensions_reclaim(unsigned slot)
{
    __atomic_store_n(&accounts[slot].used, 0, __ATOMIC_RELAXED);
}

apr_status_t ws_extensions_init(apr_pool_t *ptemp, server_rec *s)
{
    apr_uint64_t limit = ws_server_config_of(s)->compression_memory;
    (void)ptemp;
    memory.limit = limit ? limit : DEFAULT_MEMORY;
    accounts = ws_shm_table(s, "compression", ws_shm_slots() * sizeof(*accounts));
    return accounts ? APR_SUCCESS : APR_ENOMEM;
}

apr_status_t ws_extensions_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options)
{
    int slot = ws_shm_slot();
    (void)pchild, (void)s;
    if (slot >= 0) {
        memory.mine = &accounts[slot].used;
    }
    options->extensions = extensions;
    options->extension_count = extension_count;
    options->deflate = ws_extensions_outgoing();
    return APR_SUCCESS;
}

const ws_deflate_config *ws_extensions_outgoing(void)
{
    static const ws_deflate_config config = {.level = DEFAULT_LEVEL,
                                             .window = WS_DEFLATE_BITS_MAX,
                                             .client_window = WS_DEFLATE_BITS_MAX,
                                             .takeover = 1,
                                             .threshold = DEFAULT_THRESHOLD,
                                             .memory = &memory};
    return &config;
}

/* ---- WebSocketExtension ---- */

static const ws_plugin_kind kind = {.noun = "extension",
                                    .header = "websocket_extension.h",
                                    .macro = "WS_EXTENSION",
                                    .symbol = WS_EXTENSION_SYMBOL,
                                    .group = WS_EXTENSION_PROVIDER_GROUP,
                                    .version = WS_EXTENSION_PROVIDER_VERSION,
                                    .magic = WS_EXTENSION_MAGIC,
                                    .abi = WS_EXTENSION_ABI,
                                    .size = sizeof(ws_extension)};

static const char *extensions_check(apr_pool_t *p, const char *file, const char *name,
                                    const ws_extension *e)
{
    if (!name || !ws_is_token(name, strlen(name))) {
        return apr_psprintf(p,
                            "extension %s: the name \"%s\" is not valid in a header: use letters, "
                            "digits and !#$%%&'*+-.^_`|~",
                            file, name ? name : "");
    }
    if (!strcmp(name, WS_DEFLATE_NAME)) {
        return "permessage-deflate is built in: see WebSocketCompression";
    }
    if (e->rsv & ~(unsigned)(WS_RSV1 | WS_RSV2 | WS_RSV3)) {
        return apr_psprintf(p, "extension %s claims bits other than WS_RSV1 to WS_RSV3", name);
    }
    if (!e->negotiate || !e->receive || !e->send) {
        return apr_psprintf(p, "extension %s has no %s", name,
                            !e->negotiate ? "negotiate"
                            : !e->receive ? "receive"
                                          : "send");
    }
    return NULL;
}

/* Get the index of an extension, or add the extension. @return the index; -1 if there are too many
 * extensions */
static int extensions_index_of(const ws_plugin_descriptor *d, const ws_extension *e)
{
    for (unsigned i = DEFLATE_INDEX + 1; i < extension_count; i++) {
        if (descriptors[i] == d) {
            return (int)i;
        }
    }
    if (extension_count == WS_EXTENSIONS_MAX) {
        return -1;
    }
    descriptors[extension_count] = d;
    extensions[extension_count] = e;
    return (int)extension_count++;
}

static const char *extensions_configure(cmd_parms *cmd, ws_extension_use *use, int argc,
                                        char *const argv[])
{
    const ws_extension *e = use->extension;
    const char *error = ws_plugin_find_repeated(cmd->pool, e->repeatable_keys, "", argc, argv);
    if (error) {
        return apr_psprintf(cmd->pool, "extension %s: %s", use->name, error);
    }
    for (int i = 0; i < argc; i++) {
        const char *equals = strchr(argv[i], '=');
        if (!equals || equals == argv[i]) {
            return apr_psprintf(cmd->pool, "\"%s\": expected key=value after the extension's name",
                                argv[i]);
        }
        if (!e->configure) {
            return apr_psprintf(cmd->pool, "extension %s has no keys: remove \"%s\"", use->name,
                                argv[i]);
        }
        error = e->configure(cmd->pool,
                             apr_pstrmemdup(cmd->pool, argv[i], (apr_size_t)(equals - argv[i])),
                             equals + 1, &use->config);
        if (error) {
            return apr_psprintf(cmd->pool, "extension %s, %s: %s", use->name, argv[i], error);
        }
    }
    if (e->configure && (error = e->configure(cmd->pool, NULL, NULL, &use->config))) {
        error = apr_psprintf(cmd->pool, "extension %s: %s", use->name, error);
    }
    return error;
}

const char *ws_set_extension(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    ws_dir_config *d = config;
    ws_extension_use *use;
    const ws_plugin_descriptor *found;
    const char *error, *file;
    const void *table;
    int index;

    if (argc == 0) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, " takes ", cmd->cmd->errmsg, NULL);
    }
    if (!strcasecmp(argv[0], "off")) {
        if (argc > 1) {
            return ws_wrong(cmd, argv[1], "nothing after off");
        }
        if (d->extensions) {
            return "WebSocketExtension off and another extension are in the same section: remove "
                   "one";
        }
        d->extensions = apr_array_make(cmd->pool, 0, sizeof(ws_extension_use *));
        return NULL;
    }
    if (d->extensions && !d->extensions->nelts) {
        return "WebSocketExtension off and another extension are in the same section: remove one";
    }
    if ((error = ws_check_repeated_line(cmd))) {
        return error;
    }
    use = apr_pcalloc(cmd->pool, sizeof(*use));
    error = ws_plugin_find(cmd->pool, &kind, argv[0], &file, &found, &table);
    if (!error) {
        use->extension = table;
        use->name = apr_pstrdup(cmd->pool, found->name);
        error = extensions_check(cmd->pool, argv[0], found->name, table);
    }
    if (!error && (index = extensions_index_of(found, table)) < 0) {
        error = apr_psprintf(cmd->pool, "at most %d different extensions are possible",
                             WS_EXTENSIONS_MAX - 1);
    }
    if (!error) {
        use->index = (unsigned)index;
        error = extensions_configure(cmd, use, argc - 1, argv + 1);
    }
    if (error) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, ": ", error, NULL);
    }
    if (!d->extensions) {
        d->extensions = apr_array_make(cmd->pool, 1, sizeof(ws_extension_use *));
    }
    APR_ARRAY_PUSH(d->extensions, ws_extension_use *) = use;
    return NULL;
}

/* ---- WebSocketCompression ---- */

static const char *extensions_set_memory(cmd_parms *cmd, const char *value)
{
    apr_int64_t size = 0;
    const char *error = ws_parse_size(cmd->pool, value, MEMORY_MIN, WS_SIZE_MAX, &size);
    if (ap_check_cmd_context(cmd, GLOBAL_ONLY)) {
        return "applies to the whole server: move it outside of all sections";
    }
    if (!error) {
        ws_server_config_of(cmd->server)->compression_memory = (apr_uint64_t)size;
    }
    return error;
}

static const char *extensions_set_number(cmd_parms *cmd, const char *value, int min, int max,
                                         int *n)
{
    apr_int64_t number = *n;
    const char *error = ws_parse_count(cmd->pool, value, min, max, &number);
    *n = (int)number;
    return error;
}

static const char *extensions_set_takeover(ws_compression *c, const char *value)
{
    c->takeover = !strcasecmp(value, "on");
    return c->takeover || !strcasecmp(value, "off") ? NULL : "takes on or off";
}

/* Parse a key of WebSocketCompression. @return NULL, or the text that follows "key= " in the
 * error */
static const char *extensions_set_key(cmd_parms *cmd, ws_compression *c, const char *key,
                                      const char *value)
{
    if (!strcmp(key, "level")) {
        return extensions_set_number(cmd, value, 1, 9, &c->level);
    }
    if (!strcmp(key, "window")) {
        return extensions_set_number(cmd, value, WS_DEFLATE_BITS_MIN, WS_DEFLATE_BITS_MAX,
                                     &c->window);
    }
    if (!strcmp(key, "client-window")) {
        return extensions_set_number(cmd, value, WS_DEFLATE_BITS_MIN, WS_DEFLATE_BITS_MAX,
                                     &c->client_window);
    }
    if (!strcmp(key, "takeover")) {
        return extensions_set_takeover(c, value);
    }
    if (!strcmp(key, "threshold")) {
        return ws_parse_size(cmd->pool, value, 0, WS_SIZE_MAX, &c->threshold);
    }
    if (!strcmp(key, "memory")) {
        return extensions_set_memory(cmd, value);
    }
    return "is unknown; the keys are level=, window=, client-window=, takeover=, threshold= and "
           "memory=";
}

const char *ws_set_compression(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    ws_dir_config *d = config;
    if (argc == 0 || (strcasecmp(argv[0], "on") && strcasecmp(argv[0], "off"))) {
        return apr_psprintf(cmd->pool, "%s: invalid value \"%s\": expected %s", cmd->cmd->name,
                            argc ? argv[0] : "", cmd->cmd->errmsg);
    }
    d->compression.on = !strcasecmp(argv[0], "on");
    for (int i = 1; i < argc; i++) {
        const char *equals = strchr(argv[i], '=');
        const char *error;
        if (!equals) {
            return apr_psprintf(cmd->pool, "%s: invalid value \"%s\": expected key=value after %s",
                                cmd->cmd->name, argv[i], argv[0]);
        }
        error = extensions_set_key(
            cmd, &d->compression,
            apr_pstrmemdup(cmd->pool, argv[i], (apr_size_t)(equals - argv[i])), equals + 1);
        if (error) {
            return apr_psprintf(cmd->pool, "%s: invalid value \"%s\": %.*s= %s", cmd->cmd->name,
                                argv[i], (int)(equals - argv[i]), argv[i], error);
        }
    }
    return ws_check_repeated(cmd, argc, argv, ws_compare_keys);
}

#define MERGE(field) merged->field = add->field != -1 ? add->field : base->field

void ws_merge_compression(ws_compression *merged, const ws_compression *base,
                          const ws_compression *add)
{
    MERGE(on);
    MERGE(level);
    MERGE(window);
    MERGE(client_window);
    MERGE(takeover);
    MERGE(threshold);
}

/* A merged section is freed with its request, so connections need a copy that is valid until the
 * child ends. */
typedef struct interned interned;
static struct interned {
    interned *next;
    ws_deflate_config config;
    ws_extension_use use;
} * all_interned;

static int extensions_or_default(int value, int otherwise)
{
    return value < 0 ? otherwise : value;
}

static const ws_extension_use *extensions_deflate_of(const ws_compression *c)
{
    interned *i, *first = __atomic_load_n(&all_interned, __ATOMIC_ACQUIRE);
    ws_deflate_config config;
    memset(&config, 0, sizeof(config));
    config.level = extensions_or_default(c->level, DEFAULT_LEVEL);
    config.window = extensions_or_default(c->window, WS_DEFLATE_BITS_MAX);
    config.client_window = extensions_or_default(c->client_window, WS_DEFLATE_BITS_MAX);
    config.takeover = c->takeover > 0;
    config.threshold = c->threshold < 0 ? DEFAULT_THRESHOLD : (apr_size_t)c->threshold;
    config.memory = &memory;
    for (i = first; i && memcmp(&i->config, &config, sizeof(config)); i = i->next) {
    }
    if (!i && (i = malloc(sizeof(*i)))) {
        i->config = config;
        i->use = (ws_extension_use){&ws_deflate, WS_DEFLATE_NAME, &i->config, DEFLATE_INDEX};
        /* Two threads may each add the same configuration. The duplicate is harmless. */
        i->next = first;
        while (!__atomic_compare_exchange_n(&all_interned, &i->next, i, 0, __ATOMIC_RELEASE,
                                            __ATOMIC_RELAXED)) {
        }
    }
    return i ? &i->use : NULL;
}

/* ---- Handshake ---- */

int ws_extensions_valid(request_rec *r, const char *header)
{
    char *list = apr_pstrdup(r->pool, header);
    ws_offer offer;
    int result;
    while ((result = ws_offer_next(&list, &offer)) > 0) {
    }
    return result == 0;
}

/* Find an extension of the Location that accepts an offer. */
static const ws_extension_use *extensions_find(request_rec *r, const char *name, unsigned n)
{
    const ws_dir_config *d = ws_dir_config_of(r);
    if (!strcmp(name, WS_DEFLATE_NAME)) {
        return n == 0 && d->compression.on > 0 ? extensions_deflate_of(&d->compression) : NULL;
    }
    for (int i = 0; d->extensions && i < d->extensions->nelts; i++) {
        const ws_extension_use *use = APR_ARRAY_IDX(d->extensions, i, ws_extension_use *);
        if (!strcmp(name, use->name) && n-- == 0) {
            return use;
        }
    }
    return NULL;
}

/* Whether the connection does not use an extension yet, and none of the extension's RSV bits is in
 * use. */
static int extensions_is_free(const ws_extension_use *use, unsigned used, unsigned bits)
{
    return !(used >> use->index & 1) && !(use->extension->rsv & bits);
}

ws_chain *ws_extensions_negotiate(request_rec *r, const ws_settings *settings, const char *header,
                                  const char **answer)
{
    const ws_dir_config *d = ws_dir_config_of(r);
    char *list;
    ws_chain *chain = NULL;
    unsigned used = 0, bits = 0;
    unsigned most = 1 + (d->extensions ? (unsigned)d->extensions->nelts : 0);
    ws_offer offer;

    *answer = NULL;
    if (!header || (d->compression.on <= 0 && !d->extensions)) {
        return NULL;
    }
    list = apr_pstrdup(r->pool, header);
    while (ws_offer_next(&list, &offer) > 0) {
        const ws_extension_use *use;
        for (unsigned n = 0; (use = extensions_find(r, offer.name, n)); n++) {
            ws_negotiation negotiation = {.count = offer.count, .parameters = offer.parameters};
            negotiation.may_drop = settings->slow != WS_SLOW_CLOSE;
            if (offer.count > WS_PARAMETERS_MAX || !extensions_is_free(use, used, bits)
                || (!chain && !(chain = ws_chain_new(most)))
                || !use->extension->negotiate(&negotiation, use->config)) {
                continue;
            }
            ws_chain_add(chain, use, &negotiation);
            used |= 1u << use->index;
            bits |= use->extension->rsv;
            *answer = apr_pstrcat(r->pool, *answer ? *answer : "", *answer ? ", " : "", use->name,
                                  *negotiation.answer ? "; " : "", negotiation.answer, NULL);
            break;
        }
    }
    if (!*answer) {
        ws_chain_free(chain);
        chain = NULL;
    }
    ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r,
                  "websocket: extensions offered \"%s\", agreed \"%s\"", header,
                  *answer ? *answer : "none");
    return chain;
}
