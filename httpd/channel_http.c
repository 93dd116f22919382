/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Serves channels over plain HTTP. It checks the origin before access control, and refuses a
 * request from a page whose origin WebSocketOrigin does not allow.
 */

#include "httpd/channel_http.h"

#include <apr_fnmatch.h>
#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "channels/channels.h"
#include "engine/json.h"
#include "httpd/arguments.h"
#include "httpd/channel_acl.h"
#include "httpd/channel_publish.h"
#include "httpd/channel_read.h"
#include "httpd/channel_wait.h"
#include "httpd/channel_request.h"
#include "httpd/child.h"
#include "httpd/config.h"
#include "httpd/json_answer.h"
#include "httpd/origin.h"
#include "httpd/reauthorize.h"
#include "httpd/refusals.h"
#include "httpd/query.h"
#include "httpd/request_body.h"
#include "httpd/sse.h"
#include "httpd/token_request.h"
#include "httpd/upgrade.h"
#include "protocol/utf8.h"

APLOG_USE_MODULE(websocket);

/* Maximum time that a request waits for the application's decision about a subscription. */
#define APPLICATION_TIME apr_time_from_sec(10)

static int used;

/* ---- The directive ---- */

void ws_channel_http_reset(apr_pool_t *pconf)
{
    (void)pconf;
    used = 0;
}

int ws_channel_http_used(void)
{
    return used;
}

const char *ws_channel_http_set(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    const ap_directive_t *section = cmd->directive->parent;
    ws_channel_http *h = apr_pcalloc(cmd->pool, sizeof(*h));
    apr_size_t len;

    if (!section || strcasecmp(section->directive, "<Location") || *section->args == '~'
        || apr_fnmatch_test(cmd->path)) {
        return "WebSocketChannelHTTP is allowed only in a <Location> without wildcards, since the "
               "rest of the path names the channel";
    }
    for (int i = 0; i < argc; i++) {
        if (!strcasecmp(argv[i], "publish")) {
            h->what |= WS_CHANNEL_HTTP_PUBLISH;
        }
        else if (!strcasecmp(argv[i], "subscribe")) {
            h->what |= WS_CHANNEL_HTTP_SUBSCRIBE;
        }
        else if (strcasecmp(argv[i], "off") || argc > 1) {
            return apr_psprintf(cmd->pool,
                                "WebSocketChannelHTTP: invalid value \"%s\": expected publish, "
                                "subscribe, or both; or off",
                                argv[i]);
        }
    }
    if (!argc) {
        return "WebSocketChannelHTTP takes publish, subscribe, or both; or off";
    }
    len = strlen(cmd->path);
    h->base = apr_pstrmemdup(cmd->pool, cmd->path, cmd->path[len - 1] == '/' ? len - 1 : len);
    ((ws_dir_config *)config)->channel_http = h;
    ws_access_opens(cmd);
    if (h->what && !used) {
        used = 1;
        ws_reauthorize_subscribers();
        ws_sse_register(cmd->pool);
    }
    return ws_check_repeated(cmd, argc, argv, strcasecmp);
}

int ws_channel_http_wanted(const request_rec *r)
{
    const ws_channel_http *h = ws_dir_config_of(r)->channel_http;
    int error_page = r->prev && ap_is_HTTP_ERROR(r->prev->status);
    return h && h->what && !error_page;
}

static int channel_refuse(request_rec *r, int status, const char *why)
{
    return ws_json_refuse(r, "channels", status, why);
}

/* ---- GET ---- */

static void channel_has_members(const char *channel, const ws_member *members, apr_size_t count,
                                int complete, void *arg)
{
    ws_channel_part *p = arg;
    ws_strbuf *t = ws_channel_part_begin(p);
    (void)channel;
    ws_strbuf_printf(t, ",\"subscribers\":%u,\"members\":[", p->subscribers);
    for (apr_size_t i = 0; i < count; i++) {
        ws_strbuf_printf(t,
                         "%s{\"member\":\"%016" APR_UINT64_T_HEX_FMT "\",\"data\":", i ? "," : "",
                         members[i].id);
        ws_strbuf_json(t, members[i].data, members[i].len);
        if (ws_member_user(&members[i])) {
            ws_strbuf_puts(t, ",\"user\":");
            ws_strbuf_json(t, ws_member_user(&members[i]), strlen(ws_member_user(&members[i])));
        }
        ws_strbuf_puts(t, "}");
    }
    ws_strbuf_printf(t, "],\"complete\":%s", complete ? "true" : "false");
    ws_channel_part_end(p);
}

static int channel_count(request_rec *r, const apr_array_header_t *names)
{
    ws_channel_wait *w = ws_channel_wait_new(1);
    if (!w) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    for (int i = 0; i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);
        ws_channel_part *p = ws_channel_part_new(w, name, NULL);
        if (p) {
            p->subscribers = ws_subscribers(name);
        }
        if (p && ws_presence(name, channel_has_members, p) < 0) {
            ws_channel_part_fail(p, 0);
        }
        if (!p) {
            ws_channel_wait_fail(w);
        }
    }
    return ws_channel_answer(r, w, "channels");
}

