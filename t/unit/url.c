/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests WebSocket URLs (RFC 6455, section 3) and targets of redirects. */

#include "protocol/url.h"

#include <stdlib.h>

#include "t/unit/tap.h"

/* Parse a URL. @return its parts in one line, or the error */
static const char *parts(const char *text)
{
    static char line[4 * WS_URL_SIZE];
    char *room = malloc(WS_URL_ROOM(strlen(text))), authority[WS_AUTHORITY_SIZE];
    const char *wrong = NULL;
    ws_url u;
    if (ws_url_parse(&u, text, room, &wrong) < 0) {
        snprintf(line, sizeof(line), "%s", wrong);
    }
    else {
        snprintf(line, sizeof(line), "%s%s %s:%s %s %u %s, %s", u.secure ? "secure" : "plain",
                 u.http ? " http" : "", u.user ? u.user : "-", u.password ? u.password : "-",
                 u.host, u.port, u.target, ws_url_authority(&u, 0, authority));
    }
    free(room);
    return line;
}

#define SCHEME "the URL does not start with ws:// or wss://"
#define HOST "the URL has no host, or its host has an invalid character"
#define CHARACTERS "the URL's host has an invalid character"
#define PORT "the URL's port is not 1 to 65535"
#define USER "the user or password in the URL has a malformed %HH or a control character"
#define PATH "the URL's path has a character that must be written as %HH"
#define BRACKETS "the URL's address in brackets is not an IPv6 address"

static void what_urls_say(void)
{
    static const char *const cases[][2] = {
        {"ws://example.org", "plain -:- example.org 80 /, example.org"},
        {"wss://example.org/", "secure -:- example.org 443 /, example.org"},
        {"WSS://Example.org:443/a", "secure -:- Example.org 443 /a, Example.org"},
        {"ws://example.org:443/a?b=c", "plain -:- example.org 443 /a?b=c, example.org:443"},
        {"wss://example.org:80", "secure -:- example.org 80 /, example.org:80"},
        {"ws://example.org:/x", "plain -:- example.org 80 /x, example.org"},
        {"ws://example.org?x/y", "plain -:- example.org 80 /?x/y, example.org"},
        {"ws://a:b@example.org/", "plain a:b example.org 80 /, example.org"},
        {"ws://a@example.org/", "plain a: example.org 80 /, example.org"},
        {"ws://a%40b:%3a:x@example.org/@", "plain a@b:::x example.org 80 /@, example.org"},
        {"ws://a@b@example.org/", "plain a@b: example.org 80 /, example.org"},
        {"ws://[::1]:9000/", "plain -:- ::1 9000 /, [::1]:9000"},
        {"wss://[2001:db8::1]", "secure -:- 2001:db8::1 443 /, [2001:db8::1]"},
        {"ws://127.0.0.1:65535/", "plain -:- 127.0.0.1 65535 /, 127.0.0.1:65535"},
        {"http://proxy:3128", "plain http -:- proxy 3128 /, proxy:3128"},
        {"https://example.org", "secure http -:- example.org 443 /, example.org"},
        {"example.org", SCHEME},
        {"ftp://example.org", SCHEME},
        {"://example.org", SCHEME},
        {"", SCHEME},
        {"ws://", HOST},
        {"ws:///path", HOST},
        {"ws://:80/", HOST},
        {"ws://exa mple.org/", CHARACTERS},
        {"ws://b\xc3\xbc.example/", "plain -:- b\xc3\xbc.example 80 /, b\xc3\xbc.example"},
        {"socks5://p", "plain -:- p 1080 /, p"},
        {"socks5h://u:p@p:9", "plain u:p p 9 /, p:9"},
        {"ws://example.org./", "plain -:- example.org. 80 /, example.org."},
        {"ws://./", HOST},
        {"ws://example.org:0/", PORT},
        {"ws://example.org:65536/", PORT},
        {"ws://example.org:x/", PORT},
        {"ws://example.org:80x/", CHARACTERS},
        {"ws://[::1/", BRACKETS},
        {"ws://[]/", BRACKETS},
        {"ws://[::::]/", BRACKETS},
        {"ws://[127.0.0.1]/", BRACKETS},
        {"ws://[::1]x/", CHARACTERS},
        {"ws://a%4@example.org/", USER},
        {"ws://a%zz@example.org/", USER},
        {"ws://a%0d%0ab@example.org/", USER},
        {"ws://a%3ab:c@example.org/", "a user name must not contain a colon"},
        {"ws://example.org/a b", PATH},
        {"ws://example.org/\xc3\xbc", PATH},
        {"ws://example.org/a\nb", PATH},
        {"ws://example.org/#a",
         "the URL has a fragment (#), which RFC 6455, section 3, does not allow"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        is_str(parts(cases[i][0]), cases[i][1], "URL %d", (int)i);
    }
}

static void how_long_they_may_be(void)
{
    char text[WS_URL_SIZE + 8] = "ws://h/";
    memset(text + 7, 'x', sizeof(text) - 8);
    text[WS_URL_SIZE - 1] = '\0';
    ok(strncmp(parts(text), "plain", 5) == 0, "the longest URL is accepted");
    text[WS_URL_SIZE - 1] = 'x';
    text[WS_URL_SIZE] = '\0';
    is_str(parts(text), "the URL is too long", "a longer URL is refused");
}

static void where_redirects_lead(void)
{
    static const char *const cases[][3] = {
        {"ws://a/b/c?d", "ws://x:1/y", "ws://x:1/y"},
        {"ws://a/b/c?d", "https://x/y", "https://x/y"},
        {"wss://a:1/b/c?d", "//x/y", "wss://x/y"},
        {"ws://a:1/b/c?d", "/y?z", "ws://a:1/y?z"},
        {"ws://a:1/b/c?d", "y", "ws://a:1/b/y"},
        {"ws://a:1/b/c?d", "?y", "ws://a:1/b/c?y"},
        {"ws://[::1]:1/b", "/y", "ws://[::1]:1/y"},
        {"ws://me:secret@a:1/b", "/y#there", "ws://a:1/y"},
        {"ws://a:1/b?c/d", "y", "ws://a:1/y"},
        {"ws://a:1/b", "/x?to=http://b/", "ws://a:1/x?to=http://b/"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char room[256], out[WS_URL_SIZE] = "";
        const char *wrong;
        ws_url from;
        ws_url_parse(&from, cases[i][0], room, &wrong);
        is_int(ws_url_resolve(&from, cases[i][1], out), 0, "%s from %s", cases[i][1], cases[i][0]);
        is_str(out, cases[i][2], "%s from %s leads to the right URL", cases[i][1], cases[i][0]);
    }
}

static void too_far(void)
{
    char room[256], out[WS_URL_SIZE], far[WS_URL_SIZE];
    const char *wrong;
    ws_url from;
    memset(far, '/', sizeof(far) - 1);
    far[1] = 'x';
    far[sizeof(far) - 1] = '\0';
    ws_url_parse(&from, "ws://example.org/", room, &wrong);
    is_int(ws_url_resolve(&from, far, out), -1, "a target that makes the URL too long is refused");
}

int main(void)
{
    what_urls_say();
    how_long_they_may_be();
    where_redirects_lead();
    too_far();
    return done_testing();
}
