/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Copies the handler's table of callbacks. The callbacks in the copy record each call before they
 *  call the handler. The callbacks may run on several threads. */

#include "tools/wshandler-test/calls.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct call {
    struct call *next;
    ws_id conn;
    ws_happening *what;
} call;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* protects the variables below */
static call *first, **last = &first;
static ws_test_client *opening;

static const ws_handler *original;
static ws_handler recording;

static void calls_note(const ws_conn *c, ws_say say, int code, const char *data, apr_size_t len)
{
    ws_happening *e = calloc(1, sizeof(*e) + len + 1);
    call *k = malloc(sizeof(*k));
    if (!e || !k) {
        free(e);
        free(k);
        return;
    }
    e->say = say;
    e->code = code;
    e->len = len;
    if (len) {
        memcpy(e->data, data, len);
    }
    *k = (call){.conn = ws_conn_id(c), .what = e};
    pthread_mutex_lock(&lock);
    *last = k;
    last = &k->next;
    pthread_mutex_unlock(&lock);
}

static void calls_on_open(ws_conn *c)
{
    pthread_mutex_lock(&lock);
    if (opening) {
        opening->conn = ws_conn_id(c);
        opening = NULL;
    }
    pthread_mutex_unlock(&lock);
    if (original->on_open) {
        original->on_open(c);
    }
}

static void calls_on_state(ws_conn *c, ws_state from, ws_state to)
{
    calls_note(c, WS_SAY_STATE, (int)to, NULL, 0);
    if (original->on_state) {
        original->on_state(c, from, to);
    }
}

static int calls_on_closing(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    calls_note(c, WS_SAY_CLOSING, code, reason, len);
    return original->on_closing(c, code, reason, len);
}

const ws_handler *ws_calls_record(const ws_handler *h)
{
    original = h;
    recording = *h;
    recording.on_open = calls_on_open;
    recording.on_state = calls_on_state;
    recording.on_closing = h->on_closing ? calls_on_closing : NULL;
    return &recording;
}

void ws_calls_of_next(ws_test_client *p)
{
    pthread_mutex_lock(&lock);
    opening = p;
    pthread_mutex_unlock(&lock);
}

ws_happening *ws_calls_take(const ws_test_client *p)
{
    ws_happening *e = NULL;
    pthread_mutex_lock(&lock);
    for (call **k = &first; *k && !e; k = &(*k)->next) {
        call *found = *k;
        if (p->conn && found->conn == p->conn) {
            e = found->what;
            if (!(*k = found->next)) {
                last = k;
            }
            free(found);
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    return e;
}

void ws_calls_clear(void)
{
    pthread_mutex_lock(&lock);
    while (first) {
        call *k = first;
        first = k->next;
        free(k->what);
        free(k);
    }
    last = &first;
    opening = NULL;
    pthread_mutex_unlock(&lock);
}
