/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Declares a variant of ws_connect() for code that has an engine and chooses the loop. */

#ifndef WS_CLIENT_CONNECT_H
#define WS_CLIENT_CONNECT_H

#include "engine/engine.h"

/**
 * Like ws_connect(), but on the given loop.  [any thread]
 * @param base  settings of a connection, used for options that are not set; NULL: use the defaults
 * @param tls   TLS context for wss, to which this function adds a reference; NULL: create one from
 *              the options
 */
ws_attempt ws_connect_from(ws_engine *engine, ws_loop *loop, const ws_settings *base,
                           const ws_connect_options *options, SSL_CTX *tls);

#endif
