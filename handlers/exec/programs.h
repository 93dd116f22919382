/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A directory of programs: the next segment of the path names one. The directory is listed when the
 * configuration is read, and a request can choose only a listed program.
 */

#ifndef WS_EXEC_PROGRAMS_H
#define WS_EXEC_PROGRAMS_H

#include <apr_tables.h>

/** Longest name of a program, bytes. */
#define EXEC_NAME_MAX 64

/** Parts of a request's path. */
typedef struct exec_choice {
    const char *file;        /**< the program's file, with its directory */
    const char *script_name; /**< the path up to its name: RFC 3875, section 4.1.13 */
    const char *path_info;   /**< the rest, "" or beginning with a slash: section 4.1.5 */
} exec_choice;

/**
 * List the executable files of a directory.
 * @param programs  const char *, their names
 * @return NULL, or an error text
 */
const char *exec_programs_list(apr_pool_t *pool, const char *directory,
                               apr_array_header_t **programs);

/**
 * Choose the program for a request's path.
 * @param base  the <Location>'s path, without a slash at its end
 * @return whether there is such a program
 */
int exec_programs_choose(apr_pool_t *pool, const apr_array_header_t *programs,
                         const char *directory, const char *base, const char *uri,
                         exec_choice *choice);

#endif
