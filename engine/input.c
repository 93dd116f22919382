/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Turns socket input into messages. All connections of a loop share the loop's receive buffer. A
 * complete frame is delivered from there without a copy. A connection allocates a buffer only for
 * an incomplete message and for an incomplete frame header.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/callbacks.h"
#include "engine/conn.h"
#include "engine/output.h"
#include "engine/socket.h"
#include "protocol/close.h"
#include "protocol/frame_whole.h"

/* If at least this many bytes of a frame's payload are missing, they are read straight into the
 * buffer of the message. */
#define DIRECT_MIN (16 * 1024)

/* Maximum number of bytes of one such read. */
#define DIRECT_SIZE (64 * 1024)

/* Input that passes through extensions to a handler with on_frame is parsed in steps. This is the
 * size of a step, bytes. */
#define EXTENDED_STEP 4096

/* Maximum number of reads from one connection before the loop serves others. */
#define ROUNDS 4

/* Fail the connection, because a message did not arrive in time: WebSocketMessageTimeout. */
static void input_late(ws_conn *c)
{
    if (ws_conn_accepts_input(c)) { /* otherwise the closing handshake has a limit of its own */
        ws_conn_fail(c, WS_CLOSE_POLICY, "a message takes too long to arrive");
    }
    ws_partial_free(c);
    ws_conn_mark_dirty(c);
}

/* Whether the next byte of input begins a message. */
static int input_is_between(const ws_conn *c)
{
    return c->framed ? ws_framing_is_between(c) : !c->rare->parser.opcode;
}

/* Whether a time limit applies now. left: bytes of input that have not been parsed. A handler with
 * on_frame has a limit only for messages that occupy the state of an extension. */
static int input_is_unfinished(const ws_conn *c, apr_size_t left)
{
    const ws_parser *p = &c->rare->parser;
    if (!ws_conn_accepts_input(c) || c->discard_input || c->broken) {
        return 0;
    }
    if (c->location->handler->on_frame) {
        return ws_chain_of(c) && p->opcode && !p->first && ws_chain_transforms(c->rare->chain);
    }
    return !input_is_between(c) || (left && !c->held);
}

/* Start or end the time limit of an incomplete message or header, after a read has been parsed. */
static void input_set_time(ws_conn *c, apr_size_t left)
{
    const ws_parser *p = &c->rare->parser;
    if (!input_is_unfinished(c, left)) {
        ws_arrival_end(c);
    }
    else if (!c->rare->arrival
             && ws_arrival_begin(c, !c->framed && p->opcode ? p->message_len - p->left : 0,
                                 input_late)
                    < 0) {
        ws_conn_fail(c, WS_CLOSE_INTERNAL, "out of memory");
    }
}

/* Validate a piece of text. @return 0: the connection fails */
static inline __attribute__((always_inline)) int input_check_text(ws_conn *c,
                                                                  const unsigned char *data,
                                                                  apr_size_t len, unsigned where)
{
    if (where & WS_FIRST) {
        c->utf8 = WS_UTF8_START;
    }
    c->utf8 = ws_utf8_check(c->utf8, data, len);
    if (c->utf8 == WS_UTF8_REJECT || (c->utf8 != WS_UTF8_START && (where & WS_LAST))) {
        ws_conn_fail(c, WS_CLOSE_BAD_DATA, "text is not UTF-8");
        return 0;
    }
    return 1;
}

