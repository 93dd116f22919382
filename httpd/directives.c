/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Defines the directive table, and merges sections. The setters are in the files of the
 *  features. */

#include "httpd/directives.h"

#include "httpd/arguments.h"
#include "httpd/channel_acl.h"
#include "httpd/channel_http.h"
#include "httpd/channels.h"
#include "httpd/child_config.h"
#include "httpd/config.h"
#include "httpd/extensions.h"
#include "httpd/handler_config.h"
#include "httpd/history.h"
#include "httpd/htaccess.h"
#include "httpd/limits.h"
#include "httpd/origin.h"
#include "httpd/policy_file.h"
#include "httpd/reauthorize.h"
#include "httpd/settings.h"
#include "httpd/token_config.h"

/* ---- Sections ---- */

void *ws_create_dir_config(apr_pool_t *p, char *dir)
{
    ws_dir_config *d = apr_pcalloc(p, sizeof(*d));
    (void)dir;
    d->site_handlers = d->relay = d->slow = -1;
    d->status_close = d->control_open = d->token_required = -1;
    d->max_delay = d->reauthorize = -1;
    d->max_frame = d->max_message = d->send_queue = -1;
    d->sockjs = (ws_sockjs_config)WS_SOCKJS_UNSET;
    d->compression = (ws_compression){-1, -1, -1, -1, -1, -1};
    d->subscriptions = d->fragment = d->ping_interval = d->ping_grace = d->close_timeout = -1;
    d->message_timeout = d->message_rate = d->token_leeway = -1;
    return d;
}

#define MERGE(field, unset) d->field = a->field != (unset) ? a->field : b->field

void *ws_merge_dir_config(apr_pool_t *p, void *base, void *add)
{
    const ws_dir_config *b = base, *a = add, *o = a->origins ? a : b;
    ws_dir_config *d = apr_pcalloc(p, sizeof(*d));
    MERGE(handlers, NULL);
    d->directory = a->handlers ? a->directory : b->directory;
    MERGE(site_handlers, -1);
    d->site_line = a->site_handlers != -1 ? a->site_line : b->site_line;
    MERGE(site_page, NULL);
    d->site_dir = a->site_page ? a->site_dir : b->site_dir;
    MERGE(extensions, NULL);
    ws_merge_compression(&d->compression, &b->compression, &a->compression);
    MERGE(versions, 0);
    MERGE(relay, -1);
    MERGE(channel_http, NULL);
    MERGE(log, NULL);
    MERGE(transports, NULL);
    ws_sockjs_merge(&d->sockjs, &b->sockjs, &a->sockjs);
    MERGE(max_frame, -1);
    MERGE(max_message, -1);
    MERGE(send_queue, -1);
    MERGE(fragment, -1);
    MERGE(ping_interval, -1);
    MERGE(subscriptions, -1);
    MERGE(may[WS_MAY_SUBSCRIBE], NULL);
    MERGE(may[WS_MAY_PUBLISH], NULL);
    MERGE(wildcards, NULL);
    MERGE(token_keys, NULL);
    MERGE(token_audiences, NULL);
    MERGE(token_issuers, NULL);
    MERGE(token_leeway, -1);
    MERGE(token_required, -1);
    MERGE(ping_grace, -1);
    MERGE(close_timeout, -1);
    MERGE(message_timeout, -1);
    MERGE(message_rate, -1);
    MERGE(slow, -1);
    MERGE(max_delay, -1);
    MERGE(reauthorize, -1);
    d->ssl_proxy = ws_ssl_proxy_merge(&b->ssl_proxy, &a->ssl_proxy);
    d->access = ws_access_merge(&b->access, &a->access);
    MERGE(status_close, -1);
    MERGE(control, NULL);
    MERGE(control_open, -1);
    d->limits = ws_limits_merge(p, b->limits, a->limits);
    d->origins = o->origins;
    d->origin_same = o->origin_same;
    d->origin_any = o->origin_any;
    return d;
}

void *ws_create_server_config(apr_pool_t *p, server_rec *s)
{
    (void)s;
    return apr_pcalloc(p, sizeof(ws_server_config));
}

