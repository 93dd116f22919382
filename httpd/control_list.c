/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Lists connections for the control API, one process after another, in pages. */

#include "httpd/control.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "engine/json.h"
#include "httpd/json_answer.h"
/* If a list takes longer than this, the page ends early, and `next` continues the list. */
#define LIST_TIME apr_time_from_sec(6)

typedef struct control_list {
    request_rec *r;
    const char *user, *uri, *vhost, *channel;
    unsigned left;       /* number of connections that still fit on the page */
    ws_node from;        /* process at which the page starts */
    unsigned loop, slot; /* position in that process at which the page starts */
    ws_strbuf items, missing;
    const char *next; /* start of the next page; NULL: this is the last one */
    int complete;     /* 1: all processes are known and have answered */
} control_list;

static int control_compare_nodes(const void *x, const void *y)
{
    const ws_node *a = x, *b = y;
    return a->server != b->server     ? (a->server < b->server ? -1 : 1)
           : a->process != b->process ? (a->process < b->process ? -1 : 1)
                                      : 0;
}

/* Parse the start of a page: SERVER.PROCESS.LOOP.SLOT, four hexadecimal numbers. @return 0: it is
 * malformed */
static int control_read_next(const char *text, control_list *l)
{
    apr_uint64_t process, loop, slot;
    if (!*text) {
        return 1;
    }
    if (strlen(text) != 16 + 1 + 4 + 1 + 2 + 1 + 8 || text[16] != '.' || text[21] != '.'
        || text[24] != '.' || !ws_parse_hex(text, 16, &l->from.server)
        || !ws_parse_hex(text + 17, 4, &process) || !ws_parse_hex(text + 22, 2, &loop)
        || !ws_parse_hex(text + 25, 8, &slot)) {
        return 0;
    }
    l->from.process = (apr_uint32_t)process;
    l->loop = (unsigned)loop;
    l->slot = (unsigned)slot;
    return loop <= WS_LOOPS_MAX && slot <= APR_INT32_MAX / 2;
}

static const char *control_print_next(const control_list *l, const ws_node *node)
{
    return apr_psprintf(l->r->pool, "%016" APR_UINT64_T_HEX_FMT ".%04x.%02x.%08x", node->server,
                        node->process, l->loop, l->slot);
}

static void control_list_missing(control_list *l, const ws_rpc_answer *answer)
{
    ws_strbuf t = {0};
    if (ws_control_missing(&t, answer, 1)) {
        ws_strbuf_puts(&l->missing, l->missing.len ? "," : "");
        ws_strbuf_add(&l->missing, t.data + 1, t.len - 2);
    }
    ws_strbuf_free(&t);
}

/* Add the list of one process. @return 0: its answer is malformed */
static int control_list_take(control_list *l, const ws_rpc_answer *answer, int *more)
{
    const char *line = memchr(answer->data, '\n', answer->len), *end = answer->data, *list;
    apr_int64_t loop = 0, slot = 0;
    unsigned items;
    *more = *answer->data != '-';
    if (*more && line && (end = ws_parse_digits(end, &loop)) && *end == ' ') {
        end = ws_parse_digits(end + 1, &slot);
    }
    if (!line || !end || (*more && end != line) || loop > WS_LOOPS_MAX
        || slot > APR_INT32_MAX / 2) {
        return 0;
    }
    list = line + 1;
    if (!ws_control_check_json(list, answer->len - (apr_size_t)(list - answer->data), 1, &items)) {
        return 0;
    }
    if (items) {
        ws_strbuf_puts(&l->items, l->items.len ? "," : "");
        ws_strbuf_add(&l->items, list + 1, strlen(list) - 2);
    }
    l->left -= items < l->left ? items : l->left;
    l->loop = (unsigned)loop;
    l->slot = (unsigned)slot;
    return 1;
}

/* Add the connections of one process to the page. @return whether the process may have more
 * connections */
static int control_list_process(control_list *l, const ws_node *node, apr_time_t until)
{
    int more = 1;
    while (more && l->left && apr_time_now() < until) {
        ws_packet question = {.flags = WS_RPC_LIST,
                              .channel = l->channel,
                              .channel_len = (unsigned)strlen(l->channel)};
        ws_rpc_answer answer = {.node = *node};
        ws_control_words(l->r, &question, l->user, l->uri, l->vhost,
                         apr_psprintf(l->r->pool, "%u", l->loop),
                         apr_psprintf(l->r->pool, "%u", l->slot),
                         apr_psprintf(l->r->pool, "%u", l->left), (char *)NULL);
        ws_rpc_ask(l->r->pool, &question, &answer, 1);
        if (answer.status == WS_RPC_OK && !control_list_take(l, &answer, &more)) {
            answer.status = WS_RPC_WRONG;
        }
        if (answer.status != WS_RPC_OK) {
            control_list_missing(l, &answer);
            more = 0;
        }
    }
    return more;
}

static void control_list_all(control_list *l)
{
    apr_time_t until = apr_time_now() + LIST_TIME;
    ws_node *nodes;
    unsigned count;
    l->complete = ws_rpc_nodes(l->r->pool, &nodes, &count);
    qsort(nodes, count, sizeof(*nodes), control_compare_nodes);
    for (unsigned i = 0; i < count && !l->next; i++) {
        int order = control_compare_nodes(&nodes[i], &l->from);
        if (order < 0) {
            continue;
        }
        if (order > 0) {
            l->loop = l->slot = 0;
        }
        if (!l->left || apr_time_now() >= until || control_list_process(l, &nodes[i], until)) {
            l->next = control_print_next(l, &nodes[i]);
        }
    }
}

int ws_control_connections(request_rec *r)
{
    control_list l = {.r = r,
                      .user = ws_control_argument(r, "user"),
                      .uri = ws_control_argument(r, "uri"),
                      .vhost = ws_control_argument(r, "vhost"),
                      .channel = ws_control_argument(r, "channel")};
    ws_strbuf t = {0};
    if (r->method_number != M_GET) {
        return ws_control_not_allowed(r, "GET, HEAD");
    }
    if (!ws_control_limit(r, &l.left)) {
        return ws_control_refuse(r, HTTP_BAD_REQUEST, "limit must be a number from 1 to 1000");
    }
    if (*l.channel && !ws_channel_valid(l.channel)) {
        return ws_control_refuse(r, HTTP_BAD_REQUEST, "invalid channel name");
    }
    if (!control_read_next(ws_control_argument(r, "next"), &l)) {
        return ws_control_refuse(r, HTTP_BAD_REQUEST, "next is not from an earlier page");
    }
    control_list_all(&l);
    ws_strbuf_puts(&t, "{\"connections\":[");
    ws_strbuf_add(&t, l.items.data, l.items.len);
    ws_strbuf_puts(&t, "],\"next\":");
    ws_strbuf_json(&t, l.next, l.next ? strlen(l.next) : 0);
    ws_strbuf_printf(&t, ",\"complete\":%s,\"missing\":[",
                     l.complete && !l.missing.len ? "true" : "false");
    ws_strbuf_add(&t, l.missing.data, l.missing.len);
    ws_strbuf_puts(&t, "]}");
    t.broken |= l.items.broken | l.missing.broken;
    ws_strbuf_free(&l.items);
    ws_strbuf_free(&l.missing);
    return ws_json_send(r, HTTP_OK, &t);
}
