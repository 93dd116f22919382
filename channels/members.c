/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The tables of channel members. When memory is exhausted, a table does not grow, or does not
 * include a new member.
 */

#include "channels/members.h"

#include <stdlib.h>
#include <string.h>

int ws_node_same(const ws_node *a, const ws_node *b)
{
    return a->server == b->server && a->process == b->process;
}

int ws_node_is_self(const ws_channels *h, const ws_node *n)
{
    return ws_node_same(n, &h->options.self);
}

static ws_member_view **members_link_of(ws_channels *h, const char *name, unsigned len,
                                        apr_uint64_t hash)
{
    ws_member_view **link = &h->presence->views[hash % WS_VIEWS];
    while (*link
           && ((*link)->hash != hash || (*link)->len != len || memcmp((*link)->name, name, len))) {
        link = &(*link)->next;
    }
    return link;
}

ws_member_view *ws_view_of(ws_channels *h, const char *name, unsigned len, apr_uint64_t hash,
                           int make)
{
    ws_member_view **link = members_link_of(h, name, len, hash), *v = *link;
    if (!v && make && (v = calloc(1, sizeof(*v) + len + 1))) {
        v->hash = hash;
        v->len = len;
        v->last = &v->questions;
        memcpy(v->name, name, len);
        *link = v;
    }
    return v;
}

ws_member_entry **ws_view_find(ws_member_view *v, const ws_node *node, ws_id id)
{
    ws_member_entry **link = &v->table[(id ^ id >> 22 ^ node->server) & (v->size - 1)];
    while (*link && ((*link)->id != id || !ws_node_same(&(*link)->node, node))) {
        link = &(*link)->next;
    }
    return link;
}

static void members_grow(ws_member_view *v)
{
    unsigned old = v->size, size = old ? old * 2 : 8;
    ws_member_entry **was = v->table, **table = calloc(size, sizeof(*table));
    if (!table) {
        return;
    }
    v->table = table;
    v->size = size;
    for (unsigned i = 0; i < old; i++) {
        for (ws_member_entry *e = was[i], *next; e; e = next) {
            ws_member_entry **link = ws_view_find(v, &e->node, e->id);
            next = e->next;
            e->next = NULL;
            *link = e;
        }
    }
    free(was);
}

void ws_view_take_out(const ws_channels *h, ws_member_view *v, ws_member_entry **link)
{
    ws_member_entry *e = *link;
    *link = e->next;
    v->count--;
    v->own -= (unsigned)ws_node_is_self(h, &e->node);
    free(e);
}

ws_member_entry *ws_view_put(const ws_channels *h, ws_member_view *v, const ws_node *node, ws_id id,
                             const char *data, apr_size_t len, apr_uint32_t seen)
{
    ws_member_entry **link, *e;
    if (v->count >= v->size) {
        members_grow(v);
    }
    if (!v->size) {
        return NULL;
    }
    link = ws_view_find(v, node, id);
    if (*link && (*link)->len == len && !memcmp((*link)->data, data, len)) {
        (*link)->seen = seen;
        return NULL;
    }
    if (!(e = malloc(sizeof(*e) + len + 1))) {
        return NULL;
    }
    if (*link) {
        ws_view_take_out(h, v, link);
        link = ws_view_find(v, node, id);
    }
    e->next = *link;
    e->node = *node;
    e->id = id;
    e->seen = seen;
    e->len = len;
    memcpy(e->data, data, len);
    e->data[len] = 0;
    *link = e;
    v->count++;
    v->own += (unsigned)ws_node_is_self(h, node);
    return e;
}

void ws_view_tidy(ws_channels *h, ws_member_view *v)
{
    if (v->watchers || v->asking) {
        return;
    }
    v->known = 0;
    for (unsigned i = 0; v->own < v->count && i < v->size; i++) {
        for (ws_member_entry **link = &v->table[i]; *link;) {
            if (ws_node_is_self(h, &(*link)->node)) {
                link = &(*link)->next;
            }
            else {
                ws_view_take_out(h, v, link);
            }
        }
    }
    if (!v->count) {
        ws_member_view **link = members_link_of(h, v->name, v->len, v->hash);
        *link = v->next;
        free(v->table);
        free(v);
    }
}
