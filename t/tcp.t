# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests ws_tcp, the bridge to services at TCP ports and unix sockets: targets, bytes in both directions, back-pressure, and
# closing. The test itself acts as the service.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Digest::SHA qw(sha1_hex);
use File::Temp qw(tempdir);
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use MIME::Base64;
use Socket qw(SOCK_STREAM SOL_SOCKET SO_LINGER SHUT_WR);
use Time::HiRes qw(sleep time);
use Httpd;
use Client qw(frame_bytes TEXT BINARY CLOSE CONTINUATION);

my $dir = tempdir('mod_websocket-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;

sub tcp_service {
    return IO::Socket::INET->new(Listen => $_[0] // 20, LocalAddr => '127.0.0.1') || die "listen: $!";
}
my $service = tcp_service();
my $unix = IO::Socket::UNIX->new(Listen => 1, Local => "$dir/socket") || die "listen: $!";
chmod 0777, "$dir/socket";

sub accepted {
    my ($listener) = @_;
    Httpd::ready($listener) or Httpd::give_up('no connection arrives');
    my $socket = $listener->accept;
    $socket->autoflush(1);
    return $socket;
}

sub read_exactly {
    my ($socket, $n) = @_;
    my $data = '';
    while (length $data < $n) {
        Httpd::ready($socket) or Httpd::give_up('nothing comes behind ' . length($data) . ' bytes');
        my $got = sysread $socket, $data, $n - length $data, length $data;
        last if !$got;
    }
    return $data;
}

# Wait until the stream ends. Returns "end" or the error.
sub ending {
    my ($socket) = @_;
    Httpd::ready($socket) or Httpd::give_up('the stream does not end');
    my $got = sysread $socket, my $data, 65536;
    return !defined $got ? "$!" : $got ? "data: $data" : 'end';
}

# Read messages of the client until they have $n bytes together. Returns these bytes, and the types of the messages.
sub messages {
    my ($client, $n) = @_;
    my ($data, %types) = '';
    while (length $data < $n) {
        my ($type, $piece) = $client->message;
        $types{$type}++;
        $data .= $type == TEXT ? decode_base64($piece) : $piece;
    }
    return wantarray ? ($data, join ' ', keys %types) : $data;
}

my $tokens = "$dir/tokens";
my $at = '127.0.0.1:' . $service->sockport;
Httpd::write_file($tokens, "# who may go where\n\n  desk : $at \nlocal: unix:$dir/socket\nodd&token: $at\n");
my $nobody = do { my $s = tcp_service(); $s->sockport };    # a port without a server

# A service that never accepts connections. Its backlog is full, so that attempts to connect wait.
my $deaf = tcp_service(1);
my @queue = map {
    IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $deaf->sockport, Blocking => 0)
} 1 .. 8;
sleep 0.1;

my $httpd = Httpd->start(conf => <<"END");
WebSocketVersions 13 76
<Location /fixed>
    WebSocketHandler ws_tcp.so to=$at
</Location>
<Location /named>
    WebSocketHandler ws_tcp.so to=localhost:@{[$service->sockport]}
</Location>
<Location /unix>
    WebSocketHandler ws_tcp.so to=unix:$dir/socket
</Location>
<Location /token>
    WebSocketHandler ws_tcp.so tokens=$tokens
</Location>
<Location /key>
    WebSocketHandler ws_tcp.so tokens=$tokens parameter=key
</Location>
<Location /nobody>
    WebSocketHandler ws_tcp.so to=127.0.0.1:$nobody
</Location>
<Location /nowhere>
    WebSocketHandler ws_tcp.so to=unix:$dir/none
</Location>
<Location /unknown>
    WebSocketHandler ws_tcp.so to=no-such-host.invalid:80
</Location>
<Location /deaf>
    WebSocketHandler ws_tcp.so to=127.0.0.1:@{[$deaf->sockport]} connect-timeout=300ms
</Location>
<Location /base64-only>
    WebSocketHandler ws_tcp.so to=$at protocol=base64
</Location>
<Location /small>
    WebSocketHandler ws_tcp.so to=$at
    WebSocketSendQueue 100K
    WebSocketSlowReader drop-oldest 2s
</Location>
END

# Connect a client. Returns the client, and the service's socket.
sub bridge {
    my ($path, %o) = @_;
    my $listener = delete $o{service} // $service;
    my $client = Client->new($httpd, $path, %o);
    return ($client, accepted($listener));
}

# Returns TCP_USER_TIMEOUT of httpd's socket with this local port, milliseconds. The system call 438 is pidfd_getfd(2).
sub user_timeout {
    my ($port) = @_;
    return `python3 -c '
import ctypes, os, socket, sys
libc = ctypes.CDLL(None)
for pid in map(int, sys.argv[2:]):
    process = os.pidfd_open(pid)
    for fd in os.listdir(f"/proc/{pid}/fd"):
        copy = libc.syscall(438, process, int(fd), 0)
        if copy < 0:
            continue
        try:
            s = socket.socket(fileno=copy)
            if s.family == socket.AF_INET and s.getsockname()[1] == int(sys.argv[1]):
                print(s.getsockopt(socket.IPPROTO_TCP, 18), end="")
        except OSError:
            pass
' $port @{[$httpd->children]}`;
}

# ---- Targets ----

{
    my ($c, $s) = bridge('/fixed');
    is($c->header('Sec-WebSocket-Protocol'), undef, 'a client that offers no subprotocol is connected without a subprotocol');
    print $s "RFB 003.008\n";
    is(user_timeout($s->peerport), 120_000, 'the connection to the service has TCP_USER_TIMEOUT of two minutes');
    is_deeply([$c->message], [BINARY, "RFB 003.008\n"], 'bytes from the service become a binary message');
    $c->binary("RFB 003.008\n");
    is(read_exactly($s, 12), "RFB 003.008\n", 'a binary message becomes bytes');
    $c->text('plain text');
    is(read_exactly($s, 10), 'plain text', 'a text message becomes bytes');
    $c->raw(join '', frame_bytes(BINARY, 'in ', fin => 0), frame_bytes(CONTINUATION, '', fin => 0),
        frame_bytes(CONTINUATION, 'pieces'));
    is(read_exactly($s, 9), 'in pieces', 'a message in fragments becomes bytes');
    ok($httpd->wait_log(qr/service \Q$at\E is connected/), 'the log says that the service is connected');
    $c->close(1000);
    $c->expect_close(1000, 'when the client closes, the server answers with the same code');
    is(ending($s), 'end', 'when the client closes, the service reads the end');
    ok($httpd->wait_log(qr/service \Q$at\E is closed: 31 bytes to it, 12 bytes from it/), 'the log has the numbers of bytes in both directions');
}
for (['/named', $service, 'a name'], ['/unix', $unix, 'a unix socket'], ['/token?token=desk', $service, 'a token'],
    ['/token?a=b&token=local&token=desk', $unix, 'the first of two tokens'],
    ['/key?token=local&key=odd%26token', $service, 'a token in another, encoded parameter'])
{
    my ($path, $listener, $name) = @$_;
    my ($c, $s) = bridge($path, service => $listener);
    $c->binary('hello');
    is(read_exactly($s, 5), 'hello', "the bridge connects to $name");
}
for (['/token', 403, qr/has no parameter token/], ['/token?token=', 403, qr/has no parameter token/],
    ['/token?token=127.0.0.1:22', 403, qr/no service for this token: it is not in the file/], ['/token?token=des', 403, qr/it is not in the file/],
    ['/token?token=%00', 403, qr/has no parameter|not in/], ['/unknown', 502, qr/no-such-host.invalid:80 has no address/])
{
    my ($path, $status, $log) = @$_;
    is((Client->refused($httpd, $path))[0], $status, "$path is refused with $status");
    ok($httpd->wait_log($log), "$path: the log says why");
}
Httpd::write_file($tokens, "new: $at\nbad: nowhere\n");
{
    my ($c, $s) = bridge('/token?token=new');
    $c->binary('hello');
    is(read_exactly($s, 5), 'hello', 'a token that was added while httpd runs connects');
    is((Client->refused($httpd, '/token?token=desk'))[0], 403, 'a token that was removed while httpd runs is refused');
    is((Client->refused($httpd, '/token?token=bad'))[0], 500, 'a token with an invalid target is refused with 500');
    ok($httpd->wait_log(qr/line 2 of \Q$tokens\E: takes host:port/), 'the log has the line of the invalid target');
    rename $tokens, "$tokens.gone";
    is((Client->refused($httpd, '/token?token=new'))[0], 500, 'without the token file, a token is refused with 500');
    ok($httpd->wait_log(qr/\Q$tokens\E cannot be read/), 'the log says that the token file cannot be read');
    rename "$tokens.gone", $tokens;
    $c->binary('still');
    is(read_exactly($s, 5), 'still', 'an open bridge does not depend on the token file');
}

# ---- Subprotocols ----

{
    my ($c, $s) = bridge('/fixed', protocol => 'base64, binary');
    is($c->header('Sec-WebSocket-Protocol'), 'binary', 'a client that offers binary and base64 gets binary');
    print $s "\0\xff";
    is_deeply([$c->message], [BINARY, "\0\xff"], 'with binary, bytes from the service are a binary message');

    ($c, $s) = bridge('/fixed', protocol => 'base64');
    is($c->header('Sec-WebSocket-Protocol'), 'base64', 'a client that offers only base64 gets base64');
    for my $bytes ("\0", "\0\xff", "\0\xff\x10", join '', map { chr } 0 .. 255) {
        print $s $bytes;
        my ($type, $text) = $c->message;
        is("$type $text", TEXT . ' ' . encode_base64($bytes, ''), length($bytes) . ' bytes from the service become base64');
        $c->text(encode_base64($bytes, ''));
        is(read_exactly($s, length $bytes), $bytes, 'base64 from the client becomes bytes');
    }
    $c->raw(join '', frame_bytes(TEXT, 'aGV', fin => 0), frame_bytes(CONTINUATION, 'sb', fin => 0),
        frame_bytes(CONTINUATION, 'G8'));
    is(read_exactly($s, 5), 'hello', 'base64 in arbitrary pieces and without padding becomes bytes');
    my $much = join '', map { chr(rand 256) } 1 .. 300_000;
    $c->text(encode_base64($much, ''));
    is(sha1_hex(read_exactly($s, length $much)), sha1_hex($much), 'a large base64 message becomes bytes');
    $c->binary('aGVsbG8=');
    $c->expect_close(1003, 'with base64, a binary message closes the connection with 1003');
    is(ending($s), 'end', 'with base64, after a binary message the service reads the end');
    for my $wrong ('a', 'aG=', 'a===', 'aGVsbG8=x', 'aGVs bG8=', '=', 'aGVsbG8==') {
        ($c, $s) = bridge('/fixed', protocol => 'base64');
        $c->text($wrong);
        $c->expect_close(1007, "invalid base64 closes the connection with 1007: $wrong");
    }
    ($c, $s) = bridge('/base64-only', protocol => 'binary, base64');
    is($c->header('Sec-WebSocket-Protocol'), 'base64', 'with protocol=base64, a client that offers both subprotocols gets base64');
    print $s 'x';
    is_deeply([$c->message], [TEXT, 'eA=='], 'with protocol=base64, bytes from the service become base64');
    ($c, $s) = bridge('/fixed', protocol => 'mine');
    is($c->header('Sec-WebSocket-Protocol'), undef, 'an unknown subprotocol is not agreed on');
}
{
    my $request = join "\r\n", 'GET /fixed HTTP/1.1', 'Host: localhost', 'Upgrade: WebSocket', 'Connection: Upgrade',
        'Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5', 'Sec-WebSocket-Key2: 12998 5 Y3 1  .P00',
        'Sec-WebSocket-Protocol: base64', '', '^n:ds[4U';
    my ($c, $s) = bridge('/fixed', request => $request);
    $c->fill while length $c->{in} < 16;
    substr $c->{in}, 0, 16, '';
    print $s 'old';
    $c->fill while length $c->{in} < 6;
    is($c->{in}, "\0b2xk\xff", 'in version 76 with base64, bytes from the service become base64');
    $request =~ s/^Sec-WebSocket-Protocol.*?\n//m;
    $c = Client->new($httpd, '/fixed', request => $request);
    $c->fill while length $c->{in} < 18;
    is(substr($c->{in}, 16), "\xff\0", 'in version 76 without base64, the connection is closed');
}

# ---- Unreachable services ----

for (['/nobody', 1014, qr/Connection refused/], ['/nowhere', 1014, qr/No such file/],
    ['/deaf', 1014, qr/Connection timed out/])
{
    my ($path, $code, $why) = @$_;
    my $c = Client->new($httpd, $path);
    $c->binary('is anybody there?');
    $c->expect_close($code, "$path: a service that cannot be reached closes the connection with $code");
    like($c->{reason}, qr/^the service cannot be reached: $why/, "$path: the close reason says why the service cannot be reached");
    ok($httpd->wait_log(qr/$path, connection \w+: the service \S+ cannot be reached: $why/), "$path: the log says why the service cannot be reached");
}
{
    my $c = Client->new($httpd, '/deaf');
    $c->drop;
    ok(Httpd::wait_for(sub { $httpd->count_log(qr{/deaf, connection \w+: end, code 1014}) == 2 }, 'the connection to end'),
        'when a client disconnects while its bridge connects, on_close gets 1014');
}

# ---- Ends ----

{
    my ($c, $s) = bridge('/fixed');
    print $s 'last words';
    close $s;
    is_deeply([$c->message], [BINARY, 'last words'], 'when the service closes, all its data is delivered first');
    $c->expect_close(1000, 'when the service closes, the connection is closed with 1000');
    is($c->{reason}, 'the service has closed the connection', 'when the service closes, the close reason names this cause');

    ($c, $s) = bridge('/fixed');
    print $s 'half';
    shutdown $s, SHUT_WR;
    is_deeply([$c->message], [BINARY, 'half'], 'when the service shuts down its sending side, its data is delivered');
    $c->expect_close(1000, 'when the service shuts down its sending side, the connection is closed with 1000');
    is(ending($s), 'end', 'when the service shuts down its sending side, it also reads the end of the stream');

    ($c, $s) = bridge('/fixed');
    $c->echoes($_, 'a byte from the service arrives') for map { print $s $_; $_ } 'x';
    is(read_exactly($s, 1), 'x', 'a byte from the client arrives');
    setsockopt $s, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
    close $s;
    $c->expect_close(1014, 'when the service resets its connection, the client is closed with 1014');
    like($c->{reason}, qr/^the service has broken the connection: Connection reset/, 'when the service resets its connection, the close reason names this cause');

    ($c, $s) = bridge('/fixed');
    $c->binary('x');
    is(read_exactly($s, 1), 'x', 'a client that will disconnect sends a byte');
    $c->drop;
    like(ending($s), qr/reset/, "when a client's connection breaks, the service gets a reset");

    ($c, $s) = bridge('/unix', service => $unix);
    $c->binary('x');
    is(read_exactly($s, 1), 'x', 'a client of a unix socket that will disconnect sends a byte');
    $c->drop;
    is(ending($s), 'end', "when a client's connection breaks, a service at a unix socket reads the end");

    ($c, $s) = bridge('/fixed');
    print $s 'y' x 100_000;    # the client does not read these bytes
    $c->binary('z' x 300_000);
    $c->close(1000);
    is(sha1_hex(read_exactly($s, 300_000)), sha1_hex('z' x 300_000), 'when a client sends much data and closes, all of it reaches the service');
    is(ending($s), 'end', "after that data, the service reads the end of the stream, although the client has not read the service's data");
}

# ---- Back-pressure ----

# Write until the socket accepts no more for half a second. Returns the number of bytes written.
sub fill_up {
    my ($socket, $bytes) = @_;
    my ($done, $last) = (0, time);
    $socket->blocking(0);
    while ($done < length $bytes && time - $last < 0.5) {
        my $n = syswrite $socket, $bytes, 65536, $done;
        if ($n) {
            $done += $n;
            $last = time;
        }
        else {
            sleep 0.02;
        }
    }
    return $done;
}

# More bytes than fit into the kernel's receive buffer, whose limit is tcp_rmem (tcp(7)), and into the module's buffers.
my $kernel = (split ' ', Httpd::read_file('/proc/sys/net/ipv4/tcp_rmem'))[2];
my $much = 65536 * int(((16 << 20) + $kernel) / 65536);
my $block = join '', map { chr(rand 256) } 1 .. 65536;
my $bytes = $block x ($much / 65536);
my $sum = sha1_hex($bytes);
{
    my ($c, $s) = bridge('/fixed');
    my $frame = frame_bytes(BINARY, $bytes, mask => "\0\0\0\0");
    my $done = fill_up($c->socket, $frame);
    cmp_ok($done, '<', length $frame, 'when the service does not read, the client has to wait');
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        $c->raw(substr $frame, $done);
        POSIX::_exit(0);
    }
    is(sha1_hex(read_exactly($s, $much)), $sum, 'when the service reads again, all data arrives');
    waitpid $pid, 0;
    print $s 'thanks';
    is_deeply([$c->message], [BINARY, 'thanks'], 'after that, data from the service arrives');
}
for my $path ('/fixed', '/small') {
    my ($c, $s) = bridge($path, rcvbuf => 65536);
    my $done = fill_up($s, $bytes);
    cmp_ok($done, '<', $much, "$path: when the client does not read, the service has to wait");
    sleep 2.5; # longer than the interval of WebSocketSlowReader
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        $s->blocking(1);
        for (my $i = $done; $i < $much;) {
            $i += syswrite $s, $bytes, 1 << 20, $i;
        }
        POSIX::_exit(0);
    }
    my ($data, $types) = messages($c, $much);
    is(sha1_hex($data), $sum, "$path: when the client reads again, all data arrives, regardless of WebSocketSlowReader");
    is($types, BINARY, "$path: the data arrives as binary messages");
    waitpid $pid, 0;
}

