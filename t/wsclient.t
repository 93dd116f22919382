# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# wsclient in pipes and at a terminal.

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

is_deeply([talk("one\n\ntwo\nlast", "$ws/echo")], [0, "one\n\ntwo\nlast\n", ''], 'a line is a message');
is_deeply([talk('', "127.0.0.1:$port/echo")], [0, '', ''], 'no input, no message; ws:// can be omitted');
my $long = 'wörd' x 50_000;
is_deeply([talk("$long\nx\n", "$ws/echo")], [0, "$long\nx\n", ''], 'a long line is sent in parts');
{
    my ($status, $output, $error) = talk("right\nwr\xffng\n", "$ws/echo");
    is($status, 5, 'bytes that are not UTF-8: exit code');
    is($error, "wsclient: input: line 2: this is not UTF-8; --binary sends any bytes\n", 'and the remedy');
}
is_deeply([talk("00 7f80ff\n\n0a\n", '--hex', "$ws/echo")], [0, "00 7f 80 ff\n\n0a\n", ''], '--hex');
is((talk("00 7\n", '--hex', "$ws/echo"))[2], "wsclient: input: line 1: a hexadecimal digit is missing\n", 'mistakes in its input');
is((talk("xy\n", '--hex', "$ws/echo"))[0], 5, 'are reported');
{
    my ($status, $output) = talk("a\"\\\tb\n", '--json', "$ws/echo");
    is($status, 0, '--json');
    is($output, <<'END', 'tells open, message and close');
{"event":"open","peer":"127.0.0.1","version":13}
{"event":"message","text":"a\"\\\u0009b"}
{"event":"close","code":1000,"reason":"","clean":true}
END
    is((split /\n/, (talk("00ff\n", '-j', '--hex', "$ws/echo"))[1])[1], '{"event":"message","base64":"AP8="}', 'bytes in base64');
    like((talk('', '--json', "$ws/nothing"))[1],
        qr/^\{"event":"failure","reason":"handshake: server answered 404","status":404,"answer":"Not Found","headers":\[\["Date",.*\]\],"body":"\\u003c!DOCTYPE.*"\}$/,
        'and a failure, with the answer');
    ($status, $output) = Program::run('/usr/bin/python3', '-c', <<'END', $program, "$ws/echo");
import json, subprocess, sys
text = "".join(map(chr, range(1, 128))).replace("\n", "") + "\u20ac\U0001f600"
out = subprocess.run([sys.argv[1], "--json", sys.argv[2]], input=text.encode(), stdout=subprocess.PIPE).stdout
print([json.loads(l) for l in out.splitlines()][1] == {"event": "message", "text": text})
END
    is($output, "True\n", 'every character survives JSON');
}
like((talk('', '--count=2', "$ws/time"))[1], qr/^20[^\n]+\n20[^\n]+\n$/, '--count waits for that number of messages');
is((talk('0123456789a', "$ws/small"))[0], 1, 'the server closes with an error: exit code');
like((talk('0123456789a', "$ws/small"))[2], qr/^wsclient: the server closed the connection: 1009 /, 'and why');
is((talk('', '--stay', '--timeout=0.2', "$ws/echo"))[0], 4, '--stay stays, until --timeout');
is((talk('', '--stay', '--timeout=0.2', '-q', "$ws/echo"))[2], '', '--quiet prints nothing');

is(system("$program --json $ws/echo <&- >$dir/out 2>&1") >> 8, 0, 'without standard input');
like(Httpd::read_file("$dir/out"), qr/"close","code":1000,.*"clean":true/, 'there is nothing to send');
is(system("echo x | $program $ws/echo >/dev/full 2>$dir/err") >> 8, 5, 'output that cannot be written: exit code');
is(Httpd::read_file("$dir/err"), "wsclient: output: No space left on device\n", 'and why');

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
# Nothing is read until all buffers are full.
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
    is($output, "held\n0 True\nbounded\n", "$name: 64 MiB go through echo and a slow reader unchanged, in bounded memory")
        or diag($status);
}
my $text = join '', map {"line $_\n"} 1 .. 20_000;
is_deeply([talk($text, '--deflate', "$ws/echo")], [0, $text, ''], 'many lines, compressed');

