/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** This target parses URLs. The parts of an accepted URL contain no characters that are unsafe in a
 *  line of a request, and the URL gives the same parts if it is written and parsed again. */

#include "protocol/url.h"

#include "t/fuzz/fuzz.h"

static int printable(const char *s, int spaces)
{
    for (; *s; s++) {
        if ((unsigned char)*s < ' ' || (*s == ' ' && !spaces) || *s == 127) {
            return 0;
        }
    }
    return 1;
}

static void check(const ws_url *url)
{
    MUST(*url->host && printable(url->host, 0));
    MUST(url->port >= 1 && url->port <= 65535);
    MUST(url->port_given == (url->port != (url->socks ? 1080u : url->secure ? 443u : 80u)));
    MUST(*url->target == '/' && printable(url->target, 0) && !strchr(url->target, '#'));
    MUST(!url->user == !url->password);
    MUST(!url->user || (printable(url->user, 1) && printable(url->password, 1)));
}

/* Check that a URL which is written from its parts parses to the same parts. */
static void again(const ws_url *url)
{
    char authority[WS_AUTHORITY_SIZE], text[2 * WS_URL_SIZE], room[sizeof(text) + 64];
    const char *wrong;
    ws_url other;
    if (url->socks) {
        return; /* the URL of a proxy is never written as a ws URL */
    }
    snprintf(text, sizeof(text), "%s://%s%s", url->secure ? "wss" : "ws",
             ws_url_authority(url, 0, authority), url->target);
    if (strlen(text) < WS_URL_SIZE) {
        MUST(ws_url_parse(&other, text, room, &wrong) == 0);
        MUST(!strcmp(other.host, url->host) && other.port == url->port && other.ipv6 == url->ipv6);
        MUST(!strcmp(other.target, url->target) && other.secure == url->secure && !other.user);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *text = malloc(len + 1), *room, *location, out[WS_URL_SIZE];
    const char *wrong = NULL;
    ws_url url, to;

    MUST(text);
    memcpy(text, data, len);
    text[len] = '\0';
    location = strchr(text, '\n'); /* the second line is a redirect from the first */
    if (location) {
        *location++ = '\0';
    }
    room = malloc(WS_URL_ROOM(strlen(text)));
    MUST(room);
    if (ws_url_parse(&url, text, room, &wrong) < 0) {
        MUST(wrong && *wrong);
    }
    else {
        check(&url);
        again(&url);
        if (location && ws_url_resolve(&url, location, out) == 0) {
            char *other = malloc(WS_URL_ROOM(strlen(out)));
            MUST(other);
            if (ws_url_parse(&to, out, other, &wrong) == 0) {
                check(&to);
            }
            free(other);
        }
    }
    free(room);
    free(text);
    return 0;
}
