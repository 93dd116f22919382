/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Defines the configuration of sections and of servers. */

#ifndef WS_HTTPD_CONFIG_H
#define WS_HTTPD_CONFIG_H

#include <httpd.h>
#include <http_config.h>

#include "engine/engine.h"
#include "httpd/access.h"
#include "httpd/connection_log.h"
#include "httpd/sockjs_config.h"
#include "httpd/ssl_proxy.h"
#include "httpd/token.h"

extern module AP_MODULE_DECLARE_DATA websocket_module WS_API;

/** One WebSocketHandler line. */
typedef struct ws_handler_line {
    ws_location location;
    apr_array_header_t *protocols; /**< subprotocols, const char *; NULL: default handler */
    const char *file;              /**< the shared object, or NULL for a provider */
    const char *base;              /**< path of the section, from ws_section_base() */
    apr_status_t started;          /**< result of the handler's start in this child */
} ws_handler_line;

typedef struct ws_handler_directory ws_handler_directory; /* handler_directory.h */

/** WebSocketCompression; -1: not set. */
typedef struct ws_compression {
    int on, level, window, client_window, takeover;
    apr_int64_t threshold; /**< bytes */
} ws_compression;

/** A field that is not set inherits the value of the enclosing section. If that is not set either,
 *  the default applies. */
typedef struct ws_dir_config {
    apr_array_header_t *handlers; /**< ws_handler_line *; NULL: not set; empty: off, or a
                                       directory of handlers */
    /** Value of WebSocketHandlerDirectory, or NULL; set together with handlers. */
    const ws_handler_directory *directory;
    /** Handler that WebSocketHtaccess names; valid if site_handlers is 1. */
    ws_handler_line *site_line;
    int site_handlers; /**< -1: not set */
    /** The page that WebSocketHandler in a .htaccess file names, and the directory of that file;
     *  NULL: not set. If the page is "", the directive is off. */
    const char *site_page, *site_dir;
    apr_array_header_t *origins; /**< const char *; NULL: not set */
    int origin_same, origin_any; /**< valid if origins is set */
    apr_array_header_t *limits;  /**< see limits.h; NULL: not set */
    unsigned versions;           /**< WS_V13...; 0: not set */
    int relay;                   /**< -1: not set */
    int status_close;            /**< WebSocketStatusClose; -1: not set */
    const char *control; /**< path of the section with SetHandler websocket-control; NULL: none */
    int control_open;    /**< WebSocketControlOpen; -1: not set */
    const ws_connection_log *log;                         /**< NULL: not set */
    apr_int64_t max_frame, max_message, send_queue;       /**< bytes; -1: not set */
    apr_int64_t fragment;                                 /**< bytes, 0: off; -1: not set */
    apr_int64_t ping_interval, ping_grace, close_timeout; /**< milliseconds; -1: not set */
    apr_int64_t message_timeout, message_rate;  /**< milliseconds, bytes per second; -1: not set */
    apr_int64_t reauthorize;                    /**< milliseconds, 0: off; -1: not set */
    apr_int64_t subscriptions;                  /**< -1: not set */
    int slow;                                   /**< ws_slow; -1: not set */
    apr_int64_t max_delay;                      /**< milliseconds, 0: no limit; -1: not set */
    const struct ws_channel_http *channel_http; /**< NULL: not set */
    ws_access access;
    const struct ws_channel_acl *may[2]; /**< channel rules, indexed by ws_action; NULL: not set */
    apr_array_header_t *wildcards;       /**< const char *; NULL: not set; empty: none */
    apr_array_header_t *extensions;      /**< ws_extension_use *; NULL: not set; empty: none */
    /**
     * Values of WebSocketTokenKey (of a private type; empty: off), WebSocketTokenAudience and
     * WebSocketTokenIssuer (const char *); NULL: not set.
     */
    apr_array_header_t *token_keys, *token_audiences, *token_issuers;
    apr_int64_t token_leeway; /**< milliseconds; -1: not set */
    int token_required;       /**< -1: not set */
    ws_compression compression;
    ws_ssl_proxy ssl_proxy;
    ws_transports *transports; /**< NULL: not set */
    ws_sockjs_config sockjs;
} ws_dir_config;

/** The configuration of a server. Only `policy` and `stub` are used in virtual hosts. */
typedef struct ws_server_config {
    unsigned loops;    /**< 0: not set */
    unsigned blocking; /**< 0: not set */
    ws_backend backend;
    apr_int64_t drain;               /**< milliseconds; 0: not set */
    apr_int64_t watchdog;            /**< milliseconds; 0: not set; -1: off */
    unsigned channels;               /**< per child; 0: not set */
    apr_int64_t bus_queue;           /**< bytes; 0: not set */
    apr_uint64_t compression_memory; /**< bytes; 0: not set */
    const char *policy;              /**< WebSocketPolicyFile, the text; NULL: not set; "": off */
    conn_rec *stub; /**< replaces httpd's conn_rec in mod_ssl's callbacks, see takeover.c */
} ws_server_config;

