/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Declarations that only shared.c and exchange.c use. The caller of a function must hold the
 *  shared program's lock. */

#ifndef WS_EXEC_SHARED_PRIVATE_H
#define WS_EXEC_SHARED_PRIVATE_H

#include <pthread.h>

#include "ids.h"
#include "launch.h"
#include "peers.h"
#include "shared.h"
#include "supervisor.h"

/* A shared program. Either this process runs the program, or `in` and `out` are a connection to the
 * owner (the process that runs it), or this process has no program now. */
struct exec_shared {
    exec_config *config;
    ws_location *here;
    pthread_mutex_t lock; /* protects all fields below */
    exec_program *program;
    int linked;  /* 1: `in` and `out` are a connection to the owner */
    int greeted; /* 1: the owner has sent its greeting */
    int in, out; /* -1: closed */
    outbox to;
    outbox early; /* lines for a program that is not running yet, each preceded by its length */
    exec_input from;
    /* Connections, each with the text of its "open" line if that line may have to be sent again. */
    exec_ids members;
    exec_ids paused;
    exec_peer *peers; /* if this process is the owner, its peers */
    apr_time_t started;
    apr_time_t since;           /* time when a program was last requested */
    int complained;             /* 1: invalid output from the program has been logged */
    int stopping;               /* 1: the child process is stopping */
    exec_server *server_of_all; /* NULL: only this process uses the program */
    /* Used to restart the program without a request: */
    apr_pool_t *pool;
    exec_start how;
    const server_rec *server;
};

void exec_close_fd(int *fd);

/** Whether lines can be written, either to the program or, after the greeting, to its owner. */
int exec_shared_has_program(const exec_shared *h);

/** Queue a line. @return 0; -1: out of memory */
int exec_shared_put(exec_shared *h, ws_id id, const char *kind, const char *text, apr_size_t len);

/** Get the number of bytes that are queued for the program. */
apr_size_t exec_shared_backlog(const exec_shared *h);

/** Resume the paused connections. */
void exec_shared_resume(exec_shared *h);

/** Read from the program or the owner. @return whether more may be available */
int exec_shared_take_output(exec_shared *h);

void exec_shared_close_all(exec_shared *h, int code, const char *reason);
void exec_shared_forget_pipes(exec_shared *h);

/**
 * Get a program: use the running program, connect to its owner, or become the owner and start the
 * program.
 * @return 0, or the status to refuse with
 */
int exec_shared_get_program(exec_shared *h);

/** Try again to get a program, because connections are waiting. */
void exec_shared_try_again(exec_shared *h);

/** Handle an owner that has ended or is not reading. */
void exec_shared_lose_owner(exec_shared *h);

/* The owner's functions that send to the other processes: */

void exec_shared_peer_says(void *arg, exec_peer *p, const char *data, apr_size_t len);
void exec_shared_peer_gone(void *arg, exec_peer *p);
void exec_shared_accept(exec_shared *h);

/** Close all connections of a program that has ended without being stopped. */
void exec_shared_tell_end(exec_shared *h, int code, const char *reason);

#endif
