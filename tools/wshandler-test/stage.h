/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A handler at work: loaded, configured and started as the module does it, on an engine whose clock
 *  stands still. One at a time. */

#ifndef WS_TOOLS_STAGE_H
#define WS_TOOLS_STAGE_H

#include "engine/engine.h"
#include "tools/wshandler-test/actor.h"

typedef struct ws_stage ws_stage;

/**
 * Load a handler and hand it its keys.
 * @return NULL, or what is wrong: configure's own text, or why it cannot be loaded
 */
const char *ws_stage_configure(ws_stage **stage, const char *handler, int argc, char *const argv[],
                               apr_pool_t *pool);

/** A setting, named and written as its directive. @return NULL, or what is wrong */
const char *ws_stage_set(ws_stage *stage, const char *directive, const char *value);

/** Make the engine, and call the handler's start. @return what it returns */
apr_status_t ws_stage_start(ws_stage *stage);

/** Ask the handler about a handshake; p->status and the like become its answer, and if that is 101,
 *  there is a connection. */
void ws_stage_connect(ws_stage *stage, ws_actor *p, const ws_step *connect);

/**
 * Wait until nothing happens any more: what actors send has been read, callbacks have returned, those
 * of WS_BLOCKING handlers too, and what they sent has come. Threads of the handler's own are not known
 * here.
 * @param actors  ws_actor *
 */
void ws_stage_settle(ws_stage *stage, const apr_array_header_t *actors);

/** Let time pass, timer by timer. */
void ws_stage_pass(ws_stage *stage, const apr_array_header_t *actors, apr_uint32_t ms);

/** Let the connections end, and call the handler's stop. */
void ws_stage_stop(ws_stage *stage);

/** End the program where it cannot go on: in the middle of a callback, say. TAP's last word. */
void ws_stage_bail_out(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/** How long a callback, or what another thread sends, is waited for, milliseconds. */
extern int ws_stage_patience;

/** Lines of the log up to this level are shown. */
extern ws_log_level ws_stage_log_level;

#endif
