/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The sender: the thread that sends the queued jobs. If the connection breaks, it sends the jobs
 *  that may be repeated again over the next one, until they have a reply. */

#include "redis/private.h"

/* Complete jobs without a reply: all of them, or those that are not lasting. */
static void sender_drop(ws_redis *r, ws_redis_job **jobs, int all)
{
    while (*jobs) {
        ws_redis_job *j = *jobs;
        if (j->lasting && !all) {
            jobs = &j->next;
        }
        else {
            *jobs = j->next;
            ws_redis_job_end(r, j, NULL);
        }
    }
}

static ws_redis_sent sender_send(ws_redis *r, redisContext **c, ws_redis_job **jobs, int *told)
{
    if (!*c && !(*c = ws_redis_connect(r, told))) {
        return WS_REDIS_AWAY;
    }
    while (*jobs) {
        if (ws_redis_send_batch(r, *c, jobs) < 0) {
            ws_redis_tell(r, *c, told);
            ws_redis_close(*c);
            *c = NULL;
            return WS_REDIS_BROKEN;
        }
    }
    return WS_REDIS_DONE;
}

/* Whether nothing is sent again, because the process stops. */
static int sender_is_late(const ws_redis *r)
{
    apr_time_t stopped = __atomic_load_n(&r->stopped, __ATOMIC_RELAXED);
    return stopped && apr_time_now() - stopped >= apr_time_from_msec(WS_REDIS_LAST);
}

void *APR_THREAD_FUNC ws_redis_send_all(apr_thread_t *self, void *arg)
{
    ws_redis *r = arg;
    redisContext *c = NULL;
    ws_redis_job *jobs = NULL;
    unsigned attempts = 0;
    int told = 0, stop = 0;
    ws_redis_sent rv;
    (void)self;
    while (!stop || jobs) {
        ws_redis_job **end = &jobs;
        apr_thread_mutex_lock(r->lock);
        while (!jobs && !r->first && !r->stopped) {
            apr_thread_cond_wait(r->work, r->lock);
        }
        while (*end) {
            end = &(*end)->next;
        }
        *end = r->first;
        r->first = NULL;
        r->last = &r->first;
        if (!attempts) {
            r->waiting = 0; /* jobs in flight do not count */
        }
        stop = r->stopped != 0;
        apr_thread_mutex_unlock(r->lock);
        rv = !jobs                ? WS_REDIS_DONE
             : r->options.cluster ? ws_redis_cluster_send(r, &jobs, &told)
                                  : sender_send(r, &c, &jobs, &told);
        if (rv == WS_REDIS_AWAY || (rv == WS_REDIS_BROKEN && sender_is_late(r))) {
            sender_drop(r, &jobs, stop);
        }
        if (rv == WS_REDIS_DONE) {
            attempts = 0;
        }
        else if (!stop) {
            ws_redis_back_off(r, &attempts);
        }
    }
    ws_redis_close(c);
    ws_redis_cluster_close(r);
    return NULL;
}
