/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Loads a handler and runs it on the engine, with a stopped clock, so that results do not depend
 * on the machine's speed.
 */

#include "tools/wshandler-test/harness.h"
#include "tools/wshandler-test/calls.h"
#include "tools/wshandler-test/transcript.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_uri.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/parse.h"
#include "channels/channels.h"
#include "engine/conn.h"
#include "httpd/child.h"
#include "httpd/config.h"
#include "httpd/request_api.h"
#include "httpd/ssl_proxy.h"
#include "protocol/handshake.h"

/* Minimum time limit for a callback, milliseconds. */
#define CALLBACK_MIN 2000

int ws_harness_patience = 10000;
ws_log_level ws_harness_log_level = WS_LOG_WARNING;

struct ws_harness {
    apr_pool_t *pool;
    core_dir_config core; /* all members are zero */
    void *per_dir_config[1];
    ws_handler_line *reg;
    ws_location *location;
    ws_settings settings;
    server_rec *server;
    ws_engine *engine;
    ws_channels *channels;
    int started;
};

static ws_harness *current;

void ws_harness_bail_out(const char *format, ...)
{
    char text[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    ws_print_line(stdout, "Bail out! %s", text);
    fflush(stdout);
    _exit(2); /* exit() would free memory that other threads still use */
}

/* ---- Loading ---- */

const char *ws_harness_configure(ws_harness **stage, const char *handler, int argc,
                                 char *const argv[], apr_pool_t *pool)
{
    cmd_parms cmd = {.pool = pool, .temp_pool = pool, .path = (char *)"/"};
    char **args = apr_palloc(pool, sizeof(*args) * ((apr_size_t)argc + 1));
    const char *error;
    ws_harness *s = *stage = apr_pcalloc(pool, sizeof(*s));

    s->pool = pool;
    s->server = apr_pcalloc(pool, sizeof(*s->server));
    s->server->process = apr_pcalloc(pool, sizeof(*s->server->process));
    s->server->process->pool = s->server->process->pconf = pool;
    s->server->server_hostname = "localhost";
    s->server->port = 80;
    s->server->log.level = APLOG_TRACE8; /* ws_harness_log_level filters the lines */
    s->per_dir_config[AP_CORE_MODULE_INDEX] = &s->core;
    cmd.server = s->server;
    args[0] = (char *)handler;
    memcpy(args + 1, argv, sizeof(*args) * (apr_size_t)argc);
    ws_plugins_reset(pool);
    if ((error = ws_plugins_add_handler(&cmd, argc + 1, args, &s->reg))) {
        return error;
    }
    s->location = &s->reg->location;
    s->settings = (ws_settings){.max_frame = 1 << 20,
                                .max_message = 1 << 20,
                                .send_queue = 1 << 20,
                                .ping_grace = 10000,
                                .close_timeout = 5000,
                                .vhost = "localhost"};
    return NULL;
}

static const char *harness_set_size(ws_harness *s, const char *text, apr_uint64_t *size)
{
    apr_int64_t n = 0;
    const char *error = ws_parse_size(s->pool, text, 0, (apr_int64_t)1 << 32, &n);
    *size = (apr_uint64_t)n;
    return error;
}

const char *ws_harness_set(ws_harness *s, const char *directive, const char *value)
{
    static const char *const policies[] = {"close", "drop-newest", "drop-oldest", "keep-latest"};
    const struct {
        const char *name;
        apr_uint64_t *value;
    } sizes[] = {{"WebSocketMaxFrameSize", &s->settings.max_frame},
                 {"WebSocketMaxMessageSize", &s->settings.max_message},
                 {"WebSocketSendQueue", &s->settings.send_queue},
                 {"WebSocketFragmentSize", &s->settings.fragment}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        if (!strcmp(directive, sizes[i].name)) {
            return harness_set_size(s, value, sizes[i].value);
        }
    }
    if (!strcmp(directive, "WebSocketSlowReader")) {
        for (unsigned i = 0; i < 4; i++) {
            if (!strcmp(value, policies[i])) {
                s->settings.slow = i;
                return NULL;
            }
        }
        return "takes close, drop-newest, drop-oldest or keep-latest";
    }
    return "is not supported here; use WebSocketMaxFrameSize, WebSocketMaxMessageSize, "
           "WebSocketSendQueue, WebSocketFragmentSize and WebSocketSlowReader";
}

/* ---- The engine ---- */

static void harness_show_log(ws_log_level level, const ws_settings *settings, const ws_conn *c,
                             const char *text)
{
    (void)settings;
    if (level <= ws_harness_log_level) {
        ws_print_line(stdout, "# log: %s%s%s", c ? ws_uri(c) : "", c ? ": " : "", text);
    }
}

static int harness_log_shows(ws_log_level level, const ws_settings *settings)
{
    (void)settings;
    return level <= ws_harness_log_level;
}

apr_status_t ws_harness_start(ws_harness *s)
{
    const ws_handler *h = s->location->handler;
    const ws_engine_options options = {.loops = 1,
                                       .blocking = 4,
                                       .process = 1,
                                       .locations = &s->location,
                                       .location_count = 1,
                                       .log = harness_show_log,
                                       .logs = harness_log_shows};
    apr_status_t rv = ws_engine_create(&s->engine, &options, s->pool);
    if (rv != APR_SUCCESS) {
        s->engine = NULL;
        return rv;
    }
    ws_api_engine(s->engine);
    s->channels = ws_channels_create(
        &(ws_channels_options){.engine = s->engine, .self = {.server = 1, .process = 1}}, s->pool);
    current = s;
    s->location->handler = ws_calls_record(h);
    rv = h->start ? h->start(s->pool, s->location->config, s->location) : APR_SUCCESS;
    s->started = rv == APR_SUCCESS;
    return rv;
}

void ws_harness_stop(ws_harness *s)
{
    const ws_handler *h = s->location->handler;
    if (!s->engine) {
        return;
    }
    ws_channels_stop(s->channels);
    if (!ws_engine_stop(s->engine)) {
        return;
    }
    if (s->started && h->stop) {
        h->stop(s->location->config);
    }
    ws_channels_destroy(s->channels);
    ws_api_engine(NULL);
    ws_engine_destroy(s->engine);
    ws_calls_clear();
    current = NULL;
}

/* The functions below are called by httpd/request_api.c. */

ws_engine *ws_child_engine(void)
{
    return current->engine;
}

const ws_settings *ws_settings_of(request_rec *r)
{
    (void)r;
    return &current->settings;
}

SSL_CTX *ws_ssl_proxy_context(request_rec *r)
{
    (void)r;
    return NULL;
}

/* ---- The handshake ---- */

/* Create a request_rec with the fields that every request has. All other fields are zero. */
static request_rec *harness_make_request(ws_harness *s, const ws_step *step, apr_pool_t *pool)
{
    request_rec *r = apr_pcalloc(pool, sizeof(*r));
    conn_rec *c = apr_pcalloc(pool, sizeof(*c));
    const ws_who *who = &step->who;
    const char *question = strchr(step->uri, '?');
    apr_size_t len;

    c->pool = r->pool = pool;
    c->base_server = r->server = s->server;
    c->notes = apr_table_make(pool, 1);
    c->client_ip = (char *)(who->peer ? who->peer : "127.0.0.1");
    c->local_ip = "127.0.0.1";
    c->bucket_alloc = apr_bucket_alloc_create(pool);
    apr_sockaddr_info_get(&c->client_addr, c->client_ip, APR_UNSPEC, 0, 0, pool);
    c->local_addr = c->client_addr;
    r->connection = c;
    r->per_dir_config = (ap_conf_vector_t *)s->per_dir_config;
    r->useragent_ip = c->client_ip;
    r->useragent_addr = c->client_addr;
    r->request_time = apr_time_now();
    r->protocol = "HTTP/1.1";
    r->proto_num = HTTP_VERSION(1, 1);
    r->method = "GET";
    r->method_number = M_GET;
    r->status = HTTP_OK;
    r->handler = "websocket";
    r->the_request = apr_pstrcat(pool, "GET ", step->uri, " HTTP/1.1", NULL);
    r->unparsed_uri = apr_pstrdup(pool, step->uri);
    apr_uri_parse(pool, step->uri, &r->parsed_uri);
    r->args = question ? apr_pstrdup(pool, question + 1) : NULL;
    len = question ? (apr_size_t)(question - step->uri) : strlen(step->uri);
    r->uri = apr_pstrmemdup(pool, step->uri, len);
    if (ws_percent_decode(step->uri, len, 0, r->uri, len + 1) < 0) {
        r->uri = apr_pstrmemdup(pool, step->uri, len);
    }
    r->user = apr_pstrdup(pool, who->user);
    r->ap_auth_type = (char *)who->auth_type;
    r->hostname = who->vhost ? who->vhost : "localhost";
    r->headers_in = apr_table_copy(pool, step->headers);
    if (!apr_table_get(r->headers_in, "Host")) {
        apr_table_setn(r->headers_in, "Host", r->hostname);
    }
    r->headers_out = apr_table_make(pool, 4);
    r->err_headers_out = apr_table_make(pool, 4);
    r->notes = apr_table_make(pool, 4);
    r->subprocess_env = apr_table_copy(pool, who->env);
    return r;
}

/* Get the client's first subprotocol that the handler's protocol= lists. */
static const char *harness_agree(const ws_harness *s, request_rec *r)
{
    const char *list = apr_table_get(r->headers_in, "Sec-WebSocket-Protocol"), *token,
               *found = NULL;
    size_t len;
    while (!found && list && (token = ws_header_list_next(&list, &len))) {
        found = ws_handler_line_speaks(s->reg, token, len);
    }
    return found;
}

static int harness_ask(const ws_harness *s, ws_request *rq)
{
    const ws_handler *h = s->location->handler;
    int status = h->on_request ? h->on_request(rq, s->location->config) : 0;
    if (status && (status < 300 || status > 599)) {
        printf("# log: on_request returned %d, which is neither 0 nor a status of 300 to 599\n",
               status);
        status = HTTP_INTERNAL_SERVER_ERROR;
    }
    return status ? status : HTTP_SWITCHING_PROTOCOLS;
}

static int harness_make_pair(int fd[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) < 0) {
        perror("socketpair");
        return -1;
    }
    return 0;
}

