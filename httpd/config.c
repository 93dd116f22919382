/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Defines helper functions that the directives' setters share. */

#include "httpd/config.h"

#include <apr_strings.h>
#include <string.h>

#include "base/parse.h"

const char *ws_wrong(cmd_parms *cmd, const char *arg, const char *takes)
{
    return apr_psprintf(cmd->pool, "%s: invalid value \"%s\": expected %s", cmd->cmd->name, arg,
                        takes);
}

const char *ws_check_repeated_line(cmd_parms *cmd)
{
    const ap_directive_t *here = cmd->directive, *same = NULL;
    const ap_directive_t *d = here->parent ? here->parent->first_child : ap_conftree;
    for (; d && d != here; d = d->next) {
        if (!same && !strcasecmp(d->directive, here->directive) && !strcmp(d->args, here->args)) {
            same = d;
        }
    }
    /* A line of a .htaccess file is not in the tree. */
    return d && same
               ? apr_psprintf(cmd->pool, "%s: line %d of %s is the same: remove one of the two",
                              cmd->cmd->name, same->line_num, same->filename)
               : NULL;
}

const char *ws_refused(cmd_parms *cmd, const char *arg, const char *error, const char *more)
{
    return error ? apr_psprintf(cmd->pool, "%s: invalid value \"%s\": expected %s%s",
                                cmd->cmd->name, arg, ws_parse_expected(error), more)
                 : NULL;
}

/* The field of ws_dir_config that a directive sets. */
static apr_int64_t *config_field(cmd_parms *cmd, void *config)
{
    return (apr_int64_t *)((char *)config + (apr_size_t)(apr_uintptr_t)cmd->info);
}

/* This replaces httpd's own parser of flags, which ignores text after the first word. */
const char *ws_set_flag(cmd_parms *cmd, void *config, const char *arg)
{
    if (strcasecmp(arg, "on") && strcasecmp(arg, "off")) {
        return ws_wrong(cmd, arg, "on or off");
    }
    return ap_set_flag_slot(cmd, config, !strcasecmp(arg, "on"));
}

const char *ws_set_size(cmd_parms *cmd, void *config, const char *arg)
{
    return ws_refused(cmd, arg,
                      ws_parse_size(cmd->pool, arg, 1, WS_SIZE_MAX, config_field(cmd, config)), "");
}

const char *ws_set_interval(cmd_parms *cmd, void *config, const char *arg)
{
    return ws_refused(
        cmd, arg, ws_parse_interval(cmd->pool, arg, 1, WS_INTERVAL_MAX, config_field(cmd, config)),
        "");
}

const char *ws_set_count(cmd_parms *cmd, const char *arg, unsigned max, const char *of, unsigned *n)
{
    apr_int64_t value = *n;
    const char *error = ws_parse_count(cmd->pool, arg, 1, max, &value);
    *n = (unsigned)value;
    return ws_refused(cmd, arg, error, of);
}
