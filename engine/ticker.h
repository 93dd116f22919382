/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Timers that belong to no connection: ws_ticker in mod_websocket.h. */

#ifndef WS_ENGINE_TICKER_H
#define WS_ENGINE_TICKER_H

#include "engine/engine.h"

/** The loops have ended: call each ticker's fn for the last time. */
void ws_tickers_end(ws_engine *engine);

#endif
