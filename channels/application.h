/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * An application that decides about channels: it may refuse or rewrite a publication, allow a subscription, and
 * is notified of subscribers. A table of functions; httpd/application_provider.h says how a module brings one.
 *
 * THREADS. All functions may be called from any thread at any time, and never block.
 */

#ifndef WS_CHANNELS_APPLICATION_H
#define WS_CHANNELS_APPLICATION_H

#include "include/mod_websocket.h"

typedef enum {
    WS_APP_PUBLISH = 0x1,     /**< a question */
    WS_APP_SUBSCRIBE = 0x2,   /**< a question */
    WS_APP_UNSUBSCRIBE = 0x4, /**< a notification, as the others */
    WS_APP_OCCUPIED =
        0x8, /**< the channel has its first subscriber in all processes of this httpd */
    WS_APP_VACATED = 0x10 /**< it has lost its last one */
} ws_app_event;

/** What the application is told. Pointers are valid until ask returns. */
typedef struct ws_app_question {
    ws_app_event event;
    const char *channel;
    ws_id id;         /**< of the connection that publishes, or is subscribed; 0: none */
    const char *user; /**< of it, or of the request; NULL: none */
    const char *uri;  /**< of it, or NULL */
    ws_type type;     /**< of a message */
    const char *data; /**< of a message */
    apr_size_t len;   /**< bytes */
} ws_app_question;

/** What it says. Pointers are valid until done returns. */
typedef struct ws_app_answer {
    ws_status
        status;   /**< WS_QUEUED: yes; WS_FORBIDDEN: no; WS_FULL: it does not answer as it should */
    ws_type type; /**< of the message that replaces the one that was published */
    const char *data; /**< NULL: none does */
    apr_size_t len;
} ws_app_answer;

/** Called once, on a thread of the application's. Must not block. */
typedef void (*ws_app_done)(void *arg, const ws_app_answer *answer);

typedef struct ws_application {
    /** Whether the application is to know of an event on a channel. */
    int (*wants)(ws_app_event event, const char *channel);

    /**
     * Ask, or notify. Questions about publications to a channel are answered in their order, and so are
     * notifications about one connection, or about one channel.
     * @param done  NULL: the answer does not matter
     * @return WS_QUEUED: done is called; WS_FULL: it is not: too many wait, or the application is down
     */
    ws_status (*ask)(const ws_app_question *question, ws_app_done done, void *arg);
} ws_application;

#endif
