/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Edits lines with libedit. The history is kept in a file that only the user can read. */

#include "tools/wsclient/terminal.h"

#include <editline/readline.h>
#include <errno.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tools/wsclient/input.h"
#include "tools/wsclient/output.h"

#define PROMPT "> "

/* Number of lines in the history. */
#define HISTORY 1000

static int started, over;
static char history_file[PATH_MAX];

/* Set the path of the history file to $XDG_STATE_HOME/wsclient/history, which is below
 * ~/.local/state by default, and create the folders. */
static void terminal_find_history(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n = state && *state == '/' ? snprintf(history_file, PATH_MAX, "%s/wsclient/history", state)
            : home && *home == '/'
                ? snprintf(history_file, PATH_MAX, "%s/.local/state/wsclient/history", home)
                : PATH_MAX;
    if (n >= PATH_MAX) {
        *history_file = '\0'; /* keep no history */
        return;
    }
    for (char *slash = strchr(history_file + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(history_file, 0700);
        *slash = '/';
    }
}

static void terminal_on_line(char *line)
{
    const char *error;
    if (!line) {
        over = 1;
        return;
    }
    if (*line) {
        add_history(line);
    }
    if ((error = ws_input_typed(line))) {
        ws_output_note(WS_TONE_BAD, "%s", error);
    }
    free(line);
    /* after a signal, libedit reads whole lines, so restore the prompt and reading by key */
    rl_callback_handler_install(PROMPT, terminal_on_line);
}

void ws_terminal_start(void)
{
    static char name[] = "wsclient";
    /* Messages are UTF-8, so use a UTF-8 locale even if the environment does not set one. */
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8")) {
        setlocale(LC_CTYPE, "C.UTF-8");
    }
    rl_readline_name = name;
    rl_catch_signals = 0;
    rl_initialize();
    terminal_find_history();
    using_history();
    stifle_history(HISTORY);
    if (*history_file) {
        read_history(history_file);
    }
    rl_callback_handler_install(PROMPT, terminal_on_line);
    started = 1;
}

void ws_terminal_read(void)
{
    rl_callback_read_char();
}

int ws_terminal_over(void)
{
    return over;
}

void ws_terminal_show(const char *text)
{
    if (started) {
        fputs("\r\33[K", stdout);
    }
    fputs(text, stdout);
    fflush(stdout);
    if (started && !over) {
        rl_forced_update_display();
    }
}

void ws_terminal_end(void)
{
    if (!started) {
        return;
    }
    started = 0;
    rl_callback_handler_remove();
    fputs("\r\33[K", stdout);
    fflush(stdout);
    if (*history_file && write_history(history_file) == 0) {
        chmod(history_file, 0600); /* restrict access, because messages may be confidential */
    }
}
