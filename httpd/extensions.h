/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements WebSocketExtension and WebSocketCompression, and negotiates extensions with the
 *  client. */

#ifndef WS_HTTPD_EXTENSIONS_H
#define WS_HTTPD_EXTENSIONS_H

#include "engine/extensions.h"
#include "httpd/config.h"
#include "httpd/shm.h"

/** pre_config: discard the extensions of the previous configuration. */
void ws_extensions_reset(apr_pool_t *pconf);

extern const ws_shm_layout *const ws_extensions_layout[];

/** parent_init: create the table in which children count the memory of zlib. */
apr_status_t ws_extensions_init(apr_pool_t *ptemp, server_rec *s);

/** Clear the memory counter of an ended child.  [parent] */
void ws_extensions_reclaim(unsigned slot);

/** child_init, after ws_shm_child_init(): set the extensions of the engine. */
apr_status_t ws_extensions_child_init(apr_pool_t *pchild, server_rec *s,
                                      ws_engine_options *options);

/** Setters of the directives. */
const char *ws_set_extension(cmd_parms *cmd, void *config, int argc, char *const argv[]);
const char *ws_set_compression(cmd_parms *cmd, void *config, int argc, char *const argv[]);

void ws_merge_compression(ws_compression *merged, const ws_compression *base,
                          const ws_compression *add);

/** Whether a Sec-WebSocket-Extensions header is well-formed. */
int ws_extensions_valid(request_rec *r, const char *header);

/**
 * Negotiate extensions.
 * @param header  Sec-WebSocket-Extensions, well-formed, or NULL
 * @param answer  set to the value of the response header, in r->pool; NULL: no extension is used
 * @return the chain, or NULL
 */
ws_chain *ws_extensions_negotiate(request_rec *r, const ws_settings *settings, const char *header,
                                  const char **answer);

/** Get the configuration of permessage-deflate for outgoing connections. */
const struct ws_deflate_config *ws_extensions_outgoing(void);

#endif
