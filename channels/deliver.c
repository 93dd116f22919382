/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Delivers events to a loop's subscriptions. First, the handler of each subscription selects a
 * form of the event: a message to send instead of the published one, or the published one. Then
 * each form is sent to all subscriptions that selected it, one after the other, so that extensions
 * do work such as compression only once.
 */

#include "channels/deliver.h"

#include <stdlib.h>
#include <string.h>

struct ws_forms {
    ws_frames *built[WS_FORMS_MAX + 1];
    apr_uint64_t key; /* key of the message's frames */
};

static void deliver_forms_free(struct ws_forms *forms)
{
    for (int i = 0; i <= WS_FORMS_MAX; i++) {
        if (forms->built[i]) {
            ws_frames_unref(forms->built[i]);
        }
    }
}

int ws_event_has_form(const ws_event *event, int form)
{
    return form >= 2 && form <= WS_FORMS_MAX && event->forms->built[form];
}

int ws_event_form(const ws_event *event, int form, ws_type type, const char *data, apr_size_t len)
{
    ws_frames *f;
    if (form < 2 || form > WS_FORMS_MAX
        || !(f = ws_frames_build(WS_FIN | (unsigned)type, data, len))) {
        return WS_FORM_NONE;
    }
    if (event->forms->built[form]) {
        ws_frames_unref(event->forms->built[form]);
    }
    f->key = event->forms->key;
    event->forms->built[form] = f;
    return form;
}

static ws_event deliver_event_of(ws_event_kind kind, const ws_channel *ch, const ws_message *m,
                                 const ws_sub *sub, struct ws_forms *forms)
{
    ws_event e = {.kind = kind, .channel = ch->name, .data = "", .forms = forms};
    if (m) {
        e.type = m->type;
        e.data = m->data;
        e.len = m->len;
        e.position = m->position;
    }
    else if (sub) {
        e.position = sub->at;
    }
    if (m && kind == WS_EVENT_MESSAGE) {
        e.event = m->fields.event;
        e.key = m->fields.key;
        e.wildcard = m->fields.source ? ch->name : NULL;
        e.channel = m->fields.source ? m->fields.source : ch->name;
        forms->key = m->frames->key;
    }
    else if (m) {
        e.server = m->server;
        e.id = m->except;
        e.user = m->user;
    }
    return e;
}

/* Get the frames of a form. @return a reference; NULL: no frames to send */
static ws_frames *deliver_frames_of(int form, ws_event_kind kind, const ws_message *m,
                                    const struct ws_forms *forms)
{
    ws_frames *f = form == WS_FORM_AS_IS && kind == WS_EVENT_MESSAGE ? m->frames
                   : form >= 2 && form <= WS_FORMS_MAX               ? forms->built[form]
                                                                     : NULL;
    return f ? ws_frames_ref(f) : NULL;
}

/* ---- Handlers whose callbacks may block ---- */

typedef struct late_call {
    ws_channels *h;
    ws_channel *ch;
    ws_event event;
    ws_message *m; /* the message of the event, or NULL */
} late_call;

static void deliver_call_late(ws_conn *c, void *arg)
{
    late_call *l = arg;
    struct ws_forms forms = {.key = l->m ? l->m->frames->key : 0};
    l->event.forms = &forms;
    if (c && ws_conn_state(c) == WS_OPEN) {
        int form = ws_conn_handler(c)->on_channel(c, &l->event);
        ws_frames *f = deliver_frames_of(form, l->event.kind, l->m, &forms);
        ws_status s = f ? ws_conn_share_later(ws_conn_id(c), f) : WS_GONE;
        if (s >= 0) {
            ws_channels_count(l->h, WS_COUNT_DELIVERED, 1);
        }
        else if (s != WS_GONE) { /* do not lose the message unnoticed */
            ws_close_id(ws_conn_id(c), WS_CLOSE_TRY_LATER, NULL);
        }
    }
    deliver_forms_free(&forms);
    ws_channel_unref(l->h, l->ch);
    if (l->m) {
        ws_message_unref(l->m);
    }
    free(l);
}

static void deliver_call_later(ws_channels *h, const ws_sub *sub, const ws_event *event,
                               ws_message *m)
{
    ws_conn *c = sub->c;
    late_call *l;
    if (!ws_cb_keeps_pace(c)) {
        return;
    }
    if (!(l = malloc(sizeof(*l)))) {
        ws_conn_fail(c, WS_CLOSE_INTERNAL, "out of memory");
        return;
    }
    l->h = h;
    l->ch = ws_channel_ref(h, sub->ch);
    l->event = *event;
    l->m = m ? ws_message_ref(m) : NULL;
    ws_cb_run(c, deliver_call_late, l);
}

/* ---- Subscriptions ---- */

static int deliver_concerns(const ws_channels *h, const ws_sub *sub, ws_event_kind kind,
                            const ws_message *m)
{
    if (sub->c && ws_conn_state(sub->c) != WS_OPEN) {
        return 0;
    }
    switch (kind) {
    case WS_EVENT_MESSAGE:
        return (!sub->c || m->except != ws_conn_id(sub->c) || m->server != h->options.self.server)
               && (m->position.epoch != sub->at.epoch || m->position.offset > sub->at.offset
                   || !m->position.epoch);
    case WS_EVENT_JOIN:
    case WS_EVENT_LEAVE:
        return sub->flags & WS_WATCH && !sub->snapshot;
    default:
        return 1;
    }
}

