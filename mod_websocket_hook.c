/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * mod_websocket_hook provides the directive WebSocketChannelHook. With this directive, the server
 * sends HTTP requests to an application, which decides about publications and subscriptions. It is
 * a separate module, so that mod_websocket does not need libcurl. The thread in
 * handlers/http/courier.c makes the requests.
 */

#include <httpd.h>

#include <ap_listen.h>
#include <ap_mpm.h>
#include <ap_provider.h>
#include <apr_fnmatch.h>
#include <apr_hash.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "channels/message.h"
#include "handlers/http/courier.h"
#include "handlers/http/form.h"
#include "httpd/application_provider.h"
#include "httpd/arguments.h"
#include "websocket_parse.h"

extern module AP_MODULE_DECLARE_DATA websocket_hook_module WS_API;

/* Time limit for a request without timeout=. Publishers over HTTP wait for ten seconds. */
#define TIMEOUT "5s"

/* Maximum size of the queued requests for one application in a child process, bytes. */
#define BYTES_MAX (64 * 1024 * 1024)

static const char *const names[] = {"publish", "subscribe", "unsubscribe", "occupied", "vacated"};
#define NAMES (sizeof(names) / sizeof(*names))

/* A WebSocketChannelHook line in the configuration. */
typedef struct hook_line {
    unsigned events; /* set of ws_app_event */
    const char *pattern;
    http_config *config;
    /* The members below are set in the child process. claims and connect_to are NULL if the
     * application is not a page on this server. */
    courier *courier;
    const char *url, *claims, *connect_to;
    apr_size_t bytes;   /* atomic; size of the queued requests */
    unsigned jobs;      /* atomic; number of queued requests */
    apr_int64_t logged; /* atomic; time of the last logged failure */
} hook_line;

/* Requests that are sent one after another. */
typedef struct hook_queue {
    session *session;
    unsigned jobs;
    char key[]; /* identifies the queue, see hook_queue_of() */
} hook_queue;

/* A question to the application that has no answer yet. */
typedef struct hook_question {
    hook_line *line;
    hook_queue *queue;
    ws_app_event event;
    ws_app_done done; /* called with the answer, or NULL */
    void *arg;
    char channel[WS_CHANNEL_MAX + 1];
} hook_question;

static apr_array_header_t *lines; /* array of hook_line *; NULL: the directive is not used */
static server_rec *main_server;
/* Protects the two variables below, and the courier of each line. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static apr_pool_t *pool;
static apr_hash_t *queues; /* maps the key of a queue to the hook_queue */

/* ---- The directive ---- */

static const char *hook_events(apr_pool_t *p, const char *text, unsigned *events)
{
    const apr_array_header_t *list = ws_parse_list(p, text);
    if (!list) {
        return "WebSocketChannelHook takes one or more events, separated by commas";
    }
    for (int n = 0; n < list->nelts; n++) {
        const char *name = APR_ARRAY_IDX(list, n, const char *);
        unsigned i = 0;
        while (i < NAMES && strcasecmp(name, names[i])) {
            i++;
        }
        if (i == NAMES) {
            return apr_psprintf(p,
                                "WebSocketChannelHook: unknown event \"%s\": expected publish, "
                                "subscribe, unsubscribe, occupied and vacated, separated by commas",
                                name);
        }
        if (*events & 1u << i) {
            return apr_psprintf(p, "WebSocketChannelHook: %s is given twice: remove one", name);
        }
        *events |= 1u << i;
    }
    return NULL;
}

