/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses the keys of `ws_lua.so`. Runs the script once, so that httpd refuses a broken script when
 *  it reads its configuration. */

#include <string.h>

#include <httpd.h>
#include <http_config.h>
#include <apr_file_io.h>
#include <apr_strings.h>

#include "script.h"
#include "websocket_parse.h"

#define DEFAULT_MEMORY (16 * 1024 * 1024)
#define MEMORY_MIN (256 * 1024)
#define MEMORY_MAX (APR_INT64_C(4) * 1024 * 1024 * 1024)
#define DEFAULT_INSTRUCTIONS 10000000
#define INSTRUCTIONS_MIN 10000
#define INSTRUCTIONS_MAX APR_INT64_C(100000000000)
#define SOURCE_MAX (1024 * 1024)

static const char *config_set_libraries(apr_pool_t *p, script_config *config, const char *value)
{
    const apr_array_header_t *names = ws_parse_list(p, value);
    int valid = names != NULL;

    for (int i = 0; valid && i < names->nelts; i++) {
        const char *n = APR_ARRAY_IDX(names, i, const char *);
        unsigned library = !strcmp(n, "io")        ? SCRIPT_IO
                           : !strcmp(n, "os")      ? SCRIPT_OS
                           : !strcmp(n, "package") ? SCRIPT_PACKAGE
                                                   : 0;

        valid = library && !(config->libraries & library);
        config->libraries |= library;
    }
    return valid ? NULL : "takes one or more of io, os and package, separated by commas, each once";
}

static const char *config_failure(apr_pool_t *p, const char *file, apr_status_t status)
{
    char text[200];

    return apr_psprintf(p, "%s: %s", file, apr_strerror(status, text, sizeof(text)));
}

/* Skip a first line that begins with "#", as Lua does. Keep the newline of this line, so that line
 * numbers are right. */
static void config_skip_first_line(script_config *config)
{
    const char *end = memchr(config->source, '\n', config->source_len);

    if (config->source_len && *config->source == '#') {
        end = end ? end : config->source + config->source_len;
        config->source_len -= (apr_size_t)(end - config->source);
        config->source = end;
    }
}

static const char *config_read(apr_pool_t *p, script_config *config)
{
    apr_file_t *f;
    apr_finfo_t info;
    char *text;
    apr_status_t status = apr_file_open(&f, config->file, APR_READ | APR_BINARY, 0, p);

    if (status != APR_SUCCESS) {
        return config_failure(p, config->file, status);
    }
    status = apr_file_info_get(&info, APR_FINFO_SIZE | APR_FINFO_TYPE, f);
    if (status == APR_SUCCESS && (info.filetype != APR_REG || info.size > SOURCE_MAX)) {
        apr_file_close(f);
        return apr_psprintf(p, "%s must be a file of at most 1 MiB", config->file);
    }
    text = apr_palloc(p, (apr_size_t)info.size + 1);
    if (status == APR_SUCCESS) {
        status = apr_file_read_full(f, text, (apr_size_t)info.size, &config->source_len);
    }
    apr_file_close(f);
    if (status != APR_SUCCESS && status != APR_EOF) {
        return config_failure(p, config->file, status);
    }
    config->source = text;
    config_skip_first_line(config);
    return NULL;
}

static const char *config_check(apr_pool_t *p, script_config *config)
{
    char error[sizeof(((script_state *)0)->error)], *traceback;
    script_state *s;
    int any = 0;

    if (!config->file) {
        return "script= is missing: name the Lua file";
    }
    s = script_state_new(config, error, sizeof(error));
    if (!s) {
        if ((traceback = strstr(error, "\nstack traceback:")) != NULL) {
            *traceback = '\0';
        }
        return apr_pstrdup(p, error);
    }
    for (int i = 0; i < SCRIPT_FUNCTIONS; i++) {
        config->defined[i] = s->functions[i] != LUA_NOREF;
        any |= config->defined[i];
    }
    script_state_free(s);
    return any ? NULL
               : apr_psprintf(p,
                              "%s: defines none of the functions open, message, close, channel, "
                              "drain, pong and request",
                              config->file);
}

static script_config *config_new(apr_pool_t *p)
{
    script_config *config = apr_pcalloc(p, sizeof(*config));

    config->memory = DEFAULT_MEMORY;
    config->instructions = DEFAULT_INSTRUCTIONS;
    config->values = apr_table_make(p, 4);
    pthread_mutex_init(&config->lock, NULL);
    return config;
}

const char *script_configure(apr_pool_t *p, const char *key, const char *value, void **data)
{
    script_config *config = *data;

    if (!config) {
        *data = config = config_new(p);
    }
    if (!key) {
        return config_check(p, config);
    }
    if (!strcmp(key, "script")) {
        config->file = ap_server_root_relative(p, value);
        return config->file ? config_read(p, config) : "takes the path of a Lua file";
    }
    if (!strcmp(key, "memory")) {
        return ws_parse_size(p, value, MEMORY_MIN, MEMORY_MAX, &config->memory);
    }
    if (!strcmp(key, "instructions")) {
        return ws_parse_count(p, value, INSTRUCTIONS_MIN, INSTRUCTIONS_MAX, &config->instructions);
    }
    if (!strcmp(key, "libraries")) {
        return config_set_libraries(p, config, value);
    }
    apr_table_set(config->values, key, value);
    return NULL;
}
