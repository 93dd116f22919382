# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests wsclient in pipes and at a terminal.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Digest::SHA qw(sha1_base64);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use POSIX ();
use Httpd;
use Program;
use Server qw(frame);

Httpd::once();
my $dir     = tempdir('mod_websocket-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $program = "$Httpd::BUILD/bin/wsclient";
my $certs   = Httpd::certificates();
local $ENV{ASAN_OPTIONS} = 'detect_leaks=1';
delete local @ENV{grep { /^(?:NO_COLOR|XDG_STATE_HOME|SSLKEYLOGFILE|\w+_proxy)$/i } keys %ENV};

my ($idle) = Httpd::read_file("$Httpd::TOP/docs/handlers.md") =~ /^```c file=ws_idle\.c\n(.*?)^```$/ms;
$idle = Httpd::compile('wsclient_idle', $idle);
my $httpd = Httpd->start(
    modules  => ['negotiation'],
    ssl_conf => "SSLCACertificateFile $certs/ca.crt\nSSLVerifyClient optional",
    conf     => <<"END");
<Location /echo>
    WebSocketHandler ws_echo.so
    WebSocketCompression on
</Location>
<Location /small>
    WebSocketHandler ws_echo.so
    WebSocketMaxMessageSize 10
</Location>
<Location /agreed>
    WebSocketHandler ws_echo.so protocol=a,b
    WebSocketOrigin any
</Location>
<Location /idle>
    WebSocketHandler $idle patience=300
</Location>
<Location /time>
    WebSocketHandler ws_time.so
</Location>
<Location /escapes>
    WebSocketHandler ws_time.so "format=\e]0;%Y\a"
</Location>
<Location /certified>
    WebSocketHandler ws_echo.so
    Require ssl-verify-client
</Location>
Redirect /old /echo
END
my ($port, $ssl_port) = ($httpd->port, $httpd->ssl_port);
my $ws = "ws://127.0.0.1:$port";
my $wss = "wss://127.0.0.1:$ssl_port";

# Run wsclient with this input. Returns exit code, standard output, standard error.
sub talk {
    my ($input, @arguments) = @_;
    Httpd::write_file("$dir/in", $input);
    system('sh', '-c', "exec \"\$0\" \"\$@\" <$dir/in >$dir/out 2>$dir/err", $program, @arguments);
    return ($? & 127 ? $? : $? >> 8, Httpd::read_file("$dir/out"), Httpd::read_file("$dir/err"));
}

# ---- Messages ----

is_deeply([talk("one\n\ntwo\nlast", "$ws/echo")], [0, "one\n\ntwo\nlast\n", ''], 'each line of input is a message');
is_deeply([talk('', "127.0.0.1:$port/echo")], [0, '', ''], 'no input sends no message, and ws:// can be omitted');
my $long = 'wörd' x 50_000;
is_deeply([talk("$long\nx\n", "$ws/echo")], [0, "$long\nx\n", ''], 'a long line is sent in parts');
{
    my ($status, $output, $error) = talk("right\nwr\xffng\n", "$ws/echo");
    is($status, 5, 'if the input is not UTF-8, the exit code is 5');
    is($error, "wsclient: input: line 2: this is not UTF-8; --binary sends any bytes\n", 'if the input is not UTF-8, the error suggests --binary');
}
is_deeply([talk("00 7f80ff\n\n0a\n", '--hex', "$ws/echo")], [0, "00 7f 80 ff\n\n0a\n", ''], '--hex sends and prints bytes');
is((talk("00 7\n", '--hex', "$ws/echo"))[2], "wsclient: input: line 1: a hexadecimal digit is missing\n", 'with --hex, invalid input is reported');
is((talk("xy\n", '--hex', "$ws/echo"))[0], 5, 'with --hex and invalid input, the exit code is 5');
{
    my ($status, $output) = talk("a\"\\\tb\n", '--json', "$ws/echo");
    is($status, 0, '--json: exit code 0');
    is($output, <<'END', '--json prints open, message and close');
{"event":"open","peer":"127.0.0.1","version":13}
{"event":"message","text":"a\"\\\u0009b"}
{"event":"close","code":1000,"reason":"","clean":true}
END
    is((split /\n/, (talk("00ff\n", '-j', '--hex', "$ws/echo"))[1])[1], '{"event":"message","base64":"AP8="}', '--json prints bytes in base64');
    like((talk('', '--json', "$ws/nothing"))[1],
        qr/^\{"event":"failure","reason":"handshake: server answered 404","status":404,"answer":"Not Found","headers":\[\["Date",.*\]\],"body":"\\u003c!DOCTYPE.*"\}$/,
        '--json prints a failure, with the answer');
    ($status, $output) = Program::run('/usr/bin/python3', '-c', <<'END', $program, "$ws/echo");
import json, subprocess, sys
text = "".join(map(chr, range(1, 128))).replace("\n", "") + "\u20ac\U0001f600"
out = subprocess.run([sys.argv[1], "--json", sys.argv[2]], input=text.encode(), stdout=subprocess.PIPE).stdout
print([json.loads(l) for l in out.splitlines()][1] == {"event": "message", "text": text})
END
    is($output, "True\n", '--json prints every character so that Python can read it');
}
like((talk('', '--count=2', "$ws/time"))[1], qr/^20[^\n]+\n20[^\n]+\n$/, '--count waits for that number of messages');
is((talk('0123456789a', "$ws/small"))[0], 1, 'if the server closes with an error, the exit code is 1');
like((talk('0123456789a', "$ws/small"))[2], qr/^wsclient: the server closed the connection: 1009 /, 'if the server closes with an error, the close code is reported');
is((talk('', '--stay', '--timeout=0.2', "$ws/echo"))[0], 4, '--stay keeps the connection open until --timeout');
is((talk('', '--stay', '--timeout=0.2', '-q', "$ws/echo"))[2], '', '--quiet prints no errors');

is(system("$program --json $ws/echo <&- >$dir/out 2>&1") >> 8, 0, 'with standard input closed, the exit code is 0');
like(Httpd::read_file("$dir/out"), qr/"close","code":1000,.*"clean":true/, 'with standard input closed, the connection closes cleanly');
is(system("echo x | $program $ws/echo >/dev/full 2>$dir/err") >> 8, 5, 'if output cannot be written, the exit code is 5');
is(Httpd::read_file("$dir/err"), "wsclient: output: No space left on device\n", 'if output cannot be written, the error is reported');

# ---- Large amounts of data ----

my $bytes = 64 * 1024 * 1024;
for (['plain', "$ws/echo"], ['TLS', '-k', "$wss/echo"]) {
    my ($name, @arguments) = @$_;
    my ($status, $output) = Program::run('/usr/bin/python3', '-c', <<'END', $program, $bytes, @arguments);
import hashlib, os, resource, subprocess, sys, threading, time
count = int(sys.argv[2])
client = subprocess.Popen([sys.argv[1], "--binary"] + sys.argv[3:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
sent, came = hashlib.sha256(), hashlib.sha256()
def send():
    block = os.urandom(1 << 20)
    for i in range(count >> 20):
        client.stdin.write(block)
        sent.update(block)
        block = block[i:] + block[:i]
    client.stdin.close()
thread = threading.Thread(target=send)
thread.start()
# Read nothing until all buffers are full.
before = -1
while True:
    now = [int(l.split()[1]) for l in open("/proc/%d/io" % client.pid) if l.startswith("rchar")][0]
    if now == before and now > 0:
        break
    before = now
    time.sleep(0.3)
print("held" if now < count else "not held: %d" % now)
while True:
    data = client.stdout.read(1 << 18)
    if not data:
        break
    came.update(data)
thread.join()
print(client.wait(), sent.digest() == came.digest())
print("bounded" if resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < (400 << 10) else "memory")
END
    is($output, "held\n0 True\nbounded\n", "$name: 64 MiB are echoed to a slow reader unchanged, in bounded memory")
        or diag($status);
}
my $text = join '', map {"line $_\n"} 1 .. 20_000;
is_deeply([talk($text, '--deflate', "$ws/echo")], [0, $text, ''], '--deflate: many lines are echoed');

# ---- Output ----

like((talk("hi\n", '--frames', "$ws/echo"))[2],
    qr/^-> text fin, 2 bytes: "hi"\n<- text fin, 2 bytes: "hi"\n|^-> text fin.*-> close fin/s, '--frames');
{
    my ($status, undef, $error) = talk("say \"it\"\n\n\\\n", "--record=$dir/echo.transcript", '-o', 'http://here', '-s', 'b,a', '-H', 'X: y', "$ws/agreed?q");
    is($status, 0, '--record: exit code 0') or diag($error);
    my $transcript = Httpd::read_file("$dir/echo.transcript");
    like($transcript, qr{^connect /agreed\?q\n    Origin: http://here\n    Sec-WebSocket-Protocol: b,a\n    X: y\n< 101\n    Sec-WebSocket-Protocol: b$}m,
        '--record writes the handshake');
    my ($played, $output) = Program::run("$Httpd::BUILD/bin/wshandler-test", "$Httpd::BUILD/websocket/ws_echo.so", 'protocol=a,b',
        "$dir/echo.transcript");
    is($played, 0, '--record writes a transcript that wshandler-test accepts') or diag($transcript, $output);
    # The handler's timer starts before wsclient gets the answer. On a busy machine, the recorded wait may be too short for it.
    Httpd::wait_for(
        sub {
            talk('', "--record=$dir/idle.transcript", '--count=1', "$ws/idle");
            $transcript = Httpd::read_file("$dir/idle.transcript");
            return $transcript !~ /^wait (\d+)ms$/m || $1 >= 300;
        },
        'a recorded wait of at least 300 ms');
    like($transcript, qr/^wait \d+ms\n< text "Are you there\?"$/m, '--record writes a pause of the server as a wait');
    ($played, $output) = Program::run("$Httpd::BUILD/bin/wshandler-test", $idle, 'patience=300', "$dir/idle.transcript");
    is($played, 0, '--record writes a transcript with a wait that wshandler-test accepts') or diag($transcript, $output);
    is((talk('', '--record=/nowhere/at/all', "$ws/echo"))[0], 5, 'if the file of --record cannot be written, the exit code is 5');
}

# ---- Handshake ----

# Start a server that answers one request with the result of $answer, which gets the request and the socket. Then the server
# ends. Returns its port, and a function that returns the request.
sub server {
    my ($answer) = @_;
    my $listen = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die;
    pipe my $read, my $write or die;
    my $pid = fork // die;
    if (!$pid) {
        close $read;
        my $client = $listen->accept;
        local $/ = "\r\n\r\n";
        my $request = <$client>;
        print $write $request // '';
        close $write;
        print $client $answer->($request, $client) . '';
        POSIX::_exit(0);
    }
    close $write;
    return ($listen->sockport, sub { local $/; my $told = <$read>; waitpid $pid, 0; $told });
}
{
    my ($own, $told) = server(sub {"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"});
    my ($status, undef, $error) = talk('', '--protocol-version=8', '-H', 'X-Test:1', '--header', 'X-More: a b', '--origin', 'http://x',
        '-s', 'chat,b', '-z',
        "ws://me:secret\@127.0.0.1:$own/p?q");
    is($status, 3, 'if the handshake is refused, the exit code is 3');
    is($error, "wsclient: handshake: server answered 403\n", 'if the handshake is refused, the status is reported');
    my $request = $told->();
    like($request, qr/^\Q$_\E\r$/m, "the request has $_")
        for 'GET /p?q HTTP/1.1', 'X-Test: 1', 'X-More: a b', 'Sec-WebSocket-Version: 8', 'Sec-WebSocket-Origin: http://x',
        'Authorization: Basic bWU6c2VjcmV0';
    like($request, qr/^Sec-WebSocket-Protocol: chat, ?b\r$/m, 'the request has the subprotocols');
    like($request, qr/^Sec-WebSocket-Extensions: permessage-deflate/m, 'the request has the extensions');
}
{
    my ($own, $told) = server(sub {"HTTP/1.1 502 No\r\n\r\n"});
    my ($status, undef, $error) = talk('', "--proxy=http://127.0.0.1:$own", 'ws://far.test/');
    is($status, 3, 'if the proxy refuses, the exit code is 3');
    like($told->(), qr/^CONNECT far\.test:80 HTTP/, '--proxy: the proxy gets a CONNECT request');
}
{
    my $accept = sub {
        my ($key) = $_[0] =~ /^Sec-WebSocket-Key: (\S+)/m;
        return "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            . sha1_base64($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11') . "=\r\n\r\n\x81\x04half";
    };
    my ($own, $told) = server($accept);
    my ($status, $output, $error) = talk('', '--stay', "ws://127.0.0.1:$own/");
    is_deeply([$status, $output, $error], [1, "half\n", "wsclient: the connection broke\n"], 'a connection that breaks is reported, with exit code 1');
    $told->();
    ($own, $told) = server($accept);
    is((talk('', '--count=2', "ws://127.0.0.1:$own/"))[0], 1, 'if fewer messages than --count arrive, the exit code is 1');
    $told->();
}
# ---- Server data cannot control the terminal ----

sub frames { join '', map { pack('CC', $_->[0], length $_->[1]) . $_->[1] } @_ }
sub upgraded {
    my ($key) = $_[0] =~ /^Sec-WebSocket-Key: (\S+)/m;
    return "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        . sha1_base64($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11') . "=\r\n\r\n";
}
# Contains ESC, a C1 control character as UTF-8, and a character that reverses the direction of the text.
my $evil    = "\e]0;x\a \xc2\x9b2J \xe2\x80\xae";
my $tame    = '\\x1b]0;x\\x07 \\xc2\\x9b2J \\xe2\\x80\\xae';
my $acts    = qr/[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80\xae|[\xc0-\xff]?\x9b/;
my $in_json = '\\u001b]0;x\\u0007 \\u009b2J \\u202e';
for my $case (
    ['a pipe', 'pipe', [], qr/^\Q$evil\E\n\z/],
    ['a terminal', 'terminal', [], qr/^\Q$tame\E\r?\n\z/],
    ['a terminal, --binary', 'terminal', ['--binary'], qr/^\Q$tame\E\z/],
    ['a pipe, --json', 'pipe', ['--json'], qr/"text":"\Q$in_json\E"/],
    ['a terminal, --json', 'terminal', ['--json'], qr/"text":"\Q$in_json\E"/])
{
    my ($what, $where, $options, $match) = @$case;
    my ($own, $told) = server(sub { upgraded(@_) . frames([0x01, substr $evil, 0, 8], [0x80, substr $evil, 8], [0x88, "\x0f\xa0$evil"]) });
    my ($status, $output) = Program::run('/usr/bin/python3', '-c', <<'END', $where, $program, @$options, '--stay', "ws://127.0.0.1:$own/");
import os, pty, subprocess, sys
where, command = sys.argv[1], sys.argv[2:]
if where == "pipe":
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = done.stdout, done.stderr
else:
    master, slave = pty.openpty()
    client = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.PIPE)
    os.close(slave)
    out = b""
    try:
        while True:
            piece = os.read(master, 65536)
            if not piece:
                break
            out += piece
    except OSError:
        pass
    err = client.stderr.read()
    client.wait()
sys.stdout.buffer.write(out + b"|" + err)
END
    my ($out, $err) = $output =~ /\A(.*)\|(.*)\z/s;
    like($out, $match, "a message of the server is shown on $what");
    unlike($out =~ s/\r\n/\n/gr, $acts, "a message on $what cannot control the terminal") if $where eq 'terminal' || @$options;
    unlike($err, $acts, "standard error on $what cannot control the terminal");
    like($err, qr/closed the connection: 4000 \Q$tame\E/, "the close reason is shown escaped on $what") if !grep { $_ eq '--json' } @$options;
    $told->();
}
{
    my ($own, $told) = server(sub { "HTTP/1.1 403 $evil\x9b\r\nX-Header: \xc2\x9b2J\xe2\x80\xae\x9b\r\n\r\nbody $evil\x9b\n" });
    my (undef, undef, $error) = talk('', '-v', "ws://127.0.0.1:$own/");
    unlike($error, $acts, "a refusal's reason phrase, headers and body cannot control the terminal");
    like($error, qr/^< 403 \Q$tame\E\\x9b$/m, "a refusal's reason phrase is shown escaped");
    like($error, qr/^body \Q$tame\E\\x9b$/m, "a refusal's body is shown escaped");
    $told->();
}

# ---- A server that does not answer our Close frame ----

for my $case (['is silent', ''], ['pings', frames([0x89, 'x']) x 1000], ['has sent all requested messages', frames([0x81, 'x']) x 10, '--count=1'])
{
    my ($what, $more, @options) = @$case;
    my $listen = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die;
    my $p = Program->start($program, '-x', 'hello', '--close-timeout=0.3', '--ping=0', @options, 'ws://127.0.0.1:' . $listen->sockport);
    my $client = $listen->accept;
    my $request = do { local $/ = "\r\n\r\n"; <$client> };
    print $client upgraded($request), $more;
    $client->flush;
    is($p->finish, 1, "a server that $what and does not answer the Close frame is disconnected");
    like($p->output, qr/^wsclient: the server did not answer our Close frame$/m, "a server that $what and does not answer the Close frame is reported");
}

{
    my ($own, $told) = server(sub {
        my ($request, $client) = @_;
        syswrite $client, upgraded($request);
        1 until ((frame($client))[0] // 8) == 8;
        sleep 1;    # longer than the interval in which wsclient checks the time limit
        return "\x88\x02\x03\xe8";
    });
    is_deeply([talk('', "--close-timeout=$Httpd::DEADLINE", '-x', 'hello', "ws://127.0.0.1:$own/")], [0, '', ''],
        'a server may answer the Close frame until the end of --close-timeout');
    $told->();
}

# ---- Connecting ----

{
    my ($own, $told) = server(sub {"HTTP/1.1 401 No\r\nX-Why: because\r\nContent-Length: 9\r\n\r\nlog in\r\n\n"});
    my ($status, undef, $error) = talk('', '--verbose', '-H', 'X-Mine: 1', "ws://127.0.0.1:$own/p");
    is($status, 3, '--verbose, a refusal: exit code 3');
    like($error, qr{^> GET /p HTTP/1\.1\n(?:> .*\n)*> X-Mine: 1\n> \n< 401 No\n< X-Why: because\n< Content-Length: 9\nlog in\n}m,
        '--verbose shows request, answer and body of a refusal');
    $told->();
    like((talk('', '-v', "$ws/echo"))[2], qr/^< 101 Switching Protocols\n(?:< .*\n)*< Sec-WebSocket-Accept: /m, '--verbose shows the answer 101');
}
is_deeply([talk("not\n", '-x', 'one', '--execute=two', '-c', '2', "$ws/echo")], [0, "one\ntwo\n", ''], '--execute sends messages instead of the input');
is_deeply([talk('', '-x', 'one', "$ws/echo")], [0, "one\n", ''], '--execute waits for the answer');
is_deeply([talk('', '--hex', '-x', '00 ff', "$ws/echo")], [0, "00 ff\n", ''], '--execute with --hex sends bytes');
is_deeply([talk('x', "--resolve=far.test:80:127.0.0.9,127.0.0.1", "--connect-to=far.test:80::$port", "ws://far.test/echo")]->[0], 3,
    'the first entry for a host counts');
is_deeply([talk('x', "--resolve=far.test:$port:127.0.0.9,127.0.0.1", "ws://far.test:$port/echo")], [0, "x\n", ''],
    '--resolve tries two addresses, of which one answers');
is_deeply([talk('x', "--connect-to=far.test::127.0.0.1:$port", 'ws://far.test/echo')], [0, "x\n", ''], '--connect-to connects to another address');
is_deeply([talk('x', "--cacert=$certs/ca.crt", "--connect-to=localhost.::127.0.0.1:", "wss://localhost.:$ssl_port/echo")], [0, "x\n", ''],
    'a host with a dot at its end is connected, and its certificate accepted');
SKIP: {
    skip 'wsclient was built without libidn2', 1 if `ldd $program` !~ /libidn2/;
    my ($ascii, $letters) = ('xn--bcher-kva.test', "b\xc3\xbccher.test");
    for my $pair ([$ascii, $letters], [$letters, $ascii], [$letters, $letters], ["B\xc3\x9cCHER.TEST", $letters]) {
        my ($entry, $host) = @$pair;
        is_deeply([talk('x', "--connect-to=$entry\::127.0.0.1:$port", "ws://$host/echo")], [0, "x\n", ''],
            "--connect-to=$entry applies to the host $host");
        is_deeply([talk('x', "--resolve=$entry:$port:127.0.0.1", "ws://$host:$port/echo")], [0, "x\n", ''],
            "--resolve=$entry applies to the host $host");
    }
    is_deeply([talk('x', "--connect-to=far.test::\xef\xbd\x8cocalhost:$port", 'ws://far.test/echo')], [0, "x\n", ''],
        'the target of --connect-to is converted to ASCII');
    like((talk('x', "--connect-to=a\xef\xbc\x8fb::127.0.0.1:$port", 'ws://far.test/'))[2], qr/^wsclient: request: the host "/,
        '--connect-to refuses a host that contains an encoded slash');
    like((talk('', "ws://a\xef\xbc\x8fb.test/"))[2], qr/^wsclient: url: the host "/, 'a host that contains an encoded slash is refused');
}
{
    local $ENV{SSLKEYLOGFILE} = "$dir/keys";
    is_deeply([talk('x', '-k', "$wss/echo")], [0, "x\n", ''], 'with SSLKEYLOGFILE, a message is echoed');
    like(Httpd::read_file("$dir/keys"), qr/^CLIENT_/m, 'SSLKEYLOGFILE has the TLS secrets');
}
for my $case (
    ['http_proxy', 'ws://far.test/', 1], ['HTTP_PROXY', 'ws://far.invalid/', 0], ['https_proxy', 'wss://far.test/', 1],
    ['HTTPS_PROXY', 'wss://far.test/', 1], ['https_proxy', 'ws://far.invalid/', 0], ['all_proxy', 'ws://far.test/', 1],
    ['ALL_PROXY', 'wss://far.test/', 1],
    ['http_proxy', 'ws://far.invalid/', 0, 'invalid'], ['http_proxy', 'ws://far.invalid/', 0, 'x, .far.invalid'],
    ['http_proxy', 'ws://far.invalid/', 0, '*'], ['http_proxy', 'ws://afar.test/', 1, 'far.test'],
    ['http_proxy', 'ws://127.0.0.1:1/', 0, '10.0.0.0/8,127.0.0.0/8'], ['http_proxy', 'ws://127.0.0.1:1/', 1, '127.0.0.1:80'],
    ['http_proxy', 'ws://[::1]:1/', 0, '::1/64'], ['http_proxy', 'ws://far.invalid:8/', 0, 'far.invalid:8'],
    ['http_proxy', 'ws://far.test:8/', 1, 'far.test:8x'], ['http_proxy', 'ws://far.test:8/', 1, 'far.test:+8'],
    ['http_proxy', 'ws://far.test:8/', 1, 'far.test:4294967304'], ['http_proxy', 'ws://far.test:8/', 1, 'far.test:'],
    ['http_proxy', 'ws://127.0.0.1:1/', 1, '127.0.0.0/8x'], ['http_proxy', 'ws://127.0.0.1:1/', 1, '127.0.0.0/4294967304'],
    ['http_proxy', 'ws://127.0.0.1:1/', 1, '127.0.0.0/'], ['http_proxy', 'ws://127.0.0.1:1/', 1, '127.0.0.0/+8'])
{
    my ($variable, $url, $used, $no) = @$case;
    my ($own, $told) = server(sub {"HTTP/1.1 502 No\r\n\r\n"});
    local $ENV{$variable} = $variable eq 'all_proxy' ? "127.0.0.1:$own" : "http://127.0.0.1:$own";
    local $ENV{no_proxy} = $no if defined $no;
    my (undef, undef, $error) = talk('', $url);
    my $name = "$variable for $url" . (defined $no ? " and no_proxy=$no" : '');
    if ($used) {
        is($error, "wsclient: proxy: it answered 502\n", "$name: the proxy is used");
        like((talk('', '--proxy=', 'ws://127.0.0.1:1/'))[2], qr/connect: /, 'with --proxy= no proxy is used');
    }
    else {
        like($error, qr/^wsclient: (?:lookup|connect): /, "$name: the proxy is not used");
        IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $own)->close;
    }
    $told->();
}
{
    my $listen = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die;
    my $p = Program->start($program, '--reconnect=0.05', 'ws://127.0.0.1:' . $listen->sockport);
    for my $time (1, 2) {
        my $client = $listen->accept;
        my $request = do { local $/ = "\r\n\r\n"; <$client> };
        print $client upgraded($request), frames([0x81, "time $time"], [0x88, "\x03\xf4"]);
        $client->flush;
        $p->wait_output(qr/^time $time\n/m);
        $p->wait_output(qr/wsclient: closed: 1012; connecting again in \d\.\d s/);
        close $client;
    }
    my $client = $listen->accept;
    my $request = do { local $/ = "\r\n\r\n"; <$client> };
    print $client "HTTP/1.1 503 Busy\r\n\r\n";
    close $client;
    $p->wait_output(qr/wsclient: handshake: server answered 503; connecting again/);
    $client = $listen->accept;
    $request = do { local $/ = "\r\n\r\n"; <$client> };
    print $client "HTTP/1.1 403 No\r\n\r\n";
    close $client;
    is($p->finish, 3, '--reconnect continues until a permanent refusal');
    like($p->output, qr/wsclient: handshake: server answered 403/, '--reconnect reports the permanent refusal');
}

is((talk('', "$ws/old"))[0], 3, 'without --location, a redirect is not followed');
is_deeply([talk('x', '--location', "$ws/old")], [0, "x\n", ''], 'with --location, a redirect is followed');
is((talk('x', "$wss/echo"))[0], 3, 'if the CA is unknown, the exit code is 3');
like((talk('x', "$wss/echo"))[2], qr/^wsclient: certificate: /, 'an unknown CA is reported');
is_deeply([talk('x', "--cacert=$certs/ca.crt", "$wss/echo")], [0, "x\n", ''], '--cacert accepts a certificate of that CA');
is_deeply([talk('x', '--insecure', "$wss/echo")], [0, "x\n", ''], '--insecure accepts any certificate');
is((talk('x', '-k', "$wss/certified"))[0], 3, 'if the server requires a client certificate, the exit code is 3');
is_deeply([talk('x', '-k', "--cert=$certs/client.crt", "--key=$certs/client.key", "$wss/certified")], [0, "x\n", ''],
    '--cert and --key send a client certificate');
is((talk('x', "--cacert=$certs/ca.crt", '--server-name=other.test', "$wss/echo"))[0], 3, 'if --server-name does not match the certificate, the exit code is 3');

# ---- Ends ----

{
    my $p = Program->start($program, '--json', '--stay', "$ws/echo");
    $p->wait_output(qr/"open"/);
    kill 'INT', $p->{pid};
    is($p->finish, 130, 'SIGINT: exit code 130');
    like($p->output, qr/"close","code":1001,.*"clean":true/, 'SIGINT closes the connection with a Close frame');
    is(system("yes | head -200000 | $program $ws/echo | head -1 >$dir/out; exit \$?") >> 8, 0, 'if the reader closes the pipe, the exit code is 0');
    is(Httpd::read_file("$dir/out"), "y\n", 'a reader that closes the pipe has received its data');
}
for (['--ping=0.05', "$ws/echo"]) {
    my $p = Program->start($program, '--frames', '--stay', @$_);
    $p->wait_output(qr/-> ping.*<- pong/s);
    pass('--ping sends pings, which are answered');
}

# ---- A terminal ----

Program::tap('terminal', '/usr/bin/python3', 't/clients/terminal.py', $program, "$ws/echo", "$ws/escapes", "$dir/state");

# ---- The end of TLS (RFC 8446, 6.1) ----

# A server that reports for each connection whether close_notify arrived before the end of the stream.
{
    require IO::Socket::SSL;
    my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die "listen: $!";
    pipe my $told, my $tells or die "pipe: $!";
    # Name, answer to the handshake (undef: a valid one), frames, answer to the client's Close frame.
    my @cases = (
        ['a closing handshake', undef, '', "\x88\x02\x03\xe8"],
        ['a frame with a reserved opcode', undef, "\x83\x00", ''],
        ['a refusal', "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", '', ''],
        ['a redirect', "HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", '', ''],
        ['a wrong Sec-WebSocket-Accept', "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n", '', ''],
        ['an answer of another protocol', "SSH-2.0-x\r\n", '', ''],
    );
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        for my $case (@cases) {
            my (undef, $answer, $frames, $end) = @$case;
            my $c = $listener->accept or last;
            IO::Socket::SSL->start_SSL($c, SSL_server => 1, SSL_cert_file => "$certs/server.crt", SSL_key_file => "$certs/server.key") or last;
            my $in = '';
            1 while $in !~ /\r\n\r\n/ && sysread $c, $in, 4096, length $in;
            my ($key) = $in =~ /^Sec-WebSocket-Key: (\S+)/mi;
            my $accept = sha1_base64($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11') . '=';
            syswrite $c, ($answer // "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: $accept\r\n\r\n") . $frames;
            $in = '';
            1 while $end && $in !~ /\A\x88/ && sysread $c, $in, 4096;
            syswrite $c, $end if $end;
            1 while sysread $c, $in, 4096;
            syswrite $tells, (Net::SSLeay::get_shutdown($c->_get_ssl_object) & 2 ? 'notified' : 'cut off') . "\n";
            close $c;
        }
        POSIX::_exit(0);
    }
    close $tells;
    for (@cases) {
        talk('', "--cacert=$certs/ca.crt", 'wss://localhost:' . $listener->sockport . '/');
        is(scalar <$told>, "notified\n", "close_notify is sent after $$_[0]");
    }
    waitpid $pid, 0;
}

# ---- The program itself ----

{
    my ($status, $usage) = talk('', '--help');
    is($status, 0, 'wsclient --help: exit code 0');
    for (['--what', 'ws://x'], [], ['a', 'b'], ['--protocol-version=7', 'x'], ['--version=8', 'x'], ['--version', '13', 'x'], ['--resolve=a:1', 'x'],
        ['--connect-to=a:1:b', 'x'], ['--reconnect=soon', 'x'], ['--close-timeout=0', 'x'], ['-H', 'x', 'y'], ['-jb', 'x'], ['-c', '0', 'x'],
        ['-s', 'a,,a', 'x'], ['--timeout=soon', 'x'])
    {
        is((talk('', @$_))[0], 2, "wsclient refuses: @$_");
    }
    my $not_with_proxy = 'request: other addresses (connect_to) cannot be combined with a proxy: remove them, or use no proxy';
    for (
        ['only one URL is allowed, remove "5", or write --reconnect=SECONDS if it is the value', '--reconnect', '5', 'ws://x/'],
        ['only one URL is allowed, remove "more"', 'ws://x/', 'more'],
        ['--resolve: "x:443:," is not HOST:PORT:ADDRESS[,ADDRESS]...', '--resolve=x:443:,', 'x'],
        ['--resolve: "x:443:127.0.0.1," is not HOST:PORT:ADDRESS[,ADDRESS]...', '--resolve=x:443:127.0.0.1,', 'x'],
        ['--resolve: "192.0.2.300" is not an IPv4 or IPv6 address; --connect-to takes names', '--resolve=x:443:192.0.2.1,192.0.2.300', 'x'],
        ['--resolve: "y.test" is not an IPv4 or IPv6 address; --connect-to takes names', '--resolve=x:443:y.test', 'x'],
        (map { ["$_: invalid value \"443x\": expected a whole number from 1 to 65535", "$_=x:443x:127.0.0.1" . ($_ eq '--resolve' ? '' : ':'), 'x'] }
            '--resolve', '--connect-to'),
        ['--connect-to: invalid value "99999": expected a whole number from 1 to 65535', '--connect-to=x::y:99999', 'x'],
        ['--key needs the certificate, in --cert', '--key=key.pem', 'wss://x/'],
        ['--proxy cannot be combined with --resolve or --connect-to', '--proxy=http://x', '--connect-to=x:::1', 'ws://x/'],
        ["url: the URL does not start with ws:// or wss://", 'http://x/'],
        ["url: the URL's port is not 1 to 65535", 'ws://x:99999/'],
        ['proxy: its URL is not an http://host:port, https or socks5 URL', '--proxy=ftp://x', 'ws://x/'],
        ['request: an additional header is reserved for the handshake', '-H', 'Upgrade: x', 'ws://x/'],
        ["request: the unix socket's path is empty", '--unix-socket=', 'ws://x/'],
        [$not_with_proxy, '--resolve=x:80:127.0.0.1', 'ws://x/'])
    {
        my ($error, @arguments) = @$_;
        local $ENV{http_proxy} = 'http://127.0.0.1:1' if $error eq $not_with_proxy;
        is_deeply([talk('', @arguments)], [2, '', "wsclient: $error; see wsclient --help\n"], "wsclient refuses, and says why: @arguments");
    }
    like((talk('', '--cacert=/nonexistent', 'wss://x/'))[2], qr/^wsclient: certificate: no trusted certificates in \/nonexistent: /,
        'wsclient refuses a file of certificates that it cannot read');
    my $version = Httpd::read_file("$Httpd::TOP/VERSION") =~ s/\n//r;
    is_deeply([talk('', '--version')], [0, "wsclient $version\n", ''], '--version prints the version of the program');
    like(Httpd::read_file("$Httpd::TOP/include/mod_websocket.h"), qr/^#define WS_VERSION "\Q$version\E"$/m, 'the version in the header is the version of the program');
    like((talk('', '--version', '8', 'x'))[2], qr/use --protocol-version=8/, '--version 8 is refused, and the error suggests --protocol-version');
    my $page = "$Httpd::TOP/docs/man/wsclient.1";
    is(`man --warnings -E UTF-8 -l -Tutf8 -Z $page 2>&1 >/dev/null`, '', 'the man page of wsclient is well formed');
    my $man        = Httpd::read_file($page) =~ s/\\-/-/gr;
    my $completion = Httpd::read_file("$Httpd::TOP/tools/completion/bash/wsclient");
    for ($usage =~ /(--[\w-]+)/g) {
        like($man, qr/\Q$_\E\b/, "the man page of wsclient has $_");
        like($completion, qr/\Q$_\E\b/, "the shell completion of wsclient has $_");
    }
    is(system('bash', '-n', "$Httpd::TOP/tools/completion/bash/wsclient"), 0, 'the shell completion of wsclient is a valid script');
}

done_testing;
