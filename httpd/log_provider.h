/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Defines the provider interface for WebSocketLog in a database. */

#ifndef WS_HTTPD_LOG_PROVIDER_H
#define WS_HTTPD_LOG_PROVIDER_H

#include <httpd.h>
#include <http_config.h>

/** ap_register_provider(p, WS_LOG_GROUP, "remote", WS_LOG_VERSION, &table) */
#define WS_LOG_GROUP "websocket_log"
#define WS_LOG_VERSION "1"

/** A target that one or several lines log to. The provider defines the type. */
typedef struct ws_log_store ws_log_store;

typedef struct ws_log_provider {
    /**
     * Parse a WebSocketLog line. The format on the line is not passed.
     * @param url    with "://" or "unix:"
     * @param words  the key=value words on the line
     * @param shown  set to the name that logs show for the store, without passwords
     * @return NULL, or the error
     */
    const char *(*parse)(cmd_parms *cmd, const char *url, int count, char *const words[],
                         ws_log_store **store, const char **shown);
    /**
     * child_init: start the thread that writes the records.
     * @param queue  maximum size of the queue, bytes
     * @param done   called when a record has been written or lost. `why`: the reason if the
     *               record was lost, otherwise NULL. `last`: 1 if the queue is now empty  [any
     *               thread]
     */
    apr_status_t (*start)(ws_log_store *store, apr_pool_t *pchild, server_rec *s, apr_size_t queue,
                          void (*done)(void *arg, const char *why, int last), void *arg);
    /** Queue a record. Does not wait. [any thread] @return 0; -1: the queue is full */
    int (*write)(ws_log_store *store, const char *data, apr_size_t len);
    /** child_stop: write the remaining records, and stop the thread. */
    void (*stop)(ws_log_store *store);
} ws_log_provider;

#endif
