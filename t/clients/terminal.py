# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# terminal.py WSCLIENT URL ESCAPES-URL STATE: a person at a terminal of wsclient's.

import os
import pty
import re
import select
import signal
import sys
import termios
import time

program, url, escapes, state = sys.argv[1:]


class Terminal:
    def __init__(self, *arguments, **environment):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.output = b""
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            for fd in 0, 1, 2:
                os.dup2(self.slave, fd)
            import fcntl
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            environment = dict(os.environ, TERM="xterm", XDG_STATE_HOME=state, **environment)
            os.execve(program, (program,) + arguments, environment)

    def type(self, keys):
        os.write(self.master, keys)

    # Everything up to the match, which is awaited.
    def wait(self, match, name):
        until = time.time() + int(os.environ.get("WS_TEST_DEADLINE", 60))
        while True:
            found = re.search(match, self.output, re.S)
            if found:
                before = self.output[: found.end()]
                self.output = self.output[found.end() :]
                print("ok", name)
                return before
            if time.time() > until or not select.select([self.master], [], [], until - time.time())[0]:
                print(repr(self.output))
                print("not ok", name)
                return b""
            try:
                self.output += os.read(self.master, 65536)
            except OSError:
                print(repr(self.output))
                print("not ok", name)
                return b""

    def ends(self, code, name):
        status = os.waitpid(self.pid, 0)[1]
        check(os.waitstatus_to_exitcode(status) == code, name)
        check(termios.tcgetattr(self.slave) == self.before, "and the terminal is as it was")


def check(so, name):
    print("ok" if so else "not ok", name)


t = Terminal(url)
t.wait(rb"connected to 127\.0\.0\.1; Ctrl-D closes", "it says that it is connected")
t.wait(rb"> ", "and prompts")
t.type(b"hello\r")
t.wait(rb"\x1b\[32m< hello\x1b\[m\r\n", "a line is a message, and its echo is shown in colour")
t.wait(rb"> ", "above a new prompt")
t.type("grü\u00df\r".encode())
t.wait("< grü\u00df".encode(), "it may have any letters")
t.type(b"helo\x1b[Dl\r")
t.wait(rb"< hello", "it can be edited")
t.type(b"\x1b[A\x1b[A\r")
t.wait("< grü\u00df".encode(), "the history has earlier lines")
t.type(b"\x04")
t.wait(rb"we closed the connection: 1000", "Ctrl-D closes")
t.ends(0, "which is no failure")
history = state + "/wsclient/history"
check(os.path.getsize(history) > 0, "the history is kept")
check(os.stat(history).st_mode & 0o77 == 0, "for oneself")

t = Terminal(url, NO_COLOR="1")
t.wait(rb"> ", "once more")
t.type(b"\x1b[A\r")
colourless = t.wait(rb"< [^\r]*\r\n", "with the history of the last time")
check(b"\x1b[32m" not in colourless, "NO_COLOR is honoured")
t.type(b"\x03")
t.ends(130, "Ctrl-C ends it")

t = Terminal(url)
t.wait(rb"> ", "commands")
t.type(b"/ping are you there\r")
t.wait(rb"pong are you there: \d+\.\d ms", "/ping shows the pong and its time")
t.type(b"//ping x\r")
t.wait(rb"< /ping x", "a second slash sends such a line")
t.type(b"/nick ann\r")
t.wait(rb"< /nick ann", "other lines with a slash are messages")
t.type(b"/close 17\r")
t.wait(rb"/close takes a code", "a code that there is not")
t.type(b"/close 4321 that is it\r")
t.wait(rb"we closed the connection: 4321 that is it", "/close closes with code and reason")
t.ends(1, "which is no normal end")

t = Terminal("-x", "hello", url)
t.wait(rb"< hello", "--execute at a terminal")
t.wait(rb"> ", "goes on with the prompt")
t.type(b"\x04")
t.ends(0, "closed")

t = Terminal("--hex", url)
t.wait(rb"> ", "in hexadecimal")
t.type(b"00 7f8\r")
t.wait(rb"a hexadecimal digit is missing", "a slip is told")
t.type(b"00 7f80\r")
t.wait(rb"<< 00 7f 80", "bytes are shown so")
t.type(b"\x04")
t.ends(0, "closed")

t = Terminal("--count=1", escapes)
shown = t.wait(rb"< \\x1b\]0;20\d\d\\x07", "what would do something to the terminal is shown instead")
check(b"\x1b]0;" not in shown, "and not done")
t.ends(0, "--count ends it")
print("done")
