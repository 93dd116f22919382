# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests the bytes of frames (RFC 6455, sections 5 to 8). The client sends each case at once, and then again one byte at a time.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client qw(frame_bytes TEXT BINARY CLOSE PING PONG CONTINUATION);

Httpd::once();

my $httpd = Httpd->start(conf => <<'END');
WebSocketHandler ws_echo.so
WebSocketMaxMessageSize 100000
<Location /small>
    WebSocketMaxMessageSize 1000
    WebSocketMaxFrameSize 600
</Location>
END

# A case has a name and the bytes to send. good() adds the messages that come back, as [type, payload]. bad() adds the
# close code and a pattern for the reason.
sub good { my ($name, $bytes, @expected) = @_; return { name => $name, bytes => $bytes, messages => \@expected } }
sub bad { my ($name, $bytes, $code, $why, %o) = @_; return { name => $name, bytes => $bytes, code => $code, why => $why, %o } }

my $long = join '', map { chr(32 + $_ % 90) } 1 .. 70000;
my @cases = (
    # Section 5.7
    good('5.7: a masked "Hello"', "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", [TEXT, 'Hello']),
    (map { good("$_ bytes", frame_bytes(BINARY, substr $long, 0, $_), [BINARY, substr $long, 0, $_]) }
            0, 1, 125, 126, 127, 65535, 65536, 70000),
    good('text and binary keep their types', frame_bytes(TEXT, 'a') . frame_bytes(BINARY, 'b'), [TEXT, 'a'], [BINARY, 'b']),
    good('a masking key of zeros', frame_bytes(TEXT, 'zero', mask => "\0\0\0\0"), [TEXT, 'zero']),

    # Section 5.2
    (map { bad("reserved bit $_->[0]", frame_bytes(TEXT, 'x', rsv => $_->[1]), 1002, qr/reserved bit/) }
            [1, 0x40], [2, 0x20], [3, 0x10]),
    bad('a reserved bit in a ping', frame_bytes(PING, 'x', rsv => 0x40), 1002, qr/reserved bit/),
    (map { bad("opcode $_", frame_bytes($_, 'x'), 1002, qr/opcode is reserved/) } 3 .. 7, 11 .. 15),
    bad('16 bits of length for 125', frame_bytes(BINARY, 'x' x 125, form => 16), 1002, qr/shortest form/),
    bad('64 bits of length for 65535', frame_bytes(BINARY, 'x' x 65535, form => 64), 1002, qr/shortest form/),
    bad('64 bits of length for 5', frame_bytes(BINARY, 'xxxxx', form => 64), 1002, qr/shortest form/),
    bad('a length with its highest bit set', frame_bytes(BINARY, '', length => 1 << 63, form => 64), 1002, qr/highest bit/),

    # Section 5.1
    bad('a frame without a mask', frame_bytes(TEXT, 'x', mask => ''), 1002, qr/not masked/),

    # Section 5.4
    good('two fragments', frame_bytes(TEXT, 'Hel', fin => 0) . frame_bytes(CONTINUATION, 'lo'), [TEXT, 'Hello']),
    good('empty fragments', join('', frame_bytes(TEXT, '', fin => 0), (frame_bytes(CONTINUATION, '', fin => 0)) x 3,
            frame_bytes(CONTINUATION, '')), [TEXT, '']),
    good('a message of 300 fragments', join('', frame_bytes(BINARY, 'x', fin => 0),
            (frame_bytes(CONTINUATION, 'y', fin => 0)) x 298, frame_bytes(CONTINUATION, 'z')),
        [BINARY, 'x' . 'y' x 298 . 'z']),
    good('a ping between fragments', join('', frame_bytes(TEXT, 'a', fin => 0), frame_bytes(PING, 'now'),
            frame_bytes(CONTINUATION, 'b')), [PONG, 'now'], [TEXT, 'ab']),
    bad('a continuation without a message', frame_bytes(CONTINUATION, 'x'), 1002, qr/continuation/),
    bad('a continuation after the last fragment', frame_bytes(TEXT, 'a', fin => 0) . frame_bytes(CONTINUATION, 'b')
            . frame_bytes(CONTINUATION, 'c'), 1002, qr/continuation/, first => [TEXT, 'ab']),
    bad('a new message inside a message', frame_bytes(TEXT, 'a', fin => 0) . frame_bytes(TEXT, 'b'), 1002, qr/new message/),

    # Section 5.5
    good('a ping without data', frame_bytes(PING, ''), [PONG, '']),
    good('a ping of 125 bytes', frame_bytes(PING, 'p' x 125), [PONG, 'p' x 125]),
    good('pings are answered in order', join('', map { frame_bytes(PING, "n$_") } 1 .. 3),
        [PONG, 'n1'], [PONG, 'n2'], [PONG, 'n3']),
    good('an unsolicited pong is ignored', frame_bytes(PONG, 'x') . frame_bytes(TEXT, 'y'), [TEXT, 'y']),
    bad('a ping of 126 bytes', frame_bytes(PING, 'x' x 126), 1002, qr/longer than 125/),
    bad('a fragmented ping', frame_bytes(PING, 'x', fin => 0), 1002, qr/fragmented/),
    bad('a Close frame of 126 bytes', frame_bytes(CLOSE, "\x03\xe8" . 'x' x 124), 1002, qr/longer than 125/),

    # Section 8.1
    good('text of two, three and four bytes a character', frame_bytes(TEXT, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
        [TEXT, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"]),
    good('a character split between fragments', frame_bytes(TEXT, "\xf0\x9f", fin => 0) . frame_bytes(CONTINUATION, "\x98\x80"),
        [TEXT, "\xf0\x9f\x98\x80"]),
    good('text with the last code point', frame_bytes(TEXT, "\xf4\x8f\xbf\xbf"), [TEXT, "\xf4\x8f\xbf\xbf"]),
    good('binary data that is not UTF-8', frame_bytes(BINARY, "\xff\xfe"), [BINARY, "\xff\xfe"]),
    (map { bad("text that is $_->[0]", frame_bytes(TEXT, $_->[1]), 1007, qr/UTF-8/) }
            ['an overlong slash', "\xc0\xaf"], ['a surrogate', "\xed\xa0\x80"], ['beyond U+10FFFF', "\xf4\x90\x80\x80"],
        ['a lone continuation', "\x80"], ['cut inside a character', "ab\xe2\x82"], ['an overlong euro', "\xf0\x82\x82\xac"]),
    bad('invalid UTF-8 split between fragments', frame_bytes(TEXT, "\xe2", fin => 0) . frame_bytes(CONTINUATION, "\x28\xa1"), 1007, qr/UTF-8/),

    # Sizes
    good('a message of WebSocketMaxMessageSize', frame_bytes(BINARY, 'x' x 100000), [BINARY, 'x' x 100000]),
    bad('a message of one byte more than WebSocketMaxMessageSize', frame_bytes(BINARY, '', length => 100001), 1009, qr/too big/, short => 1),
    bad('a message that claims 2^62 bytes', frame_bytes(BINARY, '', length => 1 << 62), 1009, qr/too big/, short => 1),
    bad('fragments that together exceed WebSocketMaxMessageSize', frame_bytes(BINARY, 'x' x 60000, fin => 0)
            . frame_bytes(CONTINUATION, '', length => 40001), 1009, qr/message is too big/, short => 1),
);

for my $case (@cases) {
    for my $bytewise (0, 1) {
        next if $bytewise && length $case->{bytes} > 2000;
        my $name = $case->{name} . ($bytewise ? ', a byte at a time' : '');
        my $c = Client->new($httpd, '/');
        $bytewise ? $c->raw_bytewise($case->{bytes}) : $c->raw($case->{bytes});
        my @expected = @{ $case->{messages} || [] };
        push @expected, $case->{first} if $case->{first};
        my @got = map { [($c->frame)[0, 1]] } @expected;
        my $same = !grep { $got[$_][0] != $expected[$_][0] || $got[$_][1] ne $expected[$_][1] } 0 .. $#expected;
        if ($case->{code}) {
            $c->expect_close($case->{code}, "$name: closed with $case->{code}");
            like($c->{reason}, $case->{why}, "$name: the close reason says why");
        }
        else {
            ok($same, $name);
        }
    }
}

# ---- Invalid text is refused before its message is complete ----

{
    my $c = Client->new($httpd, '/');
    $c->send(TEXT, "\xce\xba\xf4\x90", fin => 0);
    $c->expect_close(1007, 'invalid text is refused before the last fragment arrives');
    $c = Client->new($httpd, '/');
    $c->raw(substr frame_bytes(TEXT, "ok\xff" . 'x' x 5000), 0, 20);
    $c->expect_close(1007, 'invalid text is refused before its frame is complete');
}

# ---- Sizes of a location ----

{
    my $c = Client->new($httpd, '/small');
    $c->binary('x' x 600);
    is(length(($c->message)[1]), 600, 'a frame of WebSocketMaxFrameSize is accepted');
    $c->send(BINARY, 'x' x 600, fin => 0);
    $c->send(CONTINUATION, 'y' x 400);
    is(length(($c->message)[1]), 1000, 'a message of WebSocketMaxMessageSize in two frames is accepted');
    $c->send(BINARY, '', length => 601);
    $c->expect_close(1009, 'a frame of one byte more than WebSocketMaxFrameSize is refused as soon as its header arrives');
    $c = Client->new($httpd, '/small');
    $c->send(BINARY, 'x' x 600, fin => 0);
    $c->send(CONTINUATION, '', length => 401);
    $c->expect_close(1009, 'a message of one byte more than WebSocketMaxMessageSize is refused as soon as the header arrives');
}

done_testing;
