/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** What the loop needs of the kernel to wait for sockets; level-triggered. */

#ifndef WS_ENGINE_POLLER_H
#define WS_ENGINE_POLLER_H

#include "include/mod_websocket.h" /* WS_READABLE and its like */

typedef struct ws_poller ws_poller;

/** An event of a ring's, see ring.h: data has been received, or that has failed. */
#define WS_RECEIVED 0x100

typedef struct ws_ready {
    void *what;             /**< as given to ws_poller_set */
    unsigned events;        /**< WS_READABLE...; or WS_RECEIVED alone, then the rest says more */
    int len;                /**< bytes received; 0 at the end; or -errno */
    unsigned char *data;    /**< the bytes */
    unsigned short buffer;  /**< where they lie */
    unsigned char buffered; /**< there is a buffer */
    unsigned char more;     /**< it goes on receiving */
} ws_ready;

apr_status_t ws_poller_create(ws_poller **p);
void ws_poller_destroy(ws_poller *p);

/** Watch fd for other events than before. old: what it was watched for, -1 if it was not. */
apr_status_t ws_poller_set(ws_poller *p, int fd, void *what, int old, unsigned events);
void ws_poller_remove(ws_poller *p, int fd);

/** A descriptor that is readable while something is ready. */
int ws_poller_descriptor(const ws_poller *p);

/**
 * Wait until something is ready.
 * @param timeout  milliseconds, -1 for ever
 * @return how many entries of ready were filled; 0 also when a signal came
 */
int ws_poller_wait(ws_poller *p, ws_ready *ready, int max, int timeout);

#endif
