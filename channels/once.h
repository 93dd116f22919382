/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * What remembers for ten minutes which messages were published, by the ids that publishers gave them: a
 * table of functions. A history that remembers by itself (ws_history.once) does not need it.
 *
 * THREADS. All functions may be called from any thread at any time and never block for long.
 */

#ifndef WS_CHANNELS_ONCE_H
#define WS_CHANNELS_ONCE_H

#include "channels/message.h"

/** Seconds. */
#define WS_ONCE_TIME 600

typedef enum {
    WS_ONCE_NEW,   /**< it is the caller's: settle has to follow */
    WS_ONCE_AGAIN, /**< it was published already */
    WS_ONCE_BUSY   /**< it is under way elsewhere, or nobody can say now: not to be published */
} ws_once_answer;

typedef struct ws_once ws_once;

/** @param then  with WS_ONCE_AGAIN, what became of it as far as is known */
typedef void (*ws_once_done)(void *arg, ws_once_answer answer, const ws_published *then);

struct ws_once {
    /** Claim a message's id. done is called exactly once, also before this returns, on any thread. */
    void (*claim)(ws_once *o, ws_message *m, ws_once_done done, void *arg);

    /** What became of what was claimed: refused, its id is free again. */
    void (*settle)(ws_once *o, ws_message *m, const ws_published *what);
};

#endif