static const char *hook_option(cmd_parms *cmd, hook_line *line, const char *text)
{
    static const char *const keys[] = {"ca", "timeout", "retry", "concurrency", "queue", "longest"};
    const char *equals = strchr(text, '='), *key, *error;
    unsigned i = 0;
    if (!equals || !equals[1]) {
        return apr_psprintf(cmd->pool, "WebSocketChannelHook: \"%s\" is not key=value", text);
    }
    key = apr_pstrmemdup(cmd->pool, text, (apr_size_t)(equals - text));
    if (!strcmp(key, "channel")) {
        line->pattern = apr_pstrdup(cmd->pool, equals + 1);
        return ws_channel_pattern_valid(line->pattern)
                   ? NULL
                   : apr_psprintf(cmd->pool,
                                  "WebSocketChannelHook: invalid value \"%s\": channel= %s", text,
                                  WS_CHANNEL_PATTERN);
    }
    while (i < sizeof(keys) / sizeof(*keys) && strcmp(key, keys[i])) {
        i++;
    }
    if (i == sizeof(keys) / sizeof(*keys)) {
        return apr_psprintf(cmd->pool,
                            "WebSocketChannelHook: unknown key \"%s\"; the keys are channel=, ca=, "
                            "timeout=, retry=, concurrency=, queue= and longest=",
                            key);
    }
    error = http_configure(cmd->pool, key, equals + 1, (void **)&line->config);
    return error ? apr_psprintf(cmd->pool, "WebSocketChannelHook: %s: %s", text, error) : NULL;
}

/* Find an event for which a line never applies, because of an earlier line. @return NULL, or the
 * error */
static const char *hook_hidden(apr_pool_t *p, const hook_line *line)
{
    for (int i = 0; i < lines->nelts; i++) {
        const hook_line *earlier = APR_ARRAY_IDX(lines, i, const hook_line *);
        unsigned both = line->events & earlier->events;
        if (both && ws_channel_pattern_hidden(line->pattern, earlier->pattern)) {
            return apr_psprintf(p,
                                "WebSocketChannelHook: %s with channel=%s never applies, since an "
                                "earlier line has %s with channel=%s: remove one, or move this "
                                "line up",
                                names[ffs((int)both) - 1], line->pattern, names[ffs((int)both) - 1],
                                earlier->pattern);
        }
    }
    return NULL;
}

static const char *hook_set(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    hook_line *line = apr_pcalloc(cmd->pool, sizeof(*line));
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    (void)config;
    if (error) {
        return error;
    }
    if (argc < 2) {
        return "WebSocketChannelHook takes events, the path or URL of the application, then "
               "key=value";
    }
    line->pattern = "*";
    http_configure(cmd->pool, "timeout", TIMEOUT, (void **)&line->config);
    if ((error = hook_events(cmd->pool, argv[0], &line->events))) {
        return error;
    }
    if ((error = http_configure(cmd->pool, "to", argv[1], (void **)&line->config))
        || !strcmp(argv[1], HTTP_TO_HTACCESS)) {
        return apr_psprintf(cmd->pool, "WebSocketChannelHook: \"%s\": %s", argv[1],
                            error ? error : "takes a path or URL");
    }
    for (int i = 2; i < argc && !error; i++) {
        error = hook_option(cmd, line, argv[i]);
    }
    if (!error) {
        error = ws_check_repeated(cmd, argc - 2, argv + 2, ws_compare_keys);
    }
    if (!error && (error = http_configure(cmd->pool, NULL, NULL, (void **)&line->config))) {
        error = apr_psprintf(cmd->pool, "WebSocketChannelHook: %s", error);
    }
    if (!lines) {
        lines = apr_array_make(cmd->pool, 4, sizeof(hook_line *));
    }
    if (!error) {
        error = hook_hidden(cmd->pool, line);
    }
    APR_ARRAY_PUSH(lines, hook_line *) = line;
    return error;
}

/* ---- Questions ---- */

/* Whether a pattern matches a channel or a wildcard. A subscription to a wildcard concerns all
 * channels that the wildcard stands for, so the pattern matches the wildcard if it could match any
 * of these channels. */
static int hook_matches(const char *pattern, const char *channel)
{
    apr_size_t star = strcspn(channel, "*"), literal = strcspn(pattern, "*?[\\");
    return channel[star] ? !strncmp(pattern, channel, star < literal ? star : literal)
                         : apr_fnmatch(pattern, channel, 0) == APR_SUCCESS;
}

static hook_line *hook_line_for(ws_app_event event, const char *channel)
{
    for (int i = 0; i < lines->nelts; i++) {
        hook_line *line = APR_ARRAY_IDX(lines, i, hook_line *);
        if (line->events & event && hook_matches(line->pattern, channel)) {
            return line;
        }
    }
    return NULL;
}

static int hook_wants(ws_app_event event, const char *channel)
{
    return hook_line_for(event, channel) != NULL;
}

