/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * @file websocket_loopback.h
 * @brief Requests from the server to itself, on behalf of a client.
 *
 * A handler may request a page from its own server on behalf of a client, over a separate
 * connection from the same machine. In that request, the handler sends the header
 * WebSocket-Loopback. The server takes the client's user, address and TLS variables from the
 * header, and sets WEBSOCKET=1 in the environment of the request. The header's value is a
 * credential, signed with a key that the server creates when it starts. The credential is valid for
 * one POST request to one page of one host. It expires after a short time, and when the process
 * that signed it ends. If the credential is invalid, the server answers the request with 403.
 *
 * Retrieve both functions with APR_RETRIEVE_OPTIONAL_FN(), after the configuration has been read.
 */

#ifndef WEBSOCKET_LOOPBACK_H
#define WEBSOCKET_LOOPBACK_H

#include <apr_optional.h>
#include <httpd.h>

/** The header's name. The server removes the header before the application gets the request. */
#define WS_LOOPBACK_HEADER "WebSocket-Loopback"

/** Maximum length of the header's value, bytes, with the NUL. TLS variables that would exceed it
 *  are left out. */
#define WS_LOOPBACK_MAX 6144

/** Names of notes of a request whose WebSocketHandler is set in a .htaccess file. The notes contain
 *  path and dir for ws_loopback_claims(). */
#define WS_LOOPBACK_NOTE_PATH "websocket-htaccess-path"
#define WS_LOOPBACK_NOTE_DIR "websocket-htaccess-dir"

/**
 * Collect the claims about the client of a request: its user, its address, and the SSL_...
 * variables that `SSLOptions +StdEnvVars` has set.
 * @param r     the client's handshake. Call this function inside on_request, on its thread
 * @param path  path of the page, as in the request line, without query string. The request for the
 *              page must have the same Host header as r
 * @param dir   NULL, or the path of a directory, ending with a slash. If httpd maps the request for
 *              the page to a file that is not below this directory, the request gets neither the
 *              user, nor the TLS variables, nor WEBSOCKET=1
 * @return the claims, allocated from r->pool; NULL: they are too long even without TLS variables,
 *         or r has no Host header
 */
APR_DECLARE_OPTIONAL_FN(const char *, ws_loopback_claims,
                        (request_rec * r, const char *path, const char *dir));

/**
 * Create a credential for one request.  [any thread]
 * @param claims  the result of ws_loopback_claims(), or a copy of it
 * @param ms      how long the credential is valid, milliseconds
 * @param out     set to the NUL-terminated value
 * @param size    size of out, bytes; WS_LOOPBACK_MAX is always enough
 * @return 1; 0: out is too small, or this process cannot sign
 */
APR_DECLARE_OPTIONAL_FN(int, ws_loopback_sign,
                        (const char *claims, apr_uint32_t ms, char *out, apr_size_t size));

#endif
