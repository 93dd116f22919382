/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Plays the steps of a transcript, checks expectations, and reports in TAP. */

#include "tools/wshandler-test/play.h"

#include <apr_strings.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "include/mod_websocket.h"
#include "tools/wshandler-test/calls.h"
#include "tools/wshandler-test/harness.h"

/* Maximum size of the part of a message that the report shows, bytes. */
#define SHOWN 160

typedef struct play {
    const ws_transcript *t;
    ws_checks *checks;
    ws_harness *stage;
    apr_pool_t *pool;
    apr_array_header_t *actors; /* the clients, ws_test_client * */
} play;

/* ---- The report ---- */

static void play_diag(const char *head, const char *text)
{
    ws_print_line(stdout, "#   %s%s", head, text);
}

static void play_check(play *p, int passed, const ws_step *s, const char *what)
{
    p->checks->run++;
    p->checks->failed += !passed;
    ws_print_line(stdout, "%s %d - %s:%u: %s", passed ? "ok" : "not ok", p->checks->run, p->t->file,
                  s->line, what);
}

static const char *play_shown(const play *p, const ws_happening *e)
{
    if (!e) {
        return "nothing";
    }
    if (e->say == WS_SAY_BREAK) {
        return e->len ? apr_psprintf(p->pool, "a frame that is wrong: %s", e->data)
                      : "break (the connection ended without a Close frame)";
    }
    return ws_transcript_show(e->say, e->code, e->data, e->len, SHOWN, p->pool);
}

static const char *play_wanted(const play *p, const ws_step *s)
{
    const char *head;
    if (!s->pattern) {
        return ws_transcript_show(s->say, s->code, s->data, s->len, SHOWN, p->pool);
    }
    head = ws_transcript_show(s->say, s->code, NULL, 0, 0, p->pool);
    return apr_pstrcat(p->pool, head, " ~ ", s->pattern, NULL);
}

/* Report where two messages begin to differ. */
static void play_show_difference(play *p, const ws_step *s, const ws_happening *e)
{
    apr_size_t at = 0, least = s->len < e->len ? s->len : e->len;
    while (at < least && s->data[at] == e->data[at]) {
        at++;
    }
    if (at == least && s->len == e->len) {
        return;
    }
    if (s->len != e->len) {
        play_diag("",
                  apr_psprintf(p->pool, "expected %" APR_SIZE_T_FMT " bytes, got %" APR_SIZE_T_FMT,
                               s->len, e->len));
    }
    if (at) {
        apr_size_t from = at > 16 ? at - 16 : 0;
        play_diag("they differ from byte ",
                  apr_psprintf(
                      p->pool, "%" APR_SIZE_T_FMT " on, %s and %s", at,
                      ws_transcript_show(s->say, 0, s->data + from, s->len - from, 32, p->pool),
                      ws_transcript_show(e->say, 0, e->data + from, e->len - from, 32, p->pool)));
    }
}

static void play_settle(play *p)
{
    ws_harness_settle(p->stage, p->actors);
}

/* ---- Expectations ---- */

static int play_matches(const ws_step *s, const char *data, apr_size_t len)
{
    regmatch_t whole = {.rm_so = 0, .rm_eo = (regoff_t)len};
    if (s->pattern) {
        return regexec(&s->regex, data, 1, &whole, REG_STARTEND) == 0;
    }
    return !s->data || (s->len == len && !memcmp(s->data, data, len));
}

static int play_fits(const ws_step *s, const ws_happening *e)
{
    if (!e) {
        return s->say == WS_SAY_NOTHING;
    }
    if (s->say == WS_SAY_ANYTHING) {
        return e->say == WS_SAY_TEXT || e->say == WS_SAY_BINARY;
    }
    return s->say == e->say && (!s->code || s->code == e->code)
           && (s->say == WS_SAY_BREAK ? !e->len : play_matches(s, e->data, e->len));
}

static long play_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Get the next event of a client. This waits even if nothing is in progress, since the handler may
 * have its own threads. */
static ws_happening *play_next_event(play *p, ws_test_client *peer, int patience)
{
    long until = play_now_ms() + (peer->lost ? 0 : patience);
    ws_happening *e;
    play_settle(p);
    while (!(e = ws_test_client_take(peer))) {
        long left = until - play_now_ms();
        struct pollfd fd = {.fd = peer->fd, .events = POLLIN};
        if (left <= 0 || peer->fd < 0 || peer->paused) {
            peer->lost |= patience > 0;
            return NULL;
        }
        poll(&fd, 1, (int)left);
        play_settle(p);
    }
    return e;
}