# ---- Output ----

like((talk("hi\n", '--frames', "$ws/echo"))[2],
    qr/^-> text fin, 2 bytes: "hi"\n<- text fin, 2 bytes: "hi"\n|^-> text fin.*-> close fin/s, '--frames');
{
    my ($status, undef, $error) = talk("say \"it\"\n\n\\\n", "--record=$dir/echo.transcript", '-o', 'http://here', '-s', 'b,a', '-H', 'X: y', "$ws/agreed?q");
    is($status, 0, '--record') or diag($error);
    my $transcript = Httpd::read_file("$dir/echo.transcript");
    like($transcript, qr{^connect /agreed\?q\n    Origin: http://here\n    Sec-WebSocket-Protocol: b,a\n    X: y\n< 101\n    Sec-WebSocket-Protocol: b$}m,
        'has the handshake');
    my ($played, $output) = Program::run("$Httpd::BUILD/bin/wshandler-test", "$Httpd::BUILD/websocket/ws_echo.so", 'protocol=a,b',
        "$dir/echo.transcript");
    is($played, 0, 'and is a valid transcript') or diag($transcript, $output);
    talk('', "--record=$dir/idle.transcript", '--count=1', "$ws/idle");
    $transcript = Httpd::read_file("$dir/idle.transcript");
    like($transcript, qr/^wait \d+ms\n< text "Are you there\?"$/m, 'a pause of the server is a wait');
    ($played, $output) = Program::run("$Httpd::BUILD/bin/wshandler-test", $idle, 'patience=300', "$dir/idle.transcript");
    is($played, 0, 'and is a valid transcript') or diag($transcript, $output);
    is((talk('', '--record=/nowhere/at/all', "$ws/echo"))[0], 5, 'a file that cannot be written');
}

# ---- Handshake ----

# A server that answers one connection as given, and then ends. Returns its port, and a function that returns the data
# it received.
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
        print $client $answer->($request) . '';
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
    is($status, 3, 'refused: exit code');
    is($error, "wsclient: handshake: server answered 403\n", 'and why');
    my $request = $told->();
    like($request, qr/^\Q$_\E\r$/m, "the request has $_")
        for 'GET /p?q HTTP/1.1', 'X-Test: 1', 'X-More: a b', 'Sec-WebSocket-Version: 8', 'Sec-WebSocket-Origin: http://x',
        'Authorization: Basic bWU6c2VjcmV0';
    like($request, qr/^Sec-WebSocket-Protocol: chat, ?b\r$/m, 'subprotocols');
    like($request, qr/^Sec-WebSocket-Extensions: permessage-deflate/m, 'and extensions');
}
{
    my ($own, $told) = server(sub {"HTTP/1.1 502 No\r\n\r\n"});
    my ($status, undef, $error) = talk('', "--proxy=http://127.0.0.1:$own", 'ws://far.test/');
    is($status, 3, '--proxy');
    like($told->(), qr/^CONNECT far\.test:80 HTTP/, 'is asked');
}
{
    my $accept = sub {
        my ($key) = $_[0] =~ /^Sec-WebSocket-Key: (\S+)/m;
        return "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            . sha1_base64($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11') . "=\r\n\r\n\x81\x04half";
    };
    my ($own, $told) = server($accept);
    my ($status, $output, $error) = talk('', '--stay', "ws://127.0.0.1:$own/");
    is_deeply([$status, $output, $error], [1, "half\n", "wsclient: the connection broke\n"], 'a connection that breaks');
    $told->();
    ($own, $told) = server($accept);
    is((talk('', '--count=2', "ws://127.0.0.1:$own/"))[0], 1, 'fewer messages than --count wants');
    $told->();
}
# ---- Server data cannot control the terminal ----

