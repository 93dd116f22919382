/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Stores the ids of published messages in memory that all children share. */

#ifndef WS_HTTPD_ONCE_H
#define WS_HTTPD_ONCE_H

#include "channels/once.h"
#include "httpd/shm.h"

extern const ws_shm_layout *const ws_once_layout[];

apr_status_t ws_once_init(apr_pool_t *ptemp, server_rec *s);

/** Get the store of this httpd. @return NULL before parent_init  [child] */
ws_once *ws_once_local(void);

#endif
