/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses WebSocketHandler and WebSocketHandlerDirectory, which set the handlers of a section. */

#include "httpd/handler_config.h"

#include <apr_strings.h>
#include <string.h>

#include "httpd/access.h"
#include "httpd/handler_directory.h"
#include "httpd/htaccess.h"

/* Find a subprotocol that both lines list. @return the subprotocol, or NULL */
static const char *handler_shared_protocol(const ws_handler_line *a, const ws_handler_line *b)
{
    for (int i = 0; a->protocols && i < a->protocols->nelts; i++) {
        const char *protocol = APR_ARRAY_IDX(a->protocols, i, const char *);
        if (ws_handler_line_speaks(b, protocol, strlen(protocol))) {
            return protocol;
        }
    }
    return NULL;
}

/* Check that each subprotocol has only one handler in a section, and that only one handler is the
 * default. */
static const char *handler_conflict(apr_pool_t *p, const apr_array_header_t *others,
                                    const ws_handler_line *line, const char *name)
{
    for (int i = 0; i < others->nelts; i++) {
        const ws_handler_line *other = APR_ARRAY_IDX(others, i, ws_handler_line *);
        const char *protocol = handler_shared_protocol(line, other);
        if (!line->protocols && !other->protocols) {
            return apr_psprintf(p,
                                "WebSocketHandler %s: this section already has a handler without "
                                "protocol= (%s). Only one can be the default: add protocol= to "
                                "the others",
                                name, other->location.name);
        }
        if (protocol) {
            return apr_psprintf(p,
                                "WebSocketHandler %s: handler %s of this section already has "
                                "subprotocol \"%s\": name it once",
                                name, other->location.name, protocol);
        }
    }
    return NULL;
}

int ws_has_handler(const ws_dir_config *d)
{
    return d->handlers && (d->handlers->nelts || d->directory);
}

static const char *handler_set_off(cmd_parms *cmd, ws_dir_config *d)
{
    if (ws_has_handler(d)) {
        return "WebSocketHandler off and another handler are in the same section: remove one";
    }
    d->handlers = apr_array_make(cmd->pool, 0, sizeof(ws_handler_line *));
    return NULL;
}

const char *ws_set_handler(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    ws_dir_config *d = config;
    ws_handler_line *line;
    const char *error;

    if (ws_htaccess_here(cmd)) {
        return ws_htaccess_set(cmd, d, argc, argv);
    }
    if (argc == 0) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, " takes ", cmd->cmd->errmsg, NULL);
    }
    if (!strcasecmp(argv[0], "off")) {
        return argc == 1 ? handler_set_off(cmd, d) : ws_wrong(cmd, argv[1], "nothing after off");
    }
    if ((error = ws_plugins_add_handler(cmd, argc, argv, &line))) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, ": ", error, NULL);
    }
    if (!d->handlers) {
        d->handlers = apr_array_make(cmd->pool, 1, sizeof(ws_handler_line *));
    }
    else if (d->directory) {
        return "WebSocketHandler and WebSocketHandlerDirectory are in the same section: remove "
               "one, or move it to another section";
    }
    else if (!d->handlers->nelts) {
        return "WebSocketHandler off and another handler are in the same section: remove one";
    }
    if ((error = handler_conflict(cmd->pool, d->handlers, line, argv[0]))) {
        return error;
    }
    APR_ARRAY_PUSH(d->handlers, ws_handler_line *) = line;
    ws_access_opens(cmd);
    return NULL;
}

const char *ws_set_handler_directory(cmd_parms *cmd, void *config, const char *path)
{
    ws_dir_config *d = config;
    const char *error;
    if (d->handlers) {
        return "this section already has a WebSocketHandlerDirectory or WebSocketHandler: remove "
               "one, or move WebSocketHandlerDirectory to another section";
    }
    if ((error = ws_handler_directory_load(cmd, path, &d->directory))) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, ": ", error, NULL);
    }
    d->handlers = apr_array_make(cmd->pool, 0, sizeof(ws_handler_line *));
    ws_access_opens(cmd);
    return NULL;
}
