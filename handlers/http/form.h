/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A buffer for a request's body: application/x-www-form-urlencoded, or other bytes. */

#ifndef HTTP_FORM_H
#define HTTP_FORM_H

#include <stddef.h>

/** Initially zeroed. */
typedef struct {
    char *text; /* malloc'ed, NUL-terminated; NULL: empty */
    size_t len, size;
    int failed; /* out of memory: later additions are ignored */
} form;

/** Add a field. @param name  already escaped */
void form_add(form *f, const char *name, const char *value, size_t len);

/** Add bytes without escaping them. */
void form_add_bytes(form *f, const char *bytes, size_t len);

#endif
