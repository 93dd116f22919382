/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Defines a buffer for a request's body. The body is either application/x-www-form-urlencoded or
 *  arbitrary bytes. */

#ifndef HTTP_FORM_H
#define HTTP_FORM_H

#include <stddef.h>

/** A buffer. The caller sets all members to zero before the first use. */
typedef struct {
    char *text; /* NUL-terminated, allocated with malloc(); NULL: empty */
    size_t len, size;
    int failed; /* 1: out of memory, so later additions are ignored */
} form;

/** Add a field. @param name  must already be escaped */
void form_add(form *f, const char *name, const char *value, size_t len);

/** Add bytes without escaping them. */
void form_add_bytes(form *f, const char *bytes, size_t len);

#endif
