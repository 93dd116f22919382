# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests wsclient at a terminal, with the keys of a person: terminal.py WSCLIENT URL ESCAPES-URL STATE. STATE is the folder for
# wsclient's history. Prints "ok NAME" or "not ok NAME" for each test, and "done".

import os
import pty
import re
import select
import signal
import sys
import termios
import time

program, url, escapes, state = sys.argv[1:]

# The test that runs this program waits twice as long for a line of its output.
deadline = int(os.environ.get("WS_TEST_DEADLINE", 60)) / 2
sys.stdout.reconfigure(line_buffering=True)


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

    # Wait until the output matches. Returns the output up to the end of the match.
    def wait(self, match, name):
        until = time.time() + deadline
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
        until = time.time() + deadline
        while True:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                break
            if time.time() > until:
                for thread in os.listdir("/proc/%d/task" % self.pid):
                    for name in "wchan", "stack", "syscall":
                        try:
                            print(thread, name, open("/proc/%d/task/%s/%s" % (self.pid, thread, name)).read())
                        except OSError:
                            pass
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.01)
        check(os.waitstatus_to_exitcode(status) == code, name)
        check(termios.tcgetattr(self.slave) == self.before, "the settings of the terminal are restored")


def check(so, name):
    print("ok" if so else "not ok", name)


t = Terminal(url)
t.wait(rb"connected to 127\.0\.0\.1; Ctrl-D closes", "wsclient says that it is connected")
t.wait(rb"> ", "wsclient prints a prompt")
t.type(b"hello\r")
t.wait(rb"\x1b\[32m< hello\x1b\[m\r\n", "a line is sent as a message, and its echo is shown in color")
t.wait(rb"> ", "a new prompt follows the echo")
t.type("grü\u00df\r".encode())
t.wait("< grü\u00df".encode(), "a line may have letters beyond ASCII")
t.type(b"helo\x1b[Dl\r")
t.wait(rb"< hello", "a line can be edited")
t.type(b"\x1b[A\x1b[A\r")
t.wait("< grü\u00df".encode(), "the arrow keys show earlier lines")
t.type(b"\x04")
t.wait(rb"we closed the connection: 1000", "Ctrl-D closes the connection")
t.ends(0, "after Ctrl-D, the exit code is 0")
history = state + "/wsclient/history"
check(os.path.getsize(history) > 0, "the history is stored in a file")
check(os.stat(history).st_mode & 0o77 == 0, "only the user can read the history")

t = Terminal(url, NO_COLOR="1")
t.wait(rb"> ", "wsclient starts again")
t.type(b"\x1b[A\r")
colourless = t.wait(rb"< [^\r]*\r\n", "the arrow keys show lines of the previous run")
check(b"\x1b[32m" not in colourless, "with NO_COLOR, the output has no colors")
t.type(b"\x03")
t.ends(130, "after Ctrl-C, the exit code is 130")

t = Terminal(url)
t.wait(rb"> ", "wsclient starts for a test of commands")
t.type(b"/ping are you there\r")
t.wait(rb"pong are you there: \d+\.\d ms", "/ping shows the pong and its time")
t.type(b"//ping x\r")
t.wait(rb"< /ping x", "a line with two slashes is sent as a message with one")
t.type(b"/nick ann\r")
t.wait(rb"< /nick ann", "other lines with a slash are messages")
for code in b"17", b"+1000", b"-1", b"1000x", b"1005", b"4294968296", b"18446744073709552616", b"99999999999999999999":
    t.type(b"/close " + code + b"\r")
    t.wait(rb"/close takes a code from 1000", "/close %s is refused" % code.decode())
t.type(b"/close 4321 that is it\r")
t.wait(rb"we closed the connection: 4321 that is it", "/close closes with code and reason")
t.ends(1, "after a close code other than 1000, the exit code is 1")

t = Terminal("-x", "hello", url)
t.wait(rb"< hello", "--execute sends a message at a terminal")
t.wait(rb"> ", "after --execute, wsclient prints a prompt")
t.type(b"\x04")
t.ends(0, "closed")

t = Terminal("--hex", url)
t.wait(rb"> ", "wsclient starts with --hex")
t.type(b"00 7f8\r")
t.wait(rb"a hexadecimal digit is missing", "a missing digit is reported")
t.type(b"00 7f80\r")
t.wait(rb"<< 00 7f 80", "received bytes are shown in hexadecimal")
t.type(b"\x04")
t.ends(0, "closed")

t = Terminal("--count=1", escapes)
shown = t.wait(rb"< \\x1b\]0;20\d\d\\x07", "bytes that control the terminal are shown escaped")
check(b"\x1b]0;" not in shown, "the terminal does not get these bytes")
t.ends(0, "with --count, the exit code is 0")

print("done")