static inline __attribute__((always_inline)) void input_deliver_piece(ws_conn *c, unsigned opcode,
                                                                      const unsigned char *data,
                                                                      apr_size_t len,
                                                                      unsigned where,
                                                                      apr_uint64_t total)
{
    ws_conn_add(c, WS_SUM_BYTES_IN, (apr_int64_t)len); /* ws_conn_uncork() adds it to the counter */
    ws_conn_add_short(c, WS_SUM_MESSAGES_IN, (where & WS_LAST) != 0);
    if (opcode == WS_OP_TEXT && !(where & WS_COMPRESSED)
        && !input_check_text(c, data, len, where)) {
        return;
    }
    if (c->location->handler->on_frame) {
        ws_cb_frame(c, (ws_type)opcode, data, len,
                    c->location->handler->flags & WS_FRAME_ENDS ? where : where & ~WS_FRAME_END);
        return;
    }
    if ((where & WS_FIRST) && (where & WS_LAST)) {
        ws_cb_message(c, (ws_type)opcode, data, len);
        return;
    }
    if (len) {
        ws_partial *m = c->rare->message;
        if (m && data == m->data + m->len) {
            m->len += len; /* the bytes were read in place */
        }
        else if ((m = ws_partial_reserve(c, len, total))) {
            memcpy(m->data + m->len, data, len);
            m->len += len;
        }
        else {
            ws_conn_fail(c, WS_CLOSE_INTERNAL, "out of memory");
            return;
        }
    }
    if (where & WS_LAST) {
        static const unsigned char nothing[1];
        ws_partial *m = c->rare->message;
        if (m) {
            ws_partial_note_large(c);
        }
        ws_cb_message(c, (ws_type)opcode, m ? m->data : nothing, m ? m->len : 0);
        ws_partial_free(c);
    }
}

/* Implements ws_chain_deliver. */
static void input_deliver_extended(ws_conn *c, unsigned opcode, const unsigned char *data,
                                   apr_size_t len, unsigned where, apr_uint64_t total)
{
    input_deliver_piece(c, opcode, data, len, where, total);
}

_Static_assert(WS_MESSAGE_FIRST == WS_FIRST && WS_MESSAGE_LAST == WS_LAST
                   && WS_FRAME_LAST == WS_FRAME_END,
               "the parser's flags are those of the API");

/* Update the time limit of the message that continues with a piece. */
static void input_note_progress(ws_conn *c, const ws_piece *p)
{
    if (p->flags & WS_MESSAGE_LAST) {
        ws_arrival_end(c);
    }
    else if (p->len) {
        c->rare->arrival->moved = c->loop->event.now;
    }
}

/* Handle a piece of a message. total: bytes of the message announced so far */
static void input_take_data(ws_conn *c, const ws_piece *p, apr_uint64_t total)
{
    if (c->rare->arrival) {
        input_note_progress(c, p);
    }
    if (!ws_conn_accepts_input(c)) {
        ws_partial_free(c); /* we have sent Close: data is discarded */
        return;
    }
    if (ws_chain_of(c) && ws_chain_wants(c, p)) {
        ws_chain_receive(c, p, input_deliver_extended);
        return;
    }
    input_deliver_piece(c, p->opcode, p->data, p->len, p->flags, total);
}

static void input_take_control(ws_conn *c, const ws_piece *p)
{
    int code;
    const char *reason;
    size_t reason_len;

    switch (p->opcode) {
    case WS_OP_PING:
        ws_conn_send(c, WS_FIN | WS_OP_PONG, p->data, p->len); /* also sent after our own Close */
        if (ws_state_of(c) == WS_OPEN) {
            ws_cb_ping(c, p->data, p->len);
        }
        break;
    case WS_OP_PONG:
        if (ws_state_of(c) == WS_OPEN) {
            ws_cb_pong(c, p->data, p->len);
        }
        break;
    default:
        switch (ws_close_parse(p->data, p->len, &code, &reason, &reason_len)) {
        case 0:
            ws_conn_closed_by_peer(c, code, reason, reason_len);
            break;
        case WS_CLOSE_BAD_DATA:
            ws_conn_fail(c, WS_CLOSE_BAD_DATA, "reason of the Close frame is not UTF-8");
            break;
        default:
            ws_conn_fail(c, WS_CLOSE_PROTOCOL_ERROR, "Close frame has no valid status code");
        }
    }
}

/* Deliver messages of one short frame each. This is the common case, so everything is inlined. Stop
 * at the first frame of another kind, which the caller handles. */
