/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * SockJS text: messages as JSON strings, in both directions (protocol 0.3.3). The functions only
 * convert text. They use no sockets. Only one thread at a time may use an object.
 */

#ifndef WS_SOCKJS_TEXT_H
#define WS_SOCKJS_TEXT_H

#include "base/strbuf.h"

/** Maximum length of a JavaScript callback's name, bytes. */
#define WS_SOCKJS_CALLBACK_MAX 120

/** The results of parsing a client's messages. */
typedef enum {
    WS_SOCKJS_PARSED,
    WS_SOCKJS_EMPTY,  /**< empty, or not an array: "Payload expected." */
    WS_SOCKJS_BROKEN, /**< invalid JSON, or not only strings: "Broken JSON encoding." */
    WS_SOCKJS_MEMORY
} ws_sockjs_parsed;

/**
 * Read an array of strings, or one string, and append each string as a text frame of a WebSocket
 * client. Like a browser's WebSocket, replaces an unpaired surrogate with U+FFFD. UTF-8 is not
 * checked.
 * @param frames  complete only if WS_SOCKJS_PARSED is returned
 */
ws_sockjs_parsed ws_sockjs_parse(const char *text, apr_size_t len, ws_strbuf *frames);

/** Append a frame as a WebSocket client sends it. first: its first byte */
void ws_sockjs_client_frame(ws_strbuf *frames, unsigned first, const void *data, apr_size_t len);

/** The bytes of a character that was split between two pieces of text. Initially zero. */
typedef struct ws_sockjs_cut {
    unsigned char held[2], count;
} ws_sockjs_cut;

/**
 * Append a piece of UTF-8 as the content of a JSON string. Besides the characters that JSON
 * requires to be escaped, this escapes those that browsers change or that end a line in JavaScript.
 * @param nested  whether the JSON is inside a JavaScript string in an HTML page
 */
void ws_sockjs_escape(ws_strbuf *t, ws_sockjs_cut *cut, int nested, const char *data,
                      apr_size_t len);

/** Append ASCII text that is part of the frame, not of a message. The text needs no escaping for
 *  JSON. */
void ws_sockjs_puts(ws_strbuf *t, int nested, const char *s);

/** Whether a name is a valid callback: 1 to 120 letters, digits, "_", "-" or ".". */
int ws_sockjs_callback_valid(const char *name);

#endif
