# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests the opening handshake (RFC 6455, section 4.2): versions, origins, subprotocols and ordinary requests.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client qw(TEXT);

Httpd::once();

my $named = sub { Httpd::compile("named_$_[0]", <<"END") };
#include "mod_websocket.h"
static void tell(ws_conn *c)
{
    ws_send(c, WS_TEXT, "$_[0]", sizeof("$_[0]") - 1);
}
WS_HANDLER($_[0]) = {.on_open = tell};
END
my ($first, $second, $default) = map { $named->($_) } qw(first second otherwise);

my $httpd = Httpd->start(
    files => { 'htdocs/echo/page.txt' => "a page\n", 'htdocs/echo/index.html' => "an index\n" },
    conf  => <<"END");
<Location /echo>
    WebSocketHandler ws_echo.so
</Location>
<Location /nothing-there>
    WebSocketHandler ws_echo.so
</Location>
<Location /only13>
    WebSocketHandler ws_echo.so
    WebSocketVersions 13
</Location>
<Location /any>
    WebSocketHandler ws_echo.so
    WebSocketOrigin any
</Location>
<Location /listed>
    WebSocketHandler ws_echo.so
    WebSocketOrigin https://app.example.org http://[::1]:8080 null
</Location>
<Location /listed-and-same>
    WebSocketHandler ws_echo.so
    WebSocketOrigin same https://app.example.org
</Location>
<Location /several>
    WebSocketHandler $first protocol=one,uno
    WebSocketHandler $second protocol=two
    WebSocketHandler $default
</Location>
<Location /no-default>
    WebSocketHandler $first protocol=one
</Location>
END

# ---- The answer ----

