/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Finds, loads and checks handlers and extensions, for WebSocketHandler and WebSocketExtension
 *  lines. */

#include <httpd.h>
#include <http_config.h>
#include <ap_provider.h>
#include <apr_fnmatch.h>
#include <apr_sha1.h>
#include <apr_strings.h>
#include <dlfcn.h>
#include <string.h>

#include "httpd/arguments.h"
#include "httpd/config.h"
#include "protocol/handshake.h"
#include "websocket_parse.h"

apr_array_header_t *ws_handler_lines;

void ws_plugins_reset(apr_pool_t *pconf)
{
    ws_handler_lines = apr_array_make(pconf, 8, sizeof(ws_handler_line *));
}

const char *ws_handler_path(apr_pool_t *p, const char *file)
{
    Dl_info self;
    const char *slash;
    if (*file == '/' || !dladdr(&websocket_module, &self) || !self.dli_fname
        || !(slash = strrchr(self.dli_fname, '/'))) {
        return file;
    }
    return apr_psprintf(p, "%.*s/websocket/%s", (int)(slash - self.dli_fname), self.dli_fname,
                        file);
}

static apr_status_t plugins_unload(void *handle)
{
    dlclose(handle);
    return APR_SUCCESS;
}

static const char *plugins_load(apr_pool_t *p, const ws_plugin_kind *kind, const char *path,
                                const ws_plugin_descriptor **d)
{
    /* Do not use apr_dso_load(). It makes all symbols global, so if two handlers had a function
     * "join", both would call the same one. */
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        return apr_psprintf(p, "cannot load the %s: %s", kind->noun, dlerror());
    }
    apr_pool_cleanup_register(p, handle, plugins_unload, apr_pool_cleanup_null);
    if (!(*d = dlsym(handle, kind->symbol))) {
        return apr_psprintf(p,
                            "%s is not a WebSocket %s: it has no symbol %s; define one with "
                            "%s(name) = {...} from %s",
                            path, kind->noun, kind->symbol, kind->macro, kind->header);
    }
    return NULL;
}

/* Check a plugin. This accepts a plugin that was built for an older API version, whose table has
 * fewer callbacks. *whole is set to a complete table. */
static const char *plugins_check(apr_pool_t *p, const ws_plugin_kind *kind, const char *name,
                                 const ws_plugin_descriptor *d, const void **whole)
{
    void *copy;
    if (d->magic != kind->magic) {
        return apr_psprintf(p, "%s %s: its descriptor is damaged (magic %08x, not %08x)",
                            kind->noun, name, d->magic, kind->magic);
    }
    if (d->abi != kind->abi) {
        return apr_psprintf(p,
                            "%s %s was built for ABI %u of %s, but this module has ABI %u: "
                            "rebuild it with this module's header",
                            kind->noun, name, d->abi, kind->header, kind->abi);
    }
    if (d->size > kind->size) {
        return apr_psprintf(p,
                            "%s %s was built with a newer %s (its table has %u bytes, this "
                            "module's %u): install the newer module, or rebuild the %s with this "
                            "module's header",
                            kind->noun, name, kind->header, d->size, kind->size, kind->noun);
    }
    copy = apr_pcalloc(p, kind->size);
    memcpy(copy, d->table, d->size);
    *whole = copy;
    return NULL;
}

const char *ws_plugin_find(apr_pool_t *p, const ws_plugin_kind *kind, const char *name,
                           const char **file, const ws_plugin_descriptor **d, const void **table)
{
    const char *error;
    size_t len = strlen(name);
    *file = NULL;
    if (strchr(name, '/') || (len > 3 && !strcmp(name + len - 3, ".so"))) {
        *file = ws_handler_path(p, name);
        if ((error = plugins_load(p, kind, *file, d))) {
            return error;
        }
    }
    else if (!(*d = ap_lookup_provider(kind->group, name, kind->version))) {
        return apr_psprintf(p,
                            "no module has registered a WebSocket %s \"%s\": move its LoadModule "
                            "above this line. To load a file, use a name that ends in .so",
                            kind->noun, name);
    }
    return plugins_check(p, kind, name, *d, table);
}

static const ws_plugin_kind handlers = {.noun = "handler",
                                        .header = "mod_websocket.h",
                                        .macro = "WS_HANDLER",
                                        .symbol = WS_DESCRIPTOR_SYMBOL,
                                        .group = WS_PROVIDER_GROUP,
                                        .version = WS_PROVIDER_VERSION,
                                        .magic = WS_MAGIC,
                                        .abi = WS_ABI,
                                        .size = sizeof(ws_handler)};

static const char *plugins_set_protocols(cmd_parms *cmd, ws_handler_line *reg, const char *list)
{
    const char *token, *error;
    size_t len;
    if (!ws_parse_list(cmd->temp_pool, list) || !ws_protocols_valid(list)) {
        return apr_psprintf(cmd->pool,
                            "protocol=%s: list subprotocols as in Sec-WebSocket-Protocol, "
                            "separated by commas, each once",
                            list);
    }
    if (!reg->protocols) {
        reg->protocols = apr_array_make(cmd->pool, 2, sizeof(const char *));
    }
    while ((token = ws_header_list_next(&list, &len))) {
        APR_ARRAY_PUSH(reg->protocols, const char *) = apr_pstrmemdup(cmd->pool, token, len);
    }
    error = ws_find_repeated(cmd->pool, reg->protocols->nelts, (char *const *)reg->protocols->elts,
                             strcmp);
    return error ? apr_pstrcat(cmd->pool, "protocol=: ", error, NULL) : NULL;
}

