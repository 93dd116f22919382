# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Clients that nobody here wrote, over ws and wss.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Program;
use Protocol::WebSocket::Frame;
use Protocol::WebSocket::Handshake::Client;

my $httpd = Httpd->start(conf => <<'END');
<Location /echo>
    WebSocketHandler ws_echo.so protocol=echo
    WebSocketHandler ws_echo.so
</Location>
END

my $ca  = Httpd::certificates() . '/ca.crt';
my %url = (ws => 'ws://127.0.0.1:' . $httpd->port . '/echo', wss => 'wss://127.0.0.1:' . $httpd->ssl_port . '/echo');

# ---- npm and Python ----

for my $way (qw(ws wss)) {
    for (['ws', 13], ['ws', 8], ['websocket', 13], ['websocket', 8], ['faye-websocket', 13]) {
        my ($library, $version) = @$_;
        Program::tap("npm $library, version $version, $way", 'node', 't/clients/echo.js', $library, $version, $url{$way}, $ca);
    }
    Program::tap("python3-websockets, $way", '/usr/bin/python3', 't/clients/echo.py', $url{$way}, $ca);
}

# ---- Perl's Protocol::WebSocket ----

for my $version (qw(draft-ietf-hybi-17 draft-ietf-hybi-10)) {
    my $handshake = Protocol::WebSocket::Handshake::Client->new(url => $url{ws}, version => $version);
    my $socket    = $httpd->connect;
    print $socket $handshake->to_string;
    my $frame = Protocol::WebSocket::Frame->new(version => $version);
    my $read  = sub { sysread($socket, my $bytes, 65536) or die 'the server closed the connection'; return $bytes };
    until ($handshake->is_done) {
        my $bytes = $read->();
        $handshake->parse($bytes) or die $handshake->error;
        $frame->append($bytes) if length $bytes;
    }
    pass("Protocol::WebSocket, $version: handshake");
    for my $text ('hello', "\x{20ac} and \x{e9}", 'x' x 60000) {
        print $socket Protocol::WebSocket::Frame->new(version => $version, buffer => $text, masked => 1)->to_bytes;
        my $got;
        $frame->append($read->()) until defined($got = $frame->next);
        ok($got eq $text, "Protocol::WebSocket, $version: " . length($text) . ' characters');
    }
}

# ---- curl: what is not a WebSocket, and what is refused ----

my $http = 'http://127.0.0.1:' . $httpd->port;
my $curl = sub {
    my ($status, $output) = Program::run(qw(curl -sS -o /dev/null --max-time 60 -w), '%{http_code}', @_);
    return $output;
};
my @upgrade = ('-H', 'Connection: Upgrade', '-H', 'Upgrade: websocket');
is($curl->("$http/index.html"), 200, 'curl: an ordinary request');
is($curl->("$http/echo"), 404, 'curl: an ordinary request for a WebSocket location without content');
is($curl->(@upgrade, "$http/echo"), 426, 'curl: no version');
is($curl->(@upgrade, '-H', 'Sec-WebSocket-Version: 13', "$http/echo"), 400, 'curl: no key');

done_testing;
