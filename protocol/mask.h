/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#ifndef WS_PROTOCOL_MASK_H
#define WS_PROTOCOL_MASK_H

#include <stddef.h>

/**
 * Mask or unmask len bytes in place: RFC 6455, section 5.3. Rotates key so that key[0] applies to the
 * byte that follows: a payload may be masked in any number of pieces.
 */
void ws_mask(unsigned char *data, size_t len, unsigned char key[4]);

#endif
