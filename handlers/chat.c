/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A chat with rooms. It is an example of a handler that uses channels.
 *
 *     WebSocketHandler ws_chat.so
 *
 * A client enters a room with a name, and then sends messages:
 *
 *     {"enter":"lobby","name":"Ann"}
 *     {"say":"Hello"}
 *
 * The client receives its room's events:
 *
 *     {"kind":"room","room":"lobby","id":"00aa..."}                   it has entered, with this id
 *     {"kind":"here","id":"00bb...","name":"Bob"}                     Bob is present or enters
 *     {"kind":"said","id":"00bb...","name":"Bob","text":"Hello","at":1700000000}
 *     {"kind":"left","id":"00bb...","name":"Bob"}
 *     {"kind":"missed"}                                               messages are missing
 *     {"kind":"error","text":"..."}
 *
 * A client with a user (ws_user()) has the user's name, whatever name it asks for.
 *
 * The room NAME is the channel chat/NAME, so it spans all processes. If WebSocketHistory is set, a
 * client that enters a room receives earlier messages before new ones. Presence lists the members.
 */

#include "mod_websocket.h"
#include "reading.h"
#include "websocket_parse.h"

#include <apr_strings.h>
#include <apr_time.h>
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#define NICK_MAX 40
#define WORDS_MAX 4000

#define JSON 2 /* index for ws_event_form() of the JSON form of an event */

typedef struct guest {
    reading reading; /* must be first */
    int entering;    /* 1: the client is entering a room */
    char name[WS_MEMBER_MAX + 1];
    char channel[WS_CHANNEL_MAX + 1]; /* channel of the room; "": the client is in no room */
} guest;

/* ---- JSON ---- */

static cJSON *chat_object(const char *kind, ws_id id, const char *name, apr_size_t len)
{
    cJSON *o = cJSON_CreateObject();
    char text[WS_MEMBER_MAX + 1];
    cJSON_AddStringToObject(o, "kind", kind);
    if (id) {
        apr_snprintf(text, sizeof(text), "%016" APR_UINT64_T_HEX_FMT, id);
        cJSON_AddStringToObject(o, "id", text);
    }
    if (name) {
        apr_cpystrn(text, name, len < sizeof(text) ? len + 1 : sizeof(text));
        cJSON_AddStringToObject(o, "name", text);
    }
    return o;
}

/* Print and free an object. */
static char *chat_print(cJSON *o)
{
    char *text = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    return text;
}

/* Send and free an object. */
static void chat_tell(ws_conn *c, cJSON *o)
{
    char *text = chat_print(o);
    if (text) {
        ws_send(c, WS_TEXT, text, strlen(text));
    }
    cJSON_free(text);
}

static void chat_complain(ws_conn *c, const char *text)
{
    cJSON *o = chat_object("error", 0, NULL, 0);
    cJSON_AddStringToObject(o, "text", text);
    chat_tell(c, o);
}

/* ---- Events of a room ---- */

/* The list of a room's members, which is sent to a client that has entered the room. */
typedef struct guest_list {
    ws_id id;
    apr_size_t count;
    char *texts[];
} guest_list;

static void chat_send_list(ws_conn *c, void *arg)
{
    guest_list *l = arg;
    for (apr_size_t i = 0; i < l->count; i++) {
        if (c && l->texts[i]) {
            ws_send(c, WS_TEXT, l->texts[i], strlen(l->texts[i]));
        }
        cJSON_free(l->texts[i]);
    }
    free(l);
    if (c) {
        guest *g = ws_data(c);
        reading_answered(&g->reading, 1);
        reading_settle(c, &g->reading);
    }
}

/* Collect the members of a room. The list includes the client itself.  [any thread] */
static void chat_list_guests(const char *channel, const ws_member *members, apr_size_t count,
                             int complete, void *arg)
{
    ws_id *id = arg;
    guest_list *l = calloc(1, sizeof(*l) + count * sizeof(*l->texts));
    (void)channel, (void)complete;
    for (apr_size_t i = 0; l && i < count; i++) {
        l->texts[l->count++] =
            chat_print(chat_object("here", members[i].id, members[i].data, members[i].len));
    }
    if (!l) {
        ws_close_id(*id, WS_CLOSE_TRY_LATER, NULL);
    }
    else if (ws_run(*id, chat_send_list, l) != WS_QUEUED) {
        while (l->count) {
            cJSON_free(l->texts[--l->count]);
        }
        free(l);
    }
    free(id);
}

/* Stop reading from the client until it has received the list. */
static void chat_has_entered(ws_conn *c, guest *g, const char *channel)
{
    ws_id *id = malloc(sizeof(*id));
    if (id) {
        *id = ws_conn_id(c);
        reading_expect(&g->reading, 1);
        if (ws_presence(channel, chat_list_guests, id) < 0) {
            reading_answered(&g->reading, 1);
            free(id);
        }
    }
    if (g->entering) {
        reading_answered(&g->reading, 1);
        g->entering = 0;
    }
    reading_settle(c, &g->reading);
}

