# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests permessage-deflate (RFC 7692): negotiation, messages, windows, limits and memory.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Compress::Raw::Zlib;
use Client qw(TEXT BINARY CONTINUATION PING CLOSE);
use Httpd;

Httpd::once();

use constant RSV1 => 0x40;
my $TAIL = "\x00\x00\xff\xff";

my $api      = Httpd::compile('api');
my $pieces   = Httpd::compile('pieces', <<'END');
#include "mod_websocket.h"
static void piece(ws_conn *c, ws_type type, const char *data, apr_size_t len, unsigned where)
{
    ws_send_part(c, type, data, len, where);
}
WS_HANDLER(pieces) = {.flags = WS_ANY_SIZE, .on_frame = piece};
END

our $httpd = Httpd->start(children => $Httpd::MPM eq 'prefork' ? 8 : 1, log_level => 'trace4', conf => <<"END");
WebSocketHandler $api
WebSocketCompression on threshold=0
WebSocketMaxMessageSize 4M
WebSocketMaxFrameSize 4M
<Location /takeover>
    WebSocketCompression on takeover=on
</Location>
<Location /small>
    WebSocketCompression on window=10 client-window=9 takeover=on
</Location>
<Location /threshold>
    WebSocketCompression on threshold=100
</Location>
<Location /off>
    WebSocketCompression off
</Location>
<Location /fragments>
    WebSocketCompression on takeover=on
    WebSocketFragmentSize 10
</Location>
<Location /pieces>
    WebSocketHandler $pieces
</Location>
<Location /drops>
    WebSocketCompression on takeover=on
    WebSocketSlowReader drop-oldest
</Location>
<Location /relay>
    WebSocketRelay on
</Location>
<Location /limit>
    WebSocketMaxMessageSize 1M
    WebSocketMaxFrameSize 1M
</Location>
END

# ---- Negotiation ----

sub agreed {
    my ($path, $offer) = @_;
    my $c = Client->new($httpd, $path, headers => ["Sec-WebSocket-Extensions: $offer"]);
    return scalar($c->header('Sec-WebSocket-Extensions')) // 'nothing';
}

my $none = 'server_no_context_takeover; client_no_context_takeover';
for (
    ['/',         'permessage-deflate', $none],
    ['/takeover', 'permessage-deflate', ''],
    ['/takeover', 'permessage-deflate; server_no_context_takeover', 'server_no_context_takeover'],
    ['/takeover', 'permessage-deflate; client_no_context_takeover', 'client_no_context_takeover'],
    ['/takeover', 'permessage-deflate; server_max_window_bits=9', 'server_max_window_bits=9'],
    ['/takeover', 'permessage-deflate; server_max_window_bits="9"', 'server_max_window_bits=9'],
    ['/takeover', 'permessage-deflate; server_max_window_bits=15', 'server_max_window_bits=15'],
    ['/takeover', 'permessage-deflate; client_max_window_bits', ''],
    ['/takeover', 'permessage-deflate; client_max_window_bits=12', 'client_max_window_bits=12'],
    ['/small',    'permessage-deflate', 'server_max_window_bits=10'],
    ['/small',    'permessage-deflate; client_max_window_bits', 'server_max_window_bits=10; client_max_window_bits=9'],
    ['/small',    'permessage-deflate; server_max_window_bits=8', 'server_max_window_bits=8'],
    ['/small',    'permessage-deflate; server_max_window_bits=15', 'server_max_window_bits=10'],
    ['/small',    'permessage-deflate; client_max_window_bits=8', 'server_max_window_bits=10; client_max_window_bits=8'],
    ['/takeover', 'permessage-deflate; server_max_window_bits=16, permessage-deflate', ''],
    ['/takeover', 'x-unknown, permessage-deflate; client_no_context_takeover, permessage-deflate',
        'client_no_context_takeover'],
    ['/drops', 'permessage-deflate', 'server_no_context_takeover'])
{
    my ($path, $offer, $answer) = @$_;
    is(agreed($path, $offer), join('; ', 'permessage-deflate', $answer || ()), "$path is offered $offer");
}
for my $offer (
    'x-unknown',
    (map {"permessage-deflate; $_"} 'unknown', 'server_no_context_takeover=1', 'client_no_context_takeover=1',
        'server_max_window_bits', 'server_max_window_bits=7', 'server_max_window_bits=16', 'server_max_window_bits=09',
        'server_max_window_bits=1x', 'client_max_window_bits=7', 'client_max_window_bits=16',
        'client_max_window_bits=x', 'server_max_window_bits=9; server_max_window_bits=9',
        'client_max_window_bits; client_max_window_bits', 'server_no_context_takeover; server_no_context_takeover',
        'client_no_context_takeover; client_no_context_takeover', join '; ', map {"a$_=1"} 1 .. 40))
{
    is(agreed('/takeover', $offer), 'nothing', 'the server declines ' . substr $offer, 0, 90);
}
is(agreed('/off', 'permessage-deflate'), 'nothing', 'WebSocketCompression off declines an offer');
is(Client->new($httpd, '/')->header('Sec-WebSocket-Extensions'), undef, 'without an offer, the answer has no extension');
is(Client->new($httpd, '/takeover', version => 8, headers => ['Sec-WebSocket-Extensions: permessage-deflate'])
        ->header('Sec-WebSocket-Extensions'), 'permessage-deflate', 'permessage-deflate is available in version 8, too');