sub frames { join '', map { pack('CC', $_->[0], length $_->[1]) . $_->[1] } @_ }
sub upgraded {
    my ($key) = $_[0] =~ /^Sec-WebSocket-Key: (\S+)/m;
    return "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        . sha1_base64($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11') . "=\r\n\r\n";
}
# ESC, C1 as UTF-8, and a character that reverses the text.
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
    like($out, $match, "a message of the server on $what");
    unlike($out =~ s/\r\n/\n/gr, $acts, 'without anything that acts') if $where eq 'terminal' || @$options;
    unlike($err, $acts, 'nor is there anything on standard error');
    like($err, qr/closed the connection: 4000 \Q$tame\E/, 'where the close reason is shown') if !grep { $_ eq '--json' } @$options;
    $told->();
}
{
    my ($own, $told) = server(sub { "HTTP/1.1 403 $evil\x9b\r\nX-Header: \xc2\x9b2J\xe2\x80\xae\x9b\r\n\r\nbody $evil\x9b\n" });
    my (undef, undef, $error) = talk('', '-v', "ws://127.0.0.1:$own/");
    unlike($error, $acts, 'reason phrases, headers and bodies of refusals');
    like($error, qr/^< 403 \Q$tame\E\\x9b$/m, 'are shown escaped');
    like($error, qr/^body \Q$tame\E\\x9b$/m, 'with their bodies');
    $told->();
}

# ---- A server that does not answer our Close frame ----

for my $case (['is silent', ''], ['pings', frames([0x89, 'x']) x 1000], ['has sent all that is wanted', frames([0x81, 'x']) x 10, '--count=1'])
{
    my ($what, $more, @options) = @$case;
    my $listen = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die;
    my $p = Program->start($program, '-x', 'hello', '--close-timeout=0.3', '--ping=0', @options, 'ws://127.0.0.1:' . $listen->sockport);
    my $client = $listen->accept;
    my $request = do { local $/ = "\r\n\r\n"; <$client> };
    print $client upgraded($request), $more;
    $client->flush;
    is($p->finish, 1, "a server that $what and does not answer our Close is dropped");
    like($p->output, qr/^wsclient: the server did not answer our Close frame$/m, 'and this is reported');
}

# ---- Connecting ----

{
    my ($own, $told) = server(sub {"HTTP/1.1 401 No\r\nX-Why: because\r\nContent-Length: 9\r\n\r\nlog in\r\n\n"});
    my ($status, undef, $error) = talk('', '--verbose', '-H', 'X-Mine: 1', "ws://127.0.0.1:$own/p");
    is($status, 3, '--verbose');
    like($error, qr{^> GET /p HTTP/1\.1\n(?:> .*\n)*> X-Mine: 1\n> \n< 401 No\n< X-Why: because\n< Content-Length: 9\nlog in\n}m,
        'shows request, answer and body');
    $told->();
    like((talk('', '-v', "$ws/echo"))[2], qr/^< 101 Switching Protocols\n(?:< .*\n)*< Sec-WebSocket-Accept: /m, 'also of a 101');
}
is_deeply([talk("not\n", '-x', 'one', '--execute=two', '-c', '2', "$ws/echo")], [0, "one\ntwo\n", ''], '--execute in place of input');
is_deeply([talk('', '-x', 'one', "$ws/echo")], [0, "one\n", ''], 'its answer is waited for');
is_deeply([talk('', '--hex', '-x', '00 ff', "$ws/echo")], [0, "00 ff\n", ''], 'in hexadecimal');
is_deeply([talk('x', "--resolve=far.test:80:127.0.0.9,127.0.0.1", "--connect-to=far.test:80::$port", "ws://far.test/echo")]->[0], 3,
    'the first entry for a host counts');
is_deeply([talk('x', "--resolve=far.test:$port:127.0.0.9,127.0.0.1", "ws://far.test:$port/echo")], [0, "x\n", ''],
    '--resolve with two addresses, of which one answers');
is_deeply([talk('x', "--connect-to=far.test::127.0.0.1:$port", 'ws://far.test/echo')], [0, "x\n", ''], '--connect-to');
is_deeply([talk('x', "--cacert=$certs/ca.crt", "--connect-to=localhost.::127.0.0.1:", "wss://localhost.:$ssl_port/echo")], [0, "x\n", ''],
    'a dot at the end of the host');
