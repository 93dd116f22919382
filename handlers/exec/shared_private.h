/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Private to shared.c and exchange.c. Call all functions with the lock held. */

#ifndef WS_EXEC_SHARED_PRIVATE_H
#define WS_EXEC_SHARED_PRIVATE_H

#include <pthread.h>

#include "ids.h"
#include "launch.h"
#include "peers.h"
#include "shared.h"
#include "supervisor.h"

/* One of three states: this process runs the program; `in` and `out` are a connection to the owner;
 * or neither. */
struct exec_shared {
    exec_config *config;
    ws_location *here;
    pthread_mutex_t lock; /* protects all below */
    exec_program *program;
    int linked;  /* in and out are a connection to the owner */
    int greeted; /* the owner has sent its greeting */
    int in, out; /* -1: closed */
    outbox to;
    outbox early; /* lines for a program that is not running yet, each preceded by its length */
    exec_input from;
    exec_ids members; /* each with the text of its "open" line, if that may have to be sent again */
    exec_ids paused;
    exec_peer *peers; /* peers of the owner */
    apr_time_t started;
    apr_time_t since;           /* time when a program was last requested */
    int complained;             /* invalid output from the program has been logged */
    int stopping;               /* the child process is stopping */
    exec_server *server_of_all; /* NULL: the program is for this process only */
    /* To restart the program without a request: */
    apr_pool_t *pool;
    exec_start how;
    const server_rec *server;
};

void exec_close_fd(int *fd);

/** Whether lines can be written: to the program, or to its owner after the greeting. */
int exec_shared_has_program(const exec_shared *h);

/** Queue a line. @return 0; -1: out of memory */
int exec_shared_put(exec_shared *h, ws_id id, const char *kind, const char *text, apr_size_t len);

/** Bytes queued for the program. */
apr_size_t exec_shared_backlog(const exec_shared *h);

/** Resume the paused connections. */
void exec_shared_resume(exec_shared *h);

/** Read from the program or the owner. @return whether there may be more */
int exec_shared_take_output(exec_shared *h);

void exec_shared_close_all(exec_shared *h, int code, const char *reason);
void exec_shared_forget_pipes(exec_shared *h);

/**
 * Use the running program, connect to its owner, or become the owner and start it.
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

/** The program has ended without being stopped: close all its connections. */
void exec_shared_tell_end(exec_shared *h, int code, const char *reason);

#endif
