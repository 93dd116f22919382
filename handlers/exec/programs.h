/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Handles a directory of programs. The segment of the path that follows the section's path names a
 * program. The handler lists the directory when httpd reads the configuration, and a request can
 * choose only a listed program.
 */

#ifndef WS_EXEC_PROGRAMS_H
#define WS_EXEC_PROGRAMS_H

#include <apr_tables.h>

/** Longest name of a program, bytes. */
#define EXEC_NAME_MAX 64

/** Parts of a request's path. */
typedef struct exec_choice {
    const char *file; /**< the program's file, with its directory */
    /** SCRIPT_NAME: the path up to and including the program's name (RFC 3875, section 4.1.13) */
    const char *script_name;
    /** PATH_INFO: the rest of the path, which is "" or begins with a slash (section 4.1.5) */
    const char *path_info;
} exec_choice;

/**
 * List the executable files of a directory.
 * @param programs  set to their names, const char *
 * @return NULL, or an error text
 */
const char *exec_programs_list(apr_pool_t *pool, const char *directory,
                               apr_array_header_t **programs);

/**
 * Choose the program for a request's path.
 * @param base  the <Location>'s path, without a slash at its end
 * @return whether the directory has such a program
 */
int exec_programs_choose(apr_pool_t *pool, const apr_array_header_t *programs,
                         const char *directory, const char *base, const char *uri,
                         exec_choice *choice);

#endif