for my $bad ('permessage-deflate;', '; a', 'a b', 'a; b=', 'a; b="', 'a; b="c', 'a; b="c d"', 'a; b=""', 'a=b', 'a; =b',
    "a; b=\"\\", '"a"', 'a; b c')
{
    my ($status) = Client->refused($httpd, '/', headers => ["Sec-WebSocket-Extensions: $bad"]);
    is($status, 400, "an invalid header is refused with 400: $bad");
}
$httpd->wait_log(qr/refused with 400: Sec-WebSocket-Extensions is not a list of extensions/);

# ---- A client ----

# Connect. Options: path; offer; tls; in and out (window bits of zlib); takeover (both sides keep their windows from message
# to message).
sub client {
    my (%o) = @_;
    my $c = Client->new($httpd, $o{path} // '/',
        headers => ['Sec-WebSocket-Extensions: ' . ($o{offer} // 'permessage-deflate')], tls => $o{tls});
    $c->{deflater} = sub { deflater($o{out} // 15) };
    $c->{inflater} = sub { inflater($o{in} // 15) };
    $c->{kept_deflater} = $c->{deflater}->() if $o{takeover};
    $c->{kept_inflater} = $c->{inflater}->() if $o{takeover};
    return $c;
}

sub deflater {
    my ($bits) = @_;
    return (Compress::Raw::Zlib::Deflate->new(-WindowBits => -$bits, -AppendOutput => 1))[0];
}

sub inflater {
    my ($bits) = @_;
    return (Compress::Raw::Zlib::Inflate->new(-WindowBits => -$bits, -AppendOutput => 1, -LimitOutput => 0))[0];
}

sub squeeze {
    my ($c, $data) = @_;
    my $d = $c->{kept_deflater} // $c->{deflater}->();
    my $out = '';
    $d->deflate($data, $out);
    $d->flush($out, Z_SYNC_FLUSH);
    $out =~ s/\Q$TAIL\E\z// or die 'no tail';
    return $out;
}

sub squeezed {
    my ($c, $type, $data) = @_;
    $c->send($type, squeeze($c, $data), rsv => RSV1);
}

# Read the next message. Returns its text, its compressed size (undef if it was not compressed), and its number of frames.
sub message {
    my ($c) = @_;
    my ($all, $compressed, $frames) = ('', undef, 0);
    while (my ($opcode, $payload, $first) = $c->frame) {
        next if $opcode == PING;
        die 'Close instead of a message: ' . unpack('n', $payload) if $opcode == CLOSE;
        $compressed = $first & RSV1 if !$frames++;
        die 'a reserved bit on a continuation' if $frames > 1 && $first & 0x70;
        $all .= $payload;
        last if $first & 0x80;
    }
    return ($all, undef, $frames) if !$compressed;
    my ($in, $out) = ($all . $TAIL, '');
    my $i = $c->{kept_inflater} // $c->{inflater}->();
    my $status = $i->inflate($in, $out);
    die "inflate: $status" if $status != Z_OK && $status != Z_BUF_ERROR;
    return ($out, length $all, $frames);
}

sub echo_is {
    my ($c, $text, $name) = @_;
    squeezed($c, BINARY, $text);
    my ($got, $compressed) = message($c);
    ok($got eq $text, $name);
    return $compressed;
}

my $json = join ',', map {qq({"id":$_,"name":"number $_","tags":["a","b"]})} 1 .. 200;
my $noise = join '', map { chr rand 256 } 1 .. 70000;

# ---- Messages both ways ----

for (['without takeover', path => '/'], ['with takeover', path => '/takeover', takeover => 1],
    ['over TLS', path => '/', tls => 1], ['relayed', path => '/relay'], ['relayed TLS', path => '/relay', tls => 1])
{
    my ($name, %o) = @$_;
    my $c = client(%o);
    echo_is($c, $_->[1], "$name: $_->[0] comes back")
        for ['nothing', ''], ['a byte', 'x'], ['JSON', $json], ['JSON again', $json], ['noise, which cannot be compressed', $noise],
        ['a million zeros', "\0" x 1_000_000], ['many repeats', 'repeat after me ' x 20_000];
    squeezed($c, TEXT, 'id');
    like((message($c))[0], qr/^\w{13,16}$/, "$name: a compressed text of the client is inflated");
    $c->text('id');
    like((message($c))[0], qr/^\w{13,16}$/, "$name: a text that the client did not compress arrives");
    $c->close(1000);
    $c->expect_close(1000, "$name: the connection closes cleanly");
}
{
    my $c = client(path => '/takeover', takeover => 1);
    my $first = echo_is($c, $json, 'a JSON message is echoed');
    my $again = echo_is($c, $json, 'the same JSON message is echoed again');
    cmp_ok($again, '<', $first / 4, 'with takeover, the same message is much shorter when it is sent again');
    $c = client(path => '/');
    $first = echo_is($c, $json, 'a JSON message is echoed');
    is(echo_is($c, $json, 'the same JSON message is echoed again'), $first, 'without takeover, the same message is as long when it is sent again');
    $c = client(path => '/threshold');
    is(echo_is($c, 'x' x 99, 'a message of 99 bytes is echoed'), undef, 'a message below the threshold is not compressed');
    ok(defined echo_is($c, 'x' x 100, 'a message of 100 bytes is echoed'), 'a message at the threshold is compressed');
    is(echo_is($c, substr($noise, 0, 1000), 'noise'), undef, 'a message that does not get shorter is sent uncompressed');
    $c = client();
    isnt(echo_is($c, 'x', 'one letter is echoed'), undef, 'with threshold=0, even one letter is compressed');
    isnt(echo_is($c, substr($noise, 0, 1000), 'noise'), undef, 'with threshold=0, even a message that gets longer is compressed');
}

# ---- Windows ----

for my $bits (8 .. 15) {
    # zlib cannot compress with a window of 8 bits. For 8 bits, the client therefore compresses with a larger window.
    my $far = join '', map { ($noise =~ /\A.{$_}(.{300})/s)[0] x 2 } map { $_ * 300 } 0 .. 60;
    my $c = client(path => '/takeover', takeover => 1, in => $bits, out => $bits == 8 ? 15 : $bits,
        offer => "permessage-deflate; server_max_window_bits=$bits; client_max_window_bits=" . ($bits == 8 ? 15 : $bits));
    echo_is($c, $_, "a message is echoed with windows of $bits bits") for $far . $far, $json, $far;
}
# ---- Frames ----

{
    my $c = client();
    my $z = squeeze($c, $json);
    my $third = int length($z) / 3;
    $c->send(BINARY, substr($z, 0, $third), rsv => RSV1, fin => 0);
    $c->send(PING, 'between');
    is(join(' ', ($c->frame)[0, 1]), '10 between', 'a ping between the frames of a compressed message is answered');
    $c->send(CONTINUATION, substr($z, $third, $third), fin => 0);
    $c->send(CONTINUATION, '', fin => 0);
    $c->send(CONTINUATION, substr $z, 2 * $third);
    is((message($c))[0], $json, 'a compressed message in fragments is echoed');
    $c->raw_bytewise(Client::frame_bytes(BINARY, squeeze($c, 'byte for byte'), rsv => RSV1));
    is((message($c))[0], 'byte for byte', 'a compressed message that arrives byte by byte is echoed');
}
for (['on a continuation', [TEXT, 'a', fin => 0], [CONTINUATION, 'b', rsv => RSV1]],
    ['on a ping', [PING, '', rsv => RSV1]], ['on a Close', [CLOSE, '', rsv => RSV1]],
    ['that no extension uses', [TEXT, 'a', rsv => 0x20]], ['two of them', [TEXT, 'a', rsv => 0x60]])
{
    my ($name, @frames) = @$_;
    my $c = client();
    $c->send(@$_) for @frames;
    $c->expect_close(1002, "a reserved bit $name is refused with 1002");
}
{
    my $c = Client->new($httpd, '/');
    $c->text('x', rsv => RSV1);
    $c->expect_close(1002, 'a compressed message is refused if compression was not agreed on');
}

# ---- Invalid data ----

for (['noise', substr $noise, 0, 500], ['a reserved type of block', "\x07"], ['a cut message', 'cut'],
    ['a distance too far back', "\x4a\x04\x22\x00"])
{
    my ($name, $data) = @$_;
    my $c = client();
    $data = substr squeeze($c, $json), 0, 700 if $data eq 'cut';
    $c->send(BINARY, $data, rsv => RSV1);
    $c->expect_close(1007, $name);
}
{
    my $c = client();
    squeezed($c, TEXT, "\xff");
    $c->expect_close(1007, 'text that is not UTF-8 after decompression is refused with 1007');
    $c = client(path => '/pieces');
    squeezed($c, TEXT, $json . "\xc3");
    my @frame;
    do { @frame = $c->frame } until $frame[0] == CLOSE;
    is(unpack('n', $frame[1]), 1007, 'text that ends inside a character is refused with 1007');

    # Blocks with BFINAL: RFC 7692, section 7.2.3.4.
    my $final = sub {
        my $out = '';
        my $d = deflater(15);
        $d->deflate($_[0], $out);
        $d->flush($out, Z_FINISH);
        return $out;
    };
    $c = client();
    $c->send(BINARY, $final->('final') . "\x00", rsv => RSV1);
    is((message($c))[0], 'final', 'a block with BFINAL is inflated');
    $c->send(BINARY, $final->('final'), rsv => RSV1);
    is((message($c))[0], 'final', 'a block with BFINAL, without the empty block after it, is inflated');
    $c->send(BINARY, $final->('one ') . $final->('two') . "\x00", rsv => RSV1);
    is((message($c))[0], 'one two', 'two blocks with BFINAL in one message are inflated');
    $c->send(BINARY, $final->('final'), rsv => RSV1);
    is((message($c))[0], 'final', 'a message that ends with a block with BFINAL is inflated');
    $c->send(BINARY, '', rsv => RSV1);
    $c->expect_close(1007, 'an empty compressed message after a block with BFINAL is invalid');
}

# ---- Handlers ----

{
    # Only connections of the same process receive a broadcast. Their ids contain the number of the process.
    my (@c, $process);
    while (@c < 3) {
        my $c = @c == 1 ? Client->new($httpd, '/') : client();
        $c->text('id');
        my ($id) = message($c);
        $process //= substr $id, 0, -12;
        push @c, $c if substr($id, 0, -12) eq $process;
    }
    $c[0]->text('all ' . 'to all ' x 50);
    is((message($_))[0], 'to all ' x 50, 'clients with and without compression receive a broadcast') for @c;
    my $c = client(path => '/takeover', takeover => 1);
    squeezed($c, TEXT, 'parts');
    my ($refusal) = message($c);
    my ($text, $compressed, $frames) = message($c);
    is($text, 'one two three', 'a message sent in parts arrives complete');
    cmp_ok($frames, '>', 2, 'each part of a message is a separate frame');
    ok($compressed, 'a message sent in parts is compressed');
    $c = client(path => '/fragments', takeover => 1);
    squeezed($c, BINARY, $json);
    ($text, $compressed, $frames) = message($c);
    is($text, $json, 'a message cut by WebSocketFragmentSize arrives complete');
    is($frames, int(($compressed + 9) / 10), 'WebSocketFragmentSize cuts the compressed message');
    $c = client(path => '/pieces', takeover => 0);
    squeezed($c, BINARY, $json x 100);
    ($text, $compressed, $frames) = message($c);
    ok($text eq $json x 100, 'compression works with on_frame and ws_send_part');
    $c = client(path => '/drops');
    echo_is($c, $json, 'compression works where WebSocketSlowReader drops messages');
}

# ---- Limits ----

# Returns the peak of a process's memory since the last reset, KiB.
sub peak { return Httpd::read_file("/proc/$_[0]/status") =~ /^VmHWM:\s+(\d+)/m ? $1 : 0 }

SKIP: {
    skip 'a bomb is measured with the event MPM, without a sanitizer', 3
        if $Httpd::MPM ne 'event' || $ENV{WS_TEST_PRELOAD};
    my ($bomb, $mib) = ('', "\0" x (1 << 20));
    my $d = deflater(15);
    $d->deflate($mib, $bomb) for 1 .. 100;
    $d->flush($bomb, Z_SYNC_FLUSH);
    cmp_ok(length $bomb, '<', 110_000, '100 MiB of zeros compress to less than 110 KB');
    my ($child) = $httpd->children;
    echo_is(client(path => '/limit'), 'x' x 100_000, 'a message is compressed before memory is measured');
    Httpd::write_file("/proc/$child/clear_refs", '5');    # reset the peak to the current size
    my $before = peak($child);
    my $c = client(path => '/limit');
    $c->send(BINARY, $bomb, rsv => RSV1);
    $c->expect_close(1009, 'a decompression bomb is answered with 1009');
    cmp_ok(peak($child) - $before, '<', 2 * 1024, 'a decompression bomb makes the child grow by less than the limit and 1 MiB')
        or diag('by ' . (peak($child) - $before) . ' KiB');
}
{
    my $c = client(path => '/limit');
    squeezed($c, BINARY, "\0" x (1 << 20));
    is(length +(message($c))[0], 1 << 20, 'a message that inflates to exactly the limit is accepted');
    squeezed($c, BINARY, "\0" x ((1 << 20) + 1));
    $c->expect_close(1009, 'a message that inflates to one byte more than the limit is refused');
}

# ---- Memory ----

# Memory of a connection with windows of 15 bits: 256 KiB and 6 KiB to compress, 32 KiB and 7 KiB to decompress.
my $each = (256 + 6 + 32 + 7) * 1024;

sub server {
    my ($memory) = @_;
    return Httpd->start(conf => "WebSocketHandler ws_echo.so\nWebSocketCompression on takeover=on threshold=0 memory=$memory");
}

{
    local $httpd = server('2M');
    my @c = map { client() } 1 .. 6;
    my @kept = grep { $_->header('Sec-WebSocket-Extensions') eq 'permessage-deflate' } @c;
    is(scalar @kept, int((2 << 20) * 3 / 4 / $each), 'three quarters of the memory are available for takeover');
    is($c[5]->header('Sec-WebSocket-Extensions'), "permessage-deflate; $none", 'when three quarters of the memory are used, the server agrees to compression without takeover');
    ok(defined echo_is($c[5], $json, 'and messages go without'), 'a connection without takeover still compresses');
    # Close two connections, because the loop keeps as much memory as one of them uses, for messages without takeover.
    for my $kept (splice @kept, 0, 2) {
        $kept->close(1000);
        $kept->expect_close(1000, 'a connection with takeover disconnects');
    }
    Httpd::wait_for(sub { client()->header('Sec-WebSocket-Extensions') eq 'permessage-deflate' },
        'memory that a closed connection has freed');
    kill 'KILL', $httpd->children; # the parent may notice that only after a second
    Httpd::wait_for(
        sub {
            my @new = eval { map { client() } 1 .. 4 };
            return @new && !grep { $_->header('Sec-WebSocket-Extensions') ne 'permessage-deflate' } @new;
        },
        'memory of a child that was killed');
    pass('the memory of a killed child is available again');
}
{
    local $httpd = server('400K');
    my @c = map { client() } 1 .. 12;
    is($c[0]->header('Sec-WebSocket-Extensions'), "permessage-deflate; $none", 'with too little memory, the server agrees on compression without takeover');
    my $z = squeeze($c[0], $json);
    my $full = 0;
    for my $c (@c) {
        $c->send(BINARY, substr($z, 0, 100), rsv => RSV1, fin => 0);
        $c->send(PING, 'there?');
        my ($opcode, $payload) = $c->frame;
        last if $full = $opcode == CLOSE && unpack('n', $payload) == 1013;
    }
    ok($full, 'a message that finds no memory for inflating closes its connection with 1013');
    is(client()->header('Sec-WebSocket-Extensions'), undef, 'when memory is used up, the server declines compression');
    undef @c;
    Httpd::wait_for(sub { client()->header('Sec-WebSocket-Extensions') }, 'memory to be free again');
}

SKIP: {
    skip 'memory is measured with the event MPM, without a sanitizer', 1
        if $Httpd::MPM ne 'event' || $ENV{WS_TEST_PRELOAD};
    local $httpd = Httpd->start(children => 1, conf => "WebSocketHandler ws_echo.so\nWebSocketThreads 1\n"
            . 'WebSocketCompression on threshold=0');
    my ($child) = Httpd::wait_for(sub { ($httpd->children)[0] }, 'a child');
    my $used = sub { Httpd::read_file("/proc/$child/smaps_rollup") =~ /^Pss:\s+(\d+)/m ? $1 : 0 };
    my $join = sub { my $c = client(); squeezed($c, BINARY, $json); message($c); return $c };
    my @c = map { $join->() } 1 .. 100;
    my $before = $used->();
    push @c, map { $join->() } 1 .. 200;
    cmp_ok(($used->() - $before) / 200, '<', 2, 'an idle connection without takeover keeps no state of zlib')
        or diag(($used->() - $before) / 200 . ' KiB');
}

# ---- Counters ----

{
    local $httpd = Httpd->start(conf => "WebSocketHandler ws_echo.so\nWebSocketCompression on\n"
            . "<Location /metrics>\nSetHandler websocket-status\nRequire all granted\n</Location>");
    my $c = client();
    my $size = echo_is($c, 'x' x 10_000, 'a message of 10,000 bytes is echoed');
    echo_is($c, 'short', 'a message whose answer is below the threshold is echoed');
    my $in = length(squeeze($c, 'x' x 10_000)) + length squeeze($c, 'short');
    my (undef, undef, $text) = $httpd->get('/metrics?prometheus');
    my %counted = $text =~ /^websocket_(\w*compressed_bytes_total\{direction="\w+"\}) (\d+)$/mg;
    is_deeply(\%counted, {
        'compressed_bytes_total{direction="in"}'    => $in,
        'decompressed_bytes_total{direction="in"}'  => 10_005,
        'compressed_bytes_total{direction="out"}'   => $size,
        'decompressed_bytes_total{direction="out"}' => 10_000,
    }, 'bytes are counted before and after compression');
}

# ---- Unfinished messages ----

# Each client begins a compressed message that has no output yet, which occupies memory of zlib.
{
    my $httpd = Httpd->start(conf => "WebSocketHandler ws_echo.so\nWebSocketCompression on memory=1M\nWebSocketMessageTimeout 1s\n");
    my $client = sub { Client->new($httpd, '/', headers => ['Sec-WebSocket-Extensions: permessage-deflate']) };
    my @unfinished = grep { $_->header('Sec-WebSocket-Extensions') } map { $client->() } 1 .. 40;
    cmp_ok(scalar @unfinished, '>=', 10, 'clients get compression');
    $_->send(TEXT, "\xf2", fin => 0, rsv => RSV1) for @unfinished;
    my %codes;
    for my $c (@unfinished) {
        my (undef, $close) = $c->frame;
        $codes{ unpack 'n', $close }++;
        $c->drop;
    }
    delete $codes{1013};
    is_deeply([keys %codes], [1008], 'the server ends unfinished compressed messages that have no output yet');
    ok(Httpd::wait_for(sub {
        my $c = $client->();
        $c->header('Sec-WebSocket-Extensions') or return 0;
        $c->send(TEXT, "\xf2\x48\xcd\xc9\xc9\x07\x00", rsv => RSV1);
        return ($c->frame)[0] == TEXT;
    }, 'an answer to a compressed message'), 'then their memory is free for other clients');
}

# ---- Directives ----

for (
    ['WebSocketCompression', 'invalid value "": expected off or on'],
    ['WebSocketCompression yes', 'invalid value "yes": expected off or on'],
    ['WebSocketCompression on fast', 'invalid value "fast": expected key=value after on'],
    ['WebSocketCompression on speed=9', 'invalid value "speed=9": speed= is unknown; the keys are level'],
    ['WebSocketCompression on level=0', 'invalid value "level=0": level= takes a whole number from 1 to 9'],
    ['WebSocketCompression on level=10', 'invalid value "level=10": level= takes a whole number from 1 to 9'],
    ['WebSocketCompression on window=7', 'invalid value "window=7": window= takes a whole number from 8 to 15'],
    ['WebSocketCompression on client-window=16', 'invalid value "client-window=16": client-window= takes a whole number from 8 to 15'],
    ['WebSocketCompression on takeover=maybe', 'invalid value "takeover=maybe": takeover= takes on or off'],
    ['WebSocketCompression on threshold=-1', 'invalid value "threshold=-1": threshold= takes'],
    ['WebSocketCompression on memory=1', 'invalid value "memory=1": memory= takes a size from 320K'],
    ['WebSocketCompression on memory=lots', 'invalid value "memory=lots": memory= takes'],
    ["<Location /x>\nWebSocketCompression on memory=1M\n</Location>", 'memory= applies to the whole server: move it outside of all sections'])
{
    my ($conf, $error) = @$_;
    my ($ok, $output) = Httpd->check($conf);
    ok(!$ok && index($output, $error) >= 0 && $output =~ /line \d+/, $conf) or diag($output);
}

done_testing;
