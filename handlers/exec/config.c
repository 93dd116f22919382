/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses the keys on a line `WebSocketHandler ws_exec.so`. Invalid values are refused when httpd
 *  reads its configuration. */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <apr_strings.h>

#include "exec.h"
#include "programs.h"
#include "slots.h"
#include "websocket_parse.h"

#define DEFAULT_MAX 100
#define DEFAULT_LONGEST (1024 * 1024)
#define DEFAULT_LINES 10
#define STOP_MAX (60 * 1000)

/* The characters that separate arguments. */
#define SPACES " \t\n\v\f\r"

/* Whether each argument that begins with a quotation mark also ends with one. Arguments are split
 * as by apr_tokenize_to_argv(). */
static int config_quotes_end(const char *s)
{
    while (*(s += strspn(s, SPACES))) {
        char quote = *s == '"' || *s == '\'' ? *s++ : 0;
        while (*s && (quote ? *s != quote : !strchr(SPACES, *s))) {
            s += *s == '\\' && s[1] && strchr(SPACES "\"'", s[1]) ? 2 : 1;
        }
        if (quote && !*s) {
            return 0;
        }
        s += *s != 0;
    }
    return 1;
}

static const char *config_set_command(apr_pool_t *pconf, exec_config *config, const char *value)
{
    struct stat st;
    char *file;
    size_t len;

    if (apr_tokenize_to_argv(value, &config->argv, pconf) != APR_SUCCESS || !config->argv[0]
        || config->argv[0][0] != '/') {
        return "takes the absolute path of a program, and its arguments";
    }
    if (!config_quotes_end(value)) {
        return "an argument begins with a quotation mark, but does not end with one";
    }
    file = config->argv[0];
    len = strlen(file);
    if (!strcmp(file + len - 2, "/*")) {
        config->folder = apr_pstrmemdup(pconf, file, len - 2);
        return exec_programs_list(pconf, config->folder, &config->programs);
    }
    if (stat(file, &st) < 0) {
        return apr_psprintf(pconf, "%s: %s", file, strerror(errno));
    }
    return S_ISREG(st.st_mode) && (st.st_mode & 0111)
               ? NULL
               : apr_psprintf(pconf, "%s is not an executable file: chmod +x", file);
}

typedef const char *parser(apr_pool_t *p, const char *text, apr_int64_t least, apr_int64_t most,
                           apr_int64_t *n);

static const char *config_set_number(apr_pool_t *pconf, parser *parse, const char *value,
                                     apr_int64_t least, apr_int64_t most, apr_uint32_t *field)
{
    apr_int64_t n = *field;
    const char *error = parse(pconf, value, least, most, &n);

    *field = (apr_uint32_t)n;
    /* cppcheck-suppress returnDanglingLifetime; the text is static or from pconf */
    return error;
}

static const char *config_set_stop(apr_pool_t *pconf, exec_config *config, const char *value)
{
    const apr_array_header_t *times = ws_parse_list(pconf, value);
    apr_uint32_t after = 1;
    int valid = times && times->nelts == EXEC_STEPS;

    for (int i = 0; valid && i < EXEC_STEPS; i++) {
        valid = !config_set_number(pconf, ws_parse_interval, APR_ARRAY_IDX(times, i, char *), after,
                                   STOP_MAX, &config->stop_at[i]);
        after = config->stop_at[i];
    }
    return valid ? NULL : "takes three times from 1ms to 60s, in ascending order: 1s,3s,5s";
}

/* Find a value in a list of words. @return its index, or -1 */
static int config_word(const char *value, const char *const *words)
{
    for (int i = 0; words[i]; i++) {
        if (!strcmp(value, words[i])) {
            return i;
        }
    }
    return -1;
}

static const char *config_set_directory(apr_pool_t *pconf, exec_config *config, const char *value)
{
    struct stat folder;

    config->directory = apr_pstrdup(pconf, value);
    return *value != '/'              ? "takes an absolute path"
           : stat(value, &folder) < 0 ? strerror(errno)
           : S_ISDIR(folder.st_mode)  ? NULL
                                      : "is no folder";
}

