/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** This module reproduces a rare race of the event MPM: while the file "strand" exists in the
 *  server's root, accepted connections never reach a worker. */

#include <ap_listen.h>
#include <apr_file_info.h>
#include <http_config.h>
#include <http_connection.h>
#include <http_log.h>
#include <http_main.h>
#include <httpd.h>

static accept_function accept_of_others;

static apr_status_t accept_and_strand(void **csd, ap_listen_rec *lr, apr_pool_t *p)
{
    apr_finfo_t file;
    apr_pool_t *forgotten;
    apr_status_t rv;

    if (apr_stat(&file, ap_server_root_relative(p, "strand"), APR_FINFO_TYPE, p) != APR_SUCCESS) {
        return accept_of_others(csd, lr, p);
    }
    apr_pool_create_unmanaged(&forgotten);
    rv = accept_of_others(csd, lr, forgotten);
    if (*csd) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, ap_server_conf, "strand: one more");
    }
    *csd = NULL;
    return rv;
}

/* Replace the accept function at the first connection, because the MPM sets that function after
 * the child_init hooks. */
static int pre_connection(conn_rec *c, void *csd)
{
    static int done;
    (void)c, (void)csd;
    if (!__atomic_exchange_n(&done, 1, __ATOMIC_RELAXED)) {
        accept_of_others = ap_listeners->accept_func;
        for (ap_listen_rec *lr = ap_listeners; lr; lr = lr->next) {
            __atomic_store_n(&lr->accept_func, accept_and_strand, __ATOMIC_RELEASE);
        }
    }
    return DECLINED;
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_pre_connection(pre_connection, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(strand) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL,
                             register_hooks,          0};
