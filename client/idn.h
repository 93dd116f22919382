/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Converts internationalized host names. */

#ifndef WS_CLIENT_IDN_H
#define WS_CLIENT_IDN_H

/** Maximum size of a host name in DNS, including the NUL, bytes. */
#define WS_IDN_SIZE 256

/** Convert a name to its ASCII form (RFC 5891). @return NULL, or a static error text */
const char *ws_idn_to_ascii(const char *host, char out[WS_IDN_SIZE]);

#endif