void ws_harness_connect(ws_harness *s, ws_test_client *p, const ws_step *connect)
{
    apr_pool_t *pool;
    ws_request rq = {0};
    int fd[2];

    apr_pool_create(&pool, s->pool);
    rq.r = harness_make_request(s, connect, pool);
    rq.headers = p->answer;
    rq.protocol = harness_agree(s, rq.r);
    p->status = s->reg->protocols && !rq.protocol ? HTTP_BAD_REQUEST : harness_ask(s, &rq);
    if (p->status == HTTP_SWITCHING_PROTOCOLS && harness_make_pair(fd) == 0) {
        const ws_new_conn n = {
            .fd = fd[1],
            .loop = rq.loop,
            .secure = connect->who.secure,
            .location = s->location,
            .settings = &s->settings,
            .version = connect->who.version,
            .data = rq.data,
            .pool = rq.pool,
            .strings = {.uri = rq.r->uri,
                        .args = rq.r->args,
                        .user = rq.r->user,
                        .peer = rq.r->useragent_ip,
                        .protocol = rq.protocol,
                        .headers = ws_request_kept(rq.r, s->location->handler->keep_headers)}};
        if (rq.protocol) {
            apr_table_set(p->answer, "Sec-WebSocket-Protocol", rq.protocol);
        }
        p->version = connect->who.version;
        p->mute = connect->who.mute;
        ws_test_client_open(p, fd[0]);
        ws_calls_of_next(p);
        ws_engine_add(s->engine, &n);
    }
    else if (rq.pool) {
        apr_pool_destroy(rq.pool);
    }
    apr_pool_destroy(pool);
}