static inline unsigned char *input_take_whole(ws_conn *c, unsigned char *data, apr_size_t *left)
{
    const ws_handler *h = c->location->handler;
    const ws_settings *s = c->settings;
    const apr_uint64_t limit = s->max_frame < s->max_message ? s->max_frame : s->max_message;
    ws_loop *loop = c->loop;
    apr_size_t len = *left;
    ws_whole m;

    while (len && !c->held && !c->discard_input && !c->broken && ws_state_of(c) == WS_OPEN
           && ws_frame_take_whole(limit, &data, &len, &m)) {
        loop->last_input = len == 0;
        ws_conn_add_short(c, WS_SUM_MESSAGES_IN, 1);
        ws_conn_add_short(c, WS_SUM_BYTES_IN, (apr_uint32_t)m.len);
        if (m.opcode == WS_OP_TEXT && !ws_utf8_valid(m.data, m.len)) {
            ws_conn_fail(c, WS_CLOSE_BAD_DATA, "text is not UTF-8");
            break;
        }
        ws_cb_enter(&loop->call, c, "on_message");
        h->on_message(c, (ws_type)m.opcode, (const char *)m.data, m.len);
        ws_cb_leave(&loop->call, c);
        if (ws_send_queue_count(&c->out) && ws_conn_backs_up(c)) {
            ws_conn_hold(c, WS_HELD_QUEUE);
        }
    }
    *left = len;
    return data;
}

/* Count a piece of a message for the rate limit. @return 0: the connection is being closed */
static int input_count_piece(ws_conn *c, const ws_piece *piece)
{
    if ((piece->flags & WS_MESSAGE_LAST) || c->location->handler->on_frame) {
        ws_rate_limit_touch(c);
    }
    return ws_rate_limit_take(c, piece->len, (piece->flags & WS_FRAME_LAST) != 0);
}

/* Deliver the frames of the input. framed: parse with the framer instead of p. @return the first
 * byte that was not consumed */
static inline __attribute__((always_inline)) unsigned char *input_take_frames(
    ws_conn *c, ws_parser *p, unsigned char *data, apr_size_t *len, int framed)
{
    ws_piece piece;
    ws_parse_error error;

    while (*len && !c->held && !c->discard_input && !c->broken) {
        ws_parse_result result;
        if (!framed && c->plain_in && !p->opcode) {
            data = input_take_whole(c, data, len);
            if (!*len || c->held || c->discard_input || c->broken) {
                break;
            }
        }
        result = framed
                     ? c->rare->framer->framing->next(c->rare->framer, &data, len, &piece, &error)
                     : ws_parser_next(p, &data, len, &piece, &error);
        if (c->settings->trace && (result == WS_PARSE_DATA || result == WS_PARSE_CONTROL)) {
            ws_trace_in(c, &piece);
        }
        switch (result) {
        case WS_PARSE_DATA:
            if (c->rare->meter && !input_count_piece(c, &piece)) {
                break;
            }
            c->loop->last_input = *len == 0;
            input_take_data(c, &piece, framed ? 0 : p->message_len);
            break;
        case WS_PARSE_CONTROL:
            if (c->rare->meter && piece.opcode != WS_OP_CLOSE
                && !ws_rate_limit_take(c, piece.len, 1)) {
                break;
            }
            input_take_control(c, &piece);
            break;
        case WS_PARSE_FAIL:
            ws_conn_fail(c, error.code, error.text);
            break;
        case WS_PARSE_MORE:
            return data;
        }
        /* If the peer does not read, replies would lengthen the queue: parse the rest later. */
        if (ws_send_queue_count(&c->out) && ws_conn_backs_up(c)) {
            ws_conn_hold(c, WS_HELD_QUEUE);
        }
    }
    return data;
}

/* Parse the input in steps, because an extension can turn little input into much output. The turn
 * can end between two steps, and a handler with on_frame can pause the connection. */
static unsigned char *input_take_in_steps(ws_conn *c, ws_parser *p, unsigned char *data,
                                          apr_size_t *len)
{
    apr_size_t step, left;
    do {
        step = left = *len < EXTENDED_STEP ? *len : EXTENDED_STEP;
        data = input_take_frames(c, p, data, &left, 0);
        *len -= step - left;
    } while (*len && left < step && !c->held && !c->discard_input && !c->broken);
    return data;
}

/* If the connection has no ws_rare, the parser is on the stack. If a message is incomplete, the
 * parser moves to a new ws_rare. */
static unsigned char *input_parse(ws_conn *c, unsigned char *data, apr_size_t *len)
{
    ws_rare *rare = c->rare != &ws_rare_none || c->settings->trace ? ws_conn_rare(c) : NULL;
    /* cppcheck-suppress uninitvar; ws_conn_init_parser() sets it */
    ws_parser own, *p = rare ? &rare->parser : &own;
    if (!rare) {
        ws_conn_init_parser(c, &own);
    }
    data = rare && rare->chain && !ws_chain_passes(rare->chain)
               ? input_take_in_steps(c, p, data, len)
               : input_take_frames(c, p, data, len, 0);
    if (!rare && own.opcode) {
        if ((rare = ws_conn_rare(c))) {
            rare->parser = own;
        }
        else {
            ws_conn_fail(c, WS_CLOSE_INTERNAL, "out of memory");
        }
    }
    return data;
}

