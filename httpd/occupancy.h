/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Notifies the application when a channel gets its first subscriber in this httpd, or loses its
 * last one. A table in shared memory holds the last notification of each channel. Each child has a
 * thread for this. When the subscribers of a channel in this child change, the thread compares the
 * channel's entry with the counts in interest.h. Every two seconds, the child with the lowest slot
 * compares the whole table, to find channels of killed children and failed notifications. Only one
 * process at a time sends a notification for a channel.
 */

#ifndef WS_HTTPD_OCCUPANCY_H
#define WS_HTTPD_OCCUPANCY_H

#include "channels/application.h"
#include "httpd/shm.h"

extern const ws_shm_layout *const ws_occupancy_layout[];

/** parent_init: create the table. */
apr_status_t ws_occupancy_init(apr_pool_t *ptemp, server_rec *s);

/** Start the thread. @return APR_SUCCESS, or an error */
apr_status_t ws_occupancy_start(apr_pool_t *pchild, server_rec *s, const ws_application *app);

/** Stop the thread. The caller must do this before the application stops. */
void ws_occupancy_stop(void);

/** The function for ws_channels_options.changed: queue a channel whose subscribers in this child
 *  have changed. */
void ws_occupancy_changed(const char *channel);

#endif
