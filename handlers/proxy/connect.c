/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Tries servers in turn until one answers the handshake. If a server refuses, its refusal is passed
 * on to the client. If no server can be reached, or an answer is invalid, the client gets 502 or
 * 504, and the reason is logged.
 */

#include "connect.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>
#include <httpd.h>
#include <http_log.h>

#include "answer.h"
#include "proxypass.h"

APLOG_USE_MODULE(websocket);

/* A connection attempt, for which the request's thread is waiting. */
typedef struct {
    const ws_handler *server_side;
    pthread_mutex_t lock;
    pthread_cond_t signal;
    int over;
    char reason[256]; /* why the attempt has failed; "": it has succeeded */
    char *protocol;   /* the server's subprotocol, allocated with malloc(), or NULL */
    proxy_answer answer;
} attempt;

/* ---- On the loop ---- */

void proxy_attempt_over(pair *p, const char *reason, const char *protocol)
{
    attempt *a = p->attempt;
    pthread_mutex_lock(&a->lock);
    p->attempt = NULL;
    a->over = 1;
    apr_cpystrn(a->reason, reason, sizeof(a->reason));
    a->protocol = protocol ? strdup(protocol) : NULL;
    pthread_cond_signal(&a->signal);
    pthread_mutex_unlock(&a->lock);
}

static void connect_on_failure(void *data, const char *reason, int status)
{
    pair *p = data;
    if (!status || status == HTTP_SWITCHING_PROTOCOLS) { /* the server sent no valid answer */
        proxy_answer_clear(&((attempt *)p->attempt)->answer, ((attempt *)p->attempt)->answer.pool);
    }
    proxy_attempt_over(p, reason, NULL);
}

static void connect_on_response(void *data, const ws_response *response)
{
    if (!response->proxy) {
        proxy_answer_copy(&((attempt *)((pair *)data)->attempt)->answer, response);
    }
}

/* ---- One server ---- */

static void connect_set_options(ws_request *rq, const proxy_config *config, pair *p,
                                ws_connect_options *o)
{
    o->handler = ((attempt *)p->attempt)->server_side;
    o->data = p;
    o->on_failure = connect_on_failure;
    o->on_response = connect_on_response;
    o->max_body = PROXY_BODY_MAX;
    o->protocols = ws_request_protocols(rq);
    o->origin = config->origin ? config->origin : ws_request_header(rq, "Origin");
    o->pass_extensions = config->pass_compression ? ws_request_offers(rq) : NULL;
}

/* Connect to a server, and wait. @return NULL: failed; a->reason is set */
static pair *connect_to(ws_request *rq, const proxy_config *config, ws_connect_options options,
                        attempt *a)
{
    pair *p = calloc(1, sizeof(*p));

    a->over = 0;
    proxy_answer_clear(&a->answer, ws_request_rec(rq)->pool);
    apr_cpystrn(a->reason, "out of memory", sizeof(a->reason));
    if (!p) {
        return NULL;
    }
    p->refs = 2;
    p->attempt = a;
    connect_set_options(rq, config, p, &options);
    if (ws_request_connect(rq, &options) == 0) {
        apr_cpystrn(a->reason, "not tried: an error was logged above, or this child is stopping",
                    sizeof(a->reason));
        free(p);
        return NULL;
    }
    pthread_mutex_lock(&a->lock);
    while (!a->over) { /* the loop ends, because each stage has a time limit */
        pthread_cond_wait(&a->signal, &a->lock);
    }
    pthread_mutex_unlock(&a->lock);
    if (*a->reason) {
        free(p);
        return NULL;
    }
    return p;
}

static int connect_timed_out(const attempt *a)
{
    return strstr(a->reason, "no answer in") != NULL;
}

/* Get the status to send if the server has sent no status that can be passed on. */
static int connect_failure_status(const attempt *a)
{
    return connect_timed_out(a) ? HTTP_GATEWAY_TIME_OUT : HTTP_BAD_GATEWAY;
}

static void connect_log(ws_request *rq, int level, const char *server, const char *reason)
{
    ap_log_rerror(APLOG_MARK, level, 0, ws_request_rec(rq),
                  *reason ? "websocket: proxy: no connection to %s: %s"
                          : "websocket: proxy: connected to %s",
                  server, reason);
}

