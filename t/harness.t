# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# wshandler-test: the bundled handlers and those of the tutorial pass their transcripts, and the program reports deviations
# from a transcript clearly.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use File::Temp qw(tempdir);
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Client qw(TEXT CLOSE);
use Httpd;
use Program;
use Server qw(accepted answer frame say_to);

Httpd::once();
my $dir     = tempdir('mod_websocket-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $program = "$Httpd::BUILD/bin/wshandler-test";
local $ENV{ASAN_OPTIONS} = 'detect_leaks=1';

sub play { return Program::run($program, @_) }

# ---- The API is complete ----

{
    my @names = `nm -D --defined-only $Httpd::BUILD/mod_websocket.so` =~ / T (ws_\w+)$/mg;
    my %there = map { $_ => 1 } `nm -D --defined-only $program` =~ / (\w+)$/mg;
    cmp_ok(scalar @names, '>', 40, 'the exported functions of the module can be read');
    is(join(' ', grep { !$there{$_} } @names), '', 'wshandler-test provides every exported function');
}

# ---- Handlers ----

my %file;
my $text = Httpd::read_file("$Httpd::TOP/docs/handlers.md");
$file{$1} = $2 while $text =~ /^```c file=ws_(\w+)\.c\n(.*?)^```$/msg;
my %so = map { $_ => Httpd::compile("harness_$_", $file{$_}) } qw(chat named polite idle oracle pour journal weigh);
my $journal = "$dir/journal";
my ($service, $upstream) = map { IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die } 1 .. 2;
my %keys = (
    journal       => ["file=$journal"],
    tcp           => ['to=127.0.0.1:' . $service->sockport],
    proxy         => ['to=ws://127.0.0.1:' . $upstream->sockport],
    exec          => ["command=$dir/program $dir/ends", 'stop=1ms,60s,60s'],
    lua           => ["script=$dir/chat.lua"],
    'exec-max'    => ["command=$dir/program $dir/ends"],
    'exec-shared' => ["command=$Httpd::TOP/docs/examples/room.pl"],
);

Httpd::write_file("$dir/chat.lua", Httpd::read_file("$Httpd::TOP/docs/lua.md") =~ /^```lua file=chat\.lua\n(.*?)^```$/ms);

# The program that ws_exec starts.
Httpd::write_file("$dir/program", <<'END');
#!/bin/sh
trap '' INT
while read -r line; do
    case $line in
    variables)
        echo "$REQUEST_METHOD $REQUEST_URI $SCRIPT_NAME $QUERY_STRING $REMOTE_USER $REMOTE_ADDR" \
            "$HTTP_X_COLOUR $ROOM ${HTTP_AUTHORIZATION:-none}"
        ;;
    exit*) exit "${line#exit }" ;;
    kill) kill -KILL $$ ;;
    stay)
        trap 'echo by SIGINT > "$1"; exit' INT
        echo staying
        while :; do sleep 1; done
        ;;
    'how did it end?') read -r end < "$1" && echo "$end" ;;
    *) printf '%s\n' "$line" ;;
    esac
done
echo at the end of input > "$1"
END
chmod 0755, "$dir/program";
POSIX::mkfifo("$dir/ends", 0600) or die "mkfifo: $!";

# The service for ws_tcp echoes bytes until it receives a NUL.
sub echo_bytes {
    my ($client) = @_;
    while (sysread $client, my $bytes, 65536) {
        syswrite $client, $bytes;
        last if $bytes =~ /\0/;
    }
}

# The server for ws_proxy echoes frames, and executes some texts as commands. If the query string has a status, it refuses
# the handshake with this status.
pipe my $left, my $leaves or die;
$leaves->autoflush(1);
sub echo_frames {
    my ($client, $head) = @_;
    if ($head =~ m{^GET /\?status=(\d*) }) {
        syswrite $client, "HTTP/1.1 $1 No\r\nContent-Length: 0\r\n\r\n" if $1;
        return;
    }
    answer($client, $head, $head =~ /^Sec-WebSocket-Protocol: .*second/m ? 'Sec-WebSocket-Protocol: second' : ());
    while (my ($opcode, $payload, $first) = frame($client)) {
        my $said = $opcode == TEXT ? $payload : '';
        if ($opcode == CLOSE) {
            printf $leaves "%s %s\n", unpack 'n a*', $payload;
            say_to($client, CLOSE, $payload);
            return;
        }
        return if $said eq 'break';
        if ($said eq 'close') {
            say_to($client, CLOSE, pack 'n a*', 4001, 'from the server');
            frame($client);
            return;
        }
        $payload = $said eq 'request' ? $head =~ s/\r.*//sr
            : $said eq 'who left?' ? <$left> =~ s/\n//r
            : $said =~ /^header (.*)/ && $head =~ /^$1: (.*)\r$/m ? $1 : $payload;
        say_to($client, $opcode, $payload, fin => $first >> 7);
    }
}

