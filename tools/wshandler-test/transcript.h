/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Defines transcripts, and parses them from files. A transcript describes an exchange between
 *  clients and a handler. */

#ifndef WS_TOOLS_TRANSCRIPT_H
#define WS_TOOLS_TRANSCRIPT_H

#include <apr_tables.h>
#include <regex.h>
#include <stdio.h>

typedef enum {
    WS_STEP_CONFIGURE_FAILS, /**< expect an error from configure; data is the error text */
    WS_STEP_START_FAILS,     /**< expect an error from start */
    WS_STEP_CONNECT,
    WS_STEP_STATUS, /**< expect a response to the handshake */
    WS_STEP_SEND,
    WS_STEP_EXPECT,
    WS_STEP_CALL, /**< expect a call to the handler */
    WS_STEP_WAIT
} ws_step_kind;

/** The kind of data to send or expect. The first values equal opcodes. */
typedef enum {
    WS_SAY_TEXT = 0x1,
    WS_SAY_BINARY = 0x2,
    WS_SAY_CLOSE = 0x8,
    WS_SAY_PING = 0x9,
    WS_SAY_PONG = 0xA,
    WS_SAY_BREAK,    /**< the end of the connection without a Close frame */
    WS_SAY_PAUSE,    /**< send: the client stops reading */
    WS_SAY_RESUME,   /**< send: the client resumes reading */
    WS_SAY_NOTHING,  /**< expect: no event */
    WS_SAY_ANYTHING, /**< expect: any one message */
    WS_SAY_STATE,    /**< a call of on_state; code is the new ws_state */
    WS_SAY_CLOSING   /**< a call of on_closing, with code and reason */
} ws_say;

/** The properties of the client in a connect step, except its headers. */
typedef struct ws_who {
    const char *user, *auth_type, *peer, *vhost;
    int version, secure, mute;
    apr_table_t *env; /**< variables of the request */
} ws_who;

typedef struct ws_step {
    ws_step_kind kind;
    unsigned line;
    const char *source; /**< text of the line, for the report */
    const char *name;   /**< name of the connection; "": the only connection */
    ws_say say;
    const char *data; /**< payload, or a Close frame's reason; NULL: any */
    apr_size_t len;
    const char *pattern; /**< expect: a regular expression for data */
    regex_t regex;
    int code;             /**< close code, status or ws_state; 0: any */
    unsigned where;       /**< send: set of WS_FIRST and WS_LAST */
    apr_uint32_t time;    /**< wait: time in milliseconds */
    const char *uri;      /**< connect: path of the request */
    ws_who who;           /**< connect: properties of the client */
    apr_table_t *headers; /**< connect: request headers; status: required response headers */
} ws_step;

/** A parsed file, with settings in the syntax of directives, keys, and steps. */
typedef struct ws_transcript {
    const char *file;
    apr_array_header_t *keys;  /**< char *, each key=value */
    apr_table_t *settings;     /**< directives and their values */
    apr_array_header_t *steps; /**< array of ws_step */
} ws_transcript;

/** Print a line with control characters escaped. */
void ws_print_line(FILE *stream, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Parse a file. @return NULL, or an error text with file and line */
const char *ws_transcript_read(ws_transcript *t, const char *file, apr_pool_t *p);

/** Format an event in the syntax of transcripts. @param most  maximum number of bytes of data to
 *  show; 0: all */
const char *ws_transcript_show(ws_say say, int code, const char *data, apr_size_t len,
                               apr_size_t most, apr_pool_t *p);

#endif
