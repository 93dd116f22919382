/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses URLs, and performs a client's opening handshake (RFC 6455, sections 3 and 4.1). */

#ifndef WSBENCH_GREETING_H
#define WSBENCH_GREETING_H

#include "tools/wsbench/connection.h"

/** Maximum size of a response to a handshake, bytes. */
#define GREETING_MAX 16384u

/**
 * Parse a URL, resolve its host, and write its handshake request. @return NULL, or an error text
 */
const char *greeting_target(target *t, const char *url);

/**
 * Parse a handshake response, and set the negotiated options.
 * @param wrong  set to an error text if the response is invalid
 * @return length of the response, bytes; 0: the response is incomplete
 */
size_t greeting_check(peer *p, char *data, size_t len, const char **wrong);

#endif
