/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A slab allocates slots of one size. A slot has one owner at a time, and never moves in memory.
 *  The slot that has been free longest is reused first. */

#include "base/slab.h"

#include <stdlib.h>

#include "t/unit/tap.h"

#define N (3 * WS_SLAB_CHUNK + 7)

typedef struct thing {
    apr_uint32_t mine;
    char rest[100];
} thing;

int main(void)
{
    static thing *at[N];
    static apr_uint32_t slot[N];
    apr_uint32_t p, q;
    ws_slab s;
    int zeroed = 1, kept = 1, found = 1;
    thing *t;

    is_int(ws_slab_init(&s, sizeof(thing)), 0, "a slab is initialized");
    ok(!ws_slab_at(&s, 0), "a new slab has no slots");
    for (unsigned i = 0; i < N; i++) {
        thing zero = {0};
        at[i] = ws_slab_take(&s, &slot[i]);
        zeroed &= !memcmp(at[i], &zero, sizeof(zero));
        at[i]->mine = slot[i];
    }
    ok(zeroed, "new slots are zeroed");
    for (unsigned i = 0; i < N; i++) {
        kept &= at[i]->mine == slot[i];
        found &= ws_slab_at(&s, slot[i]) == (void *)at[i];
        for (unsigned j = 0; j < i; j++) {
            kept &= slot[i] != slot[j];
        }
    }
    ok(kept, "no slot is given out twice, not even in different chunks");
    ok(found, "a slot is found by its number");
    ok(!ws_slab_at(&s, 4 * WS_SLAB_CHUNK), "a slot that was never given out is not found");
    ok(!ws_slab_at(&s, WS_SLAB_SLOTS), "a slot number beyond the maximum is not found");
    ok(!ws_slab_at(&s, 0xFFFFFFFFu), "the largest number is not found");

    /* The slab uses the free slots of the last chunk before the slots that are returned now. */
    ws_slab_give(&s, slot[5]);
    ws_slab_give(&s, slot[3]);
    for (unsigned i = N; i < 4 * WS_SLAB_CHUNK; i++) {
        ws_slab_take(&s, &p);
    }
    ok(p != slot[5] && p != slot[3], "a returned slot is not reused while others are free");
    t = ws_slab_take(&s, &p);
    ws_slab_take(&s, &q);
    ok(p == slot[5] && q == slot[3], "the slot that has been free longest is reused first");
    is_int(t->mine, slot[5], "a reused slot has its old contents");
    ws_slab_destroy(&s);

    is_int(ws_slab_init(&s, 1), 0, "a slab of the smallest slots is initialized");
    for (unsigned i = 0; i < WS_SLAB_SLOTS; i++) {
        if (!ws_slab_take(&s, &p)) {
            bail_out("slot %u of %u cannot be allocated", i, WS_SLAB_SLOTS);
        }
    }
    ok(!ws_slab_take(&s, &p), "a slab with the maximum number of slots is full");
    ws_slab_give(&s, 77);
    ok(ws_slab_take(&s, &p) && p == 77, "a full slab has a slot again when one is returned");
    ws_slab_destroy(&s);
    return done_testing();
}
