# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# A WebSocket client that sends any bytes, valid or invalid.
#
#   my $c = Client->new($httpd, '/echo');         $c->text('hello');
#   my ($opcode, $payload, $first) = $c->frame;   $c->expect_close(1000, 'name of the test');

package Client;

use strict;
use warnings;
use Carp qw(croak);
use Digest::SHA qw(sha1_base64);
use Errno qw(EAGAIN EWOULDBLOCK);
use Exporter qw(import);
use IO::Socket::INET;
use IO::Socket::SSL;
use Test::More;
use Time::HiRes qw(time);

our @EXPORT_OK = qw(frame_bytes TEXT BINARY CLOSE PING PONG CONTINUATION);

use constant { CONTINUATION => 0, TEXT => 1, BINARY => 2, CLOSE => 8, PING => 9, PONG => 10 };

my $KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

# Builds a frame. Options: fin, rsv, mask (four bytes, or '' for none), length (the length that the
# header states), form (the size of the length field: 7, 16 or 64 bits).
sub frame_bytes {
    my ($opcode, $payload, %o) = @_;
    $payload = "$payload";    # if the payload is a number, mask its digits
    my $fin  = $o{fin} // 1;
    my $mask = $o{mask} // "\x37\xfa\x21\x3d";
    my $len  = $o{length} // length $payload;
    my $form = $o{form} // ($len < 126 ? 7 : $len < 65536 ? 16 : 64);
    my $bit  = $mask eq '' ? 0 : 0x80;
    my $head = chr(($fin ? 0x80 : 0) | ($o{rsv} // 0) | $opcode);
    $head .= $form == 7 ? chr($bit | $len) : $form == 16 ? pack('Cn', $bit | 126, $len)
        : pack('CQ>', $bit | 127, $len);
    if ($mask ne '') {
        my $n = length $payload;
        $payload ^= substr($mask x ($n / 4 + 1), 0, $n);
    }
    return $head . $mask . $payload;
}

# Connects and sends a handshake. Options: tls => 1, 'TLSv1_2' or 'TLSv1_3'; cert => 1 (send the
# client's certificate); version; key; origin; protocol; headers => [...]; request => the text of the
# whole request; behind => bytes to send directly after the request; expect => 0 (do not wait for the
# response); port; from (the client's address); rcvbuf.
sub new {
    my ($class, $httpd, $path, %o) = @_;
    my $port = $o{port} // ($o{tls} ? $httpd->ssl_port : $httpd->port);
    my $socket = IO::Socket::INET->new(
        PeerAddr  => '127.0.0.1',
        LocalAddr => $o{from} // '127.0.0.1',
        PeerPort  => $port,
        Timeout   => $Httpd::DEADLINE
    ) or croak "connect: $!";
    $socket->sockopt(SO_RCVBUF, $o{rcvbuf}) if $o{rcvbuf};
    my $self = bless { socket => $socket, in => '', httpd => $httpd }, $class;
    if ($o{tls}) {
        my $dir = Httpd::certificates();
        IO::Socket::SSL->start_SSL(
            $socket,
            SSL_ca_file         => "$dir/ca.crt",
            SSL_hostname        => 'localhost',
            SSL_verifycn_name   => 'localhost',
            SSL_verifycn_scheme => 'http',
            $o{cert} ? (SSL_cert_file => "$dir/client.crt", SSL_key_file => "$dir/client.key") : (),
            $o{tls} ne '1' ? (SSL_version => $o{tls}) : (),
        ) or croak "TLS: $SSL_ERROR";
    }
    $socket->blocking(0);
    my $version = $o{version} // 13;
    my $origin  = $version == 13 ? 'Origin' : 'Sec-WebSocket-Origin';
    my $request = $o{request} // join "\r\n", "GET $path HTTP/1.1", "Host: localhost:$port",
        'Upgrade: websocket', 'Connection: Upgrade', "Sec-WebSocket-Version: $version",
        'Sec-WebSocket-Key: ' . ($o{key} // $KEY), $o{origin} ? "$origin: $o{origin}" : (),
        $o{protocol} ? "Sec-WebSocket-Protocol: $o{protocol}" : (), @{ $o{headers} || [] }, '', '';
    $self->raw($request . ($o{behind} // ''));
    $self->read_answer if $o{expect} // 1;
    croak "handshake: $self->{head}" if ($o{expect} // 1) && $self->status != 101;
    return $self;
}

# Send a handshake that the server should refuse. Returns the status of the response, and the client.
sub refused {
    my ($class, $httpd, $path, %o) = @_;
    my $self = $class->new($httpd, $path, %o, expect => 0);
    $self->read_answer;
    return ($self->status, $self);
}

sub read_answer {
    my ($self) = @_;
    $self->fill until $self->{in} =~ s/\A(.*?\r\n)\r\n//s;
    $self->{head} = $1;
}

sub status { return $_[0]{head} =~ m{^HTTP/1.1 (\d+)} ? $1 : 0 }
sub head   { $_[0]{head} }
sub socket { $_[0]{socket} }

sub header {
    my ($self, $name) = @_;
    my @values = $self->{head} =~ /^\Q$name\E: (.*?)\r$/mgi;
    return wantarray ? @values : $values[0];
}

sub wait_socket {
    my ($self, $write) = @_;
    return if Httpd::ready($self->{socket}, $write);
    Httpd::give_up(($write ? 'the server takes nothing' : 'nothing comes from the server')
        . '; not yet used is ' . (length $self->{in} > 200 ? length($self->{in}) . ' bytes' : "\"$self->{in}\""));
}

# Read once; returns 0 at the end of the stream.
sub fill {
    my ($self) = @_;
    my $s = $self->{socket};
    while (1) {
        my $n = $s->sysread(my $buf, 65536);
        if ($n) {
            $self->{in} .= $buf;
            return $n;
        }
        if (defined $n) {
            $self->{eof} = 1;
            return 0 if caller eq __PACKAGE__ && (caller 1)[3] =~ /(?:frame|at_end)$/;
            croak 'the server closed the connection';
        }
        my $want = $s->isa('IO::Socket::SSL') ? $SSL_ERROR : '';
        if ($want eq SSL_WANT_READ || $!{EAGAIN} || $!{EWOULDBLOCK}) {
            $self->wait_socket;
        }
        else {
            $self->{eof} = 1;
            $self->{broken} = "$!";
            return 0 if (caller 1)[3] =~ /(?:frame|at_end)$/;
            croak "read: $!";
        }
    }
}

sub raw {
    my ($self, $bytes) = @_;
    my $s = $self->{socket};
    local $SIG{PIPE} = 'IGNORE';
    while (length $bytes) {
        my $n = $s->syswrite($bytes, 16384);
        if ($n) {
            substr $bytes, 0, $n, '';
        }
        elsif ($!{EAGAIN} || $!{EWOULDBLOCK} || ($s->isa('IO::Socket::SSL') && $SSL_ERROR == SSL_WANT_WRITE)) {
            $self->wait_socket(1);
        }
        else {
            $self->{broken} = "$!";
            return 0;
        }
    }
    return 1;
}

# Like raw(), but writes the bytes one at a time. Returns 0 if the connection is broken.
sub raw_bytewise {
    my ($self, $bytes) = @_;
    $self->raw($_) or return 0 for split //, $bytes;
    return 1;
}

sub send   { my ($self, @frame) = @_; return $self->raw(frame_bytes(@frame)) }
sub text   { my ($self, $text, %o) = @_; return $self->send(TEXT, $text, %o) }
sub binary { my ($self, $data, %o) = @_; return $self->send(BINARY, $data, %o) }

sub close {
    my ($self, $code, $reason) = @_;
    return $self->send(CLOSE, defined $code ? pack('n', $code) . ($reason // '') : '');
}

# Read the server's next frame. Returns (opcode, payload, first byte), or an empty list at the end of
# the stream.
sub frame {
    my ($self) = @_;
    while (1) {
        if ($self->{in} =~ /\A(.)(.)/s) {
            my ($first, $len, $head) = (ord $1, ord $2, 2);
            croak 'the server masks its frames' if $len & 0x80;
            if ($len == 126 && length $self->{in} >= 4) {
                ($len, $head) = (unpack('x2 n', $self->{in}), 4);
            }
            elsif ($len == 127 && length $self->{in} >= 10) {
                ($len, $head) = (unpack('x2 Q>', $self->{in}), 10);
            }
            if (($len < 126 || $head > 2) && length $self->{in} >= $head + $len) {
                my $frame = substr $self->{in}, 0, $head + $len, '';
                return ($first & 0x0F, substr($frame, $head), $first);
            }
        }
        return if !$self->fill;
    }
}

# Read the next complete data message. Returns (opcode, payload). Answers pings that arrive before the
# message.
sub message {
    my ($self) = @_;
    my ($type, $data);
    while (my ($opcode, $payload, $first) = $self->frame) {
        if ($opcode == PING) {
            $self->send(PONG, $payload);
            next;
        }
        croak 'instead of a message, the server sent Close ' . (unpack('n', $payload) // '')
            if $opcode == CLOSE;
        next if $opcode == PONG;
        $type = $opcode if $opcode;
        $data .= $payload;
        return ($type, $data) if $first & 0x80;
    }
    croak 'the stream ended instead of a message';
}

# Returns whether the stream ends here without an error.
sub at_end {
    my ($self) = @_;
    return 0 if length $self->{in};
    return !$self->fill && !$self->{broken};
}

# Test that the server sends a Close frame with this code (undef: a Close frame without a code), and
# that the stream then ends. Ignores other frames before the Close frame.
sub expect_close {
    my ($self, $code, $name) = @_;
    my ($opcode, $payload);
    do {
        ($opcode, $payload) = $self->frame;
    } while (defined $opcode && $opcode != CLOSE);
    my $got = defined $opcode ? (length $payload ? unpack 'n', $payload : 'none') : 'no Close frame';
    my $ok = $got eq ($code // 'none');
    $self->close($ok && defined $code ? $code : ()) if $ok;
    $self->{reason} = length($payload // '') > 2 ? substr $payload, 2 : '';
    my $end = $ok && $self->at_end;
    $name //= 'closed with ' . ($code // 'no code');
    ok($ok && $end, $name) or diag($ok ? 'the stream does not end: ' . ($self->{broken} // '') : "got $got");
    return $ok && $end;
}

# Test that the server echoes a message.
sub echoes {
    my ($self, $text, $name) = @_;
    $self->text($text);
    my ($type, $got) = $self->message;
    return is($got, $text, $name // 'a message is echoed');
}

# Disconnect without a Close frame.
sub drop {
    my ($self) = @_;
    CORE::close($self->{socket});
}

1;