/* ---- Directives ---- */

#define FIELD(name) ((void *)APR_OFFSETOF(ws_dir_config, name))

/* These directives are not allowed in .htaccess, which must not load code or raise a limit. */
#define WHERE (RSRC_CONF | ACCESS_CONF)
#define PER_HOST RSRC_CONF /* a virtual host can have its own */

const command_rec ws_directives[] = {
    WS_SSL_PROXY_DIRECTIVES,
    WS_ACCESS_REQUIRE,
    WS_ACCESS_MERGING,
    WS_ACCESS_SET_HANDLER,
    AP_INIT_TAKE1("WebSocketStatusClose", ws_set_flag, FIELD(status_close), WHERE,
                  "on or off: whether the status page can close connections"),
    AP_INIT_TAKE1("WebSocketControlOpen", ws_set_flag, FIELD(control_open), WHERE,
                  "on or off: whether the control API may be open to everyone"),
    WS_INIT_ARGUMENTS(
        "WebSocketHtaccess", ws_htaccess_allow, WHERE,
        "the handler for .htaccess files: ws_http.so, then its keys except to=; or off"),
    WS_INIT_ARGUMENTS("WebSocketHandler", ws_set_handler, WHERE | OR_FILEINFO,
                      "a handler's file or name, then [protocol=a,b] [key=value ...]; or off"),
    AP_INIT_TAKE1("WebSocketHandlerDirectory", ws_set_handler_directory, NULL, WHERE,
                  "a directory of handlers; the next segment of the path selects one"),
    AP_INIT_TAKE12("WebSocketThreads", ws_set_threads, NULL, RSRC_CONF,
                   "the number of event loops in each child process, then the maximum number of "
                   "threads for blocking handlers"),
    AP_INIT_TAKE1("WebSocketBackend", ws_set_backend, NULL, RSRC_CONF,
                  "the system interface of the event loops: " WS_BACKEND_NAMES),
    AP_INIT_TAKE1("WebSocketDrainTimeout", ws_set_drain_timeout, NULL, RSRC_CONF,
                  "how long a stopping child process keeps its connections open"),
    AP_INIT_TAKE1("WebSocketWatchdog", ws_set_watchdog, NULL, RSRC_CONF,
                  "how long a handler's callback may take before it is logged, or off"),
    AP_INIT_TAKE23("WebSocketHistory", ws_httpd_history_add, NULL, RSRC_CONF,
                   "a pattern of channel names, the number of messages kept for each channel or "
                   "off, then how long they are kept"),
    AP_INIT_TAKE1("WebSocketHistoryDirectory", ws_httpd_history_set_directory, NULL, RSRC_CONF,
                  "the directory of the history file"),
    AP_INIT_TAKE1("WebSocketHistorySize", ws_httpd_history_size, NULL, RSRC_CONF,
                  "the maximum size of the history file"),
    AP_INIT_TAKE1("WebSocketMaxMessageSize", ws_set_size, FIELD(max_message), WHERE,
                  "the maximum size of a received message, in bytes or with K, M or G"),
    AP_INIT_TAKE1("WebSocketMaxFrameSize", ws_set_size, FIELD(max_frame), WHERE,
                  "the maximum payload of a received frame, in bytes or with K, M or G"),
    AP_INIT_TAKE12(
        "WebSocketPing", ws_set_ping, NULL, WHERE,
        "the time without input after which a ping is sent, then the time to answer it; or off"),
    AP_INIT_TAKE12(
        "WebSocketMessageTimeout", ws_set_message_timeout, NULL, WHERE,
        "the time within which more of an incomplete message must arrive, then its minimum rate in "
        "bytes per second; or off"),
    AP_INIT_TAKE1("WebSocketCloseTimeout", ws_set_interval, FIELD(close_timeout), WHERE,
                  "the timeout of the closing handshake"),
    WS_INIT_ARGUMENTS("WebSocketOrigin", ws_set_origins, WHERE,
                      "same, any, or the origins whose pages may connect"),
    WS_INIT_ARGUMENTS("WebSocketVersions", ws_set_versions, WHERE,
                      "one or more protocol versions to accept: 13, 8, 7, 76, 75"),
    AP_INIT_TAKE1(
        "WebSocketRelay", ws_set_flag, FIELD(relay), WHERE,
        "on: relay all connections through httpd's filters, each with a worker thread; off: only "
        "those that cannot be taken over"),
    AP_INIT_TAKE1("WebSocketFragmentSize", ws_set_fragment, FIELD(fragment), WHERE,
                  "off, on, or the maximum payload of a sent frame, in bytes or with K, M or G"),
    AP_INIT_TAKE1("WebSocketSendQueue", ws_set_size, FIELD(send_queue), WHERE,
                  "the maximum length of a client's send queue, in bytes or with K, M or G"),
    AP_INIT_TAKE12("WebSocketSlowReader", ws_set_slow_reader, NULL, WHERE,
                   "close, drop-newest, drop-oldest or keep-latest; then the maximum time a "
                   "message waits, or off"),
    AP_INIT_TAKE1("WebSocketReauthorize", ws_reauthorize_set, NULL, WHERE,
                  "how often access to an open connection is checked again, or off"),
    AP_INIT_TAKE1("WebSocketSubscribe", ws_channelrule_set, (void *)WS_MAY_SUBSCRIBE, WHERE,
                  "all, none, handler, or an expression that is true if the client may subscribe "
                  "to %{WEBSOCKET_CHANNEL}"),
    AP_INIT_TAKE1("WebSocketPublish", ws_channelrule_set, (void *)WS_MAY_PUBLISH, WHERE,
                  "all, none, handler, or an expression that is true if the client may publish to "
                  "%{WEBSOCKET_CHANNEL}"),
    AP_INIT_ITERATE("WebSocketWildcards", ws_channelrule_set_wildcard, NULL, WHERE,
                    "the wildcards that clients may subscribe to, such as news/*; or off"),
    WS_TOKEN_DIRECTIVES(WHERE, FIELD),
    AP_INIT_TAKE1("WebSocketSubscriptions", ws_set_subscriptions, NULL, WHERE,
                  "the maximum number of channels that a connection may subscribe to"),
    WS_INIT_ARGUMENTS("WebSocketChannelHTTP", ws_channel_http_set, WHERE,
                      "publish, subscribe or both; or off"),
    WS_INIT_ARGUMENTS("WebSocketTransports", ws_transports_set, WHERE,
                      "websocket, sockjs, or both"),
    WS_INIT_ARGUMENTS("WebSocketSockJS", ws_sockjs_set, WHERE,
                      "any of client=, response=, heartbeat=, delay=, sessions= and cookie="),
    AP_INIT_TAKE1("WebSocketChannels", ws_httpd_channels_set, NULL, RSRC_CONF,
                  "the maximum number of channels in a child process"),
    AP_INIT_TAKE1("WebSocketBusQueue", ws_httpd_channels_set_queue, NULL, RSRC_CONF,
                  "the maximum length of the queue to a process or loop, above which publishing "
                  "is refused, in bytes or with K, M or G"),
    WS_INIT_ARGUMENTS("WebSocketLimit", ws_limit_set, WHERE,
                      "connections=, handshakes=, messages=, bytes=, lifetime= or idle=, then "
                      "optionally burst=, key= and dry-run; or off"),
    WS_INIT_ARGUMENTS("WebSocketLog", ws_connection_log_set, WHERE,
                      "a file, | and a program, or the URL of a Redis server, to record ended "
                      "connections; then json or a format; or off"),
    WS_INIT_ARGUMENTS("WebSocketPolicyFile", ws_policy_file_set, PER_HOST,
                      "domains with ports, as \"*.example.org:80,443\"; or a file; or off"),
    WS_INIT_ARGUMENTS("WebSocketExtension", ws_set_extension, WHERE,
                      "an extension's file or name, then [key=value ...]; or off"),
    WS_INIT_ARGUMENTS("WebSocketCompression", ws_set_compression, WHERE,
                      "off or on, then [level=1-9] [window=8-15] [client-window=8-15] "
                      "[takeover=on|off] [threshold=SIZE] [memory=SIZE]"),
    {.name = NULL}};