# Start a server that serves each connection in a separate process.
sub serve {
    my ($listener, $take, $speak) = @_;
    my $pid = fork // die;
    return $pid if $pid;
    $SIG{CHLD} = 'IGNORE';
    while (IO::Select->new($listener)->can_read) {
        my @client = $take->($listener);
        next if fork;
        $speak->(@client);
        POSIX::_exit(0);
    }
}
my @servers = (serve($service, sub { $_[0]->accept }, \&echo_bytes), serve($upstream, \&accepted, \&echo_frames));
for my $transcript (glob 't/transcripts/*.transcript t/transcripts/tutorial/*.transcript') {
    my ($tutorial, $name, $handler, $wrong) = $transcript =~ m{(tutorial)?/((\w+)(?:-(?:(wrong)|\w+))?)\.};
    my $file = $tutorial ? $so{$handler} : "$Httpd::BUILD/websocket/ws_$handler.so";
    next if !-e $file;    # an optional library was missing at build time
    my ($status, $output) = play("--patience=" . int($Httpd::DEADLINE / 2), $file, $wrong ? () : @{ $keys{$name} || [] }, $transcript);
    is($status, 0, "$transcript passes") or diag($output);
    like($output, qr/^ok 1 - \Q$transcript\E:\d+: .*^1\.\.\d+$/ms, "$transcript is reported as TAP");
}
$so{$_} = "$Httpd::BUILD/websocket/ws_$_.so" for qw(echo time);
kill 'KILL', @servers;
waitpid $_, 0 for @servers;
is(Httpd::read_file($journal), "dear diary\n", 'a handler under test writes its file');

# ---- Calls that clients cannot observe ----

my $closer = <<'END';
#include <stdio.h>
#include <string.h>
#include "mod_websocket.h"

static void later(ws_conn *c, void *arg)
{
    (void)arg;
    ws_close(c, 4010, "later");
}

static void message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    (void)type;
    if (len == 5 && !memcmp(data, "close", 5)) {
        ws_close(c, 1000, NULL);
    }
}

static int closing(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    (void)reason, (void)len;
    ws_send(c, WS_TEXT, "bye", 3);
    return code == 4001 && ws_timer_start(c, 1000, 0, later, NULL) != NULL;
}

#ifdef BLOCKING
WS_HANDLER(closer) = {.on_message = message, .on_closing = closing, .flags = WS_BLOCKING};
#else
WS_HANDLER(closer) = {.on_message = message, .on_closing = closing};
#endif
END
$so{closer}   = Httpd::compile('harness_closer', $closer);
$so{blocking} = Httpd::compile('harness_closer_blocking', $closer, '-DBLOCKING');
for my $handler (qw(closer blocking)) {
    Httpd::write_file("$dir/$handler.calls", <<'END');
connect a /
connect b /
a! nothing
a> close 4000 "enough"
a! closing 4000 "enough"
a! state closing
a! state closed
a! nothing
a< "bye"

# The handler delays the answer.
b> close 4001
b! closing 4001
b! nothing
b< "bye"
wait 1s
b! state closing
b< close 4010 "later"

# If the server closes first, on_closing is not called.
connect c /
c> "close"
c! state closing
c< close 1000
c! state closed
c! nothing
connect d /
d> break
d! state closed
END
    my ($status, $output) = play($so{$handler}, "$dir/$handler.calls");
    is($status, 0, "$handler: on_closing and on_state are in the transcript") or diag($output);
}

# ---- Reports of failures ----

# Run a transcript, and compare the output. In the expected output, {...} is a regular expression.
sub told {
    my ($name, $handler, $transcript, $expected_status, $expected, @options) = @_;
    Httpd::write_file("$dir/$name", $transcript);
    my ($status, $output) = play(@options, $so{$handler} || $handler, "$dir/$name");
    $output =~ s{\Q$dir\E/}{}g;
    is($status, $expected_status, "$name: wshandler-test exits with $expected_status") or diag($output);
    my $regex = join '', map { /^\{(.*)\}$/s ? $1 : quotemeta } split /(\{.*?\})/, $expected;
    like($output, qr/\A$regex\z/s, "$name: wshandler-test prints the expected report");
}

