/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Performs a client's opening handshake (RFC 6455, section 4.1). */

#ifndef WSBENCH_HANDSHAKE_H
#define WSBENCH_HANDSHAKE_H

#include "tools/wsbench/connection.h"

/** Maximum size of a response to a handshake, bytes. */
#define HANDSHAKE_MAX 16384u

/** Write the handshake requests of all targets. Must be called before fork(). */
void handshake_prepare(void);

/**
 * Parse a handshake response, and set the negotiated options.
 * @param wrong  set to an error text if the response is invalid
 * @return length of the response, bytes; 0: the response is incomplete
 */
size_t handshake_check(peer *p, char *data, size_t len, const char **wrong);

#endif
