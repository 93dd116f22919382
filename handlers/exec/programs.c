/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Lists a directory of programs when httpd reads the configuration, and chooses a program for a
 * request.
 */

#include "programs.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <apr_file_info.h>
#include <apr_strings.h>

#define ALPHANUMERIC "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#define DEFAULT_NAME "_default"

static int programs_name_valid(const char *name)
{
    size_t len = strlen(name);

    return !strcmp(name, DEFAULT_NAME)
           || (len <= EXEC_NAME_MAX && strchr(ALPHANUMERIC, *name)
               && strspn(name, ALPHANUMERIC "-_.") == len && name[len - 1] != '.');
}

/* Add a file to the list. Skip hidden files and editors' backup files. */
static const char *programs_add(apr_pool_t *pool, apr_array_header_t *programs,
                                const char *directory, const char *name)
{
    const char *file = apr_pstrcat(pool, directory, "/", name, NULL);
    struct stat st;

    if (*name == '.' || name[strlen(name) - 1] == '~' || stat(file, &st) < 0 || !S_ISREG(st.st_mode)
        || !(st.st_mode & 0111)) {
        return NULL;
    }
    if (!programs_name_valid(name)) {
        return apr_psprintf(pool,
                            "%s: the name of a program must be _default, or have 1 to %d "
                            "characters (letters, digits and - _ .) and start with a letter or "
                            "digit; rename the file, or make it not executable (chmod -x)",
                            file, EXEC_NAME_MAX);
    }
    APR_ARRAY_PUSH(programs, const char *) = apr_pstrdup(pool, name);
    return NULL;
}

const char *exec_programs_list(apr_pool_t *pool, const char *directory,
                               apr_array_header_t **programs)
{
    const char *error = NULL;
    apr_finfo_t info;
    apr_dir_t *dir;
    char why[128];
    apr_status_t rv = apr_dir_open(&dir, directory, pool);

    *programs = apr_array_make(pool, 8, sizeof(const char *));
    if (rv != APR_SUCCESS) {
        return apr_psprintf(pool, "cannot read the directory %s: %s", directory,
                            apr_strerror(rv, why, sizeof(why)));
    }
    while (!error && apr_dir_read(&info, APR_FINFO_NAME, dir) == APR_SUCCESS) {
        error = programs_add(pool, *programs, directory, info.name);
    }
    apr_dir_close(dir);
    return error || (*programs)->nelts
               ? error
               : apr_psprintf(pool, "no program in %s; make one executable (chmod +x)", directory);
}

int exec_programs_choose(apr_pool_t *pool, const apr_array_header_t *programs,
                         const char *directory, const char *base, const char *uri,
                         exec_choice *choice)
{
    size_t base_len = strlen(base), len;
    const char *name = uri + base_len + (uri[base_len] == '/'), *wanted = name;

    if (strncmp(uri, base, base_len)) { /* a module has changed the path */
        return 0;
    }
    len = strcspn(name, "/");
    choice->script_name = apr_pstrmemdup(pool, uri, (apr_size_t)(name - uri) + len);
    choice->path_info = name + len;
    if (!len && !*choice->path_info) {
        wanted = DEFAULT_NAME;
        len = sizeof(DEFAULT_NAME) - 1;
        choice->script_name = base;
        choice->path_info = uri + base_len;
    }
    else if (*name == '_') { /* the default program serves only the Location's own path */
        return 0;
    }
    for (int i = 0; i < programs->nelts; i++) {
        const char *program = APR_ARRAY_IDX(programs, i, const char *);
        if (strlen(program) == len && !memcmp(program, wanted, len)) {
            choice->file = apr_pstrcat(pool, directory, "/", program, NULL);
            return 1;
        }
    }
    return 0;
}
