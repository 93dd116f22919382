/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Timers that belong to no connection: ws_ticker in mod_websocket.h. */

#ifndef WS_ENGINE_TICKER_H
#define WS_ENGINE_TICKER_H

#include "engine/engine.h"

/** Call each ticker's fn for the last time. Call after the loops have ended. */
void ws_tickers_end(ws_engine *engine);

#endif
