/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Loads, configures and starts a handler as the module does, and runs it on an engine whose clock
 * is stopped. Only one handler can run at a time.
 */

#ifndef WS_TOOLS_HARNESS_H
#define WS_TOOLS_HARNESS_H

#include "engine/engine.h"
#include "tools/wshandler-test/client.h"

typedef struct ws_harness ws_harness;

/**
 * Load a handler and pass its keys to configure.
 * @return NULL, or the error, which is the text from configure or the reason why the handler cannot
 *         be loaded
 */
const char *ws_harness_configure(ws_harness **stage, const char *handler, int argc,
                                 char *const argv[], apr_pool_t *pool);

/** Apply a setting, in the syntax of its directive. @return NULL, or an error text */
const char *ws_harness_set(ws_harness *stage, const char *directive, const char *value);

/** Create the engine, and call the handler's start function. @return the result of start */
apr_status_t ws_harness_start(ws_harness *stage);

/**
 * Process a handshake. This calls on_request, and sets p->status and p->answer. If the status is
 * 101, it connects the client.
 */
void ws_harness_connect(ws_harness *stage, ws_test_client *p, const ws_step *connect);

/**
 * Wait until nothing is in progress. By then, the handler has read the clients' data, its callbacks
 * have returned (even those of a WS_BLOCKING handler, which run on other threads), and the output
 * of the callbacks has arrived. The handler's own threads may still be running.
 * @param actors  the clients, ws_test_client *
 */
void ws_harness_settle(ws_harness *stage, const apr_array_header_t *actors);

/** Advance the clock by ms milliseconds, from one timer to the next. */
void ws_harness_pass(ws_harness *stage, const apr_array_header_t *actors, apr_uint32_t ms);

/** Close the connections, and call the handler's stop function. */
void ws_harness_stop(ws_harness *stage);

/** End the program with TAP's "Bail out!", because it cannot continue. */
void ws_harness_bail_out(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/** Time limit for a callback, and for messages from other threads, milliseconds. */
extern int ws_harness_patience;

/** Log lines up to this level are shown. */
extern ws_log_level ws_harness_log_level;

#endif
