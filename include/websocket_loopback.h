/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * @file websocket_loopback.h
 * @brief Requests of the server to itself that count as those of a client.
 *
 * A handler that asks a page of the same server for a client, over its own connection from the same
 * machine, sends this header with it. The server then takes user, address and TLS variables from it, and
 * sets WEBSOCKET=1 in the environment of the request. The header's value, a credential, is signed with a key
 * that is made when the server starts. It is good for one POST request, to one page of one host, for a short
 * time, and as long as the process that has signed it runs. Any other is refused with 403.
 *
 * Both functions are found by APR_RETRIEVE_OPTIONAL_FN(), once the configuration has been read.
 */

#ifndef WEBSOCKET_LOOPBACK_H
#define WEBSOCKET_LOOPBACK_H

#include <apr_optional.h>
#include <httpd.h>

/** The header's name. The application does not see the header. */
#define WS_LOOPBACK_HEADER "WebSocket-Loopback"

/** Greatest length of its value, bytes, with the NUL: TLS variables that would make it longer are left out. */
#define WS_LOOPBACK_MAX 6144

/** Notes of a request to which a WebSocketHandler of a .htaccess belongs: path and dir of ws_loopback_claims(). */
#define WS_LOOPBACK_NOTE_PATH "websocket-htaccess-path"
#define WS_LOOPBACK_NOTE_DIR "websocket-htaccess-dir"

/**
 * What credentials say of the client of this request: its user, address, and those variables
 * SSL_... that `SSLOptions +StdEnvVars` has set.
 * @param r     inside on_request, on its thread
 * @param path  of the page, as in the request line, without query string;
 *              the Host header will be the same as that of r
 * @param dir   NULL; or the page has to be a file below this directory (its path ends with a slash). If it is
 *              none, the request has neither user nor WEBSOCKET
 * @return allocated from r->pool; NULL if that without TLS variables is too long, or r has no Host
 */
APR_DECLARE_OPTIONAL_FN(const char *, ws_loopback_claims,
                        (request_rec * r, const char *path, const char *dir));

/**
 * A credential for one request.  [any thread]
 * @param claims  what ws_loopback_claims() has returned, or a copy of it
 * @param ms      how long it is good, milliseconds
 * @param out     gets the NUL-terminated value
 * @param size    of out, bytes; WS_LOOPBACK_MAX is always enough
 * @return 1; 0 if it does not fit, or this process cannot sign
 */
APR_DECLARE_OPTIONAL_FN(int, ws_loopback_sign,
                        (const char *claims, apr_uint32_t ms, char *out, apr_size_t size));

#endif
