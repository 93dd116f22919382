/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * @file websocket_loopback.h
 * @brief Requests of the server to itself that count as those of a client.
 *
 * A handler that asks a page of the same server for a client, by a connection of its own from the same
 * machine, sends this header with it. The server then takes user, address and TLS variables from it, and
 * sets WEBSOCKET=1 in the environment of the request. It is signed with a key that is made when the server
 * starts; a request with another signature, or from another machine, is refused with 403.
 */

#ifndef WEBSOCKET_LOOPBACK_H
#define WEBSOCKET_LOOPBACK_H

#include <apr_optional.h>
#include <httpd.h>

/** The header's name. The application does not see the header. */
#define WS_LOOPBACK_HEADER "WebSocket-Loopback"

/** Greatest length of its value, bytes: TLS variables that would make it longer are left out. */
#define WS_LOOPBACK_MAX 6144

/**
 * The header's value for the client whose request this is: its user, address, and those variables SSL_...
 * that `SSLOptions +StdEnvVars` has set. It is good as long as the server runs, over reloads.
 * Found by APR_RETRIEVE_OPTIONAL_FN(ws_loopback_value), once the configuration has been read.
 * @param r  inside on_request, on its thread
 * @return allocated from r->pool; NULL if user and address alone are longer than WS_LOOPBACK_MAX
 */
APR_DECLARE_OPTIONAL_FN(const char *, ws_loopback_value, (request_rec * r));

#endif