told('another-text', 'echo', <<'END', 1, <<'TOLD');
connect /
> "hello"
< "hallo"
> "well"
< "well"
END
not ok 1 - another-text:3: < "hallo"
#   expected: text "hallo"
#   got:      text "hello"
#   they differ from byte 1 on, text "hallo" and text "hello"
ok 2 - another-text:5: < "well"
1..2
TOLD
told('another-call', 'closer', <<'END', 1, <<'TOLD', '--patience=1');
connect a /
a> close 4000 "enough"
a! closing 4001 ~ e
a! state closed
a! closing
a! nothing
END
not ok 1 - another-call:3: a! closing 4001 ~ e
#   expected: closing 4001 ~ e
#   got:      closing 4000 "enough"
not ok 2 - another-call:4: a! state closed
#   expected: state closed
#   got:      state closing
not ok 3 - another-call:5: a! closing
#   expected: closing
#   got:      state closed
ok 4 - another-call:6: a! nothing
not ok 5 - another-call:6: a< nothing more
#   got: text "bye"
1..5
TOLD
told('unknown-call', 'closer', <<'END', 2, <<'TOLD');
connect a /
a! state open
END
{(?s).*}expected closing or closed after state{(?s).*}
TOLD
told('unknown-call-word', 'closer', <<'END', 2, <<'TOLD');
connect a /
a! "text"
END
{(?s).*}expected state closing, state closed, closing CODE "REASON" or nothing{(?s).*}
TOLD
told('another-length', 'echo', <<'END', 1, <<'TOLD');
connect /
> "ab" * 1000
< "ab" * 999
END
not ok 1 - another-length:3: < "ab" * 999
#   expected: text "{(?:ab)+}" and 1838 bytes more
#   got:      text "{(?:ab)+}" and 1840 bytes more
#   expected 1998 bytes, got 2000
#   they differ from byte 1998 on, text "abababababababab" and text "ababababababababab"
1..1
TOLD
told('another-kind', 'echo', <<'END', 1, <<'TOLD');
connect /
> binary 61 62
< "ab"
> close 1000
< nothing
< break
END
not ok 1 - another-kind:3: < "ab"
#   expected: text "ab"
#   got:      binary 61 62
ok 2 - another-kind:5: < nothing
not ok 3 - another-kind:6: < break
#   expected: break
#   got:      nothing
1..3
TOLD
told('too-much', 'echo', <<'END', 1, <<'TOLD');
connect ann /
ann> "a\tb"
ann> "c"
END
not ok 1 - too-much:3: ann< nothing more
#   got: text "a\tb"
#   got: text "c"
1..1
TOLD
told('too-little', 'echo', <<'END', 1, <<'TOLD', '--patience=0.01');
connect /
< text ~ ^a+$
END
not ok 1 - too-little:2: < text ~ ^a+$
#   expected: text ~ ^a+$
#   got:      nothing
1..1
TOLD
told('another-answer', 'named', <<'END', 1, <<'TOLD');
connect /?name=admin
connect /?name=ann
< 101
    Set-Cookie: name=bob
< anything
> close
> "more"
END
not ok 1 - another-answer:1: connect /?name=admin
#   the handshake is refused with 403
not ok 2 - another-answer:3: < 101
#   expected: Set-Cookie: name=bob
#   got:      Set-Cookie: name=ann
ok 3 - another-answer:5: < anything
not ok 4 - another-answer:7: > "more"
#   the connection has ended
1..4
TOLD
told('no-error', 'time', <<'END', 1, <<'TOLD');
configure fails "x"
END
not ok 1 - no-error:1: configure fails "x"
#   expected: x
#   got:      no error
1..1
TOLD
told('not-configured', 'polite', "connect /\n", 2, <<'TOLD');
wshandler-test: handler polite: greeting= is missing: set the text of the first message
1..0
TOLD
told('no-handler', "$Httpd::BUILD/mod_websocket.so", "connect /\n", 2, <<'TOLD');
wshandler-test: {.*}
1..0
TOLD