/* ---- DELETE ---- */

static void channel_has_been_cleared(void *arg, apr_status_t status)
{
    ws_channel_part *p = arg;
    if (status != APR_SUCCESS) {
        ws_channel_part_fail(p, status == APR_INCOMPLETE);
    }
    else {
        ws_channel_part_begin(p);
        ws_channel_part_end(p);
    }
}

static void channel_clear_one(ws_channel_wait *w, const char *name)
{
    ws_message *order = ws_message_new(name, WS_TEXT, "", 0);
    ws_channel_part *p = order ? ws_channel_part_new(w, name, order) : NULL;
    if (p) {
        p->doubt = "unknown whether it was cleared";
    }
    if (!p) {
        ws_channel_wait_fail(w);
    }
    else if (ws_channels_clear(order, channel_has_been_cleared, p) < 0) {
        ws_channel_part_fail(p, 0);
    }
    if (order) {
        ws_message_unref(order);
    }
}

static int channel_clear(request_rec *r, const apr_array_header_t *names)
{
    const ws_channels_options *o = ws_channels_options_of(ws_channels_current());
    ws_channel_wait *w;
    for (int i = 0; i < names->nelts; i++) {
        if (!o->history || !o->history->keeps(o->history, APR_ARRAY_IDX(names, i, const char *))) {
            return channel_refuse(r, HTTP_NOT_FOUND, "the channel has no history");
        }
    }
    if (!(w = ws_channel_wait_new(1))) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    for (int i = 0; i < names->nelts; i++) {
        channel_clear_one(w, APR_ARRAY_IDX(names, i, const char *));
    }
    return ws_channel_answer(r, w, "cleared");
}

/* ---- Decisions of the application about subscriptions ---- */

/* The application's decisions about one request. The threads that receive the answers share this
 * struct with the request. */
typedef struct subscriptions {
    unsigned refs; /* atomic */
    apr_thread_mutex_t *lock;
    apr_thread_cond_t *told;
    apr_pool_t *pool;
    unsigned open;
    ws_status worst;
} subscriptions;

static void subscriptions_unref(subscriptions *s)
{
    if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        apr_pool_destroy(s->pool);
        free(s);
    }
}

static void subscriptions_answered(void *arg, const ws_app_answer *answer)
{
    subscriptions *s = arg;
    apr_thread_mutex_lock(s->lock);
    s->open--;
    if (s->worst != WS_FULL && answer->status < 0) {
        s->worst = answer->status;
    }
    apr_thread_cond_signal(s->told);
    apr_thread_mutex_unlock(s->lock);
    subscriptions_unref(s);
}

static subscriptions *subscriptions_new(void)
{
    subscriptions *s = calloc(1, sizeof(*s));
    if (!s || apr_pool_create_unmanaged(&s->pool) != APR_SUCCESS) {
        free(s);
        return NULL;
    }
    s->refs = 1;
    apr_thread_mutex_create(&s->lock, APR_THREAD_MUTEX_DEFAULT, s->pool);
    apr_thread_cond_create(&s->told, s->pool);
    return s;
}

static void subscriptions_ask(request_rec *r, subscriptions *s, const ws_application *app,
                              const char *channel)
{
    ws_app_question question = {
        .event = WS_APP_SUBSCRIBE, .channel = channel, .user = r->user, .uri = r->uri};
    if (!app->wants(WS_APP_SUBSCRIBE, channel)) {
        return;
    }
    __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
    apr_thread_mutex_lock(s->lock);
    s->open++;
    apr_thread_mutex_unlock(s->lock);
    if (app->ask(&question, subscriptions_answered, s) < 0) {
        subscriptions_answered(s, &(ws_app_answer){.status = WS_FULL});
    }
}

/* Ask the application about each subscription. @return WS_QUEUED: all are allowed; WS_FORBIDDEN: at
 * least one is refused; WS_FULL: the application did not answer */
static ws_status channel_application_allows(request_rec *r, const apr_array_header_t *names)
{
    const ws_application *app = ws_channels_options_of(ws_channels_current())->application;
    apr_time_t until = apr_time_now() + APPLICATION_TIME;
    subscriptions *s = app ? subscriptions_new() : NULL;
    ws_status worst;
    if (!s) {
        return app ? WS_FULL : WS_QUEUED;
    }
    for (int i = 0; i < names->nelts; i++) {
        subscriptions_ask(r, s, app, APR_ARRAY_IDX(names, i, const char *));
    }
    apr_thread_mutex_lock(s->lock);
    while (s->open && ws_child_wait(s->told, s->lock, until)) {
    }
    worst = s->open ? WS_FULL : s->worst;
    apr_thread_mutex_unlock(s->lock);
    subscriptions_unref(s);
    return worst;
}

