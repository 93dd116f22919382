/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The limits of an open connection: rates, as token buckets, lifetime and idle time. If a limit is
 * a dry run, exceeding it is logged and has no other effect.
 */

#include "engine/rate_limit.h"

#include <stdlib.h>
#include <string.h>

#include "base/log_window.h"
#include "engine/callbacks.h"
#include "engine/conn.h"

/* Tokens are counted in thousandths, since the clock counts milliseconds. */
#define TOKEN 1000

/* Alarms are rounded up to a multiple of this time, milliseconds. Many connections then share a
 * slot of the timer wheel, which is a list of alarms that fire together. */
#define SLACK 256

/* The two kinds of limits: enforced, and only logged (dry run). */
enum { REAL, DRY, KINDS };

typedef struct bucket {
    apr_int64_t tokens;
    apr_uint32_t filled; /**< loop time */
    unsigned told : 1;   /**< the dry run has logged an excess; it does so only once */
} bucket;

typedef struct due {
    ws_alarm alarm;
    ws_conn *c;
    int kind;
} due;

struct ws_rate_limit {
    ws_resource resource; /**< first member */
    apr_uint32_t active;  /**< loop time of the last message */
    bucket messages[KINDS], bytes[KINDS];
    due lifetime[KINDS], idle[KINDS], recheck;
};

static const ws_bounds *rate_bounds(const ws_conn *c, int kind)
{
    return &c->settings->bounds[kind];
}

static void rate_set_alarm(ws_conn *c, due *d, apr_uint32_t when)
{
    ws_timer_wheel_set(&c->loop->event.wheel, &d->alarm, (when | (SLACK - 1)) + 1);
}

/* ---- Lifetime and idle time ---- */

/* Close the connection or, in a dry run, log. The code is 1001, because the client made no mistake
 * and may reconnect. */
static void rate_over(const due *d, const char *reason)
{
    ws_conn *c = d->c;
    ws_engine_log(c->loop->engine, WS_LOG_INFO, c,
                  d->kind == DRY ? "dry run: the connection would be closed: %s (WebSocketLimit)"
                                 : "closing: %s (WebSocketLimit)",
                  reason);
    if (d->kind == REAL) {
        ws_conn_close(c, WS_CLOSE_GOING_AWAY, reason, strlen(reason));
    }
}

static void rate_lifetime_over(ws_alarm *a)
{
    due *d = (due *)a;
    if (ws_state_of(d->c) == WS_OPEN) {
        rate_over(d, "its lifetime has ended");
    }
}

static void rate_look_if_idle(ws_alarm *a)
{
    due *d = (due *)a;
    ws_conn *c = d->c;
    apr_uint32_t most = rate_bounds(c, d->kind)->idle,
                 idle = c->loop->event.now - c->rare->meter->active;
    if (ws_state_of(c) != WS_OPEN) {
        return;
    }
    if (idle < most) {
        rate_set_alarm(c, d, c->rare->meter->active + most);
        return;
    }
    if (c->rare->arrival) { /* the message timeout handles a slow message */
        rate_set_alarm(c, d, c->loop->event.now + most);
        return;
    }
    rate_over(d, "no message for too long");
}

static void rate_set_recheck(ws_conn *c)
{
    apr_uint32_t interval = c->settings->recheck;
    rate_set_alarm(c, &c->rare->meter->recheck,
                   c->loop->event.now + ws_loop_spread(c->loop, interval));
}

static void rate_recheck(ws_alarm *a)
{
    ws_conn *c = ((due *)a)->c;
    if (ws_state_of(c) == WS_OPEN) {
        rate_set_recheck(c);
        c->loop->engine->options.recheck(c);
    }
}

void ws_rate_limit_touch(ws_conn *c)
{
    c->rare->meter->active = c->loop->event.now;
}

/* ---- Messages and bytes ---- */

/* Take tokens. @return whether there were enough */
static int rate_take(const ws_conn *c, bucket *b, apr_uint64_t rate, apr_uint64_t burst,
                     apr_uint64_t n)
{
    apr_int64_t most = (apr_int64_t)burst * TOKEN;
    apr_uint32_t passed = c->loop->event.now - b->filled;
    b->filled = c->loop->event.now;
    /* The time passed is at most a day. The product therefore cannot overflow if the rate is below
     * a petabyte per second. */
    b->tokens += (apr_int64_t)(passed * rate);
    if (b->tokens > most) {
        b->tokens = most;
    }
    if (b->tokens < (apr_int64_t)n * TOKEN) {
        return 0;
    }
    b->tokens -= (apr_int64_t)n * TOKEN;
    return 1;
}

