/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Counts the descriptors that the child has left. Some are reserved for httpd. */

#ifndef WS_HTTPD_DESCRIPTORS_H
#define WS_HTTPD_DESCRIPTORS_H

#include <httpd.h>

#include "engine/engine.h"

typedef enum {
    WS_DESCRIPTORS_ENOUGH, /**< or their number is unknown */
    WS_DESCRIPTORS_LOW,    /**< handshakes will soon be refused */
    WS_DESCRIPTORS_NONE    /**< httpd needs the rest */
} ws_descriptors;

/** child_init, after the limit of descriptors has been raised. */
apr_status_t ws_descriptors_child_init(apr_pool_t *pchild, server_rec *s,
                                       ws_engine_options *options);

/** How many descriptors are left for a new handshake.  [any thread in a child] */
ws_descriptors ws_descriptors_left(void);

/** Whether descriptors were low at a recent handshake, and few connections have ended since.
 *  [any thread in a child] */
int ws_descriptors_low(void);

#endif
