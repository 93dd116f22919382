/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * This program is an echo server that uses libwebsockets, for bench/compare.
 *
 *   libwebsockets PORT TLS_PORT CERTIFICATE KEY
 */

#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A part of a message that has been received and is still to be sent. The LWS_PRE bytes before its
 * data are reserved for the header that lws_write() adds. */
typedef struct part {
    struct part *next;
    size_t len;
    int binary, first, last;
    unsigned char data[];
} part;

typedef struct session {
    part *head, **tail;
} session;

static int take(struct lws *wsi, session *s, const void *data, size_t len)
{
    part *p = malloc(sizeof(*p) + LWS_PRE + len);
    if (!p) {
        return -1;
    }
    p->next = NULL;
    p->len = len;
    p->binary = lws_frame_is_binary(wsi);
    p->first = lws_is_first_fragment(wsi);
    p->last = lws_is_final_fragment(wsi);
    memcpy(p->data + LWS_PRE, data, len);
    *s->tail = p;
    s->tail = &p->next;
    lws_callback_on_writable(wsi);
    return 0;
}

static int give(struct lws *wsi, session *s)
{
    while (s->head && !lws_send_pipe_choked(wsi)) {
        part *p = s->head;
        int n = lws_write(wsi, p->data + LWS_PRE, p->len,
                          (enum lws_write_protocol)lws_write_ws_flags(
                              p->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT, p->first, p->last));
        if (!(s->head = p->next)) {
            s->tail = &s->head;
        }
        free(p);
        if (n < 0) {
            return -1;
        }
    }
    if (s->head) {
        lws_callback_on_writable(wsi);
    }
    return 0;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t len)
{
    session *s = user;
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        s->head = NULL;
        s->tail = &s->head;
        return 0;
    case LWS_CALLBACK_RECEIVE:
        return take(wsi, s, in, len);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return give(wsi, s);
    case LWS_CALLBACK_CLOSED:
        while (s->head) {
            part *p = s->head;
            s->head = p->next;
            free(p);
        }
        return 0;
    default:
        return lws_callback_http_dummy(wsi, reason, user, in, len);
    }
}

int main(int argc, char **argv)
{
    static const struct lws_protocols protocols[] = {{.name = "echo",
                                                      .callback = callback,
                                                      .per_session_data_size = sizeof(session),
                                                      .rx_buffer_size = 65536},
                                                     {0}};
    struct lws_context_creation_info info = {0};
    struct lws_context *context;
    if (argc != 5) {
        return 2;
    }
    lws_set_log_level(LLL_ERR, NULL);
    info.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
    info.protocols = protocols;
    info.iface = "127.0.0.1";
    if (!(context = lws_create_context(&info))) {
        return 1;
    }
    info.port = atoi(argv[1]);
    info.vhost_name = "plain";
    if (!lws_create_vhost(context, &info)) {
        return 1;
    }
    info.port = atoi(argv[2]);
    info.vhost_name = "tls";
    info.ssl_cert_filepath = argv[3];
    info.ssl_private_key_filepath = argv[4];
    if (!lws_create_vhost(context, &info)) {
        return 1;
    }
    while (lws_service(context, 0) >= 0) {
    }
    lws_context_destroy(context);
    return 0;
}
