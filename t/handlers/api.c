/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** This handler executes the commands that its client sends. Most commands make one call of the
 *  API. The handler logs the events of its connections to the error log. If it is compiled with
 *  -DBLOCKING, it is a WS_BLOCKING handler. */

#include <apr_strings.h>
#include <httpd.h>
#include <http_protocol.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mod_websocket.h"

typedef struct state {
    ws_timer *timer;
    int left;      /* number of ticks after which tick() stops the timer */
    char name[32]; /* value of name= in the query string */
    int flooding, flood_left;
} state;

static void say(const char *what, const char *name)
{
    /* Not stderr: httpd buffers that stream when it becomes a daemon. */
    dprintf(STDERR_FILENO, "api: %s %s\n", what, name);
}

__attribute__((format(printf, 2, 3))) static void reply(ws_conn *c, const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    ws_send(c, WS_TEXT, text, strlen(text));
}

static const char *status_name(ws_status s)
{
    switch (s) {
    case WS_SENT:
        return "sent";
    case WS_QUEUED:
        return "queued";
    case WS_FULL:
        return "full";
    case WS_GONE:
        return "gone";
    case WS_TOO_BIG:
        return "too big";
    case WS_DROPPED:
        return "dropped";
    case WS_UNSUPPORTED:
        return "unsupported";
    default:
        return "misplaced";
    }
}

static const char *or_none(const char *s)
{
    return s ? s : "none";
}

/* ---- Configuration, start and stop of a child ---- */

typedef struct config {
    const char *greeting;
    int fail_start;
} config;

static const char *configure(apr_pool_t *p, const char *key, const char *value, void **conf)
{
    config *c = *conf;
    if (!c) {
        c = *conf = apr_pcalloc(p, sizeof(*c));
    }
    if (!key) {
        return c->greeting && !*c->greeting ? "greeting= wants a text" : NULL;
    }
    if (!strcmp(key, "greeting")) {
        c->greeting = value;
        return NULL;
    }
    if (!strcmp(key, "start") && !strcmp(value, "fail")) {
        c->fail_start = 1;
        return NULL;
    }
    return "unknown key; the keys are greeting and start";
}

static apr_status_t pool_of_child_ends(void *data)
{
    (void)data;
    say("pool of the child destroyed", "");
    return APR_SUCCESS;
}

static apr_status_t start(apr_pool_t *pchild, void *conf, ws_location *here)
{
    (void)here;
    apr_pool_cleanup_register(pchild, NULL, pool_of_child_ends, apr_pool_cleanup_null);
    say("start", ((config *)conf)->fail_start ? "fails" : "works");
    return ((config *)conf)->fail_start ? APR_EGENERAL : APR_SUCCESS;
}

static void stop(void *conf)
{
    (void)conf;
    say("stop", "");
}

/* ---- Handshake (the query string contains commands) ---- */

static apr_status_t released(void *s)
{
    say("pool destroyed", ((state *)s)->name);
    return APR_SUCCESS;
}

static int on_request(ws_request *rq, void *conf)
{
    request_rec *r = ws_request_rec(rq);
    const char *args = r->args ? r->args : "", *is;
    state *s = apr_pcalloc(ws_request_pool(rq), sizeof(*s));
    (void)conf;

    apr_cpystrn(s->name, (is = strstr(args, "name=")) ? is + 5 : "nobody", sizeof(s->name));
    apr_pool_cleanup_register(ws_request_pool(rq), s, released, apr_pool_cleanup_null);
    ws_request_set_data(rq, s);
    if (strstr(args, "cookie")) {
        ws_request_add_header(rq, "Set-Cookie", "a=1");
        ws_request_add_header(rq, "Set-Cookie", "b=2; HttpOnly");
    }
    if (strstr(args, "badheader")) {
        ws_request_add_header(rq, "X-Results",
                              ws_request_add_header(rq, "Upgrade", "x") == APR_EINVAL
                                      && ws_request_add_header(rq, "X-A", "a\r\nX-B: b")
                                             == APR_EINVAL
                                      && ws_request_add_header(rq, "X A", "a") == APR_EINVAL
                                  ? "refused"
                                  : "taken");
    }
    if ((is = strstr(args, "protocol="))) {
        ws_request_add_header(rq, "X-Choice",
                              ws_request_choose_protocol(rq, is + 9) == APR_SUCCESS ? "ok" : "no");
        ws_request_add_header(rq, "X-Chosen",
                              ws_request_protocol(rq) ? ws_request_protocol(rq) : "none");
    }
    if ((is = strstr(args, "refuse="))) {
        return atoi(is + 7);
    }
    return 0;
}