/* ---- to=URL ---- */

static int connect_failed_lately(const proxy_config *config, const proxy_server *s)
{
    apr_time_t failed = __atomic_load_n(&s->failed, __ATOMIC_RELAXED);
    return failed && apr_time_now() - failed < apr_time_from_msec(config->retry);
}

static int connect_is_final(int status)
{
    /* Do not try other servers, which would give the same answer. */
    return status >= 400 && status < 500;
}

/* Try the servers in order, but those that have failed recently last. @return 0, or the status */
static int connect_to_any(ws_request *rq, const proxy_config *config, attempt *a, pair **made)
{
    request_rec *r = ws_request_rec(rq);
    ws_connect_options options = config->options;
    proxy_server *servers = (proxy_server *)config->servers->elts;
    int n = config->servers->nelts;
    char *tried = apr_pcalloc(r->pool, (apr_size_t)n);

    options.headers = proxy_headers(rq, config);
    for (int i = 0; i < 2 * n; i++) {
        proxy_server *s = &servers[i % n];
        if (tried[i % n] || (i < n && connect_failed_lately(config, s))) {
            continue;
        }
        tried[i % n] = 1;
        if (!(options.url = proxy_url(rq, s))) {
            return HTTP_BAD_GATEWAY;
        }
        options.unix_socket = s->socket;
        *made = connect_to(rq, config, options, a);
        connect_log(rq,
                    *made                                ? APLOG_DEBUG
                    : connect_is_final(a->answer.status) ? APLOG_INFO
                                                         : APLOG_WARNING,
                    s->shown, a->reason);
        if (*made || connect_is_final(a->answer.status)) {
            __atomic_store_n(&s->failed, 0, __ATOMIC_RELAXED);
            return *made ? OK : proxy_answer_refuse(rq, &a->answer, 0);
        }
        __atomic_store_n(&s->failed, apr_time_now(), __ATOMIC_RELAXED);
    }
    return connect_failure_status(a);
}

/* ---- to=proxypass ---- */

static int connect_to_worker(ws_request *rq, const proxy_config *config, attempt *a, pair **made)
{
    ws_connect_options options = config->options;
    proxypass_target target = {0};
    int status, refused = 0, again;

    options.ssl_proxy = !options.ca_file && !options.certificate && !options.insecure;
    do {
        if ((status = proxypass_choose(rq, &target, &options)) != OK) {
            break;
        }
        *made = connect_to(rq, config, options, a);
        refused = !*made && a->answer.status;
        status = *made ? OK : refused ? a->answer.status : connect_failure_status(a);
        connect_log(rq,
                    *made     ? APLOG_DEBUG
                    : refused ? APLOG_INFO
                              : APLOG_WARNING,
                    target.shown, a->reason);
        again = status != OK && !refused && proxypass_failed(rq, &target, connect_timed_out(a));
    } while (again);
    proxypass_answered(rq, &target, *made ? HTTP_SWITCHING_PROTOCOLS : status);
    if (*made) {
        proxypass_keep_busy(ws_request_pool(rq), &target);
    }
    if (*made || refused) {
        a->answer.headers = proxypass_answer_headers(rq, a->answer.headers);
    }
    return refused ? proxy_answer_refuse(rq, &a->answer, proxypass_overrides(rq, status)) : status;
}

int proxy_connect(ws_request *rq, const proxy_config *config, const ws_handler *server_side,
                  pair **made)
{
    attempt a = {.server_side = server_side,
                 .lock = PTHREAD_MUTEX_INITIALIZER,
                 .signal = PTHREAD_COND_INITIALIZER};
    int status = (config->proxypass ? connect_to_worker : connect_to_any)(rq, config, &a, made);

    if (!*made) {
        return status;
    }
    ws_request_choose_protocol(rq, a.protocol); /* the client has offered this subprotocol */
    free(a.protocol);
    proxy_answer_headers(rq, &a.answer);
    if (a.answer.extensions && config->pass_compression) {
        ws_request_pass_extensions(rq, a.answer.extensions);
    }
    return OK;
}
