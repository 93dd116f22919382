/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Makes text from a peer safe for a terminal. If a terminal would act on a character, each byte of
 * the character is replaced with \xHH. Such characters are control characters (C0, DEL, and C1 both
 * as U+0080 to U+009F and as single bytes), bytes that are not UTF-8, and the format characters
 * that reorder or hide text (Unicode Technical Report 36, section 2.8).
 */

#ifndef WS_PROTOCOL_PRINTABLE_H
#define WS_PROTOCOL_PRINTABLE_H

#include <stddef.h>

/** Maximum number of output bytes for one byte of input. */
#define WS_PRINTABLE_MAX 4

/**
 * Find the character at the beginning of a text.
 * @param acts  set to 1 if a terminal would act on the character, otherwise to 0
 * @return its length, bytes; 1: a byte that is not part of a character; 0: the text ends
 *         inside the character
 */
size_t ws_printable_next(const char *s, size_t len, int *acts);

/**
 * Write a text so that no terminal acts on it. The output is NUL-terminated. If out is too small,
 * the output is cut between two characters.
 * @param keep  control characters that are not replaced: "\n\t"
 * @return the bytes written, without the NUL
 */
size_t ws_printable(char *out, size_t size, const char *s, size_t len, const char *keep);

#endif
