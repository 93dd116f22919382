/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses URLs, and does a client's opening handshake: RFC 6455, sections 3 and 4.1. */

#ifndef WSBENCH_GREETING_H
#define WSBENCH_GREETING_H

#include "tools/wsbench/connection.h"

/** Longest response to a handshake, bytes. */
#define GREETING_MAX 16384u

/**
 * Parse a URL, resolve its host, and write its handshake request. @return NULL, or an error text
 */
const char *greeting_target(target *t, const char *url);

/**
 * Parse a handshake response, and set the negotiated options.
 * @param wrong  set to an error text if it is invalid
 * @return its length, bytes; 0: incomplete
 */
size_t greeting_check(peer *p, char *data, size_t len, const char **wrong);

#endif