SKIP: {
    skip 'built without libidn2', 1 if `ldd $program` !~ /libidn2/;
    is_deeply([talk('x', "--connect-to=xn--bcher-kva.test::127.0.0.1:$port", "ws://b\xc3\xbccher.test/echo")], [0, "x\n", ''],
        'a host with letters beyond ASCII');
    like((talk('', "ws://a\xef\xbc\x8fb.test/"))[2], qr/^wsclient: url: the host "/, 'one that hides a slash');
}
{
    local $ENV{SSLKEYLOGFILE} = "$dir/keys";
    is_deeply([talk('x', '-k', "$wss/echo")], [0, "x\n", ''], 'SSLKEYLOGFILE');
    like(Httpd::read_file("$dir/keys"), qr/^CLIENT_/m, 'has the secrets');
}
for my $case (
    ['http_proxy', 'ws://far.test/', 1], ['HTTP_PROXY', 'ws://far.invalid/', 0], ['https_proxy', 'wss://far.test/', 1],
    ['HTTPS_PROXY', 'wss://far.test/', 1], ['https_proxy', 'ws://far.invalid/', 0], ['all_proxy', 'ws://far.test/', 1],
    ['ALL_PROXY', 'wss://far.test/', 1],
    ['http_proxy', 'ws://far.invalid/', 0, 'invalid'], ['http_proxy', 'ws://far.invalid/', 0, 'x, .far.invalid'],
    ['http_proxy', 'ws://far.invalid/', 0, '*'], ['http_proxy', 'ws://afar.test/', 1, 'far.test'],
    ['http_proxy', 'ws://127.0.0.1:1/', 0, '10.0.0.0/8,127.0.0.0/8'], ['http_proxy', 'ws://127.0.0.1:1/', 1, '127.0.0.1:80'],
    ['http_proxy', 'ws://[::1]:1/', 0, '::1/64'], ['http_proxy', 'ws://far.invalid:8/', 0, 'far.invalid:8'])
{
    my ($variable, $url, $used, $no) = @$case;
    my ($own, $told) = server(sub {"HTTP/1.1 502 No\r\n\r\n"});
    local $ENV{$variable} = $variable eq 'all_proxy' ? "127.0.0.1:$own" : "http://127.0.0.1:$own";
    local $ENV{no_proxy} = $no if defined $no;
    my (undef, undef, $error) = talk('', $url);
    my $name = "$variable for $url" . (defined $no ? " and no_proxy=$no" : '');
    if ($used) {
        is($error, "wsclient: proxy: it answered 502\n", "$name: is asked");
        like((talk('', '--proxy=', 'ws://127.0.0.1:1/'))[2], qr/connect: /, '--proxy= uses no proxy');
    }
    else {
        like($error, qr/^wsclient: (?:lookup|connect): /, "$name: is not asked");
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
    is($p->finish, 3, '--reconnect, until a permanent refusal');
    like($p->output, qr/wsclient: handshake: server answered 403/, 'which is reported');
}

is((talk('', "$ws/old"))[0], 3, 'a redirect is not followed');
is_deeply([talk('x', '--location', "$ws/old")], [0, "x\n", ''], 'but with --location');
is((talk('x', "$wss/echo"))[0], 3, 'an unknown CA');
like((talk('x', "$wss/echo"))[2], qr/^wsclient: certificate: /, 'is reported');
is_deeply([talk('x', "--cacert=$certs/ca.crt", "$wss/echo")], [0, "x\n", ''], '--cacert');
is_deeply([talk('x', '--insecure', "$wss/echo")], [0, "x\n", ''], '--insecure');
is((talk('x', '-k', "$wss/certified"))[0], 3, 'a server that requires a certificate');
is_deeply([talk('x', '-k', "--cert=$certs/client.crt", "--key=$certs/client.key", "$wss/certified")], [0, "x\n", ''],
    '--cert and --key');
is((talk('x', "--cacert=$certs/ca.crt", '--server-name=other.test', "$wss/echo"))[0], 3, '--server-name');

# ---- Ends ----

{
    my $p = Program->start($program, '--json', '--stay', "$ws/echo");
    $p->wait_output(qr/"open"/);
    kill 'INT', $p->{pid};
    is($p->finish, 130, 'SIGINT ends it');
    like($p->output, qr/"close","code":1001,.*"clean":true/, 'with a Close frame');
    is(system("yes | head -200000 | $program $ws/echo | head -1 >$dir/out; exit \$?") >> 8, 0, 'a reader that closes the pipe');
    is(Httpd::read_file("$dir/out"), "y\n", 'has received its data');
}
for (['--ping=0.05', "$ws/echo"]) {
    my $p = Program->start($program, '--frames', '--stay', @$_);
    $p->wait_output(qr/-> ping.*<- pong/s);
    pass('--ping');
}

# ---- A terminal ----

Program::tap('terminal', '/usr/bin/python3', 't/clients/terminal.py', $program, "$ws/echo", "$ws/escapes", "$dir/state");

# ---- The end of TLS (RFC 8446, 6.1) ----

# A server that reports how each connection ended: whether close_notify arrived before the end of the stream.
{
    require IO::Socket::SSL;
    my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die "listen: $!";
    pipe my $told, my $tells or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        for my $answers (1, 0) {
            my $c = $listener->accept or last;
            IO::Socket::SSL->start_SSL($c, SSL_server => 1, SSL_cert_file => "$certs/server.crt", SSL_key_file => "$certs/server.key") or last;
            my $in = '';
            1 while $in !~ /\r\n\r\n/ && sysread $c, $in, 4096, length $in;
            my ($key) = $in =~ /^Sec-WebSocket-Key: (\S+)/mi;
            my $accept = sha1_base64($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11') . '=';
            syswrite $c, "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: $accept\r\n\r\n";
            $in = '';
            # Its Close is the first frame with opcode 8; or it is sent a frame that no server may send.
            syswrite $c, "\x83\x00" if !$answers;
            1 while $in !~ /\A\x88/ && sysread $c, $in, 4096, length $in;
            syswrite $c, "\x88\x02\x03\xe8" if $answers;
            1 while sysread $c, $in, 4096;
            syswrite $tells, (Net::SSLeay::get_shutdown($c->_get_ssl_object) & 2 ? 'notified' : 'cut off') . "\n";
            close $c;
        }
        POSIX::_exit(0);
    }
    close $tells;
    for my $how ('behind a closing handshake', 'behind an error of the server') {
        talk('', "--cacert=$certs/ca.crt", 'wss://localhost:' . $listener->sockport . '/');
        is(scalar <$told>, "notified\n", "close_notify is sent $how");
    }
    waitpid $pid, 0;
}

# ---- The program itself ----

{
    my ($status, $usage) = talk('', '--help');
    is($status, 0, '--help');
    for (['--what', 'ws://x'], [], ['a', 'b'], ['--protocol-version=7', 'x'], ['--version=8', 'x'], ['--version', '13', 'x'], ['--resolve=a:1', 'x'],
        ['--connect-to=a:1:b', 'x'], ['--reconnect=soon', 'x'], ['--close-timeout=0', 'x'], ['-H', 'x', 'y'], ['-jb', 'x'], ['-c', '0', 'x'],
        ['-s', 'a,,a', 'x'], ['--timeout=soon', 'x'])
    {
        is((talk('', @$_))[0], 2, "@$_ is refused");
    }
    my $version = Httpd::read_file("$Httpd::TOP/VERSION") =~ s/\n//r;
    is_deeply([talk('', '--version')], [0, "wsclient $version\n", ''], '--version is that of the program');
    like(Httpd::read_file("$Httpd::TOP/include/mod_websocket.h"), qr/^#define WS_VERSION "\Q$version\E"$/m, 'and of the headers');
    like((talk('', '--version', '8', 'x'))[2], qr/use --protocol-version=8/, '--version 8 says what to use');
    my $page = "$Httpd::TOP/docs/man/wsclient.1";
    is(`man --warnings -E UTF-8 -l -Tutf8 -Z $page 2>&1 >/dev/null`, '', 'its man page is well formed');
    my $man        = Httpd::read_file($page) =~ s/\\-/-/gr;
    my $completion = Httpd::read_file("$Httpd::TOP/tools/completion/bash/wsclient");
    for ($usage =~ /(--[\w-]+)/g) {
        like($man, qr/\Q$_\E\b/, "the man page has $_");
        like($completion, qr/\Q$_\E\b/, "and so has the completion");
    }
    is(system('bash', '-n', "$Httpd::TOP/tools/completion/bash/wsclient"), 0, 'its completion is a script');
}

done_testing;
