# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests how connections are closed (RFC 6455, sections 5.5.1 and 7). The handler logs the arguments of its callbacks.

use strict;
use warnings;
use lib 't/lib';
use POSIX ();
use Socket qw(IPPROTO_TCP SOL_SOCKET SO_LINGER);
use Test::More;
use Httpd;
use Client qw(frame_bytes TEXT BINARY CLOSE PING CONTINUATION);

Httpd::once();

my $api   = Httpd::compile('api');
my $httpd = Httpd->start(conf => <<"END");
WebSocketHandler $api
WebSocketPing off
<Location /impatient>
    WebSocketCloseTimeout 300ms
</Location>
END

my $number = 0;

sub client {
    my ($path, %o) = @_;
    my $name = 'c' . ++$number;
    my $c = Client->new($httpd, "$path?name=$name", %o);
    $c->{name} = $name;
    return $c;
}

# Wait until the server has called on_close for a client's connection, and return the arguments: "CODE REASON".
sub told {
    my ($c) = @_;
    my (undef, $code, $reason) = $httpd->wait_log(qr/api: closed $c->{name} (\d+) "(.*?)"/);
    return "$code $reason";
}

# ---- Codes: section 7.4 ----

for my $code (1000 .. 1003, 1007 .. 1014, 3000, 3999, 4000, 4999) {
    my $c = client('/');
    $c->close($code, "reason $code");
    $c->expect_close($code, "$code is a valid code: the server answers with the same code");
    is(told($c), "$code reason $code", "$code: on_close gets the code and the reason");
}
for my $code (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535) {
    my $c = client('/');
    $c->close($code);
    $c->expect_close(1002, "$code is an invalid code: the server answers with 1002");
    like(told($c), qr/^1002 /, "$code is an invalid code: on_close gets 1002");
}

# ---- Packets ----

# Returns the number of packets that a client has received, from the kernel's counter tcpi_segs_in. TCP_INFO is 11.
sub packets {
    my ($c) = @_;
    return unpack 'x140 L', getsockopt($c->socket, IPPROTO_TCP, 11);
}

# On some connections, an extra packet acknowledges the client's Close frame. Therefore try until there is none.
for my $tls (0, 1) {
    my $answer = $tls ? 'over TLS: the answer to a Close frame, the close_notify' : 'the answer to a Close frame';
    my $number;
    for (1 .. 50) {
        my $c = client('/', tls => $tls);
        $c->text('warm');
        $c->frame;
        my $before = packets($c);
        $c->close(1000);
        $c->frame;
        $c->at_end or last;
        $number = packets($c) - $before;
        last if $number == 1;
    }
    is($number, 1, "the server sends $answer and the end of the stream in one packet");
}

# ---- The frame: section 5.5.1 ----

for (
    ['without a code', '', undef, qr/^1005 $/],
    ['with one byte', "\x03", 1002, qr/^1002 /],
    ['with the longest reason', pack('n', 1000) . 'r' x 123, 1000, qr/^1000 r{123}$/],
    ['with a reason that is not UTF-8', pack('n', 1000) . "a\xff", 1007, qr/^1007 /],
    ['with a reason that ends inside a character', pack('n', 1000) . "\xe2\x82", 1007, qr/^1007 /],
    )
{
    my ($name, $payload, $code, $told) = @$_;
    my $c = client('/');
    $c->send(CLOSE, $payload);
    $c->expect_close($code, "a Close frame $name is answered");
    like(told($c), $told, "a Close frame $name: on_close gets code and reason");
}
for (
    ['a message', frame_bytes(TEXT, 'late')],
    ['a ping', frame_bytes(PING, 'late')],
    ['nonsense', "\xff\xff\xff\xff"],
    ['a second Close', frame_bytes(CLOSE, pack 'n', 4002)],
    )
{
    my ($name, $bytes) = @$_;
    my $c = client('/');
    $c->raw(frame_bytes(CLOSE, pack 'n', 4001) . $bytes);
    my ($opcode, $payload) = $c->frame;
    is("$opcode " . unpack('n', $payload), CLOSE . ' 4001', "after a Close frame, $name is ignored");
    ok($c->at_end, "after a Close frame and $name, nothing more is sent, and the stream ends cleanly");
    is(told($c), '4001 ', "after a Close frame and $name, on_close gets the code of the Close frame");
}
{
    my $c = client('/');
    $c->raw(frame_bytes(TEXT, 'begun', fin => 0) . frame_bytes(CLOSE, pack 'n', 1000));
    $c->expect_close(1000, 'a Close frame inside a fragmented message is answered');
}

