# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests an echo with Debian's libprotocol-websocket-perl: perl echo.pl VERSION URL CA. VERSION is 13, 8, 76 or 75. Prints
# "ok NAME" or "not ok NAME" for each test, and "done".

use strict;
use warnings;
use IO::Socket::INET;
use IO::Socket::SSL;
use Protocol::WebSocket::Frame;
use Protocol::WebSocket::Handshake::Client;

my ($version, $url, $ca) = @ARGV;
my $draft = { 13 => 'draft-ietf-hybi-17', 8 => 'draft-ietf-hybi-10', 76 => 'draft-ietf-hybi-00', 75 => 'draft-hixie-75' }
    ->{$version} or die "unknown version $version";
my $old = $version > 13;
$| = 1;
$SIG{PIPE} = 'IGNORE';

sub check { my ($right, $name) = @_; print $right ? 'ok' : 'not ok', " $name\n" }

my ($scheme, $host, $port) = $url =~ m{^(wss?)://([^:/]+):(\d+)/} or die "a strange URL: $url";
my $socket = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port) or die "connect: $!";
if ($scheme eq 'wss') {
    IO::Socket::SSL->start_SSL($socket, SSL_ca_file => $ca, SSL_verifycn_name => $host, SSL_verifycn_scheme => 'http')
        or die "TLS: $SSL_ERROR";
}

sub put {
    my ($bytes) = @_;
    while (length $bytes) {
        my $n = $socket->syswrite($bytes) or die "write: $!";
        substr $bytes, 0, $n, '';
    }
}

my $handshake = Protocol::WebSocket::Handshake::Client->new(url => $url, version => $draft);
my $in = Protocol::WebSocket::Frame->new(version => $draft, max_payload_size => 0);
$handshake->req->subprotocol('echo');
put($handshake->to_string);
until ($handshake->is_done) {
    $socket->sysread(my $bytes, 65536) or die 'the server closed the connection';
    $handshake->parse($bytes) or die $handshake->error;
    $in->append($bytes) if length $bytes;
}
check(1, 'the handshake succeeds');
check($handshake->res->subprotocol eq 'echo', 'the subprotocol is agreed on');

sub frame {
    my ($type, $data) = @_;
    return Protocol::WebSocket::Frame->new(version => $draft, type => $type, buffer => $data, masked => 1,
        max_payload_size => 0)->to_bytes;
}

# Returns the payload of the next frame as bytes, or undef at the end.
sub get {
    my $got;
    until (defined($got = $in->next_bytes)) {
        $socket->sysread(my $bytes, 65536) or return;
        $in->append($bytes);
    }
    return $got;
}

for my $text ('', 'hello', "h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", 'long ' x 40000) {
    put(frame(text => $text));
    check(get() eq $text && $in->is_text, 'text of ' . length($text) . ' bytes');
}
if (!$old) {
    for my $size (0, 1, 125, 126, 65535, 65536, 1_000_000) {
        my $data = "\x81" x $size;
        put(frame(binary => $data));
        check(get() eq $data && $in->is_binary, "a binary message of $size bytes is echoed");
    }
}
put(join '', map { frame(text => "message $_") } 1 .. 500);
check(500 == (grep { get() eq "message $_" } 1 .. 500), '500 messages together are echoed in order');
if (!$old) {
    put(frame(ping => 'are you there'));
    check(get() eq 'are you there' && $in->is_pong, 'a ping is answered');
}
put(frame(close => $old ? '' : pack('n', 4321) . 'enough'));
if ($version != 75) {
    my $last = get();
    check(defined $last && $in->is_close && $last eq ($old ? '' : pack('n', 4321) . 'enough'), 'the server answers the Close frame');
}
check(!defined get(), 'then the connection ends');
print "done\n";
