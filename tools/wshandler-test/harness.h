/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A handler at work: loaded, configured and started as the module does it, on an engine whose clock
 *  stands still. One at a time. */

#ifndef WS_TOOLS_STAGE_H
#define WS_TOOLS_STAGE_H

#include "engine/engine.h"
#include "tools/wshandler-test/client.h"

typedef struct ws_harness ws_harness;

/**
 * Load a handler and hand it its keys.
 * @return NULL, or what is wrong: configure's own text, or why it cannot be loaded
 */
const char *ws_harness_configure(ws_harness **stage, const char *handler, int argc,
                                 char *const argv[], apr_pool_t *pool);

/** A setting, named and written as its directive. @return NULL, or what is wrong */
const char *ws_harness_set(ws_harness *stage, const char *directive, const char *value);

/** Make the engine, and call the handler's start. @return what it returns */
apr_status_t ws_harness_start(ws_harness *stage);

/** Ask the handler about a handshake; p->status and the like become its answer, and if that is 101,
 *  there is a connection. */
void ws_harness_connect(ws_harness *stage, ws_test_client *p, const ws_step *connect);

/**
 * Wait until nothing happens any more: what actors send has been read, callbacks have returned, those
 * of WS_BLOCKING handlers too, and what they sent has come. Threads of the handler's own are not known
 * here.
 * @param actors  ws_test_client *
 */
void ws_harness_settle(ws_harness *stage, const apr_array_header_t *actors);

/** Let time pass, timer by timer. */
void ws_harness_pass(ws_harness *stage, const apr_array_header_t *actors, apr_uint32_t ms);

/** Let the connections end, and call the handler's stop. */
void ws_harness_stop(ws_harness *stage);

/** End the program where it cannot go on: in the middle of a callback, say. TAP's last word. */
void ws_harness_bail_out(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/** How long a callback, or what another thread sends, is waited for, milliseconds. */
extern int ws_harness_patience;

/** Lines of the log up to this level are shown. */
extern ws_log_level ws_harness_log_level;

#endif
