/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses the directives WebSocketTransports and WebSocketSockJS. */

#include "httpd/sockjs_config.h"

#include <apr_strings.h>
#include <string.h>

#include "base/parse.h"
#include "httpd/access.h"
#include "httpd/arguments.h"
#include "httpd/config.h"
#include "protocol/url.h"
#include "protocol/utf8.h"
#include "sockjs/session.h"

#define RESPONSE_MIN 1024
#define RESPONSE_MAX (1 << 30)
#define HEARTBEAT_MAX (10 * 60 * 1000)
#define DELAY_MAX (10 * 60 * 1000)
#define SESSIONS_MAX 200000

/* The line for WebSockets with SockJS frames; NULL: no section uses SockJS. */
static ws_handler_line *sockjs_line;

void ws_sockjs_config_reset(apr_pool_t *pconf)
{
    (void)pconf;
    sockjs_line = NULL;
}

int ws_sockjs_used(void)
{
    return sockjs_line != NULL;
}

ws_location *ws_sockjs_location(void)
{
    return &sockjs_line->location;
}

static void sockjs_use(apr_pool_t *pconf)
{
    if (!sockjs_line) {
        sockjs_line = apr_pcalloc(pconf, sizeof(*sockjs_line));
        sockjs_line->location.handler = &ws_sockjs_websocket;
        sockjs_line->location.name = "sockjs";
        sockjs_line->location.internal = 1;
        APR_ARRAY_PUSH(ws_handler_lines, ws_handler_line *) = sockjs_line;
    }
}

const char *ws_transports_set(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    ws_transports *t = apr_pcalloc(cmd->pool, sizeof(*t));
    const char *base = ws_section_base(cmd);
    if (!base || !*base) {
        return "WebSocketTransports is allowed only in a <Location> without wildcards, since the "
               "transports have URLs below its path";
    }
    t->base = base;
    for (int i = 0; i < argc; i++) {
        if (!strcasecmp(argv[i], "websocket")) {
            t->websocket = 1;
        }
        else if (!strcasecmp(argv[i], "sockjs")) {
            t->sockjs = 1;
        }
        else {
            return apr_psprintf(cmd->pool,
                                "WebSocketTransports: invalid value \"%s\": expected websocket, "
                                "sockjs, or both",
                                argv[i]);
        }
    }
    if (!argc) {
        return "WebSocketTransports takes websocket, sockjs, or both";
    }
    if (t->sockjs) {
        sockjs_use(cmd->pool);
        ws_access_opens(cmd);
    }
    ((ws_dir_config *)config)->transports = t;
    return ws_check_repeated(cmd, argc, argv, strcasecmp);
}

/* Whether a URL is UTF-8, and can be decoded. */
static int sockjs_escaped(apr_pool_t *p, const char *url)
{
    apr_size_t len = strlen(url);
    return ws_percent_decode(url, len, 0, apr_palloc(p, len + 1), len + 1) >= 0
           && ws_utf8_valid(url, len);
}

/* Whether a URL has a valid host and port, if it is more than a path. */
static int sockjs_host_valid(apr_pool_t *p, const char *url)
{
    const char *host = *url == '/' && url[1] != '/' ? NULL : strstr(url, "//") + 2;
    const char *root =
        host ? apr_pstrcat(p, "https://", apr_pstrmemdup(p, host, strcspn(host, "/?#")), NULL) : "";
    const char *wrong;
    ws_url parsed;
    return !host || !ws_url_parse(&parsed, root, apr_palloc(p, WS_URL_ROOM(strlen(root))), &wrong);
}

/* Check the URL. The iframe page loads a script from this URL, and the script runs with the rights
 * of this server's origin. */
static const char *sockjs_client(cmd_parms *cmd, const char *url, const char **client)
{
    if ((*url != '/' && strncmp(url, "https://", 8) && strncmp(url, "http://", 7))
        || strpbrk(url, "\"'<>\\ \t\r\n") || strstr(url, "&#")
        || !sockjs_escaped(cmd->temp_pool, url) || !sockjs_host_valid(cmd->temp_pool, url)) {
        return "takes a path that starts with /, or a URL with http:// or https://, a host, and a "
               "port from 1 to 65535 if any; write other characters as %XX";
    }
    *client = apr_pstrdup(cmd->pool, url);
    return NULL;
}

static const char *sockjs_key(cmd_parms *cmd, ws_sockjs_config *s, const char *key,
                              const char *value)
{
    apr_pool_t *p = cmd->pool;
    if (!strcasecmp(key, "client")) {
        return sockjs_client(cmd, value, &s->client);
    }
    if (!strcasecmp(key, "response")) {
        return ws_parse_size(p, value, RESPONSE_MIN, RESPONSE_MAX, &s->response);
    }
    if (!strcasecmp(key, "heartbeat")) {
        return ws_parse_interval(p, value, 100, HEARTBEAT_MAX, &s->heartbeat);
    }
    if (!strcasecmp(key, "delay")) {
        return ws_parse_interval(p, value, 100, DELAY_MAX, &s->delay);
    }
    if (!strcasecmp(key, "sessions")) {
        return ws_parse_count(p, value, 1, SESSIONS_MAX, &s->sessions);
    }
    if (!strcasecmp(key, "cookie") && (!strcasecmp(value, "on") || !strcasecmp(value, "off"))) {
        s->cookie = !strcasecmp(value, "on");
        return NULL;
    }
    return !strcasecmp(key, "cookie") ? "takes on or off"
                                      : "is unknown; the keys are client=, response=, heartbeat=, "
                                        "delay=, sessions= and cookie=";
}

const char *ws_sockjs_set(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    ws_sockjs_config *s = &((ws_dir_config *)config)->sockjs;
    for (int i = 0; i < argc; i++) {
        const char *value = strchr(argv[i], '='), *error;
        const char *key =
            value ? apr_pstrmemdup(cmd->pool, argv[i], (apr_size_t)(value - argv[i])) : argv[i];
        if ((error = value ? sockjs_key(cmd, s, key, value + 1) : "takes a value: key=value")) {
            return apr_psprintf(cmd->pool, "WebSocketSockJS: invalid value \"%s\": %s %s", argv[i],
                                key, error);
        }
    }
    return argc ? ws_check_repeated(cmd, argc, argv, ws_compare_keys)
                : "WebSocketSockJS takes one or more of client=, response=, heartbeat=, delay=, "
                  "sessions= and cookie=";
}

void ws_sockjs_merge(ws_sockjs_config *to, const ws_sockjs_config *b, const ws_sockjs_config *a)
{
    to->client = a->client ? a->client : b->client;
    to->response = a->response >= 0 ? a->response : b->response;
    to->heartbeat = a->heartbeat >= 0 ? a->heartbeat : b->heartbeat;
    to->delay = a->delay >= 0 ? a->delay : b->delay;
    to->sessions = a->sessions >= 0 ? a->sessions : b->sessions;
    to->cookie = a->cookie >= 0 ? a->cookie : b->cookie;
}