static session *hook_session(hook_line *line)
{
    session *s = session_new(line->courier);
    if (s) {
        s->url = strdup(line->url);
        s->claims = line->claims ? strdup(line->claims) : NULL;
        s->connect_to = line->connect_to ? curl_slist_append(NULL, line->connect_to) : NULL;
        s->headers = curl_slist_append(NULL, "Expect:");
    }
    if (s && (!s->url || !s->headers || (line->claims && (!s->claims || !s->connect_to)))) {
        session_unref(s);
        s = NULL;
    }
    return s;
}

/* The messages of a channel share a queue and keep their order. So do the events of a connection,
 * and the occupied and vacated events of a channel. The caller must hold the lock. */
static hook_queue *hook_queue_of(hook_line *line, const ws_app_question *q)
{
    int on_conn = q->event == WS_APP_SUBSCRIBE || q->event == WS_APP_UNSUBSCRIBE;
    char key[WS_CHANNEL_MAX + 64];
    int len = on_conn && q->id ? snprintf(key, sizeof(key), "%p c %016" APR_UINT64_T_HEX_FMT,
                                          (void *)line, q->id)
                               : snprintf(key, sizeof(key), "%p %c %s", (void *)line,
                                          q->event == WS_APP_PUBLISH ? 'p' : 'o', q->channel);
    hook_queue *queue = apr_hash_get(queues, key, len);
    if (!queue && (queue = calloc(1, sizeof(*queue) + (apr_size_t)len + 1))) {
        memcpy(queue->key, key, (apr_size_t)len);
        if (!(queue->session = hook_session(line))) {
            free(queue);
            return NULL;
        }
        apr_hash_set(queues, queue->key, len, queue);
    }
    return queue;
}

static void hook_queue_done(hook_queue *queue)
{
    pthread_mutex_lock(&lock);
    if (--queue->jobs == 0) {
        apr_hash_set(queues, queue->key, (apr_ssize_t)strlen(queue->key), NULL);
        session_unref(queue->session);
        free(queue);
    }
    pthread_mutex_unlock(&lock);
}

static void hook_field(form *f, const char *name, const char *value)
{
    if (value) {
        form_add(f, name, value, strlen(value));
    }
}

static const char *hook_name(ws_app_event event)
{
    unsigned i = 0;
    while (!((unsigned)event >> i & 1)) {
        i++;
    }
    return names[i];
}

static form hook_form(const ws_app_question *q)
{
    form f = {0};
    char number[20];
    hook_field(&f, "event", hook_name(q->event));
    hook_field(&f, "channel", q->channel);
    snprintf(number, sizeof(number), "%016" APR_UINT64_T_HEX_FMT, ws_server());
    hook_field(&f, "server", number);
    if (q->id) {
        snprintf(number, sizeof(number), "%016" APR_UINT64_T_HEX_FMT, q->id);
        hook_field(&f, "connection", number);
    }
    hook_field(&f, "user", q->user);
    hook_field(&f, "uri", q->uri);
    if (q->event == WS_APP_PUBLISH) {
        hook_field(&f, "type", q->type == WS_TEXT ? "text" : "binary");
        form_add(&f, "data", q->data, q->len);
    }
    return f;
}

/* Log a failure, but at most one line per second for each directive. */
static void hook_log(hook_line *line, const hook_question *h, const char *error)
{
    apr_int64_t now = apr_time_sec(apr_time_now());
    if (__atomic_exchange_n(&line->logged, now, __ATOMIC_RELAXED) != now) {
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, main_server,
            "websocket: WebSocketChannelHook: %s of channel %s: invalid answer of the application "
            "at %s: %s",
            hook_name(h->event), h->channel, line->config->to, error);
    }
}

/* Process the result of a request.  [the courier's thread] */
static void hook_done(job *j)
{
    hook_question *h = j->arg;
    hook_line *line = h->line;
    ws_app_answer answer = {.status = j->answer.kind == ANSWER_GOOD      ? WS_QUEUED
                                      : j->answer.kind == ANSWER_REFUSAL ? WS_FORBIDDEN
                                                                         : WS_FULL};
    if (answer.status == WS_FULL) {
        hook_log(line, h, j->answer.error);
    }
    if (answer.status == WS_QUEUED && j->answer.len) {
        answer.type = j->answer.type;
        answer.data = j->answer.body;
        answer.len = j->answer.len;
    }
    if (h->done) {
        h->done(h->arg, &answer);
    }
    __atomic_sub_fetch(&line->bytes, j->len, __ATOMIC_RELAXED);
    __atomic_sub_fetch(&line->jobs, 1, __ATOMIC_RELAXED);
    hook_queue_done(h->queue);
    job_free(j);
    free(h);
}

