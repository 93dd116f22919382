/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "httpd/channels.h"

#include <apr_general.h>
#include <http_log.h>

#include "httpd/config.h"
#include "httpd/shared.h"

APLOG_USE_MODULE(websocket);

#define CHANNELS_DEFAULT 65536

static apr_uint64_t *number; /* of this httpd, kept across reloads */
static ws_channels *channels;

int ws_httpd_channels_init(server_rec *s)
{
    number = ws_shared_table(s, "server", sizeof(*number), NULL);
    while (number && !*number) {
        apr_generate_random_bytes((unsigned char *)number, sizeof(*number));
    }
    return number ? 0 : -1;
}

void ws_httpd_channels_child_init(apr_pool_t *pchild, server_rec *s, ws_engine *engine)
{
    ws_channels_options options = {.engine = engine, .channels = CHANNELS_DEFAULT};
    options.self.server = *number;
    options.self.process = ws_shared_process() & 0xFFFF;
    if (!(channels = ws_channels_create(&options, pchild))) {
        ap_log_error(APLOG_MARK, APLOG_ERR, APR_ENOMEM, s,
                     "websocket: no channels in this child: nobody can subscribe");
    }
}

void ws_httpd_channels_child_stop(void)
{
    if (channels) {
        ws_channels_stop(channels);
    }
}

void ws_httpd_channels_child_exit(void)
{
    if (channels) {
        ws_channels_destroy(channels);
        channels = NULL;
    }
}