static unsigned char *input_take_bytes(ws_conn *c, unsigned char *data, apr_size_t *len)
{
    if (!c->framed) {
        if (c->plain_in && !c->rare->parser.opcode) {
            data = input_take_whole(c, data, len);
        }
        return *len ? input_parse(c, data, len) : data;
    }
    if (ws_state_of(c) == WS_CONNECTING && !ws_hixie_shake(c, &data, len)) {
        return data;
    }
    return input_take_frames(c, NULL, data, len, 1);
}

/* Deliver the messages of the input. @return as input_take_frames() */
static unsigned char *input_take(ws_conn *c, unsigned char *data, apr_size_t *len)
{
    int began = c->rare->arrival && input_is_between(c); /* the input starts with a known header */
    apr_size_t before = *len;
    data = input_take_bytes(c, data, len);
    if (began && *len < before) {
        ws_arrival_end(c);
    }
    if (*len || c->framed || c->rare->parser.opcode || c->rare->arrival) {
        input_set_time(c, *len);
    }
    return data;
}

static void input_keep(ws_conn *c, const unsigned char *data, apr_size_t len)
{
    ws_rare *rare = ws_conn_rare(c);
    if (!rare || !(rare->rest = ws_bytes_new(data, len))) {
        ws_conn_fail(c, WS_CLOSE_INTERNAL, "out of memory");
    }
}

/* Deliver len bytes of input. The first `kept` of them are a copy of c->rare->rest. */
static void input_deliver(ws_conn *c, unsigned char *data, apr_size_t kept, apr_size_t len)
{
    if (kept) {
        memcpy(data, c->rare->rest->data, kept);
    }
    if (c->rare->rest) {
        free(c->rare->rest);
        ws_rare_of(c)->rest = NULL;
    }

    ws_conn_cork(c);
    data = input_take(c, data, &len);
    /* Keep an incomplete header, and bytes that follow the point where reading was stopped. */
    if (len && !c->discard_input) {
        input_keep(c, data, len);
    }
    ws_conn_uncork(c);
}

/* Deliver the bytes that were kept while reading was stopped (ws_conn.held). The handler may stop
 * reading again after each message. The remaining bytes then stay in c->rare->rest. */
static void input_deliver_kept(ws_conn *c)
{
    ws_bytes *rest = c->rare->rest;
    unsigned char *data = rest->data + rest->pos;
    apr_size_t len = rest->len - rest->pos;
    ws_rare_of(c)->rest = NULL;
    c->resume = 0;

    ws_conn_cork(c);
    data = input_take(c, data, &len);
    if (len && c->held && !c->discard_input) {
        rest->pos = (apr_size_t)(data - rest->data);
        ws_rare_of(c)->rest = rest;
    }
    else {
        if (len && !c->discard_input) {
            input_keep(c, data, len);
        }
        free(rest);
    }
    ws_conn_uncork(c);
}

/* Select the buffer for the next read: the message itself, if much of its frame is missing,
 * otherwise the loop's buffer. After a large message, the loop's buffer gets only DIRECT_MIN bytes.
 * The rest of another large message is then read straight into the buffer of that message. */
static unsigned char *input_place(ws_conn *c, apr_size_t *space)
{
    apr_uint64_t left = c->rare->parser.left;
    int direct = !c->ssl && !c->rare->chain && !c->discard_input;
    *space = direct && c->large ? DIRECT_MIN : WS_INPUT_SIZE;
    if (direct && c->rare->message && left >= DIRECT_MIN) {
        ws_partial *m = ws_partial_reserve(c, left < DIRECT_SIZE ? (apr_size_t)left : DIRECT_SIZE,
                                           c->rare->parser.message_len);
        if (m) { /* if out of memory, delivering from the loop's buffer will report it */
            *space = m->size - m->len < left ? m->size - m->len : (apr_size_t)left;
            return m->data + m->len;
        }
    }
    return c->loop->input;
}