/* ---- Waiting until nothing is in progress ---- */

/* The barrier that all loops and callback threads must reach before the test continues. */
typedef struct barrier {
    pthread_mutex_t lock;
    pthread_cond_t passed;
    unsigned left; /* number of loops and threads that have not reached the barrier yet */
} barrier;

typedef struct visit {
    ws_task task;
    barrier *b;
    int next; /* milliseconds until the next timer; -1: none */
    int due;  /* 1: timers have expired and will run at the end of the tick */
} visit;

static barrier barrier_all = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};

static void harness_expect_more(barrier *b)
{
    pthread_mutex_lock(&b->lock);
    b->left++;
    pthread_mutex_unlock(&b->lock);
}

static void harness_pass(barrier *b)
{
    pthread_mutex_lock(&b->lock);
    b->left--;
    pthread_cond_signal(&b->passed);
    pthread_mutex_unlock(&b->lock);
}

/* Get the time limit for a callback, milliseconds. It is the same as for messages, but at least
 * CALLBACK_MIN, since the machine may be slow. */
static int harness_callback_patience(void)
{
    return ws_harness_patience > CALLBACK_MIN ? ws_harness_patience : CALLBACK_MIN;
}

static int harness_wait_all(barrier *b)
{
    struct timespec until;
    int rv = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(harness_callback_patience() % 1000) * 1000000;
    until.tv_sec += harness_callback_patience() / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&b->lock);
    while (b->left && rv == 0) {
        rv = pthread_cond_timedwait(&b->passed, &b->lock, &until);
    }
    pthread_mutex_unlock(&b->lock);
    return rv;
}