/* Get the next call to the handler for a client's connection. */
static ws_happening *play_next_call(play *p, const ws_test_client *peer, int patience)
{
    long until = play_now_ms() + patience;
    ws_happening *e;
    play_settle(p);
    while (!(e = ws_calls_take(peer)) && play_now_ms() < until) {
        poll(NULL, 0, 5);
        play_settle(p);
    }
    return e;
}

static void play_expect(play *p, ws_test_client *peer, const ws_step *s)
{
    int patience = s->say == WS_SAY_NOTHING ? 0 : ws_harness_patience;
    ws_happening *e = s->kind == WS_STEP_CALL ? play_next_call(p, peer, patience)
                                              : play_next_event(p, peer, patience);
    int passed = play_fits(s, e);
    play_check(p, passed, s, s->source);
    if (!passed) {
        play_diag("expected: ", play_wanted(p, s));
        play_diag("got:      ", play_shown(p, e));
        if (e && s->data && s->say == e->say && !s->pattern) {
            play_show_difference(p, s, e);
        }
    }
    free(e);
}

static void play_expect_status(play *p, const ws_test_client *peer, const ws_step *s)
{
    const apr_array_header_t *headers = apr_table_elts(s->headers);
    const char *missing = NULL;
    for (int i = 0; i < headers->nelts; i++) {
        const apr_table_entry_t *h = &APR_ARRAY_IDX(headers, i, apr_table_entry_t);
        const apr_array_header_t *answer = apr_table_elts(peer->answer);
        int found = 0;
        for (int j = 0; j < answer->nelts; j++) {
            const apr_table_entry_t *a = &APR_ARRAY_IDX(answer, j, apr_table_entry_t);
            found |= !strcasecmp(a->key, h->key) && !strcmp(a->val, h->val);
        }
        if (!found) {
            missing = apr_psprintf(p->pool, "%s: %s", h->key, h->val);
        }
    }
    play_check(p, s->code == peer->status && !missing, s, s->source);
    if (s->code != peer->status) {
        play_diag("expected: ", apr_itoa(p->pool, s->code));
        play_diag("got:      ", apr_itoa(p->pool, peer->status));
    }
    if (missing) {
        const apr_array_header_t *answer = apr_table_elts(peer->answer);
        play_diag("expected: ", missing);
        for (int j = 0; j < answer->nelts; j++) {
            const apr_table_entry_t *a = &APR_ARRAY_IDX(answer, j, apr_table_entry_t);
            play_diag(j ? "          " : "got:      ",
                      apr_pstrcat(p->pool, a->key, ": ", a->val, NULL));
        }
        if (!answer->nelts) {
            play_diag("got:      ", "no headers");
        }
    }
}

/* ---- Steps ---- */

static ws_test_client *play_find(const play *p, const char *name)
{
    for (int i = p->actors->nelts; i-- > 0;) {
        ws_test_client *peer = APR_ARRAY_IDX(p->actors, i, ws_test_client *);
        if (!strcmp(peer->name, name)) {
            return peer;
        }
    }
    return NULL;
}

/* Fail if an unexpected event has arrived. */
static void play_check_silence(play *p, ws_test_client *peer, const ws_step *s)
{
    ws_happening *e = ws_test_client_take(peer);
    if (e) {
        play_check(p, 0, s, apr_psprintf(p->pool, "%s< nothing more", peer->name));
        for (; e; e = ws_test_client_take(peer)) {
            play_diag("got: ", play_shown(p, e));
            free(e);
        }
    }
}

static void play_connect_peer(play *p, const ws_step *s, const ws_step *next)
{
    ws_test_client *peer = play_find(p, s->name);
    if (peer) { /* end the previous client, so that its name can be used again */
        play_settle(p);
        play_check_silence(p, peer, s);
    }
    peer = apr_pcalloc(p->pool, sizeof(*peer));
    peer->name = s->name;
    peer->fd = -1;
    peer->last = &peer->first;
    peer->answer = apr_table_make(p->pool, 4);
    APR_ARRAY_PUSH(p->actors, ws_test_client *) = peer;
    ws_harness_connect(p->stage, peer, s);
    if (!(next && next->kind == WS_STEP_STATUS) && peer->status != 101) {
        play_check(p, 0, s, s->source);
        play_diag("the handshake is refused with ", apr_itoa(p->pool, peer->status));
    }
    play_settle(p);
}

