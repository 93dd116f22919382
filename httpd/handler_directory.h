/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A directory of handlers: a segment of the path names the one that answers. */

#ifndef WS_HTTPD_DIRECTORY_H
#define WS_HTTPD_DIRECTORY_H

#include <httpd.h>
#include <http_config.h>

#include "httpd/config.h"

/** Longest name of a handler in a directory, bytes. */
#define WS_DIRECTORY_NAME_MAX 64

/**
 * Load and check all handlers of a directory, for the section that is being read.
 * @param path  as it stands in the configuration
 * @return NULL, or what is wrong
 */
const char *ws_handler_directory_load(cmd_parms *cmd, const char *path,
                                      const ws_handler_directory **loaded);

/**
 * The handler for a request's path, which begins with that of the section.
 * @param name  set to what was looked for and *len bytes of it, also when there is none
 * @return NULL if the directory has none of that name
 */
ws_handler_line *ws_handler_directory_find(const ws_handler_directory *d, const char *uri,
                                           const char **name, apr_size_t *len);

/** The directory's path, for the log. */
const char *ws_handler_directory_path(const ws_handler_directory *d);

#endif
