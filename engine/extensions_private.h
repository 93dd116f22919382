/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Private to extensions.c and extensions_in.c. */

#ifndef WS_ENGINE_EXTENSIONS_PRIVATE_H
#define WS_ENGINE_EXTENSIONS_PRIVATE_H

#include "engine/extensions.h"

/** One extension of a connection. */
typedef struct ws_chain_step {
    ws_extended x; /**< first member: extensions get a pointer to it */
    const ws_extension_use *use;
    ws_chain *chain;
    unsigned stateless : 1;
    unsigned in : 1;       /**< the extension's receive is used for the message being received */
    unsigned in_first : 1; /**< the next piece for receive is the first of the message */
    unsigned out : 1;      /**< the extension's send is used for the message being sent */
    unsigned out_first : 1;
} ws_chain_step;

struct ws_chain {
    ws_conn *c;
    ws_chain_deliver *deliver; /**< delivers the message being received */
    unsigned count;
    unsigned char opcode;   /**< opcode of the message being received */
    unsigned char type;     /**< type of the message being sent */
    unsigned char begun;    /**< a piece of the received message has been delivered */
    unsigned char ended;    /**< the last piece of the received message has been delivered */
    unsigned char passing;  /**< the received message goes through the chain */
    unsigned char opaque;   /**< RSV bits of messages that pass unchanged */
    apr_uint64_t delivered; /**< bytes of the received message */
    apr_size_t counted;     /**< received payload bytes that have not produced output yet */
    ws_chain_step steps[];
};

#endif