const char *ws_plugin_find_repeated(apr_pool_t *p, const char *repeatable, const char *own,
                                    int argc, char *const argv[])
{
    char **once = apr_palloc(p, sizeof(*once) * ((apr_size_t)argc + 1));
    const char *error;
    int n = 0;
    /* The plugin was built before this field existed, or checks repeated keys itself. */
    if (!repeatable) {
        return NULL;
    }
    for (int i = 0; i < argc; i++) {
        size_t len = strcspn(argv[i], "=");
        if (!ws_header_list_has(own, argv[i], len, 1)
            && !ws_header_list_has(repeatable, argv[i], len, 1)) {
            once[n++] = argv[i];
        }
    }
    error = ws_find_repeated(p, n, once, ws_compare_keys);
    return error ? error : ws_find_repeated(p, argc, argv, strcmp);
}

static const char *plugins_configure(cmd_parms *cmd, ws_handler_line *reg, int argc,
                                     char *const argv[])
{
    const ws_handler *h = reg->location.handler;
    /* plugins_set_protocols() checks protocol=. */
    const char *error =
        ws_plugin_find_repeated(cmd->pool, h->repeatable_keys, "protocol", argc, argv);
    if (error) {
        return apr_psprintf(cmd->pool, "handler %s: %s", reg->location.name, error);
    }
    for (int i = 0; i < argc && !error; i++) {
        const char *equals = strchr(argv[i], '=');
        const char *key, *value;
        if (!equals || equals == argv[i]) {
            return apr_psprintf(cmd->pool, "\"%s\": expected key=value after the handler's name",
                                argv[i]);
        }
        key = apr_pstrmemdup(cmd->pool, argv[i], (apr_size_t)(equals - argv[i]));
        value = equals + 1;
        if (!strcmp(key, "protocol")) {
            error = plugins_set_protocols(cmd, reg, value);
        }
        else if (!h->configure) {
            error = apr_psprintf(cmd->pool,
                                 "handler %s has no keys except protocol=: remove "
                                 "\"%s\"",
                                 reg->location.name, key);
        }
        else if ((error = h->configure(cmd->pool, key, value, &reg->location.config))) {
            error =
                apr_psprintf(cmd->pool, "handler %s, %s: %s", reg->location.name, argv[i], error);
        }
    }
    if (!error && h->configure
        && (error = h->configure(cmd->pool, NULL, NULL, &reg->location.config))) {
        error = apr_psprintf(cmd->pool, "handler %s: %s", reg->location.name, error);
    }
    return error;
}

#define KEY_MAX 255

/* Build a directive's key. The key identifies the WebSocketHandler line. It is the same in other
 * processes, after a reload, and on other machines. Packets have one byte for the key's length, so
 * a hash replaces the beginning of a long key. */
static const char *plugins_key_of(cmd_parms *cmd, const char *handler)
{
    const server_rec *s = cmd->server;
    const char *key =
        apr_psprintf(cmd->pool, "%s:%u %s %s", s->server_hostname ? s->server_hostname : "",
                     s->port, cmd->path ? cmd->path : "", handler);
    apr_size_t len = strlen(key);
    unsigned char digest[APR_SHA1_DIGESTSIZE];
    char hex[2 * APR_SHA1_DIGESTSIZE + 1];
    apr_sha1_ctx_t sha1;
    if (len <= KEY_MAX) {
        return key;
    }
    apr_sha1_init(&sha1);
    apr_sha1_update(&sha1, key, (unsigned)len);
    apr_sha1_final(digest, &sha1);
    ap_bin2hex(digest, sizeof(digest), hex);
    return apr_pstrcat(cmd->pool, hex, " ", key + len - (KEY_MAX - sizeof(hex)), NULL);
}

const char *ws_section_base(cmd_parms *cmd)
{
    const ap_directive_t *section = cmd->directive ? cmd->directive->parent : NULL;
    apr_size_t len;

    if (!section || !strcasecmp(section->directive, "<VirtualHost")) {
        return "";
    }
    if (strcasecmp(section->directive, "<Location") || *section->args == '~'
        || apr_fnmatch_test(cmd->path)) {
        return NULL;
    }
    len = strlen(cmd->path);
    return apr_pstrmemdup(cmd->pool, cmd->path, len - (len && cmd->path[len - 1] == '/'));
}

const char *ws_plugins_add_handler(cmd_parms *cmd, int argc, char *const argv[],
                                   ws_handler_line **added)
{
    ws_handler_line *reg = apr_pcalloc(cmd->pool, sizeof(*reg));
    const ws_plugin_descriptor *d;
    const void *table;
    const char *error = ws_plugin_find(cmd->pool, &handlers, argv[0], &reg->file, &d, &table);

    if (error) {
        return error;
    }
    reg->location.handler = table;
    reg->location.name = apr_pstrdup(cmd->pool, d->name);
    if ((error = plugins_configure(cmd, reg, argc - 1, argv + 1))) {
        return error;
    }
    reg->location.key = plugins_key_of(cmd, argv[0]);
    reg->base = ws_section_base(cmd);
    APR_ARRAY_PUSH(ws_handler_lines, ws_handler_line *) = reg;
    *added = reg;
    return NULL;
}

const char *ws_handler_line_speaks(const ws_handler_line *reg, const char *token, size_t len)
{
    for (int i = 0; reg->protocols && i < reg->protocols->nelts; i++) {
        const char *p = APR_ARRAY_IDX(reg->protocols, i, const char *);
        if (strlen(p) == len && !memcmp(p, token, len)) {
            return p;
        }
    }
    return NULL;
}
