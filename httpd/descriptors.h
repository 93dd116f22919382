/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Determines how many file descriptors the child can still open. Some of these are reserved for
 *  httpd. */

#ifndef WS_HTTPD_DESCRIPTORS_H
#define WS_HTTPD_DESCRIPTORS_H

#include <httpd.h>

#include "engine/engine.h"

typedef enum {
    WS_DESCRIPTORS_ENOUGH, /**< enough are left, or the number is unknown */
    WS_DESCRIPTORS_LOW,    /**< few are left, so handshakes will soon be refused */
    WS_DESCRIPTORS_NONE    /**< only those that are reserved for httpd are left */
} ws_descriptors;

/** child_init: compute the number of reserved descriptors. Must run after the descriptor limit has
 *  been raised. */
apr_status_t ws_descriptors_child_init(apr_pool_t *pchild, server_rec *s,
                                       ws_engine_options *options);

/** Check how many descriptors are left for a new handshake.  [any thread in a child] */
ws_descriptors ws_descriptors_left(void);

/** Whether descriptors were low at a recent handshake, and few connections have ended since.
 *  [any thread in a child] */
int ws_descriptors_low(void);

#endif
