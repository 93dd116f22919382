/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * This handler has state per child process. From start to stop, each child listens to the channel
 * "room", counts messages and members, and publishes the counts to the channel "counts" at each
 * tick. It logs the last call of each of its callbacks.
 */

#include "mod_websocket.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

static ws_listener *listener;
static ws_ticker *ticker, *once;
static unsigned messages, members, snapshots, ticks, published;
static int stopped;

static void room_late(const char *what)
{
    ws_log(stopped ? WS_LOG_ERROR : WS_LOG_INFO, "room: %s%s", what, stopped ? ", after stop" : "");
}

static void room_event(const ws_event *e, void *arg)
{
    (void)arg;
    if (!e) {
        listener = NULL;
        room_late("the listener has ended");
        return;
    }
    __atomic_add_fetch(&messages, e->kind == WS_EVENT_MESSAGE, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&snapshots, e->kind == WS_EVENT_MEMBERS, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&members, (e->kind == WS_EVENT_JOIN) - (e->kind == WS_EVENT_LEAVE),
                       __ATOMIC_SEQ_CST);
}

static void room_published(const ws_published *what, void *arg)
{
    (void)what, (void)arg;
    __atomic_add_fetch(&published, 1, __ATOMIC_SEQ_CST);
    if (stopped) {
        room_late("a publication");
    }
}

static void room_tick(void *arg, int last)
{
    char text[200];
    (void)arg;
    if (last) {
        ticker = NULL;
        room_late("the ticker has ended");
        return;
    }
    ticks++;
    apr_snprintf(text, sizeof(text), "messages=%u members=%u snapshots=%u kept=%d/%d",
                 __atomic_load_n(&messages, __ATOMIC_SEQ_CST),
                 __atomic_load_n(&members, __ATOMIC_SEQ_CST),
                 __atomic_load_n(&snapshots, __ATOMIC_SEQ_CST), ws_channel_kept("kept/a"),
                 ws_channel_kept("counts"));
    ws_publish("counts", WS_TEXT, text, strlen(text), 0, NULL, NULL);
    ws_publish("kept/ticks", WS_TEXT, text, strlen(text), 0, room_published, NULL);
}

static void room_once(void *arg, int last)
{
    *(int *)arg += last ? 10 : 1;
}

static int onces;

static apr_status_t room_start(apr_pool_t *pchild, void *config, ws_location *here)
{
    const ws_subscription how = {.flags = WS_WATCH | WS_SNAPSHOT};
    (void)pchild, (void)config, (void)here;
    once = ws_ticker_start(10, 0, room_once, &onces);
    ticker = ws_ticker_start(20, 50, room_tick, NULL);
    return ticker && once && ws_listen("room", &how, room_event, NULL, &listener) == WS_QUEUED
               ? APR_SUCCESS
               : APR_EGENERAL;
}

static void room_stop(void *config)
{
    (void)config;
    ws_log(WS_LOG_INFO, "room: stop");
    stopped = 1;
}

static int room_on_request(ws_request *rq, void *config)
{
    const char *as = ws_request_arg(rq, "as");
    (void)config;
    ws_request_add_header(rq, "X-As", as ? as : "nobody");
    return 0;
}

static void room_on_open(ws_conn *c)
{
    char name[64];
    ws_subscription how = {.flags = WS_MEMBER, .member = name};
    int found = ws_arg(c, "as", name, sizeof(name));
    how.member_len = strlen(name);
    if (found > 0) {
        ws_subscribe(c, "room", &how);
    }
    ws_subscribe(c, "counts", NULL);
}

static void room_on_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    char text[64];
    (void)type;
    if (len == 4 && !memcmp(data, "once", 4)) {
        apr_snprintf(text, sizeof(text), "once=%d", onces);
        ws_send(c, WS_TEXT, text, strlen(text));
    }
    else if (len == 4 && !memcmp(data, "mute", 4) && listener) {
        ws_listen_end(listener);
    }
    else {
        ws_publish("room", WS_TEXT, data, len, 0, NULL, NULL);
    }
}

WS_HANDLER(room) = {.start = room_start,
                    .stop = room_stop,
                    .on_request = room_on_request,
                    .on_open = room_on_open,
                    .on_message = room_on_message};
