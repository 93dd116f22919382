/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The interface of an application that authorizes channel use. The application may refuse
 * or rewrite a publication and refuse a subscription, and it is notified of subscribers. The
 * interface is a table of functions; httpd/application_provider.h describes how a module registers
 * one.
 *
 * THREADS. All functions may be called from any thread at any time, and never block.
 */

#ifndef WS_CHANNELS_APPLICATION_H
#define WS_CHANNELS_APPLICATION_H

#include "include/mod_websocket.h"

/** The kinds of questions and notifications. */
typedef enum {
    WS_APP_PUBLISH = 0x1,     /**< question: may the message be published? */
    WS_APP_SUBSCRIBE = 0x2,   /**< question: may the connection subscribe? */
    WS_APP_UNSUBSCRIBE = 0x4, /**< notification: a connection has unsubscribed */
    WS_APP_OCCUPIED =
        0x8, /**< notification: the channel has its first subscriber in this httpd's processes */
    WS_APP_VACATED = 0x10 /**< notification: the channel has lost its last subscriber */
} ws_app_event;

/** A question or notification. Its pointers are valid until `ask` returns. */
typedef struct ws_app_question {
    ws_app_event event;
    const char *channel;
    ws_id id;         /**< the connection that publishes or subscribes; 0: none */
    const char *user; /**< user of the connection or HTTP request; NULL: none */
    const char *uri;  /**< URI of the connection, or NULL */
    ws_type type;     /**< type of the message */
    const char *data; /**< payload of the message */
    apr_size_t len;   /**< bytes */
} ws_app_question;

/** The application's answer. Its pointers are valid until `done` returns. */
typedef struct ws_app_answer {
    ws_status status; /**< WS_QUEUED: allowed; WS_FORBIDDEN: refused; WS_FULL: no valid answer */
    ws_type type;     /**< type of the message that replaces the published one */
    const char *data; /**< payload of the replacement; NULL: none */
    apr_size_t len;
} ws_app_answer;

/** Called once, on a thread of the application. Must not block. */
typedef void (*ws_app_done)(void *arg, const ws_app_answer *answer);

typedef struct ws_application {
    /** Whether `ask` must be called for this kind of event on a channel. */
    int (*wants)(ws_app_event event, const char *channel);

    /**
     * Pass a question or a notification to the application. The application answers questions about
     * publications on the same channel in the order of the calls. It also processes notifications
     * about the same connection or the same channel in that order.
     * @param done  NULL: ignore the answer
     * @return WS_QUEUED: done will be called. WS_FULL: done will not be called, because the queue
     *         is full or the application is down
     */
    ws_status (*ask)(const ws_app_question *question, ws_app_done done, void *arg);
} ws_application;

#endif
