/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements the option connect_to, which replaces the host and port to connect to. */

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"
#include "client/connector.h"
#include "client/idn.h"

/* An entry of connect_to. An empty text or a port of 0 means any, or unchanged. */
typedef struct connect_to_entry {
    const char *host, *to;
    apr_int64_t port, to_port;
} connect_to_entry;

/* Read the next field of HOST:PORT:HOST:PORT. Colons in brackets are part of an address. @return
 * the field, allocated from the pool */
static char *connect_to_next_field(ws_connector *t, const char **s)
{
    size_t len = 0;
    char *field;
    for (int inside = 0; (*s)[len] && (inside || (*s)[len] != ':'); len++) {
        inside = (*s)[len] == '[' ? 1 : (*s)[len] == ']' ? 0 : inside;
    }
    field = apr_pstrmemdup(t->once, *s, len);
    *s += len + ((*s)[len] == ':');
    return field;
}

/* Read a host's field, converted to ASCII as the URL's host is. *wrong is set if this fails. */
static const char *connect_to_next_host(ws_connector *t, const char **s, const char **wrong)
{
    const char *host = connect_to_next_field(t, s), *error;
    char name[WS_IDN_SIZE];
    for (const char *c = host; *c; c++) {
        if ((unsigned char)*c > 127) {
            if ((error = ws_idn_to_ascii(host, name))) {
                *wrong = apr_psprintf(t->once, "request: the host \"%s\": %s", host, error);
                return host;
            }
            return apr_pstrdup(t->once, name);
        }
    }
    return host;
}

/* Whether a list of addresses has an element that is none. */
static int connect_to_bad_list(const char *to)
{
    ws_addresses *addresses = strchr(to, ',') ? ws_addresses_parse(to, 0) : NULL;
    free(addresses);
    return !addresses && strchr(to, ',');
}

/* @return as ws_connector_check_connect_to() */
static const char *connect_to_parse(ws_connector *t, const char *text, connect_to_entry *e)
{
    const char *s = text, *wrong = NULL, *port, *to_port;
    e->host = connect_to_next_host(t, &s, &wrong);
    port = connect_to_next_field(t, &s);
    e->to = connect_to_next_host(t, &s, &wrong);
    to_port = connect_to_next_field(t, &s);
    e->port = e->to_port = 0;
    if (*s || (*port && ws_parse_count(NULL, port, 1, 65535, &e->port))
        || (*to_port && ws_parse_count(NULL, to_port, 1, 65535, &e->to_port))) {
        return apr_psprintf(t->once, "request: \"%s\" is not HOST:PORT:HOST:PORT", text);
    }
    return connect_to_bad_list(e->to)
               ? apr_psprintf(t->once, "request: \"%s\" is not a list of addresses", e->to)
               : wrong;
}

static int connect_to_same_host(const char *bracketed, const char *host)
{
    size_t len = strlen(bracketed);
    if (*bracketed == '[' && len > 1) {
        bracketed++;
        len -= 2;
    }
    return strlen(host) == len && !strncasecmp(bracketed, host, len);
}

const char *ws_connector_check_connect_to(ws_connector *t)
{
    const char *wrong = NULL;
    connect_to_entry e;
    for (const char *const *entry = t->o.connect_to; !wrong && entry && *entry; entry++) {
        wrong = connect_to_parse(t, *entry, &e);
    }
    return wrong;
}

void ws_connector_connect_to(ws_connector *t, const char **host, unsigned *port)
{
    connect_to_entry e;
    for (const char *const *entry = t->o.connect_to; entry && *entry; entry++) {
        if (!connect_to_parse(t, *entry, &e) && (!*e.host || connect_to_same_host(e.host, *host))
            && (!e.port || e.port == *port)) {
            *host = *e.to ? e.to : *host;
            *port = e.to_port ? (unsigned)e.to_port : *port;
            return;
        }
    }
}