/* Get the number of bytes of c->rare->rest that precede new input. They are usually an incomplete
 * header. @return 0 if input is discarded */
static apr_size_t input_to_put_before(const ws_conn *c)
{
    return c->rare->rest && !c->discard_input ? c->rare->rest->len : 0;
}

static void input_over(ws_conn *c, int broke)
{
    if (!broke && c->framed) {
        ws_framing_ended(c);
    }
    ws_conn_end(c, broke           ? "the connection broke"
                   : c->write_shut ? "closed"
                                   : "the peer closed the connection without a Close frame");
}

static void input_note_input(ws_conn *c, apr_ssize_t n)
{
    c->last_input = c->loop->event.now;
    ws_conn_add_short(c, WS_SUM_WIRE_IN, (apr_uint32_t)n);
    ws_count(c->loop->counters, WS_COUNT_WIRE_IN, n);
    if (c->pinged) {
        ws_conn_answered(c);
    }
}

/* Read once. @return whether to read again */
static int input_read_once(ws_conn *c)
{
    apr_size_t kept = input_to_put_before(c), space;
    unsigned char *data;
    apr_ssize_t n;
    int more = 0;

    if (c->resume && !c->discard_input) { /* deliver earlier bytes first */
        input_deliver_kept(c);
        return 1;
    }
    if (!ws_stream_is_read(&c->source)) {
        return 0;
    }
    data = input_place(c, &space);
    n = ws_socket_read(c, data + kept, space - kept, &more);
    if (n == -1) {
        return 0;
    }
    if (n <= 0) {
        input_over(c, n < 0);
        return 0;
    }
    input_note_input(c, n);
    if (c->source.async) {
        ws_stream_adapt(&c->loop->event, &c->source, (apr_size_t)n);
    }
    if (!c->discard_input) {
        input_deliver(c, data, kept, kept + (apr_size_t)n);
    }
    c->loop->spent += (apr_size_t)n;
    return more;
}

/* Append input to c->rare->rest. It is delivered at the end of the turn, or when reading
 * resumes. */
static void input_keep_input(ws_conn *c, const unsigned char *data, apr_size_t len)
{
    ws_bytes *rest = realloc(c->rare->rest, sizeof(*rest) + c->rare->rest->len + len);
    if (!rest) {
        ws_conn_fail(c, WS_CLOSE_INTERNAL, "out of memory");
        ws_conn_mark_dirty(c);
        return;
    }
    memcpy(rest->data + rest->len, data, len);
    rest->len = rest->size = rest->len + len;
    ws_rare_of(c)->rest = rest;
    if (!c->held) {
        c->resume = 1;
        ws_conn_mark_dirty(c);
    }
}

static inline void input_begin_turn(ws_conn *c)
{
    c->loop->reading = c;
    c->loop->spent = 0;
}

void ws_conn_received(ws_conn *c, const ws_ready *r)
{
    apr_size_t kept = input_to_put_before(c), len = (apr_size_t)r->result;
    if (c->freed) {
        return;
    }
    if (r->result > 0) {
        input_note_input(c, r->result);
        ws_stream_adapt(&c->loop->event, &c->source, len);
        if (kept && (c->held || c->resume || kept > WS_RECEIVE_HEADROOM)) {
            input_keep_input(c, r->data, len);
        }
        else if (!c->discard_input) {
            input_begin_turn(c);
            input_deliver(c, r->data - kept, kept, kept + len);
            c->loop->reading = NULL;
        }
    }
    else if (r->result != -ENOBUFS && r->result != -ECANCELED && r->result != -EINTR
             && r->result != -EAGAIN
             && (c->discard_input
                 || !(c->held
                      || c->resume))) { /* c->rare->rest comes first; the end is reported again */
        input_over(c, r->result < 0);
    }
    if (!r->more && !c->freed) {
        ws_conn_watch(c);
    }
}

void ws_conn_read(ws_conn *c)
{
    int rounds = 0;
    input_begin_turn(c);
    while (!c->freed && (!c->held || c->discard_input) && input_read_once(c) && ++rounds < ROUNDS
           && c->loop->spent < ws_conn_share_of_turn(c)) {
    }
    c->loop->reading = NULL;
}