static void harness_on_conn(ws_conn *c, void *arg)
{
    (void)c;
    harness_pass(arg);
}

static int harness_any_due(const ws_timer_wheel *w, apr_uint32_t now)
{
    for (unsigned i = 0; w->count && i < WS_TIMER_WHEEL_SLOTS; i++) {
        for (const ws_alarm *a = w->slot[i]; a; a = a->next) {
            if ((apr_int32_t)(now - a->due) >= 0) {
                return 1;
            }
        }
    }
    return 0;
}

/* Reach the barrier. A connection's callbacks run in order, so the earlier callbacks have returned
 * when this one is called. */
static void harness_on_turn(ws_loop *loop, ws_task *task)
{
    visit *v = (visit *)task;
    v->next = ws_timer_wheel_timeout(&loop->event.wheel, ws_clock());
    v->due = harness_any_due(&loop->event.wheel, ws_clock());
    for (ws_conn *c = LIST_FIRST(&loop->heads[0]); c; c = LIST_NEXT(c, of_location)) {
        harness_expect_more(v->b);
        if (ws_run(c->id, harness_on_conn, v->b) != WS_QUEUED) {
            harness_pass(v->b);
        }
    }
    harness_pass(v->b);
}

static void harness_one_turn(ws_harness *s, visit *v)
{
    *v = (visit){.task = {.fn = harness_on_turn}, .b = &barrier_all};
    harness_expect_more(v->b);
    ws_loop_post(&s->engine->loops[0], &v->task);
    if (harness_wait_all(&barrier_all)) {
        ws_harness_bail_out("a callback of the handler does not return within %g s",
                            harness_callback_patience() / 1000.0);
    }
}

static int harness_move_all(const apr_array_header_t *actors)
{
    int moved = 0;
    for (int i = 0; i < actors->nelts; i++) {
        moved |= ws_test_client_move(APR_ARRAY_IDX(actors, i, ws_test_client *));
    }
    return moved;
}

/* In one turn, all loops and callback threads reach the barrier. If this many consecutive turns
 * make no progress, nothing is in progress. A message from a connection's callback to another
 * connection takes a few turns. */
#define QUIET_TURNS 4

static void harness_settle(ws_harness *s, const apr_array_header_t *actors, visit *v)
{
    for (int quiet = 0; quiet < QUIET_TURNS; quiet++) {
        harness_one_turn(s, v);
        if (harness_move_all(actors)) {
            quiet = 0;
        }
    }
}

void ws_harness_settle(ws_harness *s, const apr_array_header_t *actors)
{
    visit v;
    harness_settle(s, actors, &v);
}

void ws_harness_pass(ws_harness *s, const apr_array_header_t *actors, apr_uint32_t left)
{
    visit v;
    harness_settle(s, actors, &v);
    while (left || v.due) {
        apr_uint32_t step = v.next > 0 ? (apr_uint32_t)v.next : v.next < 0 ? left : 1;
        if (left && step > left) {
            step = left;
        }
        left -= step < left ? step : left;
        ws_clock_advance(step);
        /* A turn is needed, because the loop reads the clock only when it runs. */
        harness_one_turn(s, &v);
        harness_settle(s, actors, &v);
    }
}
