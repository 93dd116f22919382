/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses SockJS URLs, and derives a session's key. */

#include "httpd/sockjs_url.h"

#include <apr_strings.h>
#include <string.h>

#include "engine/hash.h"
#include "httpd/config.h"
#include "httpd/counters.h"
#include "httpd/token_request.h"

static sockjs_what url_transport(const char *name)
{
    static const struct {
        const char *name;
        sockjs_what what;
    } all[] = {{"websocket", SOCKJS_WEBSOCKET},
               {"xhr", SOCKJS_XHR},
               {"xhr_streaming", SOCKJS_XHR_STREAMING},
               {"xhr_send", SOCKJS_XHR_SEND},
               {"eventsource", SOCKJS_EVENTSOURCE},
               {"htmlfile", SOCKJS_HTMLFILE},
               {"jsonp", SOCKJS_JSONP},
               {"jsonp_send", SOCKJS_JSONP_SEND}};
    for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++) {
        if (!strcmp(name, all[i].name)) {
            return all[i].what;
        }
    }
    return SOCKJS_NOTHING;
}

/* Whether a segment is valid as SERVER or SESSION. In protocol 0.3.3, these contain no dots. */
static int url_segment_valid(const char *s)
{
    return *s && !strchr(s, '.');
}

static int url_is_iframe(const char *name)
{
    apr_size_t len = strlen(name);
    return !strncmp(name, "iframe", 6) && len >= 11 && !strcmp(name + len - 5, ".html")
           && (len == 11 || name[6] == '-');
}

/* Remove the last segment of a path. @return the segment, or NULL */
static char *url_cut(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash) {
        return NULL;
    }
    *slash = '\0';
    return slash + 1;
}

/* Whether the original URL ends in several slashes. httpd merges them in r->uri, but only a URL
 * that ends in at most one slash gets the greeting. */
static int url_ends_in_slashes(request_rec *r)
{
    apr_size_t len = strcspn(r->unparsed_uri, "?");
    return len > 1 && !strncmp(r->unparsed_uri + len - 2, "//", 2);
}

/* Parse /SERVER/SESSION/TRANSPORT. */
static int url_parse_session(request_rec *r, char *rest, sockjs_url *url)
{
    char *transport = url_cut(rest), *session = url_cut(rest), *server = url_cut(rest);
    sockjs_what what = transport ? url_transport(transport) : SOCKJS_NOTHING;
    if (!what || !server || !url_segment_valid(server) || !url_segment_valid(session)) {
        return 0;
    }
    url->what = what;
    url->session = session;
    url->base = apr_pstrcat(r->pool, ws_dir_config_of(r)->transports->base, rest, NULL);
    return 1;
}

void ws_sockjs_url_parse(request_rec *r, sockjs_url *url)
{
    const ws_transports *t = ws_dir_config_of(r)->transports;
    apr_size_t base = t ? strlen(t->base) : 0;
    const char *rest = r->uri + base;
    char *path, *last;

    *url = (sockjs_url){SOCKJS_NOTHING, NULL, NULL};
    if (!t || !t->sockjs || strncmp(r->uri, t->base, base) || (*rest && *rest != '/')) {
        return;
    }
    if (!*rest || !strcmp(rest, "/")) {
        if (!url_ends_in_slashes(r)) {
            *url = (sockjs_url){SOCKJS_GREETING, t->base, NULL};
        }
        return;
    }
    if (url_parse_session(r, apr_pstrdup(r->pool, rest), url)) {
        return;
    }
    path = apr_pstrdup(r->pool, r->uri);
    last = url_cut(path);
    url->base = path;
    url->what = !strcmp(last, "info")        ? SOCKJS_INFO
                : url_is_iframe(last)        ? SOCKJS_IFRAME
                : !strcmp(last, "websocket") ? SOCKJS_RAW_WEBSOCKET
                                             : SOCKJS_NOTHING;
}

int ws_sockjs_url_key(request_rec *r, const sockjs_url *url, ws_sockjs_key *key)
{
    /* The key depends on the user, to whom the session belongs. */
    int status = ws_token_request_identify(r);
    const char *port = apr_itoa(r->pool, r->server->port);
    const char *host = r->server->server_hostname ? r->server->server_hostname : "";
    /* The text begins with the lengths, so that different parts never result in the same text. */
    const char *text =
        apr_psprintf(r->pool, "%d,%d,%d,%d\n%s\n%s\n%s\n%s\n%s", (int)strlen(host),
                     (int)strlen(url->base), (int)strlen(r->user ? r->user : ""), r->user != NULL,
                     host, port, url->base, r->user ? r->user : "", url->session);
    *key = (ws_sockjs_key){ws_hash(0x736f636b6a73ull, text, strlen(text)),
                           ws_hash(0x6a736b636f73ull, text, strlen(text))};
    if (status != OK) {
        ws_counters_add(WS_COUNT_REFUSED_TOKEN);
    }
    return status;
}
