/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** ws_connect() for whoever drives the engine. */

#ifndef WS_CLIENT_CONNECT_H
#define WS_CLIENT_CONNECT_H

#include "engine/engine.h"

/**
 * As ws_connect(), on that loop.  [any thread]
 * @param base  what holds where the options say nothing; NULL: the defaults
 */
ws_attempt ws_connect_from(ws_engine *engine, ws_loop *loop, const ws_settings *base,
                           const ws_connect_options *options);

#endif
