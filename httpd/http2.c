/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Limits WebSockets over HTTP/2, and sends clients to HTTP/1.1 with RST_STREAM(HTTP_1_1_REQUIRED).
 * Each WebSocket over HTTP/2 occupies httpd threads (http2.h).
 */

#include "httpd/http2.h"

#include <ap_mpm.h>
#include <http_log.h>
#include <http_protocol.h>

#include "httpd/config.h"
#include "httpd/takeover.h"

APLOG_USE_MODULE(websocket);

/* Maximum number of WebSockets per connection. mod_http2 starts with 6 parallel streams per
 * connection. Each stream that it resets lowers that number, down to 2 (m_be_annoyed() in
 * h2_mplx.c). One of the two must stay free for ordinary requests, and for WebSockets that this
 * file refuses. */
#define PER_CONNECTION 1

static int of_child; /* atomic; number of WebSockets over HTTP/2 in this process */

/* Get the limit for this process. Half of the threads remain for requests. */
static int http2_child_max(void)
{
    int threads = 0;
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    return threads > 2 ? threads / 2 : 1;
}

int ws_http2_unwanted(const request_rec *r)
{
    return r->connection->master && ws_dir_config_of(r)->relay <= 0;
}

int ws_http2_begin(const request_rec *r)
{
    int here, all;
    if (!r->connection->master) {
        return 1;
    }
    here = ws_takeover_streams(r->connection, 1);
    all = __atomic_add_fetch(&of_child, 1, __ATOMIC_RELAXED);
    return !ws_http2_unwanted(r) || (here <= PER_CONNECTION && all <= http2_child_max());
}

void ws_http2_end(const request_rec *r)
{
    if (r->connection->master) {
        ws_takeover_streams(r->connection, -1);
        __atomic_sub_fetch(&of_child, 1, __ATOMIC_RELAXED);
    }
}

int ws_http2_send_to_http_1_1(request_rec *r, const char *what)
{
    static int logged;
    int first = !__atomic_exchange_n(&logged, 1, __ATOMIC_RELAXED);
    ap_log_rerror(
        APLOG_MARK, first ? APLOG_WARNING : APLOG_DEBUG, 0, r,
        "websocket: %s over HTTP/2 is refused with HTTP_1_1_REQUIRED, since it would occupy two "
        "worker threads; the client repeats it over HTTP/1.1. Serve event streams, polls and "
        "WebSockets on a virtual host with \"Protocols http/1.1\" to avoid the second request",
        what);
    /* If a response has this note and this status, mod_http2 sends RST_STREAM(HTTP_1_1_REQUIRED)
     * (h2_headers.c). The handler returns OK: if it returned an error, an ErrorDocument on another
     * server would turn it into a redirect. */
    apr_table_setn(r->notes, "ssl-renegotiate-forbidden", "websocket");
    r->status = HTTP_FORBIDDEN;
    ap_set_content_length(r, 0);
    return OK;
}
