/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Defines the provider interface for an application that authorizes channel use. */

#ifndef WS_HTTPD_APPLICATION_PROVIDER_H
#define WS_HTTPD_APPLICATION_PROVIDER_H

#include <httpd.h>

#include "channels/application.h"

/** ap_register_provider(p, WS_APPLICATION_GROUP, "application", WS_APPLICATION_VERSION, &table) */
#define WS_APPLICATION_GROUP "websocket_application"
#define WS_APPLICATION_VERSION "1"

typedef struct ws_application_provider {
    /**
     * child_init: start the application.
     * @return NULL: none is configured, or the application cannot start and has logged the reason
     */
    const ws_application *(*child_init)(apr_pool_t *pchild, server_rec *s);
    /** Stop the application. The module calls this before the channels and the engine stop. The
     *  function must answer all open questions. */
    void (*child_stop)(void);
} ws_application_provider;

#endif
