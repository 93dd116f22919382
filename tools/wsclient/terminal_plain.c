/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements the prompt in a build without libedit. The terminal itself edits the line, and no
 * history is available. Text that arrives while the user types is shown above a new prompt, and the
 * terminal keeps what has been typed.
 */

#include "tools/wsclient/terminal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/wsclient/input.h"
#include "tools/wsclient/output.h"

#define PROMPT "> "

static int started, over;
/* The line that is being read. A terminal in its usual mode passes lines of at most 4,096 bytes,
 * including the newline. */
static char line[4096 + 1];
static size_t line_len;

static void plain_prompt(void)
{
    fputs(PROMPT, stdout);
    fflush(stdout);
}

void ws_terminal_start(void)
{
    started = 1;
    plain_prompt();
}

static void plain_take_line(size_t len)
{
    const char *error;
    line[len] = '\0';
    if ((error = ws_input_typed(line))) {
        ws_output_note(WS_TONE_BAD, "%s", error);
    }
}

void ws_terminal_read(void)
{
    ssize_t n = read(STDIN_FILENO, line + line_len, sizeof(line) - 1 - line_len);
    char *end;
    if (n <= 0) {
        over = 1;
        return;
    }
    line_len += (size_t)n;
    while ((end = memchr(line, '\n', line_len))) {
        size_t len = (size_t)(end - line);
        plain_take_line(len);
        line_len -= len + 1;
        memmove(line, end + 1, line_len);
    }
    if (line_len == sizeof(line) - 1) {
        plain_take_line(line_len);
        line_len = 0;
    }
    plain_prompt();
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
        plain_prompt();
    }
}

void ws_terminal_end(void)
{
    if (started) {
        started = 0;
        fputs("\r\33[K", stdout);
        fflush(stdout);
    }
}