# ---- Configuration ----

Httpd::write_file("$dir/good", "desk: $at\n");
Httpd::write_file("$dir/twice", "desk: $at\n# desk: $at\nother: $at\n desk : unix:/elsewhere\n");

for (['', 'to=TARGET or tokens=FILE'], ["to=$at tokens=$dir/good", 'to=TARGET or tokens=FILE'],
    ["to=$at parameter=x", 'parameter= belongs to tokens='], ['to=localhost', 'takes host:port'],
    (map { ["to=localhost:$_", 'takes host:port'] } qw(0 65536 80x 0x50)), ['to=::1:80', 'takes host:port'], ['to=:80', 'takes host:port'],
    ['to=unix:x', 'absolute path'], ['to=unix:/' . 'x' x 120, 'at most 107 bytes'], ['tokens=x', 'absolute path'],
    ["tokens=$dir/none", 'cannot be read'], ["tokens=$tokens", "line 2 of $tokens: takes host:port"],
    ["tokens=$dir/twice", "line 4 of $dir/twice: it has the token of line 1, and never applies: remove one"],
    ["tokens=$dir/good parameter=a=b", 'name of a parameter'], 
    (map { ["to=$at connect-timeout=$_", "connect-timeout=$_: takes an interval from 1ms to 10min"] } qw(0s 11min 5sfoo 1m -1)),
    ["to=$at colour=red", 'unknown key'])
{
    my ($keys, $text) = @$_;
    my ($right, $said) = Httpd->check("<Location /x>\nWebSocketHandler ws_tcp.so $keys\n</Location>");
    like($said, qr/Syntax error on line \d+ of .*httpd\.conf:\s.*(?:$text)/s, "httpd -t refuses: ws_tcp.so $keys");
}
ok((Httpd->check("<Location /x>\nWebSocketHandler ws_tcp.so to=[::1]:80 connect-timeout=1min\n</Location>"))[0],
    'httpd -t accepts an IPv6 address in to=');

# ---- No leaks ----

Httpd::wait_for(sub { $httpd->count_log(qr/is closed: /) == $httpd->count_log(qr/is connected/) }, 'the end of the last connection');
my $open = `cat /proc/net/tcp | awk '\$4 == "01"' | grep -ci ":@{[sprintf '%04X', $service->sockport]} "`;
is($open + 0, 0, 'no connection to the service is left open');
$httpd->stop;
done_testing;
