/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** This handler provides those services that SockJS's tests expect and that are more than an echo.
 *  The value of service= is close, amplify, broadcast, binary, pause, stop or transport. */

#include <stdlib.h>
#include <string.h>

#include "mod_websocket.h"

static const char *service_configure(apr_pool_t *p, const char *key, const char *value,
                                     void **config)
{
    (void)p;
    if (key) {
        *config = (void *)value;
        return strcmp(key, "service") ? "unknown key; the only key is service" : NULL;
    }
    return *config ? NULL : "service= is missing";
}

static void service_later(ws_conn *c, void *arg)
{
    (void)arg;
    ws_resume(c);
}

static void service_open(ws_conn *c)
{
    const char *service = ws_config(c);
    if (!strcmp(service, "close")) {
        ws_close(c, 3000, "Go away!");
    }
    else if (!strcmp(service, "binary")) {
        ws_send(c, WS_BINARY, "\0\1", 2);
    }
    else if (!strcmp(service, "pause")) {
        ws_pause(c);
        ws_timer_start(c, 500, 0, service_later, NULL);
    }
    else if (!strcmp(service, "stop")) { /* until the connection ends */
        ws_pause(c);
    }
    else if (!strcmp(service, "transport")) {
        const char *name = ws_transport_name(c);
        ws_send(c, WS_TEXT, name, strlen(name));
    }
}

/* Send 2^n characters. */
static void service_amplify(ws_conn *c, const char *data, apr_size_t len)
{
    char digits[8] = "", *text;
    int n;
    memcpy(digits, data, len < sizeof(digits) ? len : sizeof(digits) - 1);
    n = atoi(digits);
    n = n > 0 && n < 19 ? n : 1;
    if ((text = malloc((size_t)1 << n))) {
        memset(text, 'x', (size_t)1 << n);
        ws_send(c, WS_TEXT, text, (size_t)1 << n);
        free(text);
    }
}

static void service_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    const char *service = ws_config(c);
    if (!strcmp(service, "amplify")) {
        service_amplify(c, data, len);
    }
    else if (!strcmp(service, "broadcast")) {
        ws_broadcast_everywhere(ws_conn_location(c), type, data, len, 0);
    }
    else {
        ws_send(c, type, data, len);
    }
}

static void service_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    ws_conn_log(c, WS_LOG_INFO, "service %s: closed with %d \"%.*s\"", (char *)ws_config(c), code,
                (int)len, reason ? reason : "");
}

WS_HANDLER(service) = {.configure = service_configure,
                       .on_open = service_open,
                       .on_message = service_message,
                       .on_close = service_close};
