/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements directories of handlers. A segment of the request's path selects the handler. */

#ifndef WS_HTTPD_HANDLER_DIRECTORY_H
#define WS_HTTPD_HANDLER_DIRECTORY_H

#include <httpd.h>
#include <http_config.h>

#include "httpd/config.h"

/** Longest name of a handler in a directory, bytes. */
#define WS_DIRECTORY_NAME_MAX 64

/**
 * Load and check all handlers of a directory for the current section.
 * @param path  as in the configuration
 * @return NULL, or the error
 */
const char *ws_handler_directory_load(cmd_parms *cmd, const char *path,
                                      const ws_handler_directory **loaded);

/**
 * Find the handler for a request's path, which begins with the section's path.
 * @param name  set to the name in the request's path, *len bytes, even if no handler has that name
 * @return NULL if the directory has no handler of that name
 */
ws_handler_line *ws_handler_directory_find(const ws_handler_directory *d, const char *uri,
                                           const char **name, apr_size_t *len);

/** Get the path of a directory of handlers, for the log. */
const char *ws_handler_directory_path(const ws_handler_directory *d);

#endif