static const char *play_step(play *p, const ws_step *s, const ws_step *next)
{
    ws_test_client *peer;
    if (s->kind == WS_STEP_CONNECT) {
        play_connect_peer(p, s, next);
        return NULL;
    }
    if (s->kind == WS_STEP_WAIT) {
        ws_harness_pass(p->stage, p->actors, s->time);
        return NULL;
    }
    if (!(peer = play_find(p, s->name))) {
        return apr_psprintf(p->pool, "%s:%u: no client \"%s\" is connected", p->t->file, s->line,
                            s->name);
    }
    switch (s->kind) {
    case WS_STEP_STATUS:
        play_expect_status(p, peer, s);
        break;
    case WS_STEP_EXPECT:
    case WS_STEP_CALL:
        play_expect(p, peer, s);
        break;
    default:
        if (peer->fd < 0) {
            play_check(p, 0, s, s->source);
            play_diag("", "the connection has ended");
            break;
        }
        ws_test_client_say(peer, s);
        play_settle(p);
    }
    return NULL;
}

/* Close the remaining clients. */
static void play_part(play *p, const ws_step *last)
{
    static const ws_step bye = {
        .kind = WS_STEP_SEND, .say = WS_SAY_CLOSE, .code = 1001, .data = ""};
    play_settle(p);
    for (int i = 0; i < p->actors->nelts; i++) {
        play_check_silence(p, APR_ARRAY_IDX(p->actors, i, ws_test_client *), last);
    }
    for (int i = 0; i < p->actors->nelts; i++) {
        ws_test_client *peer = APR_ARRAY_IDX(p->actors, i, ws_test_client *);
        peer->paused = 0;
        if (peer->fd >= 0 && !peer->close_code) {
            ws_test_client_say(peer, &bye);
        }
    }
    play_settle(p);
    for (int i = 0; i < p->actors->nelts; i++) {
        ws_test_client_free(APR_ARRAY_IDX(p->actors, i, ws_test_client *));
    }
}

/* ---- Playing ---- */

static const char *play_set_up(play *p)
{
    const apr_array_header_t *settings = apr_table_elts(p->t->settings);
    for (int i = 0; i < settings->nelts; i++) {
        const apr_table_entry_t *e = &APR_ARRAY_IDX(settings, i, apr_table_entry_t);
        const char *error = ws_harness_set(p->stage, e->key, e->val);
        if (error) {
            return apr_psprintf(p->pool, "%s: %s %s: %s", p->t->file, e->key, e->val, error);
        }
    }
    return NULL;
}

/* Check the first step if it expects configure or start to fail. @return whether it does */
static int play_check_beginning(play *p, ws_step_kind kind, const char *got)
{
    const ws_step *s = (const ws_step *)p->t->steps->elts;
    int passed;
    if (!p->t->steps->nelts || s->kind != kind) {
        return 0;
    }
    passed = got && play_matches(s, got, strlen(got));
    play_check(p, passed, s, s->source);
    if (!passed) {
        play_diag("expected: ", s->pattern ? apr_pstrcat(p->pool, "~ ", s->pattern, NULL)
                                : s->data  ? apr_pstrmemdup(p->pool, s->data, s->len)
                                           : "an error");
        play_diag("got:      ", got ? got : "no error");
    }
    return 1;
}

static const char *play_steps(play *p)
{
    const ws_step *steps = (const ws_step *)p->t->steps->elts;
    const char *error = NULL;
    char reason[128];
    apr_status_t rv = ws_harness_start(p->stage);
    int n = p->t->steps->nelts, i;

    apr_strerror(rv, reason, sizeof(reason));
    i = play_check_beginning(p, WS_STEP_START_FAILS, rv != APR_SUCCESS ? reason : NULL);
    if (rv != APR_SUCCESS) {
        return i ? NULL : apr_psprintf(p->pool, "the handler's start: %s", reason);
    }
    for (; i < n && !error; i++) {
        error = play_step(p, &steps[i], i + 1 < n ? &steps[i + 1] : NULL);
    }
    if (n) {
        play_part(p, &steps[n - 1]);
    }
    return error;
}

const char *ws_play(ws_checks *checks, const ws_transcript *t, const char *handler,
                    const apr_array_header_t *keys, apr_pool_t *pool)
{
    play p = {.t = t, .checks = checks};
    apr_array_header_t *all;
    const char *error;
    apr_pool_create(&p.pool, pool);
    p.actors = apr_array_make(p.pool, 4, sizeof(ws_test_client *));
    all = apr_array_append(p.pool, keys, t->keys);
    error = ws_harness_configure(&p.stage, handler, all->nelts, (char *const *)all->elts, p.pool);
    if (!play_check_beginning(&p, WS_STEP_CONFIGURE_FAILS, error) && !error
        && !(error = play_set_up(&p))) {
        error = play_steps(&p);
        ws_harness_stop(p.stage);
    }
    else if (t->steps->nelts
             && ((const ws_step *)t->steps->elts)->kind == WS_STEP_CONFIGURE_FAILS) {
        error = NULL;
    }
    error = error ? apr_pstrdup(pool, error) : NULL;
    apr_pool_destroy(p.pool);
    return error;
}