/* Whether a message is sent as published, without asking the handler. */
static int deliver_is_plain(const ws_sub *sub, ws_event_kind kind)
{
    return kind == WS_EVENT_MESSAGE && sub->c
           && (sub->flags & WS_AS_PUBLISHED || !ws_conn_handler(sub->c)->on_channel);
}

/* Ask the handler for the form of an event. The subscription may have been freed when this
 * returns. */
static int deliver_ask(ws_channels *h, ws_sub *sub, ws_event_kind kind, ws_message *m,
                       struct ws_forms *forms)
{
    ws_conn *c = sub->c;
    ws_event event;
    if (kind == WS_EVENT_GAP) {
        ws_loop_count(sub->loop, WS_COUNT_GAPS, 1);
    }
    if (!c) {
        ws_listener *l = sub->listener;
        event = deliver_event_of(kind, sub->ch, m, sub, forms);
        l->fn(&event, l->arg);
        return WS_FORM_NONE;
    }
    if (deliver_is_plain(sub, kind) || !ws_conn_handler(c)->on_channel) {
        return WS_FORM_AS_IS;
    }
    event = deliver_event_of(kind, sub->ch, m, sub, forms);
    if (ws_conn_has_jobs(c)) {
        deliver_call_later(h, sub, &event, m);
        return WS_FORM_NONE;
    }
    return ws_cb_channel(c, &event);
}

static void deliver_send_form(ws_sub *sub, ws_frames *f)
{
    if (ws_conn_share_unasked(sub->c, ws_frames_ref(f)) >= 0) {
        ws_loop_count(sub->loop, WS_COUNT_DELIVERED, 1);
    }
}

static void deliver_to_one(ws_channels *h, ws_sub *sub, ws_event_kind kind, ws_message *m)
{
    struct ws_forms forms = {.key = 0};
    ws_sub_list *list = ws_sub_list_of(sub->loop, sub->ch);
    apr_uint32_t index = sub->index;
    ws_loop *loop = sub->loop;
    ws_frames *f;
    int form;

    if (!deliver_concerns(h, sub, kind, m)) {
        return;
    }
    list->visiting++;
    form = deliver_ask(h, sub, kind, m, &forms);
    if (list->subs[index] == sub && (f = deliver_frames_of(form, kind, m, &forms))) {
        deliver_send_form(sub, f);
        ws_frames_unref(f);
    }
    ws_chain_forget_shared(loop);
    list->visiting--;
    deliver_forms_free(&forms);
}

/* Prefetch distance of the iteration over subscriptions. */
#define AHEAD 4

static void deliver_prefetch(const ws_sub_list *list, apr_uint32_t i)
{
    if (i + 2 * AHEAD < list->used) {
        const ws_sub *sub = list->subs[i + AHEAD];
        __builtin_prefetch(list->subs[i + 2 * AHEAD]);
        if (sub) {
            __builtin_prefetch(sub->c);
        }
    }
}

/* Ask the handlers for forms. Send the message to subscriptions whose handler need not be asked.
 * @return a bit mask of the chosen forms */
static unsigned deliver_ask_all(ws_channels *h, ws_sub_list *list, apr_uint32_t n,
                                ws_event_kind kind, ws_message *m, struct ws_forms *forms)
{
    unsigned used = 0;
    for (apr_uint32_t i = 0; i < n; i++) {
        ws_sub *sub = list->subs[i];
        int form;
        deliver_prefetch(list, i);
        if (!sub) {
            continue;
        }
        sub->form = WS_FORM_NONE;
        if (!sub->live || !deliver_concerns(h, sub, kind, m)) {
            continue;
        }
        if (deliver_is_plain(sub, kind)) {
            deliver_send_form(sub, m->frames);
            continue;
        }
        form = deliver_ask(h, sub, kind, m, forms);
        if (list->subs[i] == sub && form > 0 && form <= WS_FORMS_MAX) {
            sub->form = (unsigned char)form;
            used |= 1u << form;
        }
    }
    return used;
}

static void deliver_to_all(ws_channels *h, ws_loop *loop, ws_channel *ch, ws_event_kind kind,
                           ws_message *m)
{
    struct ws_forms forms = {.key = 0};
    ws_sub_list *list = ws_sub_list_of(loop, ch);
    apr_uint32_t n = list->used; /* excludes subscriptions added meanwhile */
    unsigned used;

    list->visiting++;
    used = deliver_ask_all(h, list, n, kind, m, &forms);
    ws_chain_forget_shared(loop);
    for (int form = 1; used >> form; form++) {
        ws_frames *f = used >> form & 1 ? deliver_frames_of(form, kind, m, &forms) : NULL;
        if (!f) {
            continue;
        }
        for (apr_uint32_t i = 0; i < n; i++) {
            if (list->subs[i] && list->subs[i]->form == form) {
                deliver_send_form(list->subs[i], f);
            }
        }
        ws_chain_forget_shared(loop);
        ws_frames_unref(f);
    }
    list->visiting--;
    deliver_forms_free(&forms);
}

void ws_deliver_now(ws_channels *h, ws_loop *loop, ws_channel *ch, ws_event_kind kind,
                    ws_message *m, ws_sub *only)
{
    if (m && kind == WS_EVENT_MESSAGE && ws_message_expired(m)) {
        return;
    }
    if (only) {
        deliver_to_one(h, only, kind, m);
    }
    else {
        deliver_to_all(h, loop, ch, kind, m);
    }
    ws_sub_list_compact(ws_sub_list_of(loop, ch));
}
