/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Notifies the application of channels with subscribers in any process of this httpd. A table in shared memory
 * has the last notification of each channel. A thread in each child compares it with the counts of interest.h
 * after a change in its process; the child with the lowest slot compares the whole table every two seconds, for
 * channels of killed children and notifications that failed. The notifications of a channel are sequential,
 * whichever process sends them.
 */

#ifndef WS_HTTPD_OCCUPANCY_H
#define WS_HTTPD_OCCUPANCY_H

#include "channels/application.h"
#include "httpd/shm.h"

extern const ws_shm_layout *const ws_occupancy_layout[];

/** parent_init. */
apr_status_t ws_occupancy_init(apr_pool_t *ptemp, server_rec *s);

/** Start the thread. @return APR_SUCCESS, or an error */
apr_status_t ws_occupancy_start(apr_pool_t *pchild, server_rec *s, const ws_application *app);

/** Stop it; before the application stops. */
void ws_occupancy_stop(void);

/** For ws_channels_options.changed. */
void ws_occupancy_changed(const char *channel);

#endif
