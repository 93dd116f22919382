/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Manages the tokens of open connections. Timers end connections and subscriptions when their
 *  tokens expire, and clients can replace tokens with new ones. */

#include "httpd/token_conn.h"

#include <apr_hash.h>
#include <apr_strings.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "httpd/config.h"
#include "httpd/token_request.h"

/* Longest timer, milliseconds. For a later time, several timers run one after another. */
#define WAIT_MAX ((apr_time_t)24 * 3600 * 1000)

/* A grant, which is a token that the client has sent for one channel. */
typedef struct token_grant {
    struct token_grant *next;
    ws_token *token;
    char channel[];
} token_grant;

/* The callbacks of a WS_BLOCKING handler change a connection's tokens on other threads, while the
 * loop may check them for the control API. Tokens change rarely, so one lock serves all
 * connections. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The tokens of a connection. Only the connection's callbacks change this struct. */
typedef struct token_state {
    ws_ticket ticket;
    ws_token *token;     /* token for the whole connection, or NULL; protected by the lock */
    token_grant *grants; /* protected by the lock */
    unsigned count;      /* number of grants */
    ws_timer *timer;
    /* The connection's strings from before the connection got a user. They are kept, since other
     * threads may still read them. */
    char *strings;
} token_state;

static void token_conn_release(ws_ticket *ticket)
{
    token_state *s = (token_state *)ticket;
    while (s->grants) {
        token_grant *g = s->grants;
        s->grants = g->next;
        ws_token_free(g->token);
        free(g);
    }
    ws_token_free(s->token);
    free(s->strings);
    free(s);
}

static token_state *token_conn_of(const ws_conn *c)
{
    ws_ticket *t = ws_conn_ticket(c);
    while (t && t->release != token_conn_release) {
        t = t->next;
    }
    return (token_state *)t;
}

int ws_token_conn_attach(request_rec *r, const ws_settings *settings, ws_ticket **tickets)
{
    token_state *s;
    if (!settings->token_keys) {
        return OK;
    }
    if (!(s = calloc(1, sizeof(*s)))) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    s->ticket.release = token_conn_release;
    s->token = ws_token_request_take(r);
    s->ticket.next = *tickets;
    *tickets = &s->ticket;
    return OK;
}

static token_grant **token_conn_grant(token_state *s, const char *channel)
{
    token_grant **g = &s->grants;
    while (*g && strcmp((*g)->channel, channel)) {
        g = &(*g)->next;
    }
    return g;
}

static void token_conn_drop(token_state *s, token_grant **g)
{
    token_grant *old = *g;
    pthread_mutex_lock(&lock);
    *g = old->next;
    pthread_mutex_unlock(&lock);
    s->count--;
    ws_token_free(old->token);
    free(old);
}

/* Replace a token. @return the old one, or NULL */
static ws_token *token_conn_swap(ws_token **at, ws_token *t)
{
    ws_token *old = *at;
    pthread_mutex_lock(&lock);
    *at = t;
    pthread_mutex_unlock(&lock);
    return old;
}

int ws_token_conn_permits(ws_conn *c, ws_action action, const char *channel)
{
    token_state *s = token_conn_of(c);
    const token_grant *g;
    int permits;
    if (!s) {
        return 0;
    }
    pthread_mutex_lock(&lock);
    g = *token_conn_grant(s, channel);
    permits = (g && ws_token_permits(g->token, action, channel))
              || (s->token && ws_token_permits(s->token, action, channel));
    pthread_mutex_unlock(&lock);
    return permits;
}

/* ---- Reminders and expiry ---- */

static const ws_handler *token_conn_handler(const ws_conn *c)
{
    ws_conn_info info;
    ws_conn_inspect(c, &info);
    return info.location->handler;
}

static void token_conn_tell(ws_conn *c, const char *channel, int expired)
{
    const ws_handler *h = token_conn_handler(c);
    if (h->on_token) {
        h->on_token(c, channel, expired);
    }
}

