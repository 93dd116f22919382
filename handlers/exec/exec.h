/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** What the files of the handler exec share. */

#ifndef WS_EXEC_H
#define WS_EXEC_H

#include <httpd.h>

#include "mod_websocket.h"

#include "framing.h"
#include "server.h"
#include "spawn.h"

/** Steps of stopping a program whose standard input has been closed: SIGINT, SIGTERM, SIGKILL. */
#define EXEC_STEPS 3

typedef struct exec_keeper exec_keeper;
typedef struct exec_hub exec_hub;

typedef struct exec_config {
    char **argv; /**< argv[0] ends in a slash and "*" where it is a directory of them */
    apr_array_header_t *programs; /**< of that directory, see programs.h; NULL: there is one */
    const char *folder;           /**< that directory */
    const char *directory;
    exec_framing framing;
    ws_type type;
    enum { EXEC_EACH, EXEC_CHILD, EXEC_SERVER } shared; /**< by whom a program is */
    exec_server *server;                                /**< with EXEC_SERVER */
    apr_uint32_t max;                                   /**< programs at once */
    apr_uint32_t longest;                               /**< message of a program, bytes */
    apr_uint32_t lines;               /**< of standard error that are logged, a second; 0: none */
    apr_uint32_t stop_at[EXEC_STEPS]; /**< milliseconds from the closing of standard input */
    int *slots;                       /**< max of them, see slots.h */
    exec_keeper *keeper;              /**< of this child process */
    exec_hub *hub;                    /**< likewise, where the program is shared */
} exec_config;

/** The handler's configure: config.c. */
const char *exec_configure(apr_pool_t *pconf, const char *key, const char *value, void **data);

#endif
