/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Defines an unsorted list of connection ids. A linear search is cheap compared with the work for
 *  a message. */

#ifndef WS_EXEC_IDS_H
#define WS_EXEC_IDS_H

#include "mod_websocket.h"

typedef struct exec_id {
    ws_id id;
    char *text; /**< text that the list owns, or NULL */
} exec_id;

/** The list. The caller sets all members to zero before the first use. */
typedef struct exec_ids {
    exec_id *all;
    apr_size_t count, size;
} exec_ids;

/** Find an id. @return the entry, valid until the list changes; NULL: the id is not in the list */
exec_id *exec_ids_find(const exec_ids *l, ws_id id);

/** Add an id. @param text  a text that is copied, or NULL @return 0; -1: out of memory */
int exec_ids_add(exec_ids *l, ws_id id, const char *text);

void exec_ids_remove(exec_ids *l, ws_id id);
void exec_ids_clear(exec_ids *l);

#endif
