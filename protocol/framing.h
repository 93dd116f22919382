/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Framings convert between messages and bytes, for formats other than that of RFC 6455. The drafts
 * hixie-76 and hixie-75 have one framing each (hixie.h). HTTP responses that stay open, such as
 * event streams and long polls, use ws_framing_raw or their own framing.
 *
 * A framing is a constant table. For each connection, the engine allocates a state of `size` zeroed
 * bytes, which begins with a ws_framer, and frees it with the connection. Framings have no pings:
 * the engine sets TCP keep-alive for such connections instead.
 */

#ifndef WS_PROTOCOL_FRAMING_H
#define WS_PROTOCOL_FRAMING_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/frame.h"

/** Maximum output of ws_framing.close(), bytes: JSON escapes of a reason of 123 bytes fit. */
#define WS_FRAMING_CLOSE_MAX 1024

typedef struct ws_framing ws_framing;

/** The state of a connection; the start of a struct of ws_framing.size bytes. */
typedef struct ws_framer {
    const ws_framing *framing; /**< set by the engine */
    uint64_t max;              /**< maximum length of a message, bytes; set by the engine */
} ws_framer;

/** All functions but `between` and `close` are required. None may block or allocate. */
struct ws_framing {
    size_t size; /**< size of the state, bytes; at least sizeof(ws_framer) */
    /** Whether binary messages can be sent; if not, ws_send() returns WS_UNSUPPORTED. */
    int binary;
    int answered; /**< 1: the peer answers a `close`; 0: the connection ends after the `close` */

    /** Maximum output of `write` for this payload, bytes. */
    size_t (*max)(const void *payload, size_t len);

    /**
     * Write a message, or a part of it.
     * @param first  opcode and WS_FIN as for ws_frame_header(). Write the start of the message
     *               unless the opcode is WS_OP_CONTINUATION, and its end if WS_FIN is set
     * @return the length written, bytes
     */
    size_t (*write)(unsigned char *out, unsigned first, const void *payload, size_t len);

    /** Write the bytes that announce a close. NULL: this framing has no such bytes. Not called
     * between the parts of a message. code: WS_CLOSE_NO_STATUS if there is neither code nor reason.
     * reason: not NUL-terminated
     * @return the length written, bytes */
    size_t (*close)(unsigned char out[WS_FRAMING_CLOSE_MAX], int code, const char *reason,
                    size_t len);

    /** Parse as ws_parser_next(). */
    ws_parse_result (*next)(ws_framer *f, unsigned char **data, size_t *len, ws_piece *piece,
                            ws_parse_error *error);

    /** Whether no message or frame is incomplete. NULL: always. Unless `answered` is set, the end of
     *  the stream is then a close (code 1005), otherwise a broken connection (1006). */
    int (*between)(const ws_framer *f);
};

/** Sends the payload of text and binary messages unchanged, and discards input. The end of the
 *  stream is the close. */
extern const ws_framing ws_framing_raw;

#endif
