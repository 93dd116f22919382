/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Edits lines, with a history. Only the main thread may use these functions. */

#ifndef WS_TOOLS_TERMINAL_H
#define WS_TOOLS_TERMINAL_H

/** Show the prompt. */
void ws_terminal_start(void);

/** Read typed keys. */
void ws_terminal_read(void);

/** Whether the user has typed Ctrl-D. */
int ws_terminal_over(void);

/** Show text above the edited line. */
void ws_terminal_show(const char *text);

/** Restore the terminal, and save the history. */
void ws_terminal_end(void);

#endif
