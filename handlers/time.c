/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Sends the current time when a client connects, and then at each interval.
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

/* Maximum size of the text of the time, including the NUL, bytes. */
#define TEXT_SIZE 128

/** Print the current time. @return the text's length; 0: the text is empty or too long */
static apr_size_t time_print_time(const time_config *config, char text[TEXT_SIZE])
{
    struct timespec now;
    struct tm local;

    /* time(2) may lag by a tick of the kernel, and return the previous second. */
    clock_gettime(CLOCK_REALTIME, &now);
    return strftime(text, TEXT_SIZE, config->format, localtime_r(&now.tv_sec, &local));
}

static const char *time_configure(apr_pool_t *pconf, const char *key, const char *value,
                                  void **data)
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
        if (time_print_time(config, text) == 0) {
            return "takes a format of strftime that produces 1 to 127 bytes";
        }
        return NULL;
    }
    return "unknown key; the keys are interval= and format=";
}

/* WS_FULL is ignored, because the module closes a client that is too slow. */
static void time_tell(ws_conn *c, void *arg)
{
    char text[TEXT_SIZE];

    (void)arg;
    ws_send(c, WS_TEXT, text, time_print_time(ws_config(c), text));
}

static void time_open_clock(ws_conn *c)
{
    const time_config *config = ws_config(c);
    struct timespec now;

    time_tell(c, NULL);
    /* Wait until shortly after a full second. A tick shortly before the full second would send the
     * old second again. */
    clock_gettime(CLOCK_REALTIME, &now);
    ws_timer_start(c, config->interval - (apr_uint32_t)(now.tv_nsec / 1000000), config->interval,
                   time_tell, NULL);
}

WS_HANDLER(time) = {.configure = time_configure, .repeatable_keys = "", .on_open = time_open_clock};
