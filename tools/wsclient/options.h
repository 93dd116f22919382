/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses the command line of wsclient. */

#ifndef WS_TOOLS_OPTIONS_H
#define WS_TOOLS_OPTIONS_H

#include <apr_tables.h>

#include "include/websocket_client.h"

/** Exit status, documented in wsclient(1). */
typedef enum {
    WS_EXIT_DONE = 0,
    /** The connection was closed early, closed with an error, or aborted. */
    WS_EXIT_CLOSED = 1,
    WS_EXIT_USAGE = 2,      /**< invalid command line */
    WS_EXIT_NO_SERVER = 3,  /**< no connection was established */
    WS_EXIT_TIMEOUT = 4,    /**< --timeout has passed */
    WS_EXIT_IO = 5,         /**< error on standard input or output */
    WS_EXIT_INTERRUPT = 130 /**< ended by Ctrl-C */
} ws_exit;

/** How input and output represent messages. */
typedef enum { WS_FORM_LINES, WS_FORM_BINARY, WS_FORM_HEX } ws_form;

typedef struct ws_cli {
    ws_connect_options to;
    ws_form form;
    int json, frames, quiet, stay, verbose;
    const char *const *messages; /**< array of message_count messages of --execute */
    unsigned message_count;
    apr_uint32_t close_timeout; /**< milliseconds */
    apr_uint64_t count;         /**< number of messages after which to end; 0: no limit */
    apr_uint32_t timeout;       /**< milliseconds; 0: no limit */
    const char *record;         /**< file for --record, or NULL */
    int terminal;               /**< 1: interactive, because input and output are a terminal */
    int colour;                 /**< 1: use colors on standard error */
} ws_cli;

extern ws_cli ws_options;

/** Fill ws_options. Exits for --help and for an invalid command line. */
void ws_options_read(int argc, char *argv[], apr_pool_t *pool);

#endif
