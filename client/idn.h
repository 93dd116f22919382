/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Host names with letters beyond ASCII. */

#ifndef WS_CLIENT_IDN_H
#define WS_CLIENT_IDN_H

/** Longest name of the name service, with its NUL. */
#define WS_IDN_SIZE 256

/** The name as the name service has it: RFC 5891. @return NULL, or what is wrong, static */
const char *ws_idn_to_ascii(const char *host, char out[WS_IDN_SIZE]);

#endif