/* ---- Commands ---- */

static void tick(ws_conn *c, void *arg)
{
    state *s = ws_data(c);
    reply(c, "%s", (char *)arg);
    if (--s->left == 0) {
        ws_timer_stop(c, s->timer);
        s->timer = NULL;
        reply(c, "stopped");
    }
}

static void resume(ws_conn *c, void *arg)
{
    (void)arg;
    ws_resume(c);
    reply(c, "resumed");
}

static void ran(ws_conn *c, void *arg)
{
    say(c ? "ran with" : "ran without", arg);
    if (c) {
        reply(c, "ran %s", (char *)arg);
    }
    free(arg);
}

static void flood(ws_conn *c)
{
    state *s = ws_data(c);
    char *payload = calloc(1, 10000);
    ws_status status = WS_SENT;
    while (s->flood_left > 0 && status == WS_SENT) {
        status = ws_send(c, WS_BINARY, payload, 10000);
        s->flood_left -= status >= 0;
    }
    if (s->flood_left == 0) {
        s->flooding = 0;
        reply(c, "flood over");
    }
    else {
        say("flood waits", s->name);
    }
    free(payload);
}

static void on_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    char text[1024], *arg;
    state *s = ws_data(c);

    if (type == WS_BINARY || len >= sizeof(text)) {
        ws_send(c, type, data, len);
        return;
    }
    memcpy(text, data, len);
    text[len] = '\0';
    if ((arg = strchr(text, ' '))) {
        *arg++ = '\0';
    }
    else {
        arg = text + len;
    }
    if (!strcmp(text, "id")) {
        reply(c, "%llx", (unsigned long long)ws_conn_id(c));
    }
    else if (!strcmp(text, "who")) {
        reply(c,
              "uri=%s args=%s user=%s peer=%s vhost=%s protocol=%s version=%d secure=%d kept=%s/%s "
              "greeting=%s state=%d",
              ws_uri(c), or_none(ws_args(c)), or_none(ws_user(c)), ws_peer(c), or_none(ws_vhost(c)),
              or_none(ws_protocol(c)), ws_version(c), ws_secure(c), or_none(ws_header(c, "x-kept")),
              or_none(ws_header(c, "X-Other")), or_none(((config *)ws_config(c))->greeting),
              ws_conn_state(c));
    }
    else if (!strcmp(text, "close")) {
        char *reason = strchr(arg, ' ');
        ws_close(c, atoi(arg), reason ? reason + 1 : NULL);
        dprintf(STDERR_FILENO, "api: after close: %s, %s, state %d\n",
                status_name(ws_send(c, WS_TEXT, "late", 4)), status_name(ws_close(c, 1000, NULL)),
                ws_conn_state(c));
    }
    else if (!strcmp(text, "ping")) {
        ws_status status = ws_ping(c, arg, strlen(arg));
        if (status < 0) {
            reply(c, "%s", status_name(status));
        }
    }
    else if (!strcmp(text, "timer")) { /* arguments: DELAY INTERVAL TICKS */
        unsigned delay = 0, interval = 0;
        sscanf(arg, "%u %u %d", &delay, &interval, &s->left);
        s->timer = ws_timer_start(c, delay, interval, tick, (void *)"tick");
        if (!interval) {
            s->timer = NULL; /* a timer without an interval is freed after it has fired */
        }
    }
    else if (!strcmp(text, "pause")) {
        ws_pause(c);
        ws_timer_start(c, (apr_uint32_t)atoi(arg), 0, resume, NULL);
    }
    else if (!strcmp(text, "to")) {
        char *rest = strchr(arg, ' ');
        reply(
            c, "%s",
            status_name(ws_send_to(strtoull(arg, NULL, 16), WS_TEXT, rest + 1, strlen(rest + 1))));
    }
    else if (!strcmp(text, "closeid")) {
        reply(c, "%s", status_name(ws_close_id(strtoull(arg, NULL, 16), 4000, "by id")));
    }
    else if (!strcmp(text, "run")) {
        char *copy = strdup(s->name);
        ws_status status = ws_run(strtoull(arg, NULL, 16), ran, copy);
        if (status != WS_QUEUED) {
            free(copy);
        }
        reply(c, "%s", status_name(status));
    }
    else if (!strcmp(text, "all") || !strcmp(text, "others")) {
        ws_broadcast(ws_conn_location(c), WS_TEXT, arg, strlen(arg),
                     *text == 'o' ? ws_conn_id(c) : 0);
    }
    else if (!strcmp(text, "parts")) {
        reply(c, "%s", status_name(ws_send_part(c, WS_TEXT, "x", 1, 0)));
        ws_send_part(c, WS_TEXT, "one ", 4, WS_FIRST);
        reply(c, "behind the parts");
        ws_ping(c, "between", 7);
        ws_send_part(c, WS_TEXT, "two ", 4, 0);
        ws_send_part(c, WS_TEXT, "three", 5, WS_LAST);
    }
    else if (!strcmp(text,
                     "flood")) { /* send N messages of 10,000 bytes, as fast as the client reads */
        s->flood_left = atoi(arg);
        s->flooding = 1;
        flood(c);
    }
    else if (!strcmp(text, "burst")) { /* send N messages of 10,000 bytes in one callback */
        char *payload = calloc(1, 10000);
        ws_status status = WS_SENT;
        for (int i = atoi(arg); i > 0 && status >= 0; i--) {
            status = ws_send(c, WS_BINARY, payload, 10000);
        }
        dprintf(STDERR_FILENO, "api: burst ended %s, %lu queued\n", status_name(status),
                (unsigned long)ws_queued(c));
        free(payload);
    }
    /* The argument is MILLISECONDS, or "while FILE" to sleep until the file is removed. */
    else if (!strcmp(text, "sleep")) {
        if (!strncmp(arg, "while ", 6)) {
            while (access(arg + 6, F_OK) == 0) {
                usleep(10000);
            }
        }
        else {
            usleep((useconds_t)atoi(arg) * 1000);
        }
        reply(c, "slept");
    }
    else if (!strcmp(text, "pool")) {
        reply(c, "%s", apr_pstrdup(ws_pool(c), "from the pool"));
    }
    else {
        ws_send(c, type, data, len);
    }
}

static void on_open(ws_conn *c)
{
    say("open", ((state *)ws_data(c))->name);
}

static void on_pong(ws_conn *c, const char *data, apr_size_t len)
{
    reply(c, "pong %.*s", (int)len, data);
}

static void on_drain(ws_conn *c)
{
    state *s = ws_data(c);
    if (s->flooding) {
        flood(c);
    }
}

static void on_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    state *s = ws_data(c);
    dprintf(STDERR_FILENO, "api: closed %s %d \"%.*s\" state %d, %s\n", s->name, code, (int)len,
            reason, ws_conn_state(c), status_name(ws_send(c, WS_TEXT, "x", 1)));
    if (s->timer) {
        ws_timer_stop(c, s->timer);
    }
}

WS_HANDLER(api) = {
#ifdef BLOCKING
    .flags = WS_BLOCKING,
#endif
    .keep_headers = "X-Kept, X-Other",
    .configure = configure,
    .start = start,
    .stop = stop,
    .on_request = on_request,
    .on_open = on_open,
    .on_message = on_message,
    .on_pong = on_pong,
    .on_drain = on_drain,
    .on_close = on_close,
};