/* End a subscription that no token permits, and notify the handler. */
static void token_conn_end_subscription(ws_conn *c, const char *channel)
{
    if (!ws_token_conn_permits(c, WS_MAY_SUBSCRIBE, channel)
        && ws_unsubscribe(c, channel) != WS_GONE) {
        token_conn_tell(c, channel, 1);
    }
}

/* Remind the handler of a token that will expire. @return whether the handler was called and may
 * have changed the list of grants */
static int token_conn_remind(ws_conn *c, const char *channel, ws_token *t, apr_time_t now)
{
    if (t->reminded || t->soon > now) {
        return 0;
    }
    t->reminded = 1;
    token_conn_tell(c, channel, 0);
    return 1;
}

static void token_conn_arm(ws_conn *c, token_state *s);

static void token_conn_expire(ws_conn *c, token_state *s, apr_time_t now)
{
    for (token_grant **g = &s->grants; *g;) {
        if ((*g)->token->ends > now) {
            g = &(*g)->next;
        }
        else {
            char *channel = strdup((*g)->channel);
            token_conn_drop(s, g);
            if (channel) {
                token_conn_end_subscription(c, channel);
            }
            free(channel);
            g = &s->grants; /* start again, because the handler may have changed the list */
        }
    }
    if (s->token && s->token->ends <= now) {
        token_conn_tell(c, NULL, 1);
        ws_close(c, WS_CLOSE_POLICY, "expired");
    }
}

static void token_conn_due(ws_conn *c, void *arg)
{
    token_state *s = arg;
    apr_time_t now = apr_time_now();
    s->timer = NULL;
    token_conn_expire(c, s, now);
    if (ws_conn_state(c) != WS_OPEN) {
        return;
    }
    if (s->token) {
        token_conn_remind(c, NULL, s->token, now);
    }
    for (token_grant *g = s->grants; g;) {
        g = token_conn_remind(c, g->channel, g->token, now) ? s->grants : g->next;
    }
    token_conn_arm(c, s);
}

static apr_time_t token_conn_next(const ws_token *t, apr_time_t until)
{
    apr_time_t next = !t ? until : t->reminded ? t->ends : t->soon;
    return next < until ? next : until;
}

static void token_conn_arm(ws_conn *c, token_state *s)
{
    apr_time_t now = apr_time_now(), most = now + apr_time_from_msec(WAIT_MAX), until = most;
    until = token_conn_next(s->token, until);
    for (const token_grant *g = s->grants; g; g = g->next) {
        until = token_conn_next(g->token, until);
    }
    if (s->timer) {
        ws_timer_stop(c, s->timer);
    }
    s->timer = NULL;
    if (s->token || s->grants) {
        apr_time_t ms = until > now ? apr_time_as_msec(until - now) + 1 : 0;
        s->timer = ws_timer_start(c, (apr_uint32_t)ms, 0, token_conn_due, s);
    }
}

static void token_conn_opened(ws_conn *c)
{
    token_state *s = token_conn_of(c);
    if (s && s->token) {
        token_conn_arm(c, s);
    }
}

/* ---- New tokens of open connections ---- */

/* The subscriptions that the old token permitted but the new one does not. */
typedef struct token_loss {
    const ws_token *old;
    ws_conn *c;
    apr_array_header_t *channels; /* const char * */
} token_loss;

static void token_conn_find_loss(const char *channel, void *arg)
{
    token_loss *loss = arg;
    if (ws_token_permits(loss->old, WS_MAY_SUBSCRIBE, channel)
        && ws_may(loss->c, WS_MAY_SUBSCRIBE, channel) <= 0) {
        APR_ARRAY_PUSH(loss->channels, const char *) = apr_pstrdup(loss->channels->pool, channel);
    }
}

