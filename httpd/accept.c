/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Leaves new connections to other children while this child has few descriptors left. The first
 * time that descriptors run short, the child's listeners get the accept function in this file. This
 * function waits for another child to accept the connection. If a listener stays readable for
 * LEAVE_MAX, perhaps no other child can accept the connection. The function then accepts one
 * connection itself.
 */

#include "httpd/accept.h"

#include <ap_listen.h>
#include <ap_mpm.h>
#include <apr_portable.h>
#include <poll.h>

#include "httpd/counters.h"
#include "httpd/descriptors.h"
#include "httpd/shm.h"

/* How long to wait for another child before the MPM polls again, milliseconds. Requests on open
 * connections wait during this time. */
#define LEAVE 10

#define LEAVE_MAX APR_TIME_C(1000000) /* microseconds */

/* Leave connections to other children only if one of them has fewer than (1 - 1/FEWER) times the
 * number of this child's connections. */
#define FEWER 16

typedef struct accept_listener {
    ap_listen_rec *lr;
    accept_function accept;
    apr_time_t since; /* when the listener became readable; 0: it is not readable */
} accept_listener;

static accept_listener *listeners; /* used only by the MPM's single listener thread */
static unsigned listener_count;

static int accept_other_has_fewer(void)
{
    int slot = ws_shm_slot();
    ws_shm_owner own, other;
    apr_uint64_t most;
    if (slot < 0 || !ws_shm_owner_of((unsigned)slot, &own)) {
        return 0;
    }
    most = ws_counters_open((unsigned)slot);
    most -= most / FEWER;
    for (unsigned i = 0; i < ws_shm_slots(); i++) {
        if (i != (unsigned)slot && ws_counters_open(i) < most && ws_shm_owner_of(i, &other)
            && other.pid && other.generation == own.generation) {
            return 1;
        }
    }
    return 0;
}

/* Wait for another child to accept. @return whether to leave the connection to other children */
static int accept_leaves(accept_listener *l)
{
    struct pollfd p = {.events = POLLIN};
    apr_time_t now = apr_time_now();
    if (apr_os_sock_get(&p.fd, l->lr->sd) != APR_SUCCESS) {
        return 0;
    }
    apr_sleep(apr_time_from_msec(LEAVE));
    if (poll(&p, 1, 0) == 0) {
        l->since = 0;
        return 1;
    }
    if (!l->since) {
        l->since = now;
    }
    if (now - l->since < LEAVE_MAX) {
        return 1;
    }
    l->since = 0;
    return 0;
}

static apr_status_t accept_unless_full(void **accepted, ap_listen_rec *lr, apr_pool_t *p)
{
    accept_listener *l = listeners;
    while (l->lr != lr) {
        l++;
    }
    if (ws_descriptors_low() && accept_other_has_fewer() && accept_leaves(l)) {
        *accepted = NULL;
        return APR_EAGAIN;
    }
    return l->accept(accepted, lr, p);
}

apr_status_t ws_accept_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options)
{
    int async = 0;
    (void)s, (void)options;
    /* MPMs other than event hold a lock shared by all children while they accept, so they must not
     * wait. */
    if (ap_mpm_query(AP_MPMQ_IS_ASYNC, &async) != APR_SUCCESS || !async) {
        return APR_SUCCESS;
    }
    for (ap_listen_rec *lr = ap_listeners; lr; lr = lr->next) {
        listener_count++;
    }
    listeners = apr_pcalloc(pchild, listener_count * sizeof(*listeners));
    return APR_SUCCESS;
}

void ws_accept_spread(void)
{
    static int done; /* atomic */
    accept_listener *l = listeners;
    if (__atomic_exchange_n(&done, 1, __ATOMIC_ACQ_REL)) {
        return;
    }
    for (ap_listen_rec *lr = ap_listeners; lr && l < listeners + listener_count; lr = lr->next) {
        *l = (accept_listener){.lr = lr, .accept = lr->accept_func};
        if (l->accept) {
            __atomic_store_n(&lr->accept_func, accept_unless_full, __ATOMIC_RELEASE);
        }
        l++;
    }
}
