/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses the lines of directives that take any number of arguments. */

#ifndef WS_HTTPD_ARGUMENTS_H
#define WS_HTTPD_ARGUMENTS_H

#include <httpd.h>
#include <http_config.h>

#include "mod_websocket.h"

/** The setter of a directive. cmd->info points to this struct. */
typedef struct ws_arguments_setter {
    const char *(*set)(cmd_parms *cmd, void *config, int argc, char *const argv[]);
} ws_arguments_setter;

/** Split the line of a directive into arguments, and call the setter to which cmd->info points. */
WS_API const char *ws_set_arguments(cmd_parms *cmd, void *config, const char *line);

/** A row of the directive table, for a directive with any number of arguments. (AP_INIT_TAKE_ARGV
 *  drops all arguments after the 64th.) */
#define WS_INIT_ARGUMENTS(directive, func, where, help)                                            \
    AP_INIT_RAW_ARGS(directive, ws_set_arguments, (void *)&(const ws_arguments_setter){func},      \
                     where, help)

/**
 * Check that no argument is given twice, since the directive would ignore one of the two.
 * @param compare  strcmp, strcasecmp or ws_compare_keys
 * @return NULL, or the error without the directive's name
 */
WS_API const char *ws_find_repeated(apr_pool_t *p, int argc, char *const argv[],
                                    int (*compare)(const char *, const char *));

/** ws_find_repeated(), with the directive's name in the error. */
WS_API const char *ws_check_repeated(cmd_parms *cmd, int argc, char *const argv[],
                                     int (*compare)(const char *, const char *));

/** Compare the keys of two arguments key=value, ignoring case. An argument without "=" is a key.
 *  @return 0: the keys are the same; otherwise their order, as strcmp() */
WS_API int ws_compare_keys(const char *a, const char *b);

#endif
