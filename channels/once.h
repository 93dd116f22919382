/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The interface of a store for message ids: a table of functions that record for ten minutes which
 * messages have been published. Publishers choose the ids. A history that does this itself
 * (ws_history.once) does not need such a store.
 *
 * THREADS. All functions may be called from any thread at any time and never block for long.
 */

#ifndef WS_CHANNELS_ONCE_H
#define WS_CHANNELS_ONCE_H

#include "channels/message.h"

/** How long an id is stored, seconds. */
#define WS_ONCE_TIME 600

typedef enum {
    WS_ONCE_NEW,   /**< the caller must publish the message, then call settle */
    WS_ONCE_AGAIN, /**< the message has already been published */
    WS_ONCE_BUSY   /**< another claim is pending, or the store is unavailable: do not publish */
} ws_once_answer;

typedef struct ws_once ws_once;

/** Receives the answer to a claim. @param then  with WS_ONCE_AGAIN, the result of the first
 *  publication, as far as known */
typedef void (*ws_once_done)(void *arg, ws_once_answer answer, const ws_published *then);

struct ws_once {
    /** Claim a message's id. Calls done exactly once, on any thread, possibly before claim
     *  returns. */
    void (*claim)(ws_once *o, ws_message *m, ws_once_done done, void *arg);

    /** Report the result of a claimed message. If publishing was refused, the id can be claimed
     *  again. */
    void (*settle)(ws_once *o, ws_message *m, const ws_published *what);

    unsigned holds; /**< a claim is valid for this time after WS_ONCE_NEW, seconds; 0: as long as
                         the process lives */
};

#endif