static void token_conn_lose(ws_conn *c, const ws_token *old)
{
    token_loss loss = {.old = old, .c = c};
    apr_pool_t *p;
    if (!old || apr_pool_create_unmanaged(&p) != APR_SUCCESS) {
        return;
    }
    loss.channels = apr_array_make(p, 4, sizeof(const char *));
    ws_subscriptions_of(c, token_conn_find_loss, &loss);
    for (int i = 0; i < loss.channels->nelts; i++) {
        token_conn_end_subscription(c, APR_ARRAY_IDX(loss.channels, i, const char *));
    }
    apr_pool_destroy(p);
}

/* Add a channel to the set of channels with a subscription. token_conn_prune() drops the grants for
 * all other channels. */
static void token_conn_mark(const char *channel, void *arg)
{
    apr_hash_set(arg, channel, APR_HASH_KEY_STRING, channel);
}

static void token_conn_prune(ws_conn *c, token_state *s)
{
    apr_pool_t *p;
    apr_hash_t *subscribed;
    if (apr_pool_create_unmanaged(&p) != APR_SUCCESS) {
        return;
    }
    subscribed = apr_hash_make(p);
    ws_subscriptions_of(c, token_conn_mark, subscribed);
    for (token_grant **g = &s->grants; *g;) {
        if (apr_hash_get(subscribed, (*g)->channel, APR_HASH_KEY_STRING)) {
            g = &(*g)->next;
        }
        else {
            token_conn_drop(s, g);
        }
    }
    apr_pool_destroy(p);
}

/* Store a token for one channel. Takes ownership of the token if it succeeds. @return NULL, or the
 * error */
static const char *token_conn_put(ws_conn *c, token_state *s, const char *channel, ws_token *t)
{
    token_grant **g = token_conn_grant(s, channel), *added;
    apr_size_t size = strlen(channel) + 1;
    if (!ws_token_permits(t, WS_MAY_SUBSCRIBE, channel)) {
        return "the token does not name this channel";
    }
    if (*g) {
        ws_token_free(token_conn_swap(&(*g)->token, t));
        return NULL;
    }
    if (s->count >= ws_conn_settings(c)->subscriptions) {
        token_conn_prune(c, s);
    }
    if (s->count >= ws_conn_settings(c)->subscriptions) {
        return "too many channels";
    }
    if (!(added = malloc(sizeof(*added) + size))) {
        return "try again later";
    }
    memcpy(added->channel, channel, size);
    added->token = t;
    added->next = s->grants;
    pthread_mutex_lock(&lock);
    s->grants = added;
    pthread_mutex_unlock(&lock);
    s->count++;
    return NULL;
}

/* If the connection has no user, set its user to that of the token. Otherwise, check that the token
 * has the same user. A token for one channel needs no user. @return NULL, or the error */
static const char *token_conn_identify(ws_conn *c, token_state *s, const ws_token *t, int whole)
{
    const char *user = ws_user(c);
    if (user && (t->user ? strcmp(user, t->user) : whole && s->token && s->token->user)) {
        return "the token belongs to another user (sub)";
    }
    if (!user && t->user && !ws_conn_set_user(c, t->user, &s->strings)) {
        return "try again later";
    }
    return NULL;
}

const char *ws_token_conn_use(ws_conn *c, const char *channel, const char *text)
{
    const ws_settings *settings = ws_conn_settings(c);
    ws_token_rules rules = {settings->token_keys, settings->token_audiences,
                            settings->token_issuers, settings->token_leeway};
    token_state *s = token_conn_of(c);
    ws_token *t, *old = s ? s->token : NULL;
    const char *why = s ? NULL : "tokens are not accepted here";

    if (why || !(t = ws_token_read(&rules, text, &why))) {
        return why;
    }
    if ((why = token_conn_identify(c, s, t, !channel))
        || (channel && (why = token_conn_put(c, s, channel, t)))) {
        ws_token_free(t);
        return why;
    }
    if (!channel) {
        token_conn_swap(&s->token, t);
        token_conn_lose(c, old);
        ws_token_free(old);
    }
    token_conn_arm(c, s);
    return NULL;
}

apr_status_t ws_token_conn_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options)
{
    (void)pchild, (void)s;
    options->opened = token_conn_opened;
    return APR_SUCCESS;
}
