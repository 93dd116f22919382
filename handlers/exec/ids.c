/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements a list of connection ids as an array. */

#include "ids.h"

#include <stdlib.h>
#include <string.h>

exec_id *exec_ids_find(const exec_ids *l, ws_id id)
{
    for (apr_size_t i = 0; i < l->count; i++) {
        if (l->all[i].id == id) {
            return &l->all[i];
        }
    }
    return NULL;
}

int exec_ids_add(exec_ids *l, ws_id id, const char *text)
{
    char *copy = text ? strdup(text) : NULL;

    if (l->count == l->size) {
        apr_size_t size = l->size ? l->size * 2 : 16;
        exec_id *more = realloc(l->all, size * sizeof(*more));
        if (more) {
            l->all = more;
            l->size = size;
        }
    }
    if (l->count == l->size || (text && !copy)) {
        free(copy);
        return -1;
    }
    l->all[l->count++] = (exec_id){id, copy};
    return 0;
}

void exec_ids_remove(exec_ids *l, ws_id id)
{
    exec_id *e = exec_ids_find(l, id);

    if (e) {
        free(e->text);
        *e = l->all[--l->count];
    }
}

void exec_ids_clear(exec_ids *l)
{
    while (l->count) {
        free(l->all[--l->count].text);
    }
    free(l->all);
    *l = (exec_ids){NULL, 0, 0};
}
