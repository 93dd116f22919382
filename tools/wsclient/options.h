/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The command line of wsclient. */

#ifndef WS_TOOLS_OPTIONS_H
#define WS_TOOLS_OPTIONS_H

#include <apr_tables.h>

#include "include/websocket_client.h"

/** How the program ends: documented in wsclient(1). */
typedef enum {
    WS_EXIT_DONE = 0,
    WS_EXIT_CLOSED = 1,     /**< the server closed with an error, or too early; or it broke */
    WS_EXIT_USAGE = 2,      /**< the command line is wrong */
    WS_EXIT_NO_SERVER = 3,  /**< there was no connection */
    WS_EXIT_TIMEOUT = 4,    /**< --timeout is over */
    WS_EXIT_IO = 5,         /**< input or output */
    WS_EXIT_INTERRUPT = 130 /**< Ctrl-C */
} ws_exit;

/** What messages look like on our side. */
typedef enum { WS_FORM_LINES, WS_FORM_BINARY, WS_FORM_HEX } ws_form;

typedef struct ws_cli {
    ws_connect_options to;
    ws_form form;
    int json, frames, quiet, stay, verbose;
    const char *const *messages; /**< of --execute, message_count of them */
    unsigned message_count;
    apr_uint32_t close_timeout; /**< milliseconds */
    apr_uint64_t count;         /**< messages that are waited for, 0: none */
    apr_uint32_t timeout;       /**< milliseconds, 0: none */
    const char *record;         /**< a file, or NULL */
    int terminal;               /**< a person types, and reads */
    int colour;                 /**< what is shown on standard error may be coloured */
} ws_cli;

extern ws_cli ws_options;

/** Fill ws_options; ends the program for --help, and where something is wrong. */
void ws_options_read(int argc, char *argv[], apr_pool_t *pool);

#endif
