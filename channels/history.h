/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * What a history store is: a table of functions that keep the last messages of channels, each with a
 * position.
 *
 * THREADS. All functions may be called from any thread at any time and never block: a store that has to
 * wait (for a disk, a lock, a network) has a thread of its own, or is asynchronous. What became of a call
 * is told by its function `done`, exactly once, on any thread, before the call returns or later; `done`
 * does not block either. For one channel, answers to append come in the order of the calls.
 *
 * ORDER. append gives each message of a channel the offset of the one before plus one, whichever process
 * or machine it comes from, and 1 to the first of an epoch. When `done` tells a position, read finds that
 * message and all before it. With that, whoever is told of offset n + 2 behind n knows that one is
 * missing and reads it: messages can be lost or overtake each other on the bus, and still everybody gets
 * them once, in order.
 *
 * EPOCH. A number that no other history of the channel had: time and chance, say. A store whose data were
 * lost, set aside or cleared has a new one.
 */

#ifndef WS_CHANNELS_HISTORY_H
#define WS_CHANNELS_HISTORY_H

#include "channels/message.h"

typedef struct ws_history ws_history;

/** What a read finds. Pointers are valid until done returns. */
typedef struct ws_history_page {
    apr_status_t status; /**< APR_SUCCESS, or why nothing could be read: then nothing else is set */
    ws_message *const
        *messages; /**< in order, with their positions; ref those that are to be kept */
    unsigned count;
    ws_position head; /**< of the newest message; offset 0: there has been none in this epoch */
    int gap;  /**< between `after` and the first of them something is missing that was there,
                           or `after` is of another epoch */
    int more; /**< there are more behind the last of them */
} ws_history_page;

/** status: APR_EEXIST, where the store has `once`: a message of that id was kept before, at this position.
 *  APR_INCOMPLETE: nobody knows whether it is kept. Any other error: it is not, and will not be. */
typedef void (*ws_append_done)(void *arg, apr_status_t status, ws_position position);
typedef void (*ws_read_done)(void *arg, const ws_history_page *page);
typedef void (*ws_clear_done)(void *arg, apr_status_t status);

struct ws_history {
    const char *name; /**< for the log */

    /** Whether messages of this channel are kept: the configuration says. */
    int (*keeps)(ws_history *h, const char *channel);

    /**
     * Keep a message and give it a position, if ws_message_take() lets it. Holds a reference until done is called; does not set
     * m->position.
     * @return WS_QUEUED: done will be or has been called. WS_FULL: too much waits to be written; it is
     *         not called, and the message is not kept
     */
    ws_status (*append)(ws_history *h, ws_message *m, ws_append_done done, void *arg);

    /**
     * Read what is kept behind a position, the oldest first.
     * @param after  epoch 0: all that is kept, which is never a gap
     * @param max    messages at most; a store may give fewer (of at most 256 KiB, say, but at least one),
     *               and says so by `more`. 0: only head is wanted, and whether there is a gap
     */
    void (*read)(ws_history *h, const char *channel, ws_position after, unsigned max,
                 ws_read_done done, void *arg);

    /** Forget a channel's messages. Positions go on, or begin in a new epoch: behind one of before there
     *  is a gap, unless it was that of the newest message. */
    void (*clear)(ws_history *h, const char *channel, ws_clear_done done, void *arg);

    int once; /**< append keeps a message of the same id (ws_message.id) once in ten minutes */
};

#endif