{
    # The key and the expected answer are the example of section 1.3.
    my $c = Client->new($httpd, '/echo');
    like($c->head, qr{^HTTP/1\.1 101 Switching Protocols\r\n}, 'the 101 has the right status line');
    is($c->header('Upgrade'), 'websocket', 'the 101 has Upgrade: websocket');
    is($c->header('Connection'), 'Upgrade', 'the 101 has Connection: Upgrade');
    is($c->header('Sec-WebSocket-Accept'), 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=', 'the 101 has the accept key of section 1.3');
    is($c->header('Sec-WebSocket-Protocol'), undef, 'the 101 has no subprotocol if none was offered');
    is($c->header('Sec-WebSocket-Extensions'), undef, 'the 101 has no extension if none was offered');
    $c->echoes('hello', 'after the handshake, the connection echoes');
}
for my $version (13, 8, 7) {
    Client->new($httpd, '/echo', version => $version)->echoes("v$version", "version $version echoes");
}

# ---- Invalid handshakes, their status, and the log: section 4.2.1 ----

my $port  = $httpd->port;
my %right = (
    Host                    => "localhost:$port",
    Upgrade                 => 'websocket',
    Connection              => 'Upgrade',
    'Sec-WebSocket-Key'     => 'dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version' => '13',
);

sub attempt {
    my ($line, %headers) = @_;
    my %h = (%right, %headers);
    return Client->refused($httpd, '/echo', request => join "\r\n", $line,
        (map {"$_: $h{$_}"} grep { defined $h{$_} } sort keys %h), '', '');
}

my $get = 'GET /echo HTTP/1.1';
is((attempt($get))[0], 101, 'the handshake that the following tests change is accepted');
for (
    ['POST instead of GET', 400, qr/method is not GET/, 'POST /echo HTTP/1.1', 'Content-Length' => 0],
    ['HTTP/1.0', 400, qr/HTTP is older than 1\.1/, 'GET /echo HTTP/1.0'],
    ['no Connection', 400, qr/Connection does not contain "upgrade"/, $get, Connection => undef],
    ['Connection: close', 400, qr/Connection does not contain "upgrade"/, $get, Connection => 'close'],
    ['no version', 426, qr/Sec-WebSocket-Version header is missing/, $get, 'Sec-WebSocket-Version' => undef],
    ['version 14', 426, qr/version in Sec-WebSocket-Version is not enabled/, $get, 'Sec-WebSocket-Version' => 14],
    ['version 013', 426, qr/version in Sec-WebSocket-Version is not enabled/, $get, 'Sec-WebSocket-Version' => '013'],
    ['two versions', 426, qr/version in Sec-WebSocket-Version is not enabled/, $get, 'Sec-WebSocket-Version' => '13, 8'],
    ['no key', 400, qr/Sec-WebSocket-Key header is missing/, $get, 'Sec-WebSocket-Key' => undef],
    ['a key of 15 bytes', 400, qr/Sec-WebSocket-Key is not the base64/, $get, 'Sec-WebSocket-Key' => 'AAAAAAAAAAAAAAAAAAAA'],
    ['a key of 17 bytes', 400, qr/Sec-WebSocket-Key is not the base64/, $get, 'Sec-WebSocket-Key' => 'AAAAAAAAAAAAAAAAAAAAAAA='],
    ['a key that is not base64', 400, qr/Sec-WebSocket-Key is not the base64/, $get, 'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZ!=='],
    ['a body', 400, qr/request has a body/, $get, 'Content-Length' => 5],
    ['a doubled subprotocol', 400, qr/Sec-WebSocket-Protocol is not a list/, $get, 'Sec-WebSocket-Protocol' => 'a, b, a'],
    ['a subprotocol that is no token', 400, qr/Sec-WebSocket-Protocol is not a list/, $get, 'Sec-WebSocket-Protocol' => 'a, b/c'],
    )
{
    my ($name, $expected, $log, $line, %headers) = @$_;
    my $before = $httpd->count_log($log);
    my ($status, $c) = attempt($line, %headers);
    is($status, $expected, "$name is refused with $expected");
    Httpd::wait_for(sub { $httpd->count_log($log) > $before }, "a log line for $name");
    pass("$name: the log says why");
    if ($expected == 426) {
        is($c->header('Sec-WebSocket-Version'), '13, 8, 7', "$name: the 426 lists the supported versions");
        is($c->header('Upgrade'), 'websocket', "$name: the 426 has Upgrade: websocket (RFC 9110, 15.5.22)");
    }
}
for (
    ['Connection: keep-alive, Upgrade', Connection => 'keep-alive, Upgrade'],
    ['Connection: UPGRADE', Connection => 'UPGRADE'],
    ['Upgrade: WebSocket', Upgrade => 'WebSocket'],
    ['Upgrade: h2c, websocket', Upgrade => 'h2c, websocket'],
    )
{
    my ($name, %headers) = @$_;
    is((attempt($get, %headers))[0], 101, "$name is accepted");
}
{
    my ($status, $c) = Client->refused($httpd, '/only13', version => 8);
    is($status, 426, 'WebSocketVersions 13 refuses version 8');
    is($c->header('Sec-WebSocket-Version'), '13', 'WebSocketVersions 13: the 426 lists only version 13');
    Client->new($httpd, '/only13')->echoes('x', 'WebSocketVersions 13 accepts version 13');
}

# ---- Ordinary requests on the same URL ----

is(($httpd->get('/echo/page.txt'))[2], "a page\n", 'a file below the Location of a handler is served');
is(($httpd->get('/echo/'))[2], "an index\n", 'the index of the Location of a handler is served');
is(($httpd->get('/nothing-there'))[0], 404, 'a missing file below the Location of a handler is answered with 404');
is(($httpd->get('/echo/page.txt', 'Upgrade: h2c', 'Connection: Upgrade'))[2], "a page\n",
    'an upgrade to something else is an ordinary request');
Client->new($httpd, '/echo')->echoes('x', 'a handshake for a directory is not redirected');
Client->new($httpd, '/echo/page.txt')->echoes('x', 'a handshake for a file reaches the handler');

# ---- Origins ----

sub origin {
    my ($path, $origin, %o) = @_;
    return (Client->refused($httpd, $path, origin => $origin, %o))[0];
}
my $same = "http://localhost:$port";
is(origin('/echo', undef), 101, 'WebSocketOrigin same accepts a client without Origin');
is(origin('/echo', $same), 101, 'WebSocketOrigin same accepts a page of this host');
is(origin('/echo', "HTTP://LOCALHOST:$port"), 101, 'WebSocketOrigin same accepts a page of this host, written in capitals');
is(origin('/echo', 'http://localhost:1'), 403, 'WebSocketOrigin same refuses another port');
is(origin('/echo', 'http://evil.example'), 403, 'WebSocketOrigin same refuses another host');
is(origin('/echo', "http://localhost:$port.evil.example"), 403, "WebSocketOrigin same refuses another host whose name begins with this host's name");
is(origin('/echo', 'null'), 403, 'WebSocketOrigin same refuses the origin null');
is(origin('/echo', 'http://evil.example', version => $_), 403, "WebSocketOrigin same refuses another host in version $_") for 8, 7;
is(origin('/echo', $same, version => 8), 101, 'WebSocketOrigin same accepts this host in version 8');
is((Client->refused($httpd, '/echo', version => 8, headers => ['Origin: http://evil.example']))[0],
    403, 'WebSocketOrigin same refuses another host in version 8 with the header Origin');
is((Client->refused($httpd, '/echo', request => join "\r\n", 'GET /echo HTTP/1.1', 'Host: www.example.org',
            'Origin: https://www.example.org', (map {"$_: $right{$_}"} grep { $_ ne 'Host' } keys %right), '', ''))[0],
    101, 'WebSocketOrigin same accepts default ports, with TLS terminated by a proxy');
is(origin('/any', 'http://evil.example'), 101, 'WebSocketOrigin any accepts every origin');
is(origin('/listed', 'https://app.example.org'), 101, 'a listed origin is accepted');
is(origin('/listed', 'https://app.example.org:443'), 101, 'a listed origin with its default port is accepted');
is(origin('/listed', 'http://app.example.org'), 403, 'a listed origin with another scheme is refused');
is(origin('/listed', 'http://[::1]:8080'), 101, 'a listed origin with an IPv6 address is accepted');
is(origin('/listed', 'null'), 101, 'the origin null is accepted if it is listed');
is(origin('/listed', $same), 403, 'a list without same refuses a page of this host');
is(origin('/listed-and-same', $same), 101, 'a list with same accepts a page of this host');
is(origin('/listed-and-same', 'https://app.example.org'), 101, 'a list with same accepts a listed origin');
like(scalar $httpd->wait_log(qr/refused with 403: origin "http:\/\/evil\.example" may not.*WebSocketOrigin/),
    qr/403/, 'the log has the refused origin and the directive');

# ---- Subprotocols: the client's order decides ----

sub agreed {
    my ($path, $offer) = @_;
    my $c = Client->new($httpd, $path, protocol => $offer);
    return join ' ', $c->header('Sec-WebSocket-Protocol') // '-', ($c->message)[1];
}
is(agreed('/several', 'one'), 'one first', 'a subprotocol selects its handler');
is(agreed('/several', 'two'), 'two second', 'another subprotocol selects another handler');
is(agreed('/several', 'uno'), 'uno first', 'the second subprotocol of a handler selects it');
is(agreed('/several', 'two, one'), 'two second', "of two known subprotocols, the client's first one is chosen");
is(agreed('/several', 'one, two'), 'one first', "of two known subprotocols in the other order, the client's first one is chosen");
is(agreed('/several', 'three, two'), 'two second', 'unknown subprotocols are skipped');
is(agreed('/several', 'three'), '- otherwise', 'with only unknown subprotocols, the default handler is chosen, and no subprotocol is agreed on');
is(agreed('/several', 'ONE'), '- otherwise', 'subprotocols are compared with regard to case');
is(agreed('/several', undef), '- otherwise', 'without a subprotocol in the request, the default handler is chosen');
is((Client->refused($httpd, '/no-default', protocol => 'three'))[0], 400, 'with only unknown subprotocols and without a default handler, the handshake is refused with 400');
is((Client->refused($httpd, '/no-default'))[0], 400, 'without a subprotocol and without a default handler, the handshake is refused with 400');
ok($httpd->wait_log(qr/no handler has a subprotocol of "three"/), 'the log has the subprotocols that no handler has');

done_testing;
