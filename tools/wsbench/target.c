/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses the URL of a target, and looks up its addresses. */

#include <apr_base64.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/idn.h"
#include "tools/wsbench/wsbench.h"

/* Build Basic credentials from the URL's user and password. */
static char *target_credentials(const ws_url *url)
{
    char *text, *coded;
    int len;
    if (!url->user) {
        return NULL;
    }
    len = asprintf(&text, "%s:%s", url->user, url->password);
    coded = len < 0 ? NULL : malloc((size_t)apr_base64_encode_len(len) + 6);
    if (coded) {
        strcpy(coded, "Basic ");
        apr_base64_encode_binary(coded + 6, (unsigned char *)text, len);
    }
    free(len < 0 ? NULL : text);
    return coded;
}

const char *target_read(target *t, const char *text)
{
    static char error[WS_TLS_ERROR];
    static char name[WS_IDN_SIZE];
    char *room = malloc(WS_URL_ROOM(strlen(text)));
    const char *wrong;

    memset(t, 0, sizeof(*t));
    if (!room) {
        return "out of memory";
    }
    if (ws_url_parse(&t->url, text, room, &wrong) < 0) {
        return wrong;
    }
    if (t->url.http || t->url.socks) {
        return "the URL does not start with ws:// or wss://";
    }
    if (t->url.international) {
        if ((wrong = ws_idn_to_ascii(t->url.host, name))) {
            return wrong;
        }
        t->url.host = strdup(name);
    }
    if (!(t->addresses = ws_lookup_now(t->url.host, t->url.port, error))) {
        return error;
    }
    t->authorization = target_credentials(&t->url);
    return NULL;
}