/* Count a request of len bytes. @return 0: the queue is full */
static int hook_admit(hook_line *line, apr_size_t len)
{
    int room = __atomic_add_fetch(&line->jobs, 1, __ATOMIC_RELAXED) <= line->config->queue;
    room &= __atomic_add_fetch(&line->bytes, len, __ATOMIC_RELAXED) <= BYTES_MAX;
    if (!room) {
        __atomic_sub_fetch(&line->jobs, 1, __ATOMIC_RELAXED);
        __atomic_sub_fetch(&line->bytes, len, __ATOMIC_RELAXED);
    }
    return room;
}

/* Whether the application may be asked: the child is not stopping, and the circuit breaker is
 * closed. */
static int hook_may_ask(const hook_line *line)
{
    int may;
    pthread_mutex_lock(&lock);
    may = line->courier && !courier_is_open(line->courier);
    pthread_mutex_unlock(&lock);
    return may;
}

/* Put a question into its queue. @return 0: out of memory, or the child is stopping */
static int hook_take(hook_line *line, const ws_app_question *q, job *j, hook_question *h)
{
    hook_queue *queue;
    pthread_mutex_lock(&lock);
    if ((queue = h->queue = line->courier ? hook_queue_of(line, q) : NULL)) {
        queue->jobs++;
        j->session = queue->session;
        session_ref(j->session);
        courier_take(j); /* after this call, j and h may already be freed */
    }
    pthread_mutex_unlock(&lock);
    return queue != NULL;
}

static ws_status hook_ask(const ws_app_question *q, ws_app_done done, void *arg)
{
    hook_line *line = hook_line_for(q->event, q->channel);
    int asks = q->event == WS_APP_PUBLISH || q->event == WS_APP_SUBSCRIBE;
    hook_question *h;
    job *j;
    form f;
    if (!line || !hook_may_ask(line)) {
        return WS_FULL;
    }
    f = hook_form(q);
    j = calloc(1, sizeof(*j));
    h = calloc(1, sizeof(*h));
    if (f.failed || !j || !h || !hook_admit(line, f.len)) {
        free(f.text);
        free(j);
        free(h);
        return WS_FULL;
    }
    *h = (hook_question){.line = line, .event = q->event, .done = done, .arg = arg};
    apr_cpystrn(h->channel, q->channel, sizeof(h->channel));
    j->kind = asks ? JOB_OPEN : JOB_CLOSE; /* the courier repeats a JOB_CLOSE that has failed */
    j->body = f.text;
    j->len = f.len;
    j->done = hook_done;
    j->arg = h;
    if (!hook_take(line, q, j, h)) {
        __atomic_sub_fetch(&line->jobs, 1, __ATOMIC_RELAXED);
        __atomic_sub_fetch(&line->bytes, f.len, __ATOMIC_RELAXED);
        free(f.text);
        free(j);
        free(h);
        return WS_FULL;
    }
    return WS_QUEUED;
}

/* ---- A page on this server ---- */

static int hook_has_virtual_host(const server_rec *s, const ap_listen_rec *l)
{
    for (const server_rec *v = s->next; v; v = v->next) {
        for (const server_addr_rec *a = v->addrs; a; a = a->next) {
            if (!a->host_port || a->host_port == l->bind_addr->port) {
                return 1;
            }
        }
    }
    return 0;
}

/* Select the first Listen that belongs to no virtual host, because the main server serves it. If
 * each Listen belongs to a virtual host, select the first Listen. The list is in reverse order of
 * the configuration. */
static const ap_listen_rec *hook_listener(const server_rec *s)
{
    const ap_listen_rec *first = NULL, *own = NULL;
    for (const ap_listen_rec *l = ap_listeners; l; l = l->next) {
        first = l;
        own = hook_has_virtual_host(s, l) ? own : l;
    }
    return own ? own : first;
}

