/**
 * WebSocketHandler ws_NAME.so [greeting=TEXT]
 *
 * Greets each client, and sends each of its messages back with a number. Change this skeleton to
 * suit your needs.
 */

#include <stdio.h>
#include <string.h>

#include <apr_strings.h>

#include "mod_websocket.h"

typedef struct {
    const char *greeting;
} NAME_config;

typedef struct {
    unsigned messages;
} NAME_client;

static const char *configure(apr_pool_t *pconf, const char *key, const char *value, void **data)
{
    NAME_config *config = *data;

    if (config == NULL) {
        *data = config = apr_pcalloc(pconf, sizeof(*config));
        config->greeting = "Welcome to NAME.";
    }
    if (key == NULL) {
        return NULL; /* the line is complete: check here for missing keys */
    }
    if (strcmp(key, "greeting") == 0) {
        config->greeting = apr_pstrdup(pconf, value);
        return NULL;
    }
    return "unknown key; the only key is greeting";
}

static void on_open(ws_conn *c)
{
    const NAME_config *config = ws_config(c);
    apr_pool_t *pool = ws_pool(c);

    if (pool == NULL) {
        ws_close(c, WS_CLOSE_INTERNAL, "out of memory");
        return;
    }
    ws_set_data(c, apr_pcalloc(pool, sizeof(NAME_client)));
    ws_send(c, WS_TEXT, config->greeting, strlen(config->greeting));
}

static void on_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    NAME_client *client = ws_data(c);
    char number[16];
    int n = snprintf(number, sizeof(number), "%u: ", ++client->messages);

    if (type != WS_TEXT) {
        ws_close(c, WS_CLOSE_UNSUPPORTED, "text only, please");
        return;
    }
    ws_send_part(c, WS_TEXT, number, (apr_size_t)n, WS_FIRST);
    ws_send_part(c, WS_TEXT, data, len, WS_LAST);
}

WS_HANDLER(NAME) = {.configure = configure, .on_open = on_open, .on_message = on_message};
