/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Warns once when old children with WebSockets fill the scoreboard. */

#include "httpd/scoreboard.h"

#include <ap_mpm.h>
#include <http_log.h>
#include <mpm_common.h>
#include <scoreboard.h>

#include "httpd/shm.h"

APLOG_USE_MODULE(websocket);

/* Whether a process may have WebSockets, because it owns a slot of shm.h. */
static int scoreboard_is_ours(pid_t pid)
{
    for (unsigned i = 0; i < ws_shm_slots(); i++) {
        ws_shm_owner owner;
        if (ws_shm_owner_of(i, &owner) && owner.pid == pid) {
            return 1;
        }
    }
    return 0;
}

/* Warn if the scoreboard is full. The parent runs this hook every ten seconds. */
static int scoreboard_monitor(apr_pool_t *p, server_rec *s)
{
    /* 1: the warning has been logged. A reload loads the module again and resets this. */
    static int told;
    int limit = 0, generation = 0, taken = 0, old = 0;

    (void)p;
    if (told || !ap_scoreboard_image) {
        return DECLINED;
    }
    ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &limit);
    ap_mpm_query(AP_MPMQ_GENERATION, &generation);
    for (int i = 0; i < limit; i++) {
        const process_score *child = ap_get_scoreboard_process(i);
        if (child && child->pid) {
            taken++;
            old += (child->quiescing || child->generation != generation)
                   && scoreboard_is_ours(child->pid);
        }
    }
    if (taken >= limit && old) {
        told = 1;
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, s,
            "websocket: all %d slots for child processes are in use, %d of them by stopping "
            "children that still have WebSockets: requests may be delayed. Increase ServerLimit "
            "(needs a stop and start) or decrease WebSocketDrainTimeout",
            limit, old);
    }
    return DECLINED;
}

void ws_scoreboard_register(apr_pool_t *p)
{
    (void)p;
    ap_hook_monitor(scoreboard_monitor, NULL, NULL, APR_HOOK_MIDDLE);
}
