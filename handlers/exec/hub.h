/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** What shared.c and exchange.c have in common. All functions are called under the hub's lock. */

#ifndef WS_EXEC_HUB_PRIVATE_H
#define WS_EXEC_HUB_PRIVATE_H

#include <pthread.h>

#include "ids.h"
#include "peers.h"
#include "shared.h"
#include "supervisor.h"

/* The program is this process's, or what is written and read is a connection to the owner's; or neither. */
struct exec_hub {
    exec_config *config;
    ws_location *here;
    pthread_mutex_t lock; /* of all below */
    exec_program *program;
    int linked;  /* in and out are the connection */
    int greeted; /* by the owner */
    int in, out; /* -1: closed */
    outbox to;
    outbox early; /* lines that wait until there is a program, behind their length */
    exec_input from;
    exec_ids members; /* with what "open" said of them, where it may have to be said again */
    exec_ids paused;
    exec_peer *peers; /* of the owner */
    apr_time_t started;
    apr_time_t since;           /* the last time that a program was asked for */
    int complained;             /* of what the program has written */
    int stopping;               /* the child process ends */
    exec_server *server_of_all; /* NULL: the program is for this process alone */
    /* To start the program again, when no request is at hand: */
    apr_pool_t *pool;
    exec_start how;
    const server_rec *server;
};

void exec_close_fd(int *fd);

/** Whether lines can be written: to the program, or to its owner, which has greeted. */
int exec_hub_has_program(const exec_hub *h);

/** Queue a line. @return 0; -1 when there is no memory */
int exec_hub_put(exec_hub *h, ws_id id, const char *kind, const char *text, apr_size_t len);

/** Bytes that wait for the program. */
apr_size_t exec_hub_backlog(const exec_hub *h);

/** Resume the connections that are paused. */
void exec_hub_resume(exec_hub *h);

/** Read from the program, or the owner. @return whether there may be more */
int exec_hub_take_output(exec_hub *h);

void exec_hub_close_all(exec_hub *h, int code, const char *reason);
void exec_hub_forget_pipes(exec_hub *h);

/**
 * Have a program: one that runs already, or the owner's, or become that.
 * @return 0, or the status to refuse with
 */
int exec_hub_get_program(exec_hub *h);

/** Connections wait for a program. */
void exec_hub_try_again(exec_hub *h);

/** The owner has gone, or does not read. */
void exec_hub_lose_owner(exec_hub *h);

/* Of the owner, about other processes: */

void exec_hub_peer_says(void *hub, exec_peer *p, const char *data, apr_size_t len);
void exec_hub_peer_gone(void *hub, exec_peer *p);
void exec_hub_accept(exec_hub *h);

/** The program has ended by itself, and with it all connections. */
void exec_hub_tell_end(exec_hub *h, int code, const char *reason);

#endif
