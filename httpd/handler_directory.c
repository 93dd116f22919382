/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Loads a directory of handlers when httpd reads the configuration. A request selects one of the
 * loaded handlers, so client input never becomes part of a file name. A file that is added to the
 * directory is loaded at the next reload. `httpd -t` reports a broken handler.
 */

#include "httpd/handler_directory.h"

#include <apr_file_info.h>
#include <apr_fnmatch.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#define ALPHANUMERIC "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#define DEFAULT_NAME "_default"

typedef struct entry {
    const char *name, *file;
    ws_handler_line *reg;
} entry;

struct ws_handler_directory {
    const char *path;
    const char *base;            /* path of the Location, without a trailing slash */
    apr_array_header_t *entries; /* entry, sorted by name */
};

static int directory_name_valid(const char *name)
{
    size_t len = strlen(name);
    return !strcmp(name, DEFAULT_NAME)
           || (len > 0 && len <= WS_DIRECTORY_NAME_MAX && strchr(ALPHANUMERIC, *name)
               && strspn(name, ALPHANUMERIC "-_") == len);
}

static int directory_by_name(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->name, ((const entry *)b)->name);
}

/* Add a file. Every file that ends in .so must be a handler. */
static const char *directory_add_file(apr_pool_t *p, ws_handler_directory *d, const char *file)
{
    apr_size_t len = strlen(file);
    entry *e;
    if (*file == '.' || len < 3 || strcmp(file + len - 3, ".so")) {
        return NULL;
    }
    e = apr_array_push(d->entries);
    e->file = apr_pstrdup(p, file);
    if (!strncmp(file, "ws_", 3)) {
        file += 3;
        len -= 3;
    }
    e->name = apr_pstrmemdup(p, file, len - 3);
    if (directory_name_valid(e->name)) {
        return NULL;
    }
    return apr_psprintf(p,
                        "%s/%s: a handler file is named NAME.so or _default.so, where NAME has 1 "
                        "to %d letters, digits, - and _ and starts with a letter or digit: rename "
                        "or remove it",
                        d->path, e->file, WS_DIRECTORY_NAME_MAX);
}

static const char *directory_read_files(cmd_parms *cmd, ws_handler_directory *d)
{
    const char *error = NULL;
    apr_finfo_t info;
    apr_dir_t *dir;
    char why[128];
    apr_status_t rv = apr_dir_open(&dir, d->path, cmd->temp_pool);

    if (rv == APR_SUCCESS) {
        while (!error && (rv = apr_dir_read(&info, APR_FINFO_NAME, dir)) == APR_SUCCESS) {
            error = directory_add_file(cmd->pool, d, info.name);
        }
        apr_dir_close(dir);
        if (error) {
            return error;
        }
        if (APR_STATUS_IS_ENOENT(rv)) { /* end of the directory */
            return d->entries->nelts ? NULL
                                     : apr_psprintf(cmd->pool,
                                                    "no handler in %s: add a file whose name ends "
                                                    "in .so",
                                                    d->path);
        }
    }
    return apr_psprintf(cmd->pool, "cannot read the directory %s: %s", d->path,
                        apr_strerror(rv, why, sizeof(why)));
}

/* Load the files sorted by name, so that errors are reported in a stable order. */
static const char *directory_load_files(cmd_parms *cmd, ws_handler_directory *d)
{
    entry *e = (entry *)d->entries->elts;
    qsort(e, (size_t)d->entries->nelts, sizeof(*e), directory_by_name);
    for (int i = 0; i < d->entries->nelts; i++) {
        char *argv[] = {apr_pstrcat(cmd->pool, d->path, "/", e[i].file, NULL)};
        const char *error;
        if (i > 0 && !strcmp(e[i].name, e[i - 1].name)) {
            return apr_psprintf(cmd->pool,
                                "%s and %s in %s are both named \"%s\": rename or remove one",
                                e[i - 1].file, e[i].file, d->path, e[i].name);
        }
        if ((error = ws_plugins_add_handler(cmd, 1, argv, &e[i].reg))) {
            return apr_psprintf(cmd->pool, "%s: %s", argv[0], error);
        }
    }
    return NULL;
}

const char *ws_handler_directory_load(cmd_parms *cmd, const char *path,
                                      const ws_handler_directory **loaded)
{
    ws_handler_directory *d = apr_pcalloc(cmd->pool, sizeof(*d));
    const char *error;
    d->path = ws_handler_path(cmd->pool, path);
    d->entries = apr_array_make(cmd->pool, 8, sizeof(entry));
    if (!(d->base = ws_section_base(cmd))) {
        return "allowed outside of sections, in a <VirtualHost>, or in a <Location> without "
               "wildcards, since the next segment of the path selects the handler";
    }
    if ((error = directory_read_files(cmd, d)) || (error = directory_load_files(cmd, d))) {
        return error;
    }
    *loaded = d;
    return NULL;
}

ws_handler_line *ws_handler_directory_find(const ws_handler_directory *d, const char *uri,
                                           const char **name, apr_size_t *len)
{
    const entry *e = (const entry *)d->entries->elts;
    apr_size_t base = strlen(d->base);
    const char *segment;

    /* A module can change the URI after httpd has selected the section. */
    if (strncmp(uri, d->base, base)) {
        *name = uri;
        *len = strlen(uri);
        return NULL;
    }
    segment = uri + base;
    *name = *segment == '/' ? segment + 1 : segment;
    *len = strcspn(*name, "/");
    if (!**name) {
        *name = DEFAULT_NAME;
        *len = sizeof(DEFAULT_NAME) - 1;
    }
    else if (**name == '_') {
        return NULL; /* the default handler only serves the Location's own path */
    }
    for (int i = 0; i < d->entries->nelts; i++) {
        if (strlen(e[i].name) == *len && !memcmp(e[i].name, *name, *len)) {
            return e[i].reg;
        }
    }
    return NULL;
}

const char *ws_handler_directory_path(const ws_handler_directory *d)
{
    return d->path;
}