static const char *config_set_lines(apr_pool_t *pconf, exec_config *config, const char *value)
{
    const char *error;

    config->lines = 0;
    if (!strcmp(value, "off")
        || !(error = config_set_number(pconf, ws_parse_count, value, 1, 10000, &config->lines))) {
        return NULL;
    }
    return apr_pstrcat(pconf, error, ", which is the number of lines to log per second; or off",
                       NULL);
}

static const char *config_set(apr_pool_t *pconf, exec_config *config, const char *key,
                              const char *value)
{
    static const char *const framings[] = {"line", "nul", "length", NULL};
    static const char *const types[] = {"text", "binary", NULL};
    static const char *const shares[] = {"off", "on", "server", NULL};
    int n;

    if (!strcmp(key, "command")) {
        return config_set_command(pconf, config, value);
    }
    if (!strcmp(key, "directory")) {
        return config_set_directory(pconf, config, value);
    }
    if (!strcmp(key, "framing")) {
        config->framing = (exec_framing)(n = config_word(value, framings));
        return n >= 0 ? NULL : "takes line, nul or length";
    }
    if (!strcmp(key, "type")) {
        config->type = (n = config_word(value, types)) ? WS_BINARY : WS_TEXT;
        return n >= 0 ? NULL : "takes text or binary";
    }
    if (!strcmp(key, "shared")) {
        n = config_word(value, shares);
        config->shared = n < 0 ? EXEC_EACH : (unsigned)n;
        return n >= 0 ? NULL : "takes on, server or off";
    }
    if (!strcmp(key, "max")) {
        return config_set_number(pconf, ws_parse_count, value, 1, 100000, &config->max);
    }
    if (!strcmp(key, "longest")) {
        return config_set_number(pconf, ws_parse_size, value, 1, 1 << 30, &config->longest);
    }
    if (!strcmp(key, "stderr")) {
        return config_set_lines(pconf, config, value);
    }
    if (!strcmp(key, "stop")) {
        return config_set_stop(pconf, config, value);
    }
    return "unknown key; the keys are command=, directory=, framing=, type=, shared=, max=, "
           "longest=, stderr= and stop=";
}

/* Build the name of a shared program's server. The same command with the same options gets the same
 * name in the next generation of child processes. */
static const char *config_name_of(apr_pool_t *pconf, const exec_config *config)
{
    const char *name =
        apr_psprintf(pconf, "1 %d %d %s", config->framing, config->type, config->directory);

    for (char **a = config->argv; *a; a++) {
        name = apr_pstrcat(pconf, name, "\n", *a, NULL);
    }
    return name;
}

const char *exec_configure(apr_pool_t *pconf, const char *key, const char *value, void **data)
{
    static const exec_config defaults = {.type = WS_TEXT,
                                         .max = DEFAULT_MAX,
                                         .longest = DEFAULT_LONGEST,
                                         .lines = DEFAULT_LINES,
                                         .stop_at = {1000, 3000, 5000}};
    exec_config *config = *data;

    if (!config) {
        *data = config = apr_pmemdup(pconf, &defaults, sizeof(defaults));
    }
    if (key) {
        return config_set(pconf, config, key, value);
    }
    if (!config->argv) {
        return "command= is missing: name the program";
    }
    if (config->programs && config->shared) {
        return "shared= is for one program: name it in command=";
    }
    if (!config->directory) {
        config->directory = ap_make_dirstr_parent(pconf, config->argv[0]);
    }
    if (!(config->slots = exec_slots_new(pconf, config->max))) {
        return "not enough memory for max=";
    }
    if (config->shared == EXEC_SERVER
        && !(config->server = exec_server_new(pconf, config_name_of(pconf, config)))) {
        return apr_psprintf(pconf, "cannot create the socket of shared=server: %s",
                            strerror(errno));
    }
    return NULL;
}