# Transcripts with mistakes.
my @mistakes = (
    ['> "a'          => 'the closing quote is missing'],
    ['> "\q"'        => 'in quotes, a backslash must be followed by n, r, t, 0, \\, " or xHH'],
    ['> binary 0'    => 'expected pairs of hexadecimal digits, such as 00 7f ff'],
    ['> text'        => 'expected data to send: "text" in quotes, or bytes such as 00 7f ff'],
    ['> "a" b'       => '"b" does not belong here'],
    ['> close 99'    => 'expected a number from 1000 to 4999'],
    ['> ping "p" * 126' => 'a control frame can have at most 125 bytes'],
    ['> "a" * 99999999' => 'expected a number from 1 to 67108864'],
    ['< text ~ ('    => 'invalid regular expression: {[^\n]+}'],
    ['< pause'       => '"pause": expected text, binary, ping, pong, close, break, anything or nothing; or a'
            . ' status after connect'],
    ['> nothing'     => '"nothing": expected text, binary, ping, pong, close, break, pause or resume'],
    ['say "x"'       => '"say "x"": expected connect, NAME> ..., NAME< ..., NAME! ..., wait, configure, start fails, or a directive'],
    ['wait 5sec'     => 'wait takes an interval from 0 to 2147483647ms, in seconds or with ms, s, min, h or d'],
    ['connect ann'   => 'expected connect [NAME] /PATH, with a path that begins with a slash'],
    ["connect /\n    version 9" => 'expected version 13, 8, 7, 76 or 75'],
    ["wait 1s\n    Header: x" => 'only lines after connect or a status may be indented'],
    ["connect /\n    colour red" => '"colour red": expected a header (Name: value), user, peer, vhost, version, secure, mute'
            . ' or env NAME VALUE'],
);
for (@mistakes) {
    my ($line, $what) = @$_;
    my $number = 1 + ($line =~ tr/\n//);
    told('mistake', 'echo', "$line\n", 2, "wshandler-test: mistake:$number: $what\n", '--check');
}
told('nobody', 'echo', "ann> \"x\"\n", 2, "wshandler-test: nobody:1: no client \"ann\" is connected\n1..0\n");
told('unheeded', 'echo', "WebSocketPing 5s\nconnect /\n", 2,
    "wshandler-test: unheeded: WebSocketPing 5s: is not supported here; use WebSocketMaxFrameSize,"
    . " WebSocketMaxMessageSize, WebSocketSendQueue, WebSocketFragmentSize and WebSocketSlowReader\n1..0\n");

# ---- What a handler does not get ----

{
    my $handler = <<'END';
#include <httpd.h>
#include <http_core.h>
#include <http_main.h>
#include <http_log.h>
#include "mod_websocket.h"
static int on_request(ws_request *rq, void *config)
{
    ap_log_error("x", 1, APLOG_NO_MODULE, APLOG_WARNING, 0, ap_server_conf, "user %s", ws_request_rec(rq)->user);
    return ws_request_rec(rq)->user ? 0 : ap_satisfies(ws_request_rec(rq));
}
static void on_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    for (;;) {
    }
}
WS_HANDLER(odd) = {.on_request = on_request, .on_message = on_message};
END
    $so{odd} = Httpd::compile('harness_odd', $handler, '-Wno-unused-parameter');
    told('httpd', 'odd', "connect /\n", 2, <<'TOLD');
# log: user (null)
Bail out! the handler calls ap_satisfies(), a function of httpd, which is not available here
TOLD
    told('endless', 'odd', "connect /\n    user ann\n> \"x\"\n", 2, <<'TOLD', '-p', '0.5');
# log: user ann
Bail out! a callback of the handler does not return within 2 s
TOLD
}

# ---- The program itself ----

{
    my ($status, $output) = play('--help');
    is($status, 0, 'wshandler-test --help exits with 0');
    like($output, qr/^Usage: wshandler-test .*^  -p, --patience=/ms, 'wshandler-test --help lists the options');
    for (['x.so'], ['/nowhere.so', 't'], ['--patience=x', 'a', 'b'], ['--what'], [$so{echo}, 'a=b'],
        [$so{echo}, '/nowhere']) {
        is((play(@$_))[0], 2, "wshandler-test exits with 2: @$_");
    }
    my $page = "$Httpd::TOP/docs/man/wshandler-test.1";
    is(`man --warnings -E UTF-8 -l -Tutf8 -Z $page 2>&1 >/dev/null`, '', 'the man page of wshandler-test is well formed');
    my $man = Httpd::read_file($page);
    $man =~ s/\\-/-/g;
    like($man, qr/\Q--$_\E\b/, "the man page of wshandler-test has --$_") for $output =~ /--(\w+)/g;
    is(system('bash', '-n', "$Httpd::TOP/tools/completion/bash/wshandler-test"), 0, 'the shell completion of wshandler-test is a valid script');
}

done_testing;
