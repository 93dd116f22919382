/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Reports a failure, or connects again if the failure may be temporary. Also reconnects after the
 * end of a connection. The delay doubles up to a maximum. The actual waiting time is random,
 * between half the delay and the delay, so that the clients of a restarted server do not return at
 * the same moment.
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/connector.h"
#include "engine/handoff.h"

/* Default for reconnect_max, milliseconds. */
#define RECONNECT_MAX 60000

static apr_uint32_t reconnect_longest(const ws_connector *t)
{
    apr_uint32_t most = t->o.reconnect_max ? t->o.reconnect_max : RECONNECT_MAX;
    return most > t->o.reconnect ? most : t->o.reconnect;
}

/* Get Retry-After from a 503 or 429 response (RFC 9110, section 10.2.3). Dates are ignored. */
static apr_uint32_t reconnect_retry_after(ws_connector *t, int status)
{
    size_t at = 0;
    const char *value = status == 503 || status == 429
                            ? ws_client_response_header(&t->answer, "Retry-After", &at)
                            : NULL;
    double seconds =
        value && strspn(value, "0123456789") == strlen(value) ? strtod(value, NULL) : 0;
    return seconds * 1000 < reconnect_longest(t) ? (apr_uint32_t)(seconds * 1000)
                                                 : reconnect_longest(t);
}

static apr_uint32_t reconnect_next_delay(ws_connector *t, apr_uint32_t least)
{
    apr_uint32_t half, random;
    t->wait = !t->wait                             ? t->o.reconnect
              : t->wait < reconnect_longest(t) / 2 ? 2 * t->wait
                                                   : reconnect_longest(t);
    ws_random(&random, sizeof(random));
    half = t->wait / 2;
    half += random % (t->wait - half + 1);
    return half > least ? half : least;
}

/* Whether another attempt is expected to fail in the same way, because the status is a client error
 * (RFC 9110, section 15.5) or the options are wrong. */
static int reconnect_is_final(int status, const char *reason)
{
    return !strncmp(reason, "url:", 4) || !strncmp(reason, "request:", 8)
           || (status >= 400 && status < 500 && status != 408 && status != 425 && status != 429);
}

/* Call on_reconnect. If it permits another attempt, start the delay before that attempt.
 * @return 1: the delay has started, or on_reconnect has called ws_connect_cancel(), so the caller
 * has nothing more to do; 0: on_reconnect has returned 0, so the caller must end the connector */
static int reconnect_wait_and_begin(ws_connector *t, apr_uint32_t least, int status,
                                    const char *reason)
{
    apr_uint32_t delay = reconnect_next_delay(t, least);
    if (t->o.on_reconnect && !t->o.on_reconnect(t->o.data, delay, reason, status)) {
        return t->stage == WS_AT_END;
    }
    if (t->stage != WS_AT_END) {
        ws_connector_hang_up(t);
        t->stage = WS_AT_START;
        ws_connector_begin_in(t, delay);
    }
    return 1;
}

/* Schedule another attempt if the options allow it. @return whether it is scheduled */
static int reconnect_retry(ws_connector *t, int status, const char *reason)
{
    ws_loop *loop = t->handle.loop;
    if (!t->o.reconnect || reconnect_is_final(status, reason) || loop->close_code
        || __atomic_load_n(&loop->engine->stopping, __ATOMIC_ACQUIRE)) {
        return 0;
    }
    return reconnect_wait_and_begin(t, reconnect_retry_after(t, status), status, reason);
}

void ws_connector_fail(ws_connector *t, int status, const char *format, ...)
{
    const ws_engine_options *options = &t->handle.loop->engine->options;
    char reason[WS_TLS_ERROR], host[WS_AUTHORITY_SIZE] = "-", line[WS_TLS_ERROR + 512];
    va_list args;

    va_start(args, format);
    vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    if (t->url.host) {
        ws_url_authority(&t->url, 1, host);
    }
    if (options->logs(WS_LOG_INFO, &t->settings)) {
        snprintf(line, sizeof(line), "cannot connect to %.300s: %s", host, reason);
        options->log(WS_LOG_INFO, &t->settings, NULL, line);
    }
    if (reconnect_retry(t, status, reason)) {
        return;
    }
    ws_connector_end(t);
    if (t->o.on_failure) {
        t->o.on_failure(t->o.data, reason, status);
    }
}

/* ---- The connection ---- */

static void reconnect_connection_ended(ws_outgoing *o, const ws_conn *c)
{
    ws_connector *t = o->owner;
    ws_loop *loop;
    char reason[32];
    if (!t) {
        return;
    }
    loop = t->handle.loop;
    t->outgoing = NULL;
    if (loop->event.now - t->opened_at > t->wait) {
        t->wait = 0; /* the connection was stable, so start with the first delay again */
    }
    ws_loop_entered(loop, 1);
    t->counted = 1;
    snprintf(reason, sizeof(reason), "closed: %u", c->end_code ? c->end_code : WS_CLOSE_ABNORMAL);
    if (c->program_closed || loop->close_code
        || __atomic_load_n(&loop->engine->stopping, __ATOMIC_ACQUIRE)
        || !reconnect_wait_and_begin(t, 0, 0, reason)) {
        ws_connector_end(t);
    }
}

int ws_connector_stays(ws_connector *t, ws_outgoing *outgoing)
{
    if (!t->o.reconnect) {
        return 0;
    }
    ws_connector_hang_up(t);
    t->stage = WS_AT_OPEN;
    t->outgoing = outgoing;
    t->opened_at = t->handle.loop->event.now;
    t->counted = 0; /* the open connection is counted instead of t */
    ws_loop_left(t->handle.loop, 1);
    outgoing->owner = t;
    outgoing->ended = reconnect_connection_ended;
    return 1;
}
