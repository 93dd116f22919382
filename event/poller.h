/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Waits until file descriptors are ready, level-triggered. For event/ only, in the loop's
 *  thread. */

#ifndef WS_EVENT_POLLER_H
#define WS_EVENT_POLLER_H

#include "event/source.h"

typedef struct ws_poller ws_poller;

apr_status_t ws_poller_create(ws_poller **p);
void ws_poller_destroy(ws_poller *p);

/** Watch fd for events. old: the events that were watched before; -1: fd was not watched */
apr_status_t ws_poller_set(ws_poller *p, int fd, ws_source *source, int old, unsigned events);
void ws_poller_remove(ws_poller *p, int fd);

/** Get a descriptor that is readable while a watched descriptor is ready. */
int ws_poller_descriptor(const ws_poller *p);

/**
 * Wait until a watched descriptor is ready.
 * @param timeout  milliseconds, -1: no limit
 * @return how many entries of ready were filled; 0 also after a signal
 */
int ws_poller_wait(ws_poller *p, ws_ready *ready, int max, int timeout);

#endif