static inline ws_dir_config *ws_dir_config_of(const request_rec *r)
{
    return ap_get_module_config(r->per_dir_config, &websocket_module);
}

static inline ws_server_config *ws_server_config_of(const server_rec *s)
{
    return ap_get_module_config(s->module_config, &websocket_module);
}

/* plugins.c */

/** A kind of plugin. The kinds are handlers and extensions. */
typedef struct ws_plugin_kind {
    const char *noun, *header, *macro; /**< names that error texts contain */
    const char *symbol;                /**< name of the descriptor's symbol in the shared object */
    const char *group, *version;       /**< arguments of ap_register_provider() */
    apr_uint32_t magic, abi, size;     /**< values that the descriptor must have */
} ws_plugin_kind;

/** The fields that ws_handler_descriptor and ws_extension_descriptor share. */
typedef struct ws_plugin_descriptor {
    apr_uint32_t magic, abi, size;
    const char *name;
    const void *table;
} ws_plugin_descriptor;

/** Whether a section has a handler, or a directory of programs. `WebSocketHandler off` is none. */
int ws_has_handler(const ws_dir_config *d);

/**
 * Find the plugin that a directive names, in a shared object or among the providers of other
 * modules.
 * @param file   set to the shared object, or NULL for a provider
 * @param table  set to a copy of the plugin's callback table; missing callbacks are NULL
 * @return NULL, or the error
 */
const char *ws_plugin_find(apr_pool_t *p, const ws_plugin_kind *kind, const char *name,
                           const char **file, const ws_plugin_descriptor **d, const void **table);

/**
 * Find a key that is repeated in arguments key=value.
 * @param repeatable  list of keys that may be repeated with different values; NULL: all may
 * @param own  list of more such keys
 * @return NULL, or the error
 */
const char *ws_plugin_find_repeated(apr_pool_t *p, const char *repeatable, const char *own,
                                    int argc, char *const argv[]);

/**
 * All WebSocketHandler lines of the configuration, as ws_handler_line *. ws_plugins_reset() clears
 * the array.
 */
extern apr_array_header_t *ws_handler_lines;

/** pre_config: discard the lines of the previous configuration. */
void ws_plugins_reset(apr_pool_t *pconf);

/**
 * Build the absolute path of a handler's file. A relative path is looked up in the directory
 * websocket/ beside the module's own file.
 */
const char *ws_handler_path(apr_pool_t *p, const char *file);

/**
 * Get the path of the <Location> around a directive, without a trailing slash; "" outside of
 * sections and in a <VirtualHost>; NULL in a <Location> with wildcards and in other sections.
 */
const char *ws_section_base(cmd_parms *cmd);

/**
 * Load and check the handler of a WebSocketHandler line, and pass the keys on the line to the
 * handler.
 * @param args  the arguments of the directive
 * @return NULL, or the error
 */
const char *ws_plugins_add_handler(cmd_parms *cmd, int argc, char *const argv[],
                                   ws_handler_line **added);

/**
 * Find a subprotocol among those that the line's protocol= lists. token: its name, len bytes.
 * @return NULL: the subprotocol is not listed
 */
const char *ws_handler_line_speaks(const ws_handler_line *reg, const char *token, size_t len);

/* config.c */

/**
 * Build a directive's error text from the error that a parser in websocket_parse.h returned.
 * @param error  the parser's error; NULL: none
 * @param more   text to append
 * @return NULL if error is NULL
 */
const char *ws_refused(cmd_parms *cmd, const char *arg, const char *error, const char *more);

/** Build the error for an invalid argument of a directive. @param takes  the accepted values */
const char *ws_wrong(cmd_parms *cmd, const char *arg, const char *takes);

/** Check that no earlier line of the same section repeats the current one. @return NULL, or the
 *  directive's error text */
const char *ws_check_repeated_line(cmd_parms *cmd);

/** Setters for the field of ws_dir_config at offset cmd->info: an int, or an apr_int64_t. */
const char *ws_set_flag(cmd_parms *cmd, void *config, const char *arg);
const char *ws_set_size(cmd_parms *cmd, void *config, const char *arg);
const char *ws_set_interval(cmd_parms *cmd, void *config, const char *arg);

/** Parse a number from 1 to max. @param of  unit of the number, to append to the error */
const char *ws_set_count(cmd_parms *cmd, const char *arg, unsigned max, const char *of,
                         unsigned *n);

#endif
