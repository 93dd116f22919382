/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Declares types and functions that the files of ws_exec.so share. */

#ifndef WS_EXEC_H
#define WS_EXEC_H

#include <httpd.h>

#include "mod_websocket.h"

#include "framing.h"
#include "server.h"
#include "spawn.h"

/**
 * Number of steps to stop a program after its standard input has been closed. The steps are SIGINT,
 * SIGTERM and SIGKILL.
 */
#define EXEC_STEPS 3

typedef struct exec_supervisor exec_supervisor;
typedef struct exec_shared exec_shared;

typedef struct exec_config {
    char **argv; /**< argv[0] ends in "/" and "*" for a directory of programs */
    /** Programs in the directory, see programs.h; NULL: command= names a single program. */
    apr_array_header_t *programs;
    const char *folder; /**< path of the directory of programs */
    const char *directory;
    exec_framing framing;
    ws_type type;
    enum { EXEC_EACH, EXEC_CHILD, EXEC_SERVER } shared; /**< which connections share a program */
    exec_server *server;                                /**< used only with EXEC_SERVER */
    apr_uint32_t max;                                   /**< maximum number of running programs */
    apr_uint32_t longest;                               /**< longest message of a program, bytes */
    apr_uint32_t lines; /**< lines of standard error to log per second; 0: none */
    /** Times of the stopping steps, milliseconds after standard input has been closed. */
    apr_uint32_t stop_at[EXEC_STEPS];
    int *slots;                  /**< `max` slots, see slots.h */
    exec_supervisor *supervisor; /**< supervisor of this child process */
    /** Shared program of this child process; NULL: the program is not shared. */
    exec_shared *shared_program;
} exec_config;

/** The handler's configure function, in config.c. */
const char *exec_configure(apr_pool_t *pconf, const char *key, const char *value, void **data);

#endif
