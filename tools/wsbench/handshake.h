/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** URLs, and the opening handshake as a client has it: RFC 6455, sections 3 and 4.1. */

#ifndef WSBENCH_GREETING_H
#define WSBENCH_GREETING_H

#include "tools/wsbench/connection.h"

/** Longest answer to a handshake, bytes. */
#define GREETING_MAX 16384u

/** Read a URL, look its host up, and write its handshake request. @return NULL, or what is wrong */
const char *greeting_target(target *t, const char *url);

/**
 * Read the answer to a handshake, and set what was agreed on.
 * @param wrong  set to what is wrong with it, if it is
 * @return the bytes of the answer; 0 if it has not come whole
 */
size_t greeting_check(peer *p, char *data, size_t len, const char **wrong);

#endif
