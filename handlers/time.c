/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Tells the time: at once when a client connects, and from then on every interval.
 *
 *     WebSocketHandler ws_time.so interval=SECONDS format=STRFTIME
 *
 * interval  1 to 86400 seconds; default 1
 * format    as in strftime(3), for the server's local time; default %Y-%m-%dT%H:%M:%S%z
 */

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <apr_strings.h>

#include "websocket_parse.h"

typedef struct {
    const char *format;
    apr_uint32_t interval; /* milliseconds */
} time_config;

static const time_config defaults = {"%Y-%m-%dT%H:%M:%S%z", 1000};

/* The longest text of the time, and a NUL. */
#define TEXT_SIZE 128

/** The length of the text, 0 if there is none or if it is too long. */
static apr_size_t print_time(const time_config *config, char text[TEXT_SIZE])
{
    struct timespec now;
    struct tm local;

    /* Not time(2): it may lag behind by a tick of the kernel's, and tell the second before. */
    clock_gettime(CLOCK_REALTIME, &now);
    return strftime(text, TEXT_SIZE, config->format, localtime_r(&now.tv_sec, &local));
}

static const char *configure(apr_pool_t *pconf, const char *key, const char *value, void **data)
{
    time_config *config = *data;

    if (!config) {
        *data = config = apr_pmemdup(pconf, &defaults, sizeof(defaults));
    }
    if (!key) {
        return NULL;
    }
    if (!strcmp(key, "interval")) {
        apr_int64_t ms = config->interval;
        const char *error = ws_parse_interval(pconf, value, 1000, 24 * 3600 * 1000, &ms);

        config->interval = (apr_uint32_t)ms;
        return error;
    }
    if (!strcmp(key, "format")) {
        char text[TEXT_SIZE];

        config->format = apr_pstrdup(pconf, value);
        if (print_time(config, text) == 0) {
            return "takes a format of strftime that makes 1 to 127 bytes";
        }
        return NULL;
    }
    return "unknown key; there are interval and format";
}

/* A client too slow for the time is closed by the module: WS_FULL needs no answer here. */
static void tell(ws_conn *c, void *arg)
{
    char text[TEXT_SIZE];

    (void)arg;
    ws_send(c, WS_TEXT, text, print_time(ws_config(c), text));
}

static void open_clock(ws_conn *c)
{
    const time_config *config = ws_config(c);
    struct timespec now;

    tell(c, NULL);
    /* On full seconds from then on: a tick just before one would tell the old second again. */
    clock_gettime(CLOCK_REALTIME, &now);
    ws_timer_start(c, config->interval - (apr_uint32_t)(now.tv_nsec / 1000000), config->interval,
                   tell, NULL);
}

WS_HANDLER(time) = {.configure = configure, .on_open = open_clock};