/* Fail the connection or, in a dry run, log. @return whether the connection stays open */
static int rate_exceeded(ws_conn *c, bucket *b, int kind, const char *what)
{
    static ws_log_window window; /* for warnings; other closes are logged at level info */
    if (kind == REAL) {
        if (ws_log_window_take(&window) >= 0) {
            ws_engine_log(c->loop->engine, WS_LOG_WARNING, c, "failing with 1008: %s", what);
        }
        ws_conn_fail(c, WS_CLOSE_POLICY, what);
        return 0;
    }
    if (!b->told) {
        b->told = 1;
        ws_engine_log(c->loop->engine, WS_LOG_INFO, c,
                      "dry run: the connection would be failed "
                      "with 1008: %s",
                      what);
    }
    return 1;
}

int ws_rate_limit_take(ws_conn *c, apr_size_t len, unsigned frames)
{
    ws_rate_limit *m = c->rare->meter;
    for (int kind = 0; kind < KINDS; kind++) {
        const ws_bounds *b = rate_bounds(c, kind);
        if (b->messages && frames
            && !rate_take(c, &m->messages[kind], b->messages, b->message_burst, frames)
            && !rate_exceeded(c, &m->messages[kind], kind,
                              "more messages than WebSocketLimit allows")) {
            return 0;
        }
        if (b->bytes && len && !rate_take(c, &m->bytes[kind], b->bytes, b->byte_burst, len)
            && !rate_exceeded(c, &m->bytes[kind], kind, "more bytes than WebSocketLimit allows")) {
            return 0;
        }
    }
    return 1;
}

/* ---- Beginning and end ---- */

static void rate_end(ws_conn *c, ws_resource *o)
{
    ws_rate_limit *m = (ws_rate_limit *)o;
    for (int kind = 0; kind < KINDS; kind++) {
        ws_timer_wheel_clear(&c->loop->event.wheel, &m->lifetime[kind].alarm);
        ws_timer_wheel_clear(&c->loop->event.wheel, &m->idle[kind].alarm);
    }
    ws_timer_wheel_clear(&c->loop->event.wheel, &m->recheck.alarm);
}

static void rate_free(ws_resource *o)
{
    free(o);
}

int ws_rate_limit_start(ws_conn *c)
{
    static const ws_bounds none[KINDS];
    ws_rate_limit *m;
    if (!memcmp(c->settings->bounds, none, sizeof(none)) && !c->settings->recheck) {
        return 0;
    }
    if (!ws_conn_rare(c) || !(m = calloc(1, sizeof(*m)))) {
        return -1;
    }
    ws_rare_of(c)->meter = m;
    m->resource.end = rate_end;
    m->resource.free = rate_free;
    ws_resource_link(c, &m->resource);
    ws_rate_limit_touch(c);
    for (int kind = 0; kind < KINDS; kind++) {
        const ws_bounds *b = rate_bounds(c, kind);
        m->messages[kind] =
            (bucket){.tokens = (apr_int64_t)b->message_burst * TOKEN, .filled = c->loop->event.now};
        m->bytes[kind] =
            (bucket){.tokens = (apr_int64_t)b->byte_burst * TOKEN, .filled = c->loop->event.now};
        m->lifetime[kind] = (due){.alarm.fn = rate_lifetime_over, .c = c, .kind = kind};
        m->idle[kind] = (due){.alarm.fn = rate_look_if_idle, .c = c, .kind = kind};
        if (b->lifetime) {
            rate_set_alarm(c, &m->lifetime[kind], c->loop->event.now + b->lifetime);
        }
        if (b->idle) {
            rate_set_alarm(c, &m->idle[kind], c->loop->event.now + b->idle);
        }
    }
    m->recheck = (due){.alarm.fn = rate_recheck, .c = c};
    if (c->settings->recheck && c->loop->engine->options.recheck && !c->location->internal) {
        rate_set_recheck(c);
    }
    return 0;
}
