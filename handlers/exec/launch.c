/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Starts a program if fewer than max= programs of the WebSocketHandler line are running. */

#include "launch.h"

#include <errno.h>

#include <http_core.h>
#include <http_log.h>

#include "slots.h"

void exec_how(exec_start *how, const exec_config *config, request_rec *r)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);

    how->directory = config->directory;
    how->cpu = core->limit_cpu;
    how->mem = core->limit_mem;
    how->nproc = core->limit_nproc;
}

int exec_launch(const exec_config *config, const exec_start *how, const server_rec *server,
                exec_process *process, int **slot)
{
    const char *what;
    int error;

    if (!(*slot = exec_slot_take(config->slots, config->max))) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server,
                     "websocket: exec: refused with 503: %u programs are running already (max=)",
                     config->max);
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if ((error = exec_spawn(how, process, &what)) != 0) {
        exec_slot_set(*slot, 0);
        ap_log_error(APLOG_MARK, APLOG_ERR, error, server,
                     "websocket: exec: the program cannot be started: %s", what);
        return error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE
                   ? HTTP_SERVICE_UNAVAILABLE
                   : HTTP_INTERNAL_SERVER_ERROR;
    }
    return 0;
}
