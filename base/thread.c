/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Creates threads that receive no signals. */

#include "base/thread.h"

#include <pthread.h>
#include <signal.h>

apr_status_t ws_thread_create(apr_thread_t **thread, apr_thread_start_t run, void *arg,
                              apr_pool_t *pool)
{
    sigset_t all, before;
    apr_status_t rv;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rv = apr_thread_create(thread, NULL, run, arg, pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rv != APR_SUCCESS) {
        *thread = NULL; /* APR has set it even so */
    }
    return rv;
}
