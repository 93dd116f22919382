/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The interface of a history store: a table of functions that keep each channel's last messages,
 * each with a position.
 *
 * THREADS. All functions may be called from any thread at any time and never block. A store that
 * has to wait for a disk, a lock or a network uses a separate thread, or works asynchronously. Each
 * call reports its result by calling `done` exactly once, on any thread, before or after the call
 * returns. `done` must not block either. For the same channel, append calls `done` in the order of
 * the calls.
 *
 * ORDER. append gives each message in a channel the offset of the previous one plus one, regardless
 * of the process or machine that publishes it. The first message of an epoch has offset 1. Once
 * `done` has reported a position, read finds that message and all earlier ones. A process that
 * receives offset n + 2 after n therefore knows that one message is missing, and reads it from the
 * store. The bus may lose or reorder messages, but each subscriber receives them once and in order.
 *
 * EPOCH. An epoch is a number that no other history of the channel has used, for example the time
 * plus a random number. A store that has lost or discarded its data begins a new epoch. After
 * clear, a store begins a new epoch, or continues the offsets.
 */

#ifndef WS_CHANNELS_HISTORY_H
#define WS_CHANNELS_HISTORY_H

#include "channels/message.h"

typedef struct ws_history ws_history;

/** The result of a read. Pointers are valid until done returns. */
typedef struct ws_history_page {
    apr_status_t status; /**< APR_SUCCESS, or an error: the other fields are not set */
    ws_message *const
        *messages; /**< the messages in order, with positions; take a reference to keep one */
    unsigned count;
    ws_position head; /**< position of the newest message; offset 0: none so far in this epoch */
    int gap;          /**< messages between `after` and the first message of the page are no longer
                         stored, or `after` belongs to another epoch */
    int more;         /**< the store has more messages after the page's last one */
} ws_history_page;

/** Receives the result of append.
 *  @param status  APR_SUCCESS: the message is stored, at `position`. APR_EEXIST, only from a store
 *                 with `once`: a message with the same id is already stored, at `position`.
 *                 APR_INCOMPLETE: the store does not know whether the message is stored. Any other
 *                 error: the message is not stored, and will not be */
typedef void (*ws_append_done)(void *arg, apr_status_t status, ws_position position);
typedef void (*ws_read_done)(void *arg, const ws_history_page *page);
/** Receives the result of clear. @param status  APR_SUCCESS; APR_INCOMPLETE: the store does not know
 *  whether it has deleted the messages. Any other error: it has not, and will not */
typedef void (*ws_clear_done)(void *arg, apr_status_t status);

struct ws_history {
    const char *name; /**< for the log */

    /** Whether the configuration enables a history for this channel. */
    int (*keeps)(ws_history *h, const char *channel);

    /**
     * Store a message and assign a position to it, unless ws_message_take() returns 0, because the
     * publisher has withdrawn it. The store holds a reference until it has called done. It does not
     * set m->position.
     * @return WS_QUEUED: done will be or has been called. WS_FULL: the write queue is full; done is
     *         not called, and the message is not stored
     */
    ws_status (*append)(ws_history *h, ws_message *m, ws_append_done done, void *arg);

    /**
     * Read the messages after a position, the oldest first.
     * @param after  epoch 0: all stored messages; gap is then never set
     * @param max    maximum number of messages. A store may return fewer, at least one, for example
     *               to limit a page to 256 KiB; it then sets `more`. 0: only read head and gap
     */
    void (*read)(ws_history *h, const char *channel, ws_position after, unsigned max,
                 ws_read_done done, void *arg);

    /**
     * Delete a channel's messages. Offsets continue, or restart in a new epoch. A read from a
     * position before the deletion reports a gap, unless the position is that of the newest
     * message.
     * @param order  an empty message to the channel. If ws_message_take() returns 0 for it, the
     *               caller has withdrawn it, and the store deletes nothing. The store holds a
     *               reference until it has called done
     */
    void (*clear)(ws_history *h, ws_message *order, ws_clear_done done, void *arg);

    int once; /**< append stores each id (ws_message.id) only once in ten minutes */
};

#endif
