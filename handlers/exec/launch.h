/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Starts programs that serve one connection or all connections. */

#ifndef WS_EXEC_LAUNCH_H
#define WS_EXEC_LAUNCH_H

#include "exec.h"

/** Fill in the program's working directory, and the resource limits of the request's Location. */
void exec_how(exec_start *how, const exec_config *config, request_rec *r);

/** Start a program, and log errors. @return 0, or the status to refuse with */
int exec_launch(const exec_config *config, const exec_start *how, const server_rec *server,
                exec_process *process, int **slot);

#endif