static int chat_on_channel(ws_conn *c, const ws_event *e)
{
    cJSON *o;
    char *text;
    int form;
    switch (e->kind) {
    case WS_EVENT_MESSAGE:
        return WS_FORM_AS_IS;
    case WS_EVENT_LIVE:
        chat_has_entered(c, ws_data(c), e->channel);
        return WS_FORM_NONE;
    case WS_EVENT_GAP:
        o = chat_object("missed", 0, NULL, 0);
        break;
    default:
        if (e->id == ws_conn_id(c) && e->server == ws_server()) {
            return WS_FORM_NONE; /* the list of members contains the client itself */
        }
        o = chat_object(e->kind == WS_EVENT_JOIN ? "here" : "left", e->id, e->data, e->len);
    }
    /* Print the JSON text once for all clients. */
    text = cJSON_PrintUnformatted(o);
    form = ws_event_has_form(e, JSON) ? JSON
           : text                     ? ws_event_form(e, JSON, WS_TEXT, text, strlen(text))
                                      : WS_FORM_NONE;
    cJSON_free(text);
    cJSON_Delete(o);
    return form;
}

/* ---- Requests ---- */

static void chat_leave(ws_conn *c, guest *g)
{
    if (*g->channel) {
        ws_unsubscribe(c, g->channel);
        *g->channel = 0;
    }
}

static void chat_enter(ws_conn *c, guest *g, const char *room, const char *name)
{
    ws_subscription how = {.flags = WS_MEMBER | WS_WATCH | WS_RESUME, .member = g->name};
    const char *user = ws_user(c);
    char channel[WS_CHANNEL_MAX + 1];
    cJSON *o;
    apr_snprintf(channel, sizeof(channel), "chat/%s", room);
    name = user ? user : name;
    if (!name || !*name || (!user && strlen(name) > NICK_MAX) || strlen(room) > NICK_MAX
        || !ws_channel_valid(channel)) {
        chat_complain(
            c, "A room's name may have only letters, digits, - _ and . characters. Your name must "
               "not be empty. Each may have at most 40 bytes.");
        return;
    }
    if (ws_may(c, WS_MAY_SUBSCRIBE, channel) == 0) {
        chat_complain(c, "This room is closed to you.");
        return;
    }
    chat_leave(c, g);
    apr_cpystrn(g->name, name, sizeof(g->name));
    how.member_len = strlen(g->name);
    o = chat_object("room", ws_conn_id(c), NULL, 0);
    cJSON_AddStringToObject(o, "room", room);
    chat_tell(c, o); /* the client then receives earlier messages, and after them new ones */
    if (ws_subscribe(c, channel, &how) < 0) {
        chat_complain(c, "This room is closed to you.");
        return;
    }
    apr_cpystrn(g->channel, channel, sizeof(g->channel));
    reading_expect(&g->reading, 1);
    g->entering = 1;
}

static void chat_say(ws_conn *c, const guest *g, const char *words)
{
    cJSON *o = chat_object("said", ws_conn_id(c), g->name, strlen(g->name));
    char *text;
    cJSON_AddStringToObject(o, "text", words);
    cJSON_AddNumberToObject(o, "at", (double)apr_time_as_msec(apr_time_now()));
    text = cJSON_PrintUnformatted(o);
    if (!*g->channel || strlen(words) > WORDS_MAX) {
        chat_complain(c, *g->channel ? "That is too long." : "Enter a room first.");
    }
    else if (ws_may(c, WS_MAY_PUBLISH, g->channel) == 0) {
        chat_complain(c, "You may not say anything here.");
    }
    else if (!text || ws_publish(g->channel, WS_TEXT, text, strlen(text), 0, NULL, NULL) < 0) {
        chat_complain(c, "Too many messages are waiting. Send yours again later.");
    }
    cJSON_free(text);
    cJSON_Delete(o);
}

static void chat_on_open(ws_conn *c)
{
    ws_set_data(c, calloc(1, sizeof(guest)));
}

static void chat_on_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    /* refuse a text with a NUL, since cJSON would truncate it */
    cJSON *o =
        type == WS_TEXT && !ws_json_has_nul(data, len) ? cJSON_ParseWithLength(data, len) : NULL;
    const char *room = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "enter"));
    const char *words = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "say"));
    guest *g = ws_data(c);
    if (g && room) {
        chat_enter(c, g, room, cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "name")));
    }
    else if (g && words) {
        chat_say(c, g, words);
    }
    else {
        chat_complain(c, "Enter a room, or say something.");
    }
    cJSON_Delete(o);
    if (g) {
        reading_settle(c, &g->reading);
    }
}

/* The module has unsubscribed the connection, so it has left the room. */
static void chat_on_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    (void)code, (void)reason, (void)len;
    free(ws_data(c));
    ws_set_data(c, NULL);
}

WS_HANDLER(chat) = {.on_open = chat_on_open,
                    .on_message = chat_on_message,
                    .on_channel = chat_on_channel,
                    .on_drain = reading_drained,
                    .on_close = chat_on_close};
