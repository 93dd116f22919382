/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Manages the Lua states (interpreters) of a WebSocketHandler line. Each event loop has a state
 *  for its connections, and each request takes a state from a pool. */

#include "script.h"

static script_state *pool_new_logged(script_config *config)
{
    char error[sizeof(((script_state *)0)->error)];
    script_state *s = script_state_new(config, error, sizeof(error));

    if (!s) {
        ws_log(WS_LOG_ERROR, "lua: %s: %s", config->file, error);
    }
    return s;
}

/* Find the state of the calling loop. Called with the lock held. @return NULL: the loop has none
 * yet */
static script_state *pool_find(script_config *config)
{
    script_state *s = config->loops;

    while (s && (s->retired || !s->owned || !pthread_equal(s->owner, pthread_self()))) {
        s = s->next;
    }
    return s;
}

script_state *script_state_of_loop(script_config *config)
{
    script_state *s;

    pthread_mutex_lock(&config->lock);
    s = pool_find(config);
    pthread_mutex_unlock(&config->lock);
    if (!s && (s = pool_new_logged(config)) != NULL) {
        s->owner = pthread_self();
        s->owned = 1;
        pthread_mutex_lock(&config->lock);
        s->next = config->loops;
        config->loops = s;
        pthread_mutex_unlock(&config->lock);
    }
    if (s) {
        s->connections++;
    }
    return s;
}

void script_state_release(script_state *s)
{
    script_config *config = s->config;
    script_state **p = &config->loops;

    if (--s->connections || !s->retired) {
        return;
    }
    pthread_mutex_lock(&config->lock);
    while (*p != s) {
        p = &(*p)->next;
    }
    *p = s->next;
    pthread_mutex_unlock(&config->lock);
    script_state_free(s);
}

script_state *script_state_take(script_config *config)
{
    script_state *s;

    pthread_mutex_lock(&config->lock);
    if ((s = config->idle) != NULL) {
        config->idle = s->next;
    }
    pthread_mutex_unlock(&config->lock);
    return s ? s : pool_new_logged(config);
}

void script_state_give(script_state *s)
{
    script_config *config = s->config;

    if (s->retired) {
        script_state_free(s);
        return;
    }
    pthread_mutex_lock(&config->lock);
    s->next = config->idle;
    config->idle = s;
    pthread_mutex_unlock(&config->lock);
}
