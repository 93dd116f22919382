/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** This header provides a connector (an attempt to connect) whose peer sends the fuzzer's input in
 *  pieces. It defines stubs for the functions of client/connector.h that the file under test
 *  calls. */

#ifndef WS_T_FUZZ_CONNECTOR_H
#define WS_T_FUZZ_CONNECTOR_H

#include <apr_general.h>

#include "client/connector.h"
#include "t/fuzz/fuzz.h"

static struct {
    const uint8_t *data;
    size_t len;
    uint32_t cuts;
    int failed;
} peer;

/* Receive the next piece of the input. The buffer is exactly as large as the received bytes, so
 * that AddressSanitizer reports reads beyond them. */
apr_ssize_t ws_connector_receive(ws_connector *t)
{
    size_t n = next_cut(&peer.cuts), room = t->in_max - t->in_len;
    char *in;
    MUST(t->in_len <= t->in_max && t->stage != WS_AT_END);
    if (!room) {
        return -3;
    }
    n = n < peer.len ? n : peer.len;
    n = n < room ? n : room;
    if (!n) {
        return peer.cuts & 1 ? -1 : -2;
    }
    in = malloc(t->in_len + n);
    if (t->in_len) {
        memcpy(in, t->in, t->in_len);
    }
    memcpy(in + t->in_len, peer.data, n);
    free(t->in);
    t->in = in;
    t->in_size = t->in_len += n;
    peer.data += n;
    peer.len -= n;
    return (apr_ssize_t)n;
}

void ws_connector_fail(ws_connector *t, int status, const char *format, ...)
{
    (void)status;
    MUST(format && *format && t->stage != WS_AT_END);
    t->stage = WS_AT_END;
    peer.failed++;
}

void ws_connector_lost(ws_connector *t, const char *who, apr_ssize_t result)
{
    MUST(result < 0);
    ws_connector_fail(t, 0, "%s", who);
}

/** Create a connector in its initial state, with a pool for one attempt. */
static inline ws_connector *connector_new(const uint8_t *data, size_t len, unsigned cuts)
{
    static apr_pool_t *root;
    ws_connector *t = calloc(1, sizeof(*t));
    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    apr_pool_create(&t->once, root);
    peer.data = data;
    peer.len = len;
    peer.cuts = cuts;
    peer.failed = 0;
    return t;
}

static inline void connector_free(ws_connector *t)
{
    apr_pool_destroy(t->once);
    free(t->in);
    free(t);
}

#endif
