/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements `SetHandler websocket-control`, with which applications control connections, users and
 * channels over HTTP. docs/control.md describes this API.
 *
 *   control.c             access and paths
 *   control_answer.c      functions for all requests
 *   control_connection.c  one connection, or all connections of a user
 *   control_list.c        the list of connections
 *   control_channels.c    channels
 *   control_work.c        the work in the process that has the connection (rpc.h)
 */

#ifndef WS_HTTPD_CONTROL_H
#define WS_HTTPD_CONTROL_H

#include <httpd.h>

#include "httpd/rpc.h"

/** Maximum entries in a page of a list. */
#define WS_CONTROL_PAGE_MAX 1000

/** Size of a buffer for an id, which has two numbers of 16 digits, a separator and a NUL. */
#define WS_CONTROL_ID 34

/** register_hooks: register the content handler. */
void ws_control_register(apr_pool_t *p);

/**
 * Format the id of a connection in this process for the API. The id includes the server's number if
 * a bus connects several machines.
 * @return text
 */
const char *ws_control_print_id(ws_id id, char text[static WS_CONTROL_ID]);

/**
 * Set the data of a question, which is a call to another process (rpc.h), to NUL-terminated words.
 * @param ...  const char *, NULL at the end
 */
void ws_control_words(request_rec *r, ws_packet *question, ...);

/** Parse the argument `limit`. @return 0: it is invalid */
int ws_control_limit(request_rec *r, unsigned *limit);

/**
 * Build the data of WS_RPC_CLOSE from the arguments `code` and `reason`.
 * @param why  set to the error if an argument is invalid, otherwise to NULL
 */
const char *ws_control_close_text(request_rec *r, const char **why);

/** Refuse a request, like ws_json_refuse(). */
int ws_control_refuse(request_rec *r, int status, const char *why);

/** Refuse with 503 and Retry-After. */
int ws_control_later(request_rec *r, const char *why);

/** Write the processes that did not answer, as a JSON array. @return their number */
unsigned ws_control_missing(ws_strbuf *t, const ws_rpc_answer *answers, unsigned count);

/** The sums of the counts in all processes' answers. */
typedef struct ws_control_counts {
    apr_int64_t done, full, failed;
    int complete; /**< 1: all processes are known and have answered */
    ws_rpc_answer *answers;
    unsigned count;
} ws_control_counts;

/** Send a question to all processes and add up their counts. */
ws_control_counts ws_control_ask_all(request_rec *r, ws_packet *question);

/** Get the first argument with this name, or "". */
const char *ws_control_argument(request_rec *r, const char *name);

/** Note that a request used a path of AWS API Gateway. */
void ws_control_set_aws(request_rec *r);

/** Whether the request used a path of AWS API Gateway, whose clients expect its responses. */
int ws_control_is_aws(request_rec *r);

/** Send the error response for a status other than WS_RPC_OK. */
int ws_control_failed(request_rec *r, ws_rpc_status s);

/** Respond with 405. @param allow  the methods for the header Allow */
int ws_control_not_allowed(request_rec *r, const char *allow);

/** Log that connections were closed. */
void ws_control_log(request_rec *r, const char *what, const char *whom);

/**
 * Check JSON from another process.
 * @param items  set to the length of the array
 * @return whether it is an object (array = 0) or an array (array = 1)
 */
int ws_control_check_json(const char *data, apr_size_t len, int array, unsigned *items);

/**
 * Read a message from the body into a question.
 * @return OK; else the value for the handler to return, and *done is set
 */
int ws_control_read_message(request_rec *r, ws_packet *question, int *done);

/** Handle requests below /connections/, /@connections/ and /users/. path, user: the rest of the
 *  path */
int ws_control_connection(request_rec *r, const char *path);
int ws_control_user(request_rec *r, const char *user);

/** Handle GET /connections. */
int ws_control_connections(request_rec *r);

/** Handle GET /channels. */
int ws_control_list_channels(request_rec *r);

/** Handle POST /publish/. */
int ws_control_publish(request_rec *r);

#endif
