/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Counts the descriptors in use when handshakes arrive. If the limit is unknown, this file assumes
 *  that enough are free. */

#include "httpd/descriptors.h"

#include <ap_mpm.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "httpd/counters.h"
#include "httpd/shm.h"

/* Number of descriptors reserved for httpd: MARGIN, plus MARGIN_THREAD for each of its threads, but
 * at most 1/MARGIN_PART of all. */
#define MARGIN 32
#define MARGIN_THREAD 2
#define MARGIN_PART 4

/* When fewer than 1/MARGIN_LOW of the unreserved descriptors are free, leave new connections to
 * other children. */
#define MARGIN_LOW 16

#define CHECK_EVERY 16

static rlim_t mark; /* refuse handshakes from this descriptor number on; 0: unknown */
/* Atomic; number of connections when descriptors ran short; 0: enough are free. */
static apr_uint64_t low;

apr_status_t ws_descriptors_child_init(apr_pool_t *pchild, server_rec *s,
                                       ws_engine_options *options)
{
    struct rlimit limit;
    int threads = 1;
    (void)pchild, (void)s, (void)options;
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        rlim_t margin = MARGIN + MARGIN_THREAD * (rlim_t)(threads > 0 ? threads : 1);
        if (margin > limit.rlim_cur / MARGIN_PART) {
            margin = limit.rlim_cur / MARGIN_PART;
        }
        mark = limit.rlim_cur - margin;
    }
    return APR_SUCCESS;
}

/* Get the lowest free descriptor, which is the one that the kernel allocates next. All lower
 * descriptors are in use, so its number is a lower bound of the number in use. */
static rlim_t descriptors_used(void)
{
    int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    if (fd >= 0) {
        close(fd);
        return (rlim_t)fd;
    }
    return errno == EMFILE ? RLIM_INFINITY : 0;
}

static apr_uint64_t descriptors_connections(void)
{
    int slot = ws_shm_slot();
    return slot < 0 ? 0 : ws_counters_open((unsigned)slot);
}

/* Count the descriptors in use. This takes two system calls, so while less than half of the
 * descriptors are in use, only one of CHECK_EVERY handshakes counts them. The handshakes in between
 * cannot use up the other half, unless the limit is small.
 * @return the number in use; 0: enough are free, or unknown */
static rlim_t descriptors_count(void)
{
    static apr_uint32_t handshakes; /* atomic */
    static rlim_t last;             /* atomic */
    apr_uint32_t n = __atomic_fetch_add(&handshakes, 1, __ATOMIC_RELAXED);
    rlim_t used;
    if (!mark
        || (n % CHECK_EVERY && mark >= CHECK_EVERY * CHECK_EVERY
            && __atomic_load_n(&last, __ATOMIC_RELAXED) < mark / 2)) {
        return 0;
    }
    used = descriptors_used();
    __atomic_store_n(&last, used, __ATOMIC_RELAXED);
    return used;
}

ws_descriptors ws_descriptors_left(void)
{
    rlim_t used = descriptors_count();
    if (!used || used < mark - mark / MARGIN_LOW) {
        return WS_DESCRIPTORS_ENOUGH;
    }
    __atomic_store_n(&low, descriptors_connections(), __ATOMIC_RELAXED);
    return used < mark ? WS_DESCRIPTORS_LOW : WS_DESCRIPTORS_NONE;
}

int ws_descriptors_low(void)
{
    apr_uint64_t then = __atomic_load_n(&low, __ATOMIC_RELAXED);
    if (then && descriptors_connections() < then - then / MARGIN_LOW) {
        __atomic_store_n(&low, 0, __ATOMIC_RELAXED);
        return 0;
    }
    return then != 0;
}