/* Get the address at which this machine can reach a listener. */
static const char *hook_address(apr_pool_t *p, const ap_listen_rec *l)
{
    const char *ip;
    char *text;
    if (!l || apr_sockaddr_ip_get(&text, l->bind_addr) != APR_SUCCESS) {
        return NULL;
    }
    ip = !strcmp(text, "0.0.0.0") ? "127.0.0.1" : !strcmp(text, "::") ? "::1" : text;
    return apr_psprintf(p, strchr(ip, ':') ? "::[%s]:%u" : "::%s:%u", ip, l->bind_addr->port);
}

static const char *hook_claims(apr_pool_t *p, server_rec *s, const char *host, const char *to)
{
    APR_OPTIONAL_FN_TYPE(ws_loopback_claims) *claims = APR_RETRIEVE_OPTIONAL_FN(ws_loopback_claims);
    request_rec *r = apr_pcalloc(p, sizeof(*r));
    r->pool = p;
    r->server = s;
    r->headers_in = apr_table_make(p, 1);
    r->subprocess_env = apr_table_make(p, 1);
    r->useragent_ip = apr_pstrdup(p, "127.0.0.1");
    apr_table_setn(r->headers_in, "Host", host);
    return claims ? claims(r, apr_pstrmemdup(p, to, strcspn(to, "?")), NULL) : NULL;
}

static int hook_describe(apr_pool_t *p, server_rec *s, hook_line *line)
{
    const char *to = line->config->to, *host, *name = s->server_hostname;
    const ap_listen_rec *l = hook_listener(s);
    int tls = l && l->protocol && !strcasecmp(l->protocol, "https");
    line->url = to;
    if (*to != '/') {
        return 1;
    }
    if (!(line->connect_to = hook_address(p, l))) {
        return 0;
    }
    host = apr_psprintf(p, strchr(name, ':') ? "[%s]:%u" : "%s:%u", name, l->bind_addr->port);
    line->url = apr_pstrcat(p, tls ? "https://" : "http://", host, to, NULL);
    line->claims = hook_claims(p, s, host, to);
    return line->claims != NULL;
}

/* ---- The child process ---- */

static const ws_application application = {hook_wants, hook_ask};

static const ws_application *hook_child_init(apr_pool_t *pchild, server_rec *s)
{
    main_server = s;
    if (!lines || apr_pool_create_unmanaged(&pool) != APR_SUCCESS) {
        return NULL;
    }
    queues = apr_hash_make(pool);
    for (int i = 0; i < lines->nelts; i++) {
        hook_line *line = APR_ARRAY_IDX(lines, i, hook_line *);
        ap_mpm_query(AP_MPMQ_IS_ASYNC, &line->config->keepalive);
        line->config->sign = APR_RETRIEVE_OPTIONAL_FN(ws_loopback_sign);
        if (!hook_describe(pchild, s, line) || !(line->courier = courier_start(line->config))) {
            ap_log_error(APLOG_MARK, APLOG_ERR, 0, s,
                         "websocket: WebSocketChannelHook: cannot ask the application at %s in "
                         "this child: publications and subscriptions are refused",
                         line->config->to);
        }
    }
    return &application;
}

static void hook_child_stop(void)
{
    for (int i = 0; lines && i < lines->nelts; i++) {
        hook_line *line = APR_ARRAY_IDX(lines, i, hook_line *);
        courier *c;
        pthread_mutex_lock(&lock); /* the loops still run */
        c = line->courier;
        line->courier = NULL;
        pthread_mutex_unlock(&lock);
        if (c) {
            courier_stop(c);
        }
    }
}

static const ws_application_provider provider = {hook_child_init, hook_child_stop};

static int hook_pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)pconf, (void)plog, (void)ptemp;
    lines = NULL;
    return OK;
}

static void hook_register(apr_pool_t *p)
{
    ap_hook_pre_config(hook_pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_register_provider(p, WS_APPLICATION_GROUP, "application", WS_APPLICATION_VERSION, &provider);
}

static const command_rec directives[] = {
    WS_INIT_ARGUMENTS("WebSocketChannelHook", hook_set, RSRC_CONF,
                      "events, the path or URL of the application, then key=value"),
    {.name = NULL}};

AP_DECLARE_MODULE(websocket_hook) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, directives,
                                     hook_register,           0};
