# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Checks that each test named in docs/conformance.md exists. Also tests the requirements of RFC 6455 that no other test
# covers, above all on the bytes that the server sends.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client qw(frame_bytes TEXT BINARY CLOSE PING PONG CONTINUATION);

Httpd::once();

# ---- The table: the last column has files, each followed by the names of its tests ----

my $document = Httpd::read_file('docs/conformance.md');
my (%source, @lost, $named, $rows);
for my $line (split /\n/, $document) {
    my ($tests) = $line =~ /^\|.*\| ([^|]*`t\/[^|]*) \|$/ or next;
    my $file;
    $rows++;
    for my $word ($tests =~ /`([^`]+)`/g) {
        if ($word =~ m{^t/[\w/]+\.[tc]$}) {
            $source{ $file = $word } //= Httpd::read_file($word);
            push @lost, "there is no $file" if $source{$file} eq '';
            next;
        }
        $named++;
        push @lost, "$file has no test \"$word\"" if !$file || index($source{$file}, $word) < 0;
    }
}
is(join("\n", @lost), '', 'each test quoted in docs/conformance.md exists');
cmp_ok($rows, '>', 50, "the conformance table can be read: $rows rows");
cmp_ok($named, '>', $rows - 1, "the conformance table quotes $named tests");
for my $section ($document =~ /^## .*\n/mg) {
    my ($text) = $document =~ /^\Q$section\E(.*?)(?=^## |\z)/ms;
    like($text, qr/^\|.*`t\//m, "the conformance table has rows for $section");
}

# ---- The opening handshake ----

my $api   = Httpd::compile('api');
my $httpd = Httpd->start(conf => <<"END");
WebSocketHandler ws_echo.so
WebSocketPing off
<Location /api>
    WebSocketHandler $api
</Location>
<Location /fragments>
    WebSocketHandler $api
    WebSocketFragmentSize 10
</Location>
<Location /pinged>
    WebSocketPing 100ms 60s
</Location>
<Location /deflate>
    WebSocketCompression on threshold=0 takeover=on
</Location>
<Location /two>
    WebSocketHandler ws_echo.so protocol=one,two
    WebSocketHandler ws_echo.so
</Location>
END

my @right = ('Host: localhost', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==');

# Send a request with these header lines, in this order.
sub attempt {
    my ($line, @headers) = @_;
    return Client->refused($httpd, '', request => join "\r\n", $line, @headers, '', '');
}

sub without { my ($name) = @_; return grep { !/^$name:/ } @right }

my $get = 'GET / HTTP/1.1';
is((attempt($get, without('Host')))[0], 400, 'a handshake without Host is refused');
is((attempt($get, @right, 'Host: other'))[0], 400, 'a handshake with two Host headers is refused');
is((attempt($get, @right, 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='))[0], 400, 'a handshake with a second key is refused');
is((attempt($get, @right, 'Sec-WebSocket-Version: 13'))[0], 426, 'a handshake with a second version is refused');
is((attempt($get, without('Upgrade')))[0], 200, 'a request without Upgrade is an ordinary one');
is((attempt('GET http://localhost/ HTTP/1.1', @right))[0], 101, 'a handshake with an absolute URI is accepted');
is((attempt($get, map { s/^([\w-]+)/uc $1/er } @right))[0], 101, 'a handshake with header names in capitals is accepted');
is((attempt($get, map { s/: (.*)/:\t $1 \t/r } @right))[0], 101, 'a handshake with blanks around header values is accepted');
is((attempt($get, reverse @right))[0], 101, 'a handshake with its headers in any order is accepted');
is((attempt($get, @right, 'X-Unknown: something', 'Sec-WebSocket-Unknown: x'))[0], 101, 'a handshake with unknown headers is accepted');
{
    my (undef, $c) = attempt($get, @right);
    my @names = sort map { lc } $c->head =~ /^([\w-]+):/mg;
    is(join(' ', grep { /^(?:upgrade|connection|sec-websocket-.*|content-.*|transfer-.*)$/ } @names),
        'connection sec-websocket-accept upgrade', 'the 101 has its headers once, and no body');
    $c->echoes('first', 'frames directly after the 101 are answered');
    (undef, $c) = attempt('GET /two HTTP/1.1', @right, 'Sec-WebSocket-Protocol: none', 'Sec-WebSocket-Protocol: two, one');
    is(join('|', $c->header('Sec-WebSocket-Protocol')), 'two', 'subprotocols in several headers are one list; the answer has one');
    (undef, $c) = attempt('GET /two HTTP/1.1', @right, 'Sec-WebSocket-Protocol: none');
    is(join('|', $c->header('Sec-WebSocket-Protocol')), '', 'a subprotocol that was not agreed on is not named');
    (undef, $c) = attempt($get, @right, 'Sec-WebSocket-Extensions: x-unknown; a=1, permessage-deflate');
    is(join('|', $c->header('Sec-WebSocket-Extensions')), '', 'an extension that is not used is not named');
    my ($status, $refused) = attempt($get, without('Sec-WebSocket-Version'), 'Sec-WebSocket-Version: 14');
    ok($status == 426 && !$refused->header('Sec-WebSocket-Accept'), 'a refusal has no Sec-WebSocket-Accept');
}

# ---- Frames that the server sends: section 5.2 ----

# Read the next frame. Returns (first byte, second byte, length of the header, payload).
sub wire {
    my ($c) = @_;
    $c->fill while length $c->{in} < 2;
    my ($first, $second) = unpack 'CC', $c->{in};
    my $short = $second & 0x7F;
    my $head  = $short == 126 ? 4 : $short == 127 ? 10 : 2;
    $c->fill while length $c->{in} < $head;
    my $len = $short == 126 ? unpack 'x2 n', $c->{in} : $short == 127 ? unpack 'x2 Q>', $c->{in} : $short;
    $c->fill while length $c->{in} < $head + $len;
    my $frame = substr $c->{in}, 0, $head + $len, '';
    return ($first, $second, $head, substr $frame, $head);
}

for ([0, 2], [125, 2], [126, 4], [65535, 4], [65536, 10]) {
    my ($len, $header) = @$_;
    my $c = Client->new($httpd, '/');
    $c->binary('x' x $len);
    my ($first, $second, $head, $payload) = wire($c);
    is("$first " . ($second & 0x80) . " $head " . length $payload, 0x82 . " 0 $header $len",
        "a message of $len bytes is one frame without a reserved bit or mask, and with the shortest form of its length");
}
{
    my $c = Client->new($httpd, '/');
    $c->send(PING, 'p' x 125);
    $c->close(1000, 'r' x 123);
    my @pong  = wire($c);
    my @close = wire($c);
    is("@pong[0, 1, 2]", 0x8A . ' 125 2', 'a Pong of 125 bytes is not fragmented, and has no reserved bit and no mask');
    is($pong[3], 'p' x 125, 'a Pong has the data of the Ping');
    is("@close[0, 2]", 0x88 . ' 2', 'a Close frame is not fragmented, and has no reserved bit');
    cmp_ok($close[1], '<=', 125, 'a Close frame is not masked, and not longer than 125 bytes');
    $c = Client->new($httpd, '/pinged');
    my @ping = wire($c);
    is("$ping[0] $ping[2] " . ($ping[1] & 0x80), 0x89 . ' 2 0', 'a Ping is not fragmented, and has no reserved bit and no mask');
}
{
    my $c = Client->new($httpd, '/fragments?name=fragments');
    $c->text('x' x 25);
    my @frames = map { [wire($c)] } 1 .. 3;
    is(join(' ', map { sprintf '%02x', $_->[0] } @frames), '01 00 80', 'only the first fragment has the opcode, and only the last has FIN');
    is(join('', map { $_->[3] } @frames), 'x' x 25, 'fragments are sent in order');
    is((grep { $_->[1] & 0x80 } @frames), 0, 'no fragment is masked');
    $c->send(PING, 'p' x 125);
    my @pong = wire($c);
    is("$pong[0] $pong[1]", 0x8A . ' 125', 'a Pong is not fragmented, although messages are');
    $c->text('close 4000 ' . 'r' x 100);
    my @close = wire($c);
    is("$close[0] $close[1]", 0x88 . ' 102', 'a Close frame is not fragmented, although messages are');
}

# ---- Failing a connection: section 7.1.7 ----

for (['a frame without a mask', frame_bytes(TEXT, 'x', mask => '')], ['an opcode that is reserved', frame_bytes(3, 'x')],
    ['text that is not UTF-8', frame_bytes(TEXT, "\xff")])
{
    my ($name, $bad) = @$_;
    my $c = Client->new($httpd, '/');
    $c->raw(frame_bytes(TEXT, 'before') . $bad . frame_bytes(TEXT, 'behind') . frame_bytes(PING, 'behind'));
    my @first = wire($c);
    is($first[3], 'before', "$name: earlier messages are answered");
    my @next = wire($c);
    is($next[0], 0x88, "$name: after these answers, the server sends a Close frame");
    ok($c->at_end, "$name: later input is ignored");
}
{
    my $c = Client->new($httpd, '/');
    $c->send(TEXT, "\xc3", fin => 0);
    $c->send(PING, 'in between');
    $c->send(CONTINUATION, "\xa9");
    my @pong = wire($c);
    my @text = wire($c);
    is("$pong[3] $text[3]", "in between \xc3\xa9", 'a control frame inside a message is not part of its data or its UTF-8');
    $c->text("\xc3");
    $c->expect_close(1007, 'text that ends inside a character is refused with 1007');
}

# ---- The end: section 7 ----

{
    my $c = Client->new($httpd, '/api?name=once');
    $c->text('close 4000 first');
    my @close = wire($c);
    $c->send(PING, 'late');
    $c->close(4001);
    is(unpack('n', $close[3]), 4000, "the server closes with the handler's code");
    my ($opcode, $payload) = $c->frame;
    is("$opcode $payload", PONG . ' late', 'after its Close frame, the server still answers a Ping');
    ok($c->at_end, "after its Close frame, the server sends nothing else, not even an answer to the client's Close");
}
for my $code (1005, 1006, 1015, 1004, 999, 5000) {
    my $c = Client->new($httpd, "/api?name=code$code");
    $c->text("close $code x");
    my @close = wire($c);
    my $sent = length $close[3] ? unpack 'n', $close[3] : 'none';
    is($sent, $code == 1005 ? 'none' : 1011, "a handler's $code is not sent in a Close frame");
}

# ---- Compression: the examples of RFC 7692, section 7.2.3 ----

use constant RSV1 => 0x40;
{
    my $c = Client->new($httpd, '/deflate', headers => ['Sec-WebSocket-Extensions: permessage-deflate']);
    for (
        ['7.2.3.1: one block',                           "\xf2\x48\xcd\xc9\xc9\x07\x00", 'Hello'],
        ['7.2.3.2: the same message as a reference to the window',   "\xf2\x00\x11\x00\x00", 'Hello'],
        ['7.2.3.3: a block that is not compressed',      "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 'Hello'],
        ['7.2.3.4: a block with BFINAL',                 "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 'Hello'],
        ['7.2.3.5: two blocks in one message',           "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 'Hello'],
        ['7.2.3.6: an empty message',                    "\x00", ''],
        )
    {
        my ($name, $bytes, $text) = @$_;
        require Compress::Raw::Zlib;
        $c->{window} //= (Compress::Raw::Zlib::Inflate->new(-WindowBits => -15, -AppendOutput => 1, -LimitOutput => 0))[0];
        $c->send(TEXT, $bytes, rsv => RSV1);
        my ($first, undef, undef, $payload) = wire($c);
        my ($in, $out) = ("$payload\x00\x00\xff\xff", '');
        $c->{window}->inflate($in, $out);
        is("$first $out", 0x80 + RSV1 + TEXT . " $text", $name);
        unlike($payload, qr/\x00\x00\xff\xff\z/, "$name: the compressed answer does not end in an empty block");
    }
    my $fragments = Client->new($httpd, '/deflate', headers => ['Sec-WebSocket-Extensions: permessage-deflate']);
    $fragments->send(TEXT, "\xf2\x48\xcd", rsv => RSV1, fin => 0);
    $fragments->send(CONTINUATION, "\xc9\xc9\x07\x00");
    is((wire($fragments))[0], 0x80 + RSV1 + TEXT, '7.2.3.1: one block in two fragments');
}

done_testing;
