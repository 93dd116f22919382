# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests ws_proxy, the bridge to other WebSocket servers: which server it chooses, the request to the server, messages of all
# sizes in both directions, back-pressure, pings, limits, and closing. In tests of exact bytes, the test itself acts as the
# server.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use File::Temp qw(tempdir);
use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time);
use Httpd;
use Client qw(frame_bytes TEXT BINARY CLOSE PING PONG CONTINUATION);
use Server qw(accepted answer frame say_to);

my $listener = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1') or die "listen: $!";
my $server   = 'ws://127.0.0.1:' . $listener->sockport;
my $closed   = Httpd::free_port();
my $tmp      = tempdir('mod_websocket-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $ca       = "$tmp/ca.crt";
# A folder that httpd's user can read, because it may have no access to the build directory.
chmod 0755, $tmp;
Httpd::write_file($ca, Httpd::read_file(Httpd::certificates() . '/ca.crt'));
my ($plain, $tls) = (Httpd::free_port(), Httpd::free_port());

my $httpd = Httpd->start(
    files => { passwords => "user:" . crypt('secret', 'ab') . "\n" },
    ssl_conf => "RemoteIPHeader X-Client\n",
    conf  => <<"END");
Listen 127.0.0.1:$plain
Listen 127.0.0.1:$tls
WebSocketMaxMessageSize 64M
WebSocketOrigin any
<VirtualHost 127.0.0.1:$plain>
    <Location /echo>
        WebSocketHandler ws_echo.so protocol=second
        WebSocketHandler ws_echo.so
        WebSocketCompression on takeover=on
    </Location>
    <Location /forbidden>
        WebSocketHandler ws_echo.so
        Require all denied
    </Location>
</VirtualHost>
<VirtualHost 127.0.0.1:$tls>
    SSLEngine on
    SSLCertificateFile @{[Httpd::certificates()]}/server.crt
    SSLCertificateKeyFile @{[Httpd::certificates()]}/server.key
    <Location /echo>
        WebSocketHandler ws_echo.so
    </Location>
</VirtualHost>
<Location /plain>
    WebSocketHandler ws_proxy.so to=ws://127.0.0.1:$plain/echo
</Location>
<Location /tls>
    WebSocketHandler ws_proxy.so to=wss://localhost:$tls/echo ca=$ca
</Location>
<Location /compressed>
    WebSocketHandler ws_proxy.so to=ws://127.0.0.1:$plain/echo compression=on
    WebSocketCompression on
</Location>
<Location /unknown-ca>
    WebSocketHandler ws_proxy.so to=wss://localhost:$tls/echo
</Location>
<Location /forbidden>
    WebSocketHandler ws_proxy.so to=ws://127.0.0.1:$plain/forbidden,ws://127.0.0.1:$plain/echo
</Location>
<Location /refused>
    WebSocketHandler ws_proxy.so to=ws://127.0.0.1:$closed/
</Location>
<Location /failover>
    WebSocketHandler ws_proxy.so to=ws://me:secret\@127.0.0.1:$closed/,ws://127.0.0.1:$plain/echo retry=10min
</Location>
<Location /slow>
    WebSocketHandler ws_proxy.so to=$server/ timeout=300ms
</Location>
<Location /test>
    WebSocketHandler ws_proxy.so to=$server/path headers=Cookie,X-User,User-Agent,X-Forwarded-For user=X-User
    WebSocketCloseTimeout 30s
    WebSocketPing 30s
</Location>
<Location /test/private>
    AuthType Basic
    AuthName test
    AuthUserFile passwords
    Require valid-user
</Location>
<Location /bare>
    WebSocketHandler ws_proxy.so to=$server/path?own forwarded=off origin=none preserve-host=on
</Location>
<Location /small>
    WebSocketHandler ws_proxy.so to=$server/
    WebSocketMaxMessageSize 1000
</Location>
<Location /pinged>
    WebSocketHandler ws_proxy.so to=$server/
    WebSocketPing 500ms 30s
</Location>
END

# ---- The test as the server ----

# Connect a client through the bridge. Returns the client, the server's socket, and the head of the request to the server.
sub bridged {
    my ($path, $more, %o) = @_;
    my $c = Client->new($httpd, $path, %o, expect => 0);
    my ($s, $head) = accepted($listener);
    answer($s, $head, @{ $more || [] });
    $c->read_answer;
    is($c->status, 101, "$path: the client is connected through the bridge") or diag($c->head);
    return ($c, $s, $head);
}

# ---- Echoes ----

for my $case (
    ['/plain'],
    ['/plain', tls => 1],
    ['/tls'],
    ['/tls', tls => 1],
    ['/plain', version => 8],
    ['/compressed'],
    ['/compressed', headers => ['Sec-WebSocket-Extensions: permessage-deflate']])
{
    my ($path, %o) = @$case;
    my $what = join ' ', $path, map { ref $_ ? @$_ : $_ } %o;
    my $c = Client->new($httpd, $path, %o);
    my @wrong;
    for my $size (0, 1, 125, 126, 65535, 65536, 1_000_000) {
        my $data = join '', map { chr($_ * 7 & 0xFF) } 1 .. $size & 0xFFFF;
        $data .= "\0" x ($size - length $data);
        $c->binary($data);
        my ($type, $got) = $c->message;
        push @wrong, $size if $o{headers} ? 0 : $type != BINARY || $got ne $data;
    }
    is("@wrong", '', "$what: messages of all sizes come back");
    $c->text("h\x{c3}\x{a9}");
    is(($c->message)[0], TEXT, "$what: a text message comes back as text");
    $c->text('in', fin => 0);
    $c->send(PING, 'between');
    $c->send(CONTINUATION, 'parts');
    my @got = ($c->frame, ($c->message)[1]);
    is_deeply([@got[0, 1]], [PONG, 'between'], "$what: a ping between the parts of a message is answered");
    is($got[3], 'inparts', "$what: the message around the ping comes back") if !$o{headers};
    $c->close(4321, 'enough');
    is(unpack('n', ($c->frame)[1]), 4321, "$what: the client closes with 4321 and gets the same code");
}
{
    my $c = Client->new($httpd, '/plain', protocol => 'first, second');
    is($c->header('Sec-WebSocket-Protocol'), 'second', 'the client gets the subprotocol that the server has chosen');
    $c = Client->new($httpd, '/plain', protocol => 'other');
    is($c->header('Sec-WebSocket-Protocol'), undef, 'if the server chooses no subprotocol, the client gets none');
}

# ---- Servers that cannot be reached or refuse ----

is((Client->refused($httpd, '/refused'))[0], 502, 'if the server cannot be reached, the handshake is refused with 502');
is((Client->refused($httpd, '/unknown-ca'))[0], 502, "if the CA of the server's certificate is unknown, the handshake is refused with 502");
$httpd->wait_log(qr{proxy: no connection to wss://localhost:$tls/echo: certificate: unknown CA});
is((Client->refused($httpd, '/forbidden'))[0], 403, "a server's refusal is passed on, and no other server is tried");
for my $time (1, 2) {
    Client->new($httpd, '/failover')->echoes('hello', "a server that fails is replaced by the next one, time $time");
}
my $seen = qr{proxy: no connection to ws://127\.0\.0\.1:$closed/: connect: Connection refused};
cmp_ok($httpd->count_log($seen), '>=', 2, 'the log names the failed server, without the password');
cmp_ok($httpd->count_log($seen), '<=', 3, 'a server that has failed is tried last') if $Httpd::MPM ne 'prefork';
{
    my $c = Client->new($httpd, '/slow', expect => 0);
    my ($s) = accepted($listener);
    $c->read_answer;
    is($c->status, 504, 'if the server does not answer the handshake, the client gets 504');
}
{
    my $c = Client->new($httpd, '/test', expect => 0);
    my ($s) = accepted($listener);
    syswrite $s, "HTTP/1.1 503 Not Now\r\n\r\n";
    $c->read_answer;
    is($c->status, 502, 'if the server answers the handshake with 503, the client gets 502');
}
{
    my $c = Client->new($httpd, '/test', expect => 0);
    my ($s, $head) = accepted($listener);
    $c->drop;
    answer($s, $head);
    my ($opcode, $payload) = frame($s);
    is($opcode, CLOSE, 'if the client disconnects during the handshake, the server gets a Close frame');
}

# ---- The request to the server ----

{
    my (undef, undef, $head) = bridged('/test?a=b', [], origin => 'http://there.example', protocol => 'x, y',
        headers => ['Cookie: a=b', 'X-User: forged', 'X-Secret: s', 'X-Forwarded-For: 192.0.2.1']);
    like($head, qr{^GET /path\?a=b HTTP/1\.1\r$}m, "the server gets the path of its URL, and the client's query string");
    like($head, qr{^Host: 127\.0\.0\.1:\d+\r$}m, 'the Host header names the server');
    like($head, qr{^Origin: http://there\.example\r$}m, "the server gets the client's Origin");
    like($head, qr{^Sec-WebSocket-Protocol: x, y\r$}m, 'the server gets the subprotocols that the client offers');
    like($head, qr{^Cookie: a=b\r$}m, 'the server gets a header listed in headers=');
    unlike($head, qr/X-Secret|X-User|forged/, 'the server gets no header that is not listed, and no user header without a user');
    like($head, qr{^X-Forwarded-For: 192\.0\.2\.1, 127\.0\.0\.1\r$}m, "X-Forwarded-For has the client's address at its end");
    is(scalar(() = $head =~ /^X-Forwarded-For:/mg), 1, 'the server gets X-Forwarded-For once, although headers= lists it');
    like($head, qr{^X-Forwarded-Host: localhost:\d+\r$}m, 'X-Forwarded-Host has the host that the client requested');
    (undef, undef, $head) = bridged('/test', [], tls => 1, headers => ['X-Client: 192.0.2.7']);
    like($head, qr{^X-Forwarded-For: 192\.0\.2\.7\r$}m, 'X-Forwarded-For has the address from mod_remoteip, not that of the proxy in front');
    (undef, undef, $head) = bridged('/test/private', [],
        headers => ['X-User: forged', 'Authorization: Basic dXNlcjpzZWNyZXQ=']);
    like($head, qr{^X-User: user\r$}m, 'the header of user= has the authenticated user');
    unlike($head, qr/forged|Authorization/, 'the server gets neither a forged user nor the password');
    (undef, undef, $head) = bridged('/bare?a=b', [], origin => 'http://there.example');
    like($head, qr{^GET /path\?own HTTP/1\.1\r$}m, "a query string in the server's URL replaces the client's");
    like($head, qr{^Host: localhost:\d+\r$}m, "preserve-host=on: the server gets the client's Host");
    unlike($head, qr/Forwarded|Origin/, 'forwarded=off and origin=none: the server gets neither X-Forwarded headers nor Origin');
}

# ---- Pings, limits ----

{
    my ($c, $s) = bridged('/pinged');
    my ($at_client) = $c->frame;
    my ($at_server) = frame($s);
    is_deeply([$at_client, $at_server], [PING, PING], 'client and server each get pings from httpd');
    $c->send(PING, 'mine');
    $c->text('behind it');
    my @got;
    while (my ($opcode, $payload) = frame($s)) {
        next if $opcode == PING;
        @got = ($opcode, $payload);
        last;
    }
    is_deeply(\@got, [TEXT, 'behind it'], "a client's ping is not passed on to the server");
}
{
    my ($c, $s) = bridged('/small');
    $c->binary('x' x 1001);
    is(unpack('n', (frame($s))[1]), 1009, "an oversized message from the client closes the server's connection with 1009");
    $c->expect_close(1009, "an oversized message from the client closes the client's connection with 1009");
    ($c, $s) = bridged('/small');
    say_to($s, BINARY, 'x' x 1001);
    is(unpack('n', (frame($s))[1]), 1009, "an oversized message from the server closes the server's connection with 1009");
    $c->expect_close(1009, "an oversized message from the server closes the client's connection with 1009");
    ($c, $s) = bridged('/small');
    say_to($s, TEXT, "\xff");
    is(unpack('n', (frame($s))[1]), 1007, "invalid UTF-8 from the server closes the server's connection with 1007");
    $c->expect_close(1007, "invalid UTF-8 from the server closes the client's connection with 1007");
}

# ---- Pieces are passed on as they arrive ----

{
    my ($c, $s) = bridged('/test');
    $c->raw(substr frame_bytes(TEXT, 'x' x 1000), 0, 500);
    my ($opcode, $payload, $first) = frame($s);
    ok($opcode == TEXT && !($first & 0x80), 'the first half of a message is forwarded before the second half has arrived');
    $c->drop;
    my @close = frame($s);
    is_deeply([$close[0], unpack 'n', $close[1]], [CLOSE, 1001], "when the client's connection breaks, the server gets a Close frame with 1001");
}

# ---- Back-pressure ----

my $piece = join '', map { chr($_ & 0xFF) } 1 .. 65536;
my $count = 1024;    # number of pieces, 64 MiB together, which is more than the buffers of all sockets hold

# Write pieces until the socket has accepted none for a second. Returns the number of bytes written, the number of pieces
# left, and how many bytes of the next piece were written.
sub flood {
    my ($socket, $bytes) = @_;
    my ($sent, $at, $left) = (0, 0, $count);
    $socket->blocking(0);
    local $SIG{PIPE} = 'IGNORE';
    while ($left && IO::Select->new($socket)->can_write(1)) {
        my $n = syswrite $socket, $bytes, length($bytes) - $at, $at;
        $at += $n || 0;
        $sent += $n || 0;
        ($at, $left) = (0, $left - 1) if $at == length $bytes;
    }
    return ($sent, $left, $at);
}

for my $direction (qw(client server)) {
    my ($c, $s) = bridged('/test');
    my ($from, $to) = $direction eq 'client' ? ($c->socket, $s) : ($s, $c->socket);
    my $frame = frame_bytes(BINARY, $piece, $direction eq 'client' ? (mask => "\0\0\0\0") : (mask => ''));
    my ($sent, $left, $at) = flood($from, $frame);
    cmp_ok($left, '>', 0, "when the other side does not read, the $direction has to wait")
        or diag("$sent bytes were taken");
    my ($child) = $httpd->children;
    # Both ends continue until everything has arrived.
    my ($received, $buffer, $writing) = (0, '', IO::Select->new($from));
    my ($expect, $wrong, $until) = (length($piece) * $count, 0, time + $Httpd::DEADLINE);
    $to->blocking(0);
    while ($received < $expect && time < $until) {
        my ($r, $w) = IO::Select->select(IO::Select->new($to), $left ? $writing : undef, undef, 5);
        for (@{ $w || [] }) {
            my $n = syswrite $from, $frame, length($frame) - $at, $at;
            $at += $n || 0;
            ($at, $left) = (0, $left - 1) if $at == length $frame;
        }
        for (@{ $r || [] }) {
            sysread $to, $buffer, 1 << 20, length $buffer or last;
        }
        while (length $buffer >= 14) {    # decode the complete frames
            my ($first, $second) = unpack 'CC', $buffer;
            my ($len, $head) = ($second & 0x7F, 2);
            ($len, $head) = $len == 126 ? (unpack('x2n', $buffer), 4) : $len == 127 ? (unpack('x2Q>', $buffer), 10)
                : ($len, $head);
            my $mask = $second & 0x80 ? substr $buffer, $head, 4 : '';
            $head += length $mask;
            last if length $buffer < $head + $len;
            my $data = substr $buffer, $head, $len;
            $data ^= substr $mask x ($len / 4 + 1), 0, $len if $mask ne '';
            substr $buffer, 0, $head + $len, '';
            my $offset = $received % 65536;
            $wrong++ if $data ne substr $piece x (2 + $len / 65536), $offset, $len;
            $received += $len;
        }
    }
    is($received, $expect, "all data from the $direction arrives");
    is($wrong, 0, "the data from the $direction arrives unchanged");
}

# ---- Ends ----

{
    my ($c, $s) = bridged('/test');
    $c->close(4000, 'from the client');
    is_deeply([frame($s)], [CLOSE, pack('n', 4000) . 'from the client', 0x88], "the server gets the client's close code and reason");
    ($c, $s) = bridged('/test');
    $c->close;
    is_deeply([frame($s)], [CLOSE, '', 0x88], "the server gets a client's Close frame without a code unchanged");
    ($c, $s) = bridged('/test');
    say_to($s, CLOSE, pack('n', 4001) . 'from the server');
    $c->expect_close(4001, "the client gets the server's close code");
    is($c->{reason}, 'from the server', "the client gets the server's close reason");
    ($c, $s) = bridged('/test');
    say_to($s, TEXT, 'last words');
    close $s;
    is(($c->message)[1], 'last words', 'data that the server sent before the connection broke still arrives');
    $c->expect_close(1014, 'after that data, the client is closed with 1014');
    ($c, $s) = bridged('/test');
    say_to($s, TEXT, 'masked', mask => 'abcd');
    $c->expect_close(1002, 'if the server masks its frames, the client is closed with 1002');
}

{
    my ($c, $s) = bridged('/test');
    $httpd->graceful;
    $c->text('there');
    is_deeply([(frame($s))[0, 1]], [TEXT, 'there'], 'after a reload, an old bridge passes on a message of the client');
    say_to($s, TEXT, 'and back');
    is(($c->message)[1], 'and back', 'after a reload, an old bridge passes on a message of the server');
}

# ---- Configuration ----

for my $case (
    ['', qr/to= is missing/],
    ['to=http://x/', qr{takes ws://host:port/path or wss://host:port/path}],
    ['to=ws://x/ headers=Host', qr/Host belongs to each handshake/],
    (map { ["to=ws://x/ $_=5sfoo", qr/$_=5sfoo: takes an interval from 1ms to 10min, /] } qw(timeout connect-timeout retry)),
    ['to=ws://x/ insecure=perhaps', qr/takes on or off/],
    ['to=ws://x/ origin=example.org', qr/takes pass, none, or an origin/],
    (map { ["to=ws://x/ origin=$_", qr/takes pass, none, or an origin without a path/] }
        qw(https://example.org/app https://a.org/ :// https:// ://a https://a:0 https://a:x https://u@a h/t://a https://[::1 //a)),
    ['to=ws://x/ ca=here', qr/takes an absolute path/],
    (map { ["to=ws://x/ $_=/no/such", qr{/no/such cannot be read: No such file}] } qw(ca certificate key)),
    ['to=ws://x/ what=that', qr/unknown key; the keys are to=, /])
{
    my ($keys, $error) = @$case;
    my ($right, $output) = Httpd->check("<Location /x>\nWebSocketHandler ws_proxy.so $keys\n</Location>");
    ok(!$right && $output =~ $error, "httpd -t refuses: ws_proxy.so $keys") or diag($output);
}

done_testing();