# ---- The server closes first ----

for my $tls (0, 'TLSv1_2', 'TLSv1_3') {
    my $over = $tls ? "over $tls: " : '';
    my $c = client('/', tls => $tls);
    $c->text('close 4000 go');
    $c->expect_close(4000, "${over}the server closes, the client answers, the server ends the stream");
    is(told($c), '4000 go', "${over}the server closes: on_close gets its code");
    $c = client('/', tls => $tls);
    $c->close(4001);
    $c->expect_close(4001, "${over}the client closes, the server answers and ends the stream");
}
{
    my $c = client('/');
    $c->raw(join '', frame_bytes(TEXT, 'close 4000 go'), frame_bytes(TEXT, 'too late'),
        frame_bytes(CLOSE, pack 'n', 1000));
    my ($opcode, $payload) = $c->frame;
    is("$opcode $payload", CLOSE . ' ' . pack('n', 4000) . 'go', 'if both sides close, the server sends one Close frame');
    ok($c->at_end, 'if both sides close, no message is delivered between the Close frames');
    is(told($c), '4000 go', 'if both sides close, on_close gets the code of the handler, which was first');
}
{
    my $c = client('/impatient');
    $c->text('close 4000 go');
    is(($c->frame)[0], CLOSE, 'if a client does not answer a Close frame, the server closes');
    ok($c->at_end, 'if a client does not answer a Close frame, the stream ends after WebSocketCloseTimeout');
    is(told($c), '4000 go', 'if a client does not answer a Close frame, on_close gets the code that was sent');
    ok($httpd->wait_log(qr/the closing handshake took too long \(WebSocketCloseTimeout\)/), 'the log says that the closing handshake took too long');
}
{
    my $c = client('/');
    $c->close(1000);
    is(($c->frame)[0], CLOSE, "a client that does not close its socket gets the server's Close frame");
    ok($httpd->wait_log(qr/code 1000: closed, but the peer did not close its side/), 'the server does not wait for the client to close its socket');
}

# ---- Data queued earlier is sent first ----

{
    my $c = client('/', rcvbuf => 131072);
    my @messages = map { chr(ord('a') + $_) x 600_000 } 0 .. 9;
    my $writer = fork // die "fork: $!";
    if (!$writer) {    # this process blocks while the server does not read, until the parent reads the answers
        $c->raw(join('', map { frame_bytes(BINARY, $_) } @messages) . frame_bytes(CLOSE, pack 'n', 1000));
        POSIX::_exit(0);
    }
    my @got = map { ($c->message)[1] } @messages;
    ok("@got" eq "@messages", 'answers to a slow client come before the answer to its Close frame');
    $c->expect_close(1000, 'after these answers, the client gets the Close frame');
    waitpid $writer, 0;
}

# ---- Ends without a Close frame: 1006, section 7.1.5 ----

{
    my $c = client('/');
    shutdown $c->socket, 1;
    ok($c->at_end, 'if a client shuts down its sending side, no Close frame is sent, and the stream ends');
    is(told($c), '1006 ', 'if a client shuts down its sending side, on_close gets 1006');

    $c = client('/');
    setsockopt $c->socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
    $c->drop;
    is(told($c), '1006 ', 'when a connection is reset, on_close gets 1006');

    $c = client('/', tls => 1);
    $c->socket->close(SSL_no_shutdown => 0);
    is(told($c), '1006 ', "when a TLS connection ends with close_notify, on_close gets 1006");

    $c = client('/', tls => 1);
    shutdown $c->socket, 1;
    is(told($c), '1006 ', "when a TLS connection ends without close_notify, on_close gets 1006");

    $c = client('/');
    $c->raw(substr frame_bytes(TEXT, 'never whole'), 0, 9);
    $c->drop;
    is(told($c), '1006 ', 'when a connection ends inside a frame, on_close gets 1006');

    $c = client('/');
    $c->raw(frame_bytes(TEXT, 'x' x 100) . substr frame_bytes(CLOSE, pack 'n', 1000), 0, 3);
    shutdown $c->socket, 1;
    is(($c->frame)[0], TEXT, 'messages before an incomplete Close frame are answered');
    is(told($c), '1006 ', 'when a connection ends inside a Close frame, on_close gets 1006');
}

done_testing;