static int channel_subscribe(request_rec *r, const apr_array_header_t *names)
{
    const char *wrong;
    if ((wrong = ws_channel_subscribe_problem(r, names))) {
        return channel_refuse(r, HTTP_BAD_REQUEST, wrong);
    }
    if ((wrong = ws_channel_forbidden(r, WS_MAY_SUBSCRIBE, names))) {
        return channel_refuse(r, HTTP_FORBIDDEN, wrong);
    }
    switch (channel_application_allows(r, names)) {
    case WS_FORBIDDEN:
        return channel_refuse(r, HTTP_FORBIDDEN, "the application refused the subscription");
    case WS_FULL:
        apr_table_setn(r->err_headers_out, "Retry-After", "1");
        return channel_refuse(r, HTTP_SERVICE_UNAVAILABLE, "the application did not answer");
    default:
        return ws_sse_serve(r, names);
    }
}

/* ---- Handler ---- */

/* Check origin, method and token. @return 1; 0: this function has answered, and the handler must
 * return *result */
static int channel_admit(request_rec *r, int publishes, int *result)
{
    const char *wrong, *origin = apr_table_get(r->headers_in, "Origin");
    const char *allow = publishes ? "GET, HEAD, POST, DELETE, OPTIONS" : "GET, HEAD, OPTIONS";
    int status;

    /* Another site's page could send a POST with the user's cookies for this site. */
    if (!ws_origin_allowed(ws_dir_config_of(r), origin, apr_table_get(r->headers_in, "Host"))) {
        ws_refusal_log(r, WS_REFUSAL_ORIGIN,
                       "channels: refused with 403: origin \"%s\" is not allowed (WebSocketOrigin)",
                       origin);
        *result = channel_refuse(r, HTTP_FORBIDDEN, "this origin is not allowed (WebSocketOrigin)");
        return 0;
    }
    ws_channel_add_cors(r, origin);
    if (r->method_number == M_OPTIONS) {
        *result = ws_channel_preflight(r, allow);
        return 0;
    }
    if ((status = ws_token_request_admit(r, &wrong)) != OK) {
        *result = channel_refuse(r, status, wrong);
        return 0;
    }
    if (r->method_number != M_GET
        && !(publishes && (r->method_number == M_POST || r->method_number == M_DELETE))) {
        apr_table_setn(r->err_headers_out, "Allow", allow);
        *result = channel_refuse(r, HTTP_METHOD_NOT_ALLOWED, "method not allowed, see Allow");
        return 0;
    }
    if (!ws_channels_current()) {
        *result =
            channel_refuse(r, HTTP_SERVICE_UNAVAILABLE, "channels are unavailable in this process");
        return 0;
    }
    return 1;
}

int ws_channel_http_handler(request_rec *r)
{
    const ws_channel_http *h = ws_dir_config_of(r)->channel_http;
    const char *wrong;
    int publishes, subscribes, result;
    apr_array_header_t *names;

    if (!ws_channel_http_wanted(r)) {
        return DECLINED;
    }
    ws_upgrade_restore_args(r);
    publishes = (h->what & WS_CHANNEL_HTTP_PUBLISH) != 0;
    subscribes = (h->what & WS_CHANNEL_HTTP_SUBSCRIBE) != 0;
    if (!channel_admit(r, publishes, &result)) {
        return result;
    }
    if ((wrong = ws_arguments_wrong(r))) {
        return channel_refuse(r, HTTP_BAD_REQUEST, wrong);
    }
    subscribes &= r->method_number == M_GET && (!publishes || ws_sse_wanted(r));
    names = ws_channel_names(r, h);
    if (subscribes) {
        names = ws_channel_names_split(r, names);
    }
    if (publishes && r->method_number == M_GET && !names->nelts && ws_argument(r, "prefix")) {
        return ws_channel_list(r);
    }
    if (publishes && r->method_number == M_POST && ws_channel_has_lines(r)) {
        return ws_channel_publish_lines(r, names);
    }
    if ((wrong = ws_channel_names_problem(names, subscribes ? r : NULL))) {
        return channel_refuse(r, HTTP_BAD_REQUEST, wrong);
    }
    if (r->method_number == M_GET && ws_argument(r, "history")) {
        return ws_channel_read(r, names, (h->what & WS_CHANNEL_HTTP_SUBSCRIBE) != 0);
    }
    if (subscribes) {
        return channel_subscribe(r, names);
    }
    if ((wrong = ws_channel_forbidden(r, WS_MAY_PUBLISH, names))) {
        return channel_refuse(r, HTTP_FORBIDDEN, wrong);
    }
    return r->method_number == M_POST     ? ws_channel_publish(r, names)
           : r->method_number == M_DELETE ? channel_clear(r, names)
                                          : channel_count(r, names);
}
