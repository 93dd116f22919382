/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Text of a peer for a terminal. What a terminal would act on is replaced by \xHH, byte by byte: control
 * characters (C0, DEL, C1 both as U+0080 to U+009F and as single bytes), bytes that are not UTF-8, and the
 * format characters that reorder or hide text (Unicode Technical Report 36, section 2.8).
 */

#ifndef WS_PROTOCOL_PRINTABLE_H
#define WS_PROTOCOL_PRINTABLE_H

#include <stddef.h>

/** Bytes that one byte of input becomes at most. */
#define WS_PRINTABLE_MAX 4

/**
 * The character at the beginning of a text.
 * @param acts  set to whether a terminal would act on it
 * @return its bytes, 1 for a byte that belongs to no character; 0 if len bytes are only its beginning
 */
size_t ws_printable_next(const char *s, size_t len, int *acts);

/**
 * Write a text so that no terminal acts on it, NUL-terminated, cut at a character if out is too small.
 * @param keep  control characters that stay as they are: "\n\t"
 * @return the bytes written, without the NUL
 */
size_t ws_printable(char *out, size_t size, const char *s, size_t len, const char *keep);

#endif
