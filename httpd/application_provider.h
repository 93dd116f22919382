/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The provider interface for an application that authorizes channel use. */

#ifndef WS_HTTPD_APPLICATION_PROVIDER_H
#define WS_HTTPD_APPLICATION_PROVIDER_H

#include <httpd.h>

#include "channels/application.h"

/** ap_register_provider(p, WS_APPLICATION_GROUP, "application", WS_APPLICATION_VERSION, &table) */
#define WS_APPLICATION_GROUP "websocket_application"
#define WS_APPLICATION_VERSION "1"

typedef struct ws_application_provider {
    /**
     * child_init.
     * @return NULL: none is configured, or it cannot start and has logged the reason
     */
    const ws_application *(*child_init)(apr_pool_t *pchild, server_rec *s);
    /** Called before the channels and the engine stop. Must answer all open questions. */
    void (*child_stop)(void);
} ws_application_provider;

#endif
