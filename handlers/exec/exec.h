/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Types and functions shared by the files of the exec handler. */

#ifndef WS_EXEC_H
#define WS_EXEC_H

#include <httpd.h>

#include "mod_websocket.h"

#include "framing.h"
#include "server.h"
#include "spawn.h"

/**
 * Steps of stopping a program after its standard input has been closed: SIGINT, SIGTERM, SIGKILL.
 */
#define EXEC_STEPS 3

typedef struct exec_supervisor exec_supervisor;
typedef struct exec_shared exec_shared;

typedef struct exec_config {
    char **argv;                  /**< argv[0] ends in "/" and "*" for a directory of programs */
    apr_array_header_t *programs; /**< its programs, see programs.h; NULL: a single one */
    const char *folder;           /**< the directory's path */
    const char *directory;
    exec_framing framing;
    ws_type type;
    enum { EXEC_EACH, EXEC_CHILD, EXEC_SERVER } shared; /**< which connections share a program */
    exec_server *server;                                /**< only with EXEC_SERVER */
    apr_uint32_t max;                                   /**< maximum number of running programs */
    apr_uint32_t longest;                               /**< longest message of a program, bytes */
    apr_uint32_t lines;               /**< lines of standard error to log per second; 0: none */
    apr_uint32_t stop_at[EXEC_STEPS]; /**< milliseconds after standard input has been closed */
    int *slots;                       /**< `max` slots, see slots.h */
    exec_supervisor *supervisor;      /**< this child process's */
    exec_shared *shared_program;      /**< this child process's, if the program is shared */
} exec_config;

/** The handler's configure: config.c. */
const char *exec_configure(apr_pool_t *pconf, const char *key, const char *value, void **data);

#endif
