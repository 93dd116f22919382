/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Lines that a person types, with editing and a history. On the main thread. */

#ifndef WS_TOOLS_TERMINAL_H
#define WS_TOOLS_TERMINAL_H

/** Show the prompt. */
void ws_terminal_start(void);

/** A key was pressed. */
void ws_terminal_read(void);

/** Whether the person has said that it is over (Ctrl-D). */
int ws_terminal_over(void);

/** Show lines above the one that is typed. */
void ws_terminal_show(const char *text);

/** Give the terminal back as it was, and keep the history. */
void ws_terminal_end(void);

#endif
