/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Extensions: WebSocketExtension and WebSocketCompression, and what is agreed on with a client. */

#ifndef WS_HTTPD_EXTENSIONS_H
#define WS_HTTPD_EXTENSIONS_H

#include "engine/extensions.h"
#include "httpd/config.h"

/** pre_config: forget what the last configuration had. */
void ws_extensions_reset(apr_pool_t *pconf);

/** post_config: the account of what zlib may use. */
apr_status_t ws_extensions_init(server_rec *s);

/** Register the cleaning up behind children.  [register_hooks] */
void ws_extensions_register(void);

/** child_init, behind ws_shm_child_init(). */
void ws_extensions_child_init(void);

/** What the configuration has loaded, in the order of their indices. */
const ws_extension *const *ws_extensions_all(unsigned *count);

/** The directives' functions. */
const char *ws_set_extension(cmd_parms *cmd, void *config, int argc, char *const argv[]);
const char *ws_set_compression(cmd_parms *cmd, void *config, int argc, char *const argv[]);

void ws_merge_compression(ws_compression *merged, const ws_compression *base,
                          const ws_compression *add);

/** Whether a Sec-WebSocket-Extensions header is well formed. */
int ws_extensions_valid(request_rec *r, const char *header);

/**
 * Agree on extensions.
 * @param header  Sec-WebSocket-Extensions, well formed, or NULL
 * @param answer  set to the answer's, in r->pool; NULL: none is agreed on
 * @return the chain, or NULL
 */
ws_chain *ws_extensions_negotiate(request_rec *r, const ws_settings *settings, const char *header,
                                  const char **answer);

/** permessage-deflate as outgoing connections offer it. */
const struct ws_deflate_config *ws_extensions_outgoing(void);

#endif
