/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements libwsclient, which runs the engine without httpd, for outgoing connections only. A
 * process has at most one client at a time.
 */

#include <apr_general.h>
#include <stdlib.h>
#include <string.h>

#include "client/connector.h"
#include "engine/handoff.h"
#include "include/websocket_client.h"
#include "protocol/deflate.h"

#define BLOCKING_DEFAULT 4

struct ws_client {
    apr_pool_t *pool;
    ws_engine *engine;
    struct reason *reasons;
};

/* The reason of a Close frame. It is freed together with the client, because loops may send it
 * until then. */
typedef struct reason {
    struct reason *next;
    char text[];
} reason;

/* Whether the process has a client. There can be only one, since ws_send_to() and similar functions
 * take only a connection's id. */
static int exists;
static ws_client_options options_of_it;

static int client_logs(ws_log_level level, const ws_settings *settings)
{
    (void)settings;
    return options_of_it.log && level <= options_of_it.log_level;
}

static void client_write_log(ws_log_level level, const ws_settings *settings, const ws_conn *c,
                             const char *text)
{
    (void)settings;
    options_of_it.log(level, c, text);
}

static apr_status_t client_set_up(ws_client *client)
{
    static const ws_extension *const extensions[] = {&ws_deflate};
    /* Number of the client, which makes ids of an earlier client's connections invalid. */
    static unsigned process;
    const ws_engine_options options = {.loops = options_of_it.loops ? options_of_it.loops : 1,
                                       .blocking = options_of_it.blocking ? options_of_it.blocking
                                                                          : BLOCKING_DEFAULT,
                                       .process = process + 1,
                                       .extensions = extensions,
                                       .extension_count = 1,
                                       .log = client_write_log,
                                       .logs = client_logs};
    apr_status_t rv = apr_pool_create_unmanaged(&client->pool);
    process++;
    if (rv == APR_SUCCESS) {
        rv = ws_engine_create(&client->engine, &options, client->pool);
    }
    return rv;
}

apr_status_t ws_client_create(ws_client **client, const ws_client_options *options)
{
    ws_client *new;
    apr_status_t rv;

    *client = NULL;
    if (options && options->size < offsetof(ws_client_options, blocking)) {
        return APR_EINVAL;
    }
    if (__atomic_exchange_n(&exists, 1, __ATOMIC_ACQ_REL)) {
        return APR_EEXIST;
    }
    memset(&options_of_it, 0, sizeof(options_of_it));
    if (options) {
        memcpy(&options_of_it, options,
               options->size < sizeof(*options) ? options->size : sizeof(*options));
    }
    rv = options_of_it.loops > WS_LOOPS_MAX ? APR_EINVAL : apr_initialize();
    if (rv == APR_SUCCESS) {
        if ((new = calloc(1, sizeof(*new))) && (rv = client_set_up(new)) == APR_SUCCESS) {
            ws_api_engine(new->engine);
            *client = new;
            return APR_SUCCESS;
        }
        if (new &&new->pool) {
            apr_pool_destroy(new->pool);
        }
        rv = new ? rv : APR_ENOMEM;
        free(new);
        apr_terminate();
    }
    __atomic_store_n(&exists, 0, __ATOMIC_RELEASE);
    return rv;
}

apr_size_t ws_client_count(ws_client *client)
{
    return ws_engine_count_all(client->engine);
}

int ws_client_wait(ws_client *client, apr_uint32_t timeout)
{
    if (timeout == WS_NEVER) {
        while (!ws_engine_wait(client->engine, 60 * 1000)) {
        }
        return 1;
    }
    return ws_engine_wait(client->engine, timeout);
}

static void client_end_waiting(ws_loop *loop, ws_task *task)
{
    ws_connector_end_waiting(loop);
    free(task);
}

void ws_client_close_all(ws_client *client, int code, const char *text)
{
    struct reason *r = malloc(sizeof(*r) + (text ? strlen(text) : 0) + 1);
    if (r) {
        strcpy(r->text, text ? text : "");
        r->next = __atomic_load_n(&client->reasons, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n(&client->reasons, &r->next, r, 1, __ATOMIC_RELEASE,
                                            __ATOMIC_RELAXED)) {
        }
    }
    ws_engine_close_all(client->engine, code, r ? r->text : "", 0);
    /* Post this task after the tasks of ws_engine_close_all() */
    for (unsigned i = 0; i < client->engine->options.loops; i++) {
        ws_task *t = ws_task_new(sizeof(*t), client_end_waiting);
        if (t && ws_loop_post(&client->engine->loops[i], t) < 0) {
            free(t);
        }
    }
}

void ws_client_free(ws_client *client)
{
    reason *r;
    int stopped;
    if (!client) {
        return;
    }
    stopped = ws_engine_stop(client->engine);
    ws_api_engine(NULL);
    if (!stopped) {
        return; /* a callback has not returned and still uses the engine, so do not free it */
    }
    ws_engine_destroy(client->engine);
    ws_tls_forget();
    apr_pool_destroy(client->pool);
    while ((r = client->reasons)) {
        client->reasons = r->next;
        free(r);
    }
    free(client);
    apr_terminate();
    __atomic_store_n(&exists, 0, __ATOMIC_RELEASE);
}
