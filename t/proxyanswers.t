# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests ws_proxy with to=proxypass: which parts of the server's answer the client gets, TLS according to the SSLProxy
# directives, and compressed messages, which the handler passes on unchanged. In tests of exact bytes, the test itself acts
# as the server.

use strict;
use warnings;
use lib 't/lib';
use Client qw(BINARY CLOSE CONTINUATION PING TEXT frame_bytes);
use Compress::Raw::Zlib;
use File::Temp qw(tempdir);
use Httpd;
use IO::Socket::INET;
use Server qw(accepted answer frame say_to);
use Test::More;

my $tmp = tempdir('mod_websocket-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $tmp;
my $certs = Httpd::certificates();
my ($ca, $machine) = ("$tmp/ca.crt", "$tmp/machine.pem");
Httpd::write_file($ca, Httpd::read_file("$certs/ca.crt"));
Httpd::write_file($machine, Httpd::read_file("$certs/client.crt") . Httpd::read_file("$certs/client.key"));
chmod 0600, $machine;    # readable only by root, as mod_ssl's documentation requires
my ($tls, $closed) = map { Httpd::free_port() } 1 .. 2;
my $raw  = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1') or die "listen: $!";
my $port = $raw->sockport;
my @modules = (modules => [qw(proxy proxy_http proxy_wstunnel remoteip)]);

# An echo server with TLS. Below /certified, it requires a client certificate.
my $echo = <<"END";
Listen 127.0.0.1:$tls
Listen 127.0.0.2:$tls
<VirtualHost 127.0.0.1:$tls 127.0.0.2:$tls>
    SSLEngine on
    SSLCertificateFile $certs/server.crt
    SSLCertificateKeyFile $certs/server.key
    SSLCACertificateFile $ca
    SSLProtocol TLSv1.2
    RewriteEngine on
    RewriteOptions Inherit
    ProxyPass / !
    WebSocketHandler off
    <Location /echo>
        WebSocketHandler ws_echo.so
    </Location>
    <Location /certified>
        WebSocketHandler ws_echo.so
        SSLVerifyClient require
    </Location>
</VirtualHost>
END

# Returns a virtual host with these directives. It proxies /tls/ and /address/ to the echo server.
my @hosts;
sub host {
    my ($name, @directives) = @_;
    push @hosts, $name;
    return join "\n", "<VirtualHost *:*>", "ServerName $name.example", 'SSLProxyEngine on', @directives,
        "ProxyPass /tls/ wss://localhost:$tls/", "ProxyPass /address/ wss://127.0.0.2:$tls/", '</VirtualHost>', '';
}
my $hosts = host('default')
    . host('trusts',   'SSLProxyVerify require', "SSLProxyCACertificateFile $ca")
    . host('distrusts', 'SSLProxyVerify require', "SSLProxyCACertificateFile $certs/server.crt")
    . host('shallow',  'SSLProxyVerify require', "SSLProxyCACertificateFile $ca", 'SSLProxyVerifyDepth 1',
        "<Proxy wss://localhost:$tls/>", 'SSLProxyVerifyDepth 0', '</Proxy>')
    . host('unnamed',  'SSLProxyCheckPeerName off')
    . host('strict',   'SSLProxyVerify require', "SSLProxyCACertificateFile $ca", 'SSLProxyCheckPeerName on')
    . host('machine',  "SSLProxyMachineCertificateFile $machine")
    . host('section',  "<Proxy wss://localhost:$tls/>", "SSLProxyMachineCertificateFile $machine", '</Proxy>')
    . host('new',      'SSLProxyProtocol TLSv1.3')
    . host('old',      'SSLProxyProtocol all -TLSv1.3', 'SSLProxyCipherSuite ECDHE+AESGCM');

my $httpd = Httpd->start(@modules, conf => <<"END");
WebSocketHandler ws_proxy.so to=proxypass
WebSocketOrigin any
ProxyVia full
RemoteIPHeader X-Client
RemoteIPInternalProxy 127.0.0.1
ProxyPass        /raw/       ws://127.0.0.1:$port/base/
ProxyPass        /pages/     ws://127.0.0.1:$port/base/
ProxyPassReverse /raw/       http://127.0.0.1:$port/base/
ProxyPassReverseCookiePath /base/ /raw/
ProxyPass        /connects/  ws://127.0.0.1:$port/ connectiontimeout=1 timeout=2
<Location /pages/>
    ProxyErrorOverride on
</Location>
<Location /decoded>
    ProxyPass ws://127.0.0.1:$port/base
    WebSocketHandler ws_proxy.so to=proxypass compression=on
    WebSocketCompression on
</Location>
<Location /off>
    ProxyPass ws://127.0.0.1:$port/base
    WebSocketHandler ws_proxy.so to=proxypass compression=off
    WebSocketCompression on
</Location>
<Location /url>
    WebSocketHandler ws_proxy.so to=ws://127.0.0.1:$port/base compression=pass
    WebSocketMaxMessageSize 1M
</Location>
<Location /drafts>
    WebSocketHandler ws_proxy.so to=ws://127.0.0.1:$port/base compression=pass
    WebSocketVersions 75
</Location>
<Location /metrics>
    SetHandler websocket-status
    Require all granted
</Location>
$echo
$hosts
END

# ---- Refusals ----

# Connect, and answer as the server. Returns the (status, head, body) that the client gets.
sub refusal {
    my ($path, $answer, %o) = @_;
    my $c = Client->new($httpd, $path, %o, expect => 0);
    my ($s) = accepted($raw);
    local $SIG{PIPE} = 'IGNORE';
    print $s $answer;
    close $s if !$o{stays};
    $c->read_answer;
    my $body = '';
    $c->socket->blocking(1);
    if (my ($len) = $c->head =~ /^Content-Length: (\d+)\r?$/mi) {
        $c->fill while length $c->{in} < $len;
        $body = substr $c->{in}, 0, $len;
    }
    return ($c->status, $c->head, $body);
}

for my $status (200, 201, 206, 302, 400, 401, 403, 404, 409, 418, 426, 429, 500, 501, 503, 599) {
    my ($got, $head, $body) = refusal('/raw/x', "HTTP/1.1 $status Why Not\r\nContent-Type: application/json\r\n"
            . "Content-Length: 12\r\nX-Why: told\r\nSet-Cookie: a=1; Path=/base/\r\nSet-Cookie: b=2\r\nRetry-After: 7\r\n"
            . "Connection: close, X-Hop\r\nX-Hop: 1\r\nLocation: http://127.0.0.1:$port/base/login\r\n\r\n{\"no\": true}");
    is("$got $body", "$status {\"no\": true}", "$status: the server's status and body reach the client");
    like($head, qr{^Content-Type: application/json\r?$}m, "$status: the client gets the body's type");
    like($head, qr{^X-Why: told\r?$}m, "$status: the client gets headers that the proxy does not know");
    like($head, qr{^Set-Cookie: a=1; Path=/raw/\r?\nSet-Cookie: b=2\r?$}m, "$status: the client gets cookies as ProxyPassReverseCookiePath maps them");
    like($head, qr{^Location: http://localhost:\d+/raw/login\r?$}m, "$status: the client gets Location as ProxyPassReverse maps it");
    like($head, qr{^Via: 1\.1 \S+ \(Apache.*\)\r?$}m, "$status: the client gets Via");
    unlike($head, qr{^X-Hop|^Connection:.*X-Hop}m, "$status: the client gets no hop-by-hop headers");
}
{
    my ($status, $head, $body) = refusal('/raw/x', "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\nContent-Encoding: x-test\r\n"
            . "\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
    is("$status $body", '403 hello world', 'a refusal with a body in chunks reaches the client');
    like($head, qr{^Content-Encoding: x-test\r?$}m, "a refusal's Content-Encoding reaches the client");
    ($status, $head, $body) = refusal('/raw/x', "HTTP/1.0 403 No\r\n\r\nto the end");
    is("$status $body", '403 to the end', 'a refusal whose body ends with the connection reaches the client');
    ($status, $head, $body) = refusal('/raw/x', "HTTP/1.1 404 No\r\nContent-Length: 0\r\nX-Why: told\r\n\r\n", stays => 1);
    is($status, 404, 'a refusal without a body reaches the client');
    like($head, qr{^X-Why: told}m, 'the headers of a refusal without a body reach the client');
    ($status, $head, $body) = refusal('/raw/x', "HTTP/1.1 499 No\r\nContent-Length: 0\r\nX-Why: told\r\n\r\n");
    is($status, 499, 'a status that httpd has no page for reaches the client');
    ($status, $head, $body) = refusal('/raw/x', "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nX-Not: 1\r\n\r\n"
            . "HTTP/1.1 401 Who\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 2\r\n\r\nno");
    is("$status $body", '401 no', 'a refusal after interim answers reaches the client');
    like($head, qr{^WWW-Authenticate: Basic realm=x\r?$}m, "a refusal's WWW-Authenticate reaches the client");
    ($status, undef, $body) = refusal('/pages/x', "HTTP/1.1 404 No\r\nContent-Length: 2\r\nX-Why: told\r\n\r\nno");
    ok($status == 404 && $body =~ /DOCTYPE|not found/i, "with ProxyErrorOverride, the client gets httpd's error page") or diag($body);
    ($status, $head, $body) = refusal('/raw/x', "HTTP/1.1 403 No\r\nContent-Length: 300000\r\nX-Why: told\r\n\r\n" . 'x' x 300_000);
    ok($status == 403 && length $body < 1000 && $head =~ /X-Why/, "if the body is larger than 256 KiB, the client gets httpd's error page") or diag(length $body);
    $httpd->wait_log(qr{proxy: the body of the answer 403 is incomplete or longer});
    ($status) = refusal('/raw/x', "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal");
    is($status, 502, 'a truncated answer 200 is answered with 502, not with half of a page');
    ($status, undef, $body) = refusal('/url', "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
    is("$status $body", '403 no', 'with to=URL, a refusal reaches the client, too');
}

# ---- Garbage ----

my $accept = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSet-Cookie: part=1\r\n";
for (
    ['garbage',              "\x16\x03\x01\x02garbage\r\n\r\n",                            qr/not HTTP/],
    ['nothing',              '',                                                          qr/closed|end/],
    ['half a head',          "HTTP/1.1 101 x\r\nUpgrade: webs",                           qr/closed|end/],
    ['a wrong accept key',   "${accept}Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n", qr/does not match/],
    ['no accept key',        "$accept\r\n",                                               qr/exactly one Sec-WebSocket-Accept/],
    ['a head without end',   $accept . 'X: ' . 'A' x 40_000,                              qr/long|large|more than|bytes/],
    ['an extension that was not offered', undef, qr/extension/],
    )
{
    my ($what, $answer, $why) = @$_;
    my $before = $httpd->count_log(qr{proxy: no connection to ws://127\.0\.0\.1:$port/base/x: .*$why});
    my $c = Client->new($httpd, '/raw/x?secret=1', expect => 0);
    my ($s, $head) = accepted($raw);
    local $SIG{PIPE} = 'IGNORE';
    defined $answer ? print $s $answer : answer($s, $head, 'Sec-WebSocket-Extensions: x-other');
    close $s;
    $c->read_answer;
    is($c->status, 502, "$what is answered with 502");
    unlike($c->head, qr/part=1|Sec-WebSocket/, "$what: the client gets no part of the answer");
    ok(Httpd::wait_for(sub { $httpd->count_log(qr{proxy: no connection to ws://127\.0\.0\.1:$port/base/x: .*$why}) > $before },
        'a log line'), "$what: the log has the target and the reason");
}
unlike($httpd->error_log, qr/secret=1/, 'the log does not have the query string');

# ---- The 101 and the request to the server ----

sub bridged {
    my ($path, $answer, @headers) = @_;
    my $c = Client->new($httpd, $path, headers => \@headers, expect => 0);
    my ($s, $head) = accepted($raw);
    answer($s, $head, @$answer);
    $c->read_answer;
    is($c->status, 101, "$path: the client is connected through the proxy") or diag($c->head);
    return ($c, $s, $head);
}
{
    my ($c, $s, $head) = bridged('/raw/x', ['Set-Cookie: a=1; Path=/base/', 'X-Name: me', 'Via: 1.1 inner', 'Content-Type: text/x'],
        'X-Client: 192.0.2.7', 'Via: 1.1 outer');
    like($head, qr{^Via: 1\.1 outer, 1\.1 \S+ \(Apache.*\)\r$}m, 'with ProxyVia full, the server gets Via');
    like($head, qr{^X-Forwarded-For: 192\.0\.2\.7\r$}m, "with mod_remoteip, the server gets the client's address");
    like($c->head, qr{^Set-Cookie: a=1; Path=/raw/\r$}m, 'the client gets a cookie of the 101, with its path mapped');
    like($c->head, qr{^X-Name: me\r$}m, 'the client gets another header of the 101');
    like($c->head, qr{^Via: 1\.1 inner, 1\.1 \S+ \(Apache.*\)\r$}m, 'with ProxyVia full, the client gets Via');
    unlike($c->head, qr/Content-Type/, 'the client gets no header that describes a body');
}

# ---- TLS ----

for (
    ['default',   '/tls/echo',       101, undef],
    ['default',   '/address/echo',   502, qr/certificate: host name mismatch/],
    ['unnamed',   '/address/echo',   101, undef],
    ['trusts',    '/tls/echo',       101, undef],
    ['strict',    '/address/echo',   502, qr/certificate: host name mismatch/],
    ['distrusts', '/tls/echo',       502, qr/certificate: unknown CA/],
    ['shallow',   '/tls/echo',       502, qr/certificate: certificate chain too long/],
    ['default',   '/tls/certified',  502, qr/tls: /],
    ['machine',   '/tls/certified',  101, undef],
    ['section',   '/tls/certified',  101, undef],
    ['old',       '/tls/echo',       101, undef],
    ['new',       '/tls/echo',       502, qr/tls: /],
    )
{
    my ($host, $path, $expected, $why) = @$_;
    my $request = "GET $path HTTP/1.1\r\nHost: $host.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        . "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    my ($status, $c) = Client->refused($httpd, $path, request => $request);
    is($status, $expected, "TLS, $host, $path: the handshake is answered with $expected") or diag((split /\n/, $httpd->error_log)[-1]);
    $c->echoes('hello', "TLS, $host, $path: the connection echoes") if $status == 101;
    ok($httpd->wait_log($why), "TLS, $host, $path: the log says why") if $why;
}
$httpd->wait_log(qr{certificates of wss servers are not verified});

# ---- Compression ----

my $pmd = 'permessage-deflate';

# Compress, and remove the last four bytes of the flush (RFC 7692, section 7.2.1).
sub deflated {
    my ($d, $text) = @_;
    my ($out, $rest) = ('', '');
    $d->deflate($text, $out);
    $d->flush($rest, Z_SYNC_FLUSH);
    return substr $out . $rest, 0, -4;
}
# Returns the number of bytes that zlib has processed. The loop updates the counters a moment later.
sub zlib_bytes {
    my $page = ($httpd->get('/metrics?prometheus'))[2];
    my $sum = 0;
    $sum += $1 while $page =~ /^\w*compressed_bytes_total\{[^}]*\} (\d+)/mg;
    return $sum;
}
{
    my $offer = "$pmd; client_max_window_bits; server_max_window_bits=12, $pmd, x-other";
    my ($c, $s, $head) = bridged('/raw/x', ["Sec-WebSocket-Extensions: $pmd; server_max_window_bits=12; client_max_window_bits=11"],
        "Sec-WebSocket-Extensions: $offer");
    like($head, qr{^Sec-WebSocket-Extensions: $pmd; client_max_window_bits; server_max_window_bits=12, $pmd\r$}m,
        "the client's offers of permessage-deflate reach the server");
    like($c->head, qr{^Sec-WebSocket-Extensions: $pmd; server_max_window_bits=12; client_max_window_bits=11\r$}m,
        "the server's permessage-deflate reaches the client");
    my $d = Compress::Raw::Zlib::Deflate->new(-WindowBits => -11, -AppendOutput => 1);
    for my $text ('hello' x 100, 'hello' x 100, "not UTF-8 \xff, but compressed") {    # with context takeover
        my $bytes = deflated($d, $text);
        $c->raw(frame_bytes(TEXT, $bytes, rsv => 0x40));
        my ($opcode, $payload, $first) = frame($s);
        ok($opcode == TEXT && $first == 0xC1 && $payload eq $bytes, 'a compressed message reaches the server unchanged');
        syswrite $s, frame_bytes(TEXT, $bytes, rsv => 0x40, mask => '');
        my @got = $c->frame;
        ok($got[1] eq $bytes && $got[2] == 0xC1, 'a compressed message reaches the client unchanged');
    }
    $c->raw(frame_bytes(BINARY, 'ab', rsv => 0x40, fin => 0));
    $c->send(PING, 'between');
    $c->raw(frame_bytes(CONTINUATION, 'cd'));
    my ($all, @firsts) = '';
    do {
        my ($opcode, $payload, $first) = frame($s);
        $all .= $payload;
        push @firsts, $first;
    } until $firsts[-1] & 0x80;
    is($all, 'abcd', 'a compressed message in fragments reaches the server');
    is($firsts[0] & 0x7F, 0x42, 'the first fragment has the bit RSV1');
    ok(!(grep { $_ & 0x70 } @firsts[1 .. $#firsts]), 'the other fragments do not have the bit RSV1');
    $c->frame;    # skip the pong
    $c->text('plain');
    is((frame($s))[1], 'plain', 'an uncompressed message between compressed ones reaches the server');
    $c->text("\xff");
    is(unpack('n', (frame($s))[1]), 1007, 'an uncompressed text is checked for UTF-8');
    is(zlib_bytes(), 0, 'zlib was not used for these messages');
}
{
    my ($c, $s, $head) = bridged('/raw/x', [], "Sec-WebSocket-Extensions: $pmd");
    unlike($c->head, qr/Extensions/, "if the server does not compress, the client's connection is not compressed either");
    $c->raw(frame_bytes(TEXT, 'x', rsv => 0x40));
    is(unpack('n', (frame($s))[1]), 1002, 'if the server does not compress, RSV1 from the client is an error');
    ($c, $s, $head) = bridged('/raw/x', []);
    unlike($head, qr/Extensions/, 'if the client offers no compression, none is offered to the server');
    ($c, $s, $head) = bridged('/decoded', ["Sec-WebSocket-Extensions: $pmd; server_no_context_takeover"], "Sec-WebSocket-Extensions: $pmd");
    $c->text('h' x 300);
    my ($opcode, $payload, $first) = frame($s);
    ok($first == 0xC1 && length $payload < 50, 'compression=on: a message is compressed again for the server');
    ok(Httpd::wait_for(sub { zlib_bytes() > 300 }, 'zlib'), 'compression=on: zlib was used');
    ($c, $s, $head) = bridged('/off', [], "Sec-WebSocket-Extensions: $pmd");
    unlike($head, qr/Extensions/, 'compression=off: no compression is offered to the server');
    like($c->head, qr/Extensions: $pmd/, "compression=off: the client's connection is compressed by WebSocketCompression");
    ($c, $s, $head) = bridged('/url', ["Sec-WebSocket-Extensions: $pmd"], "Sec-WebSocket-Extensions: $pmd");
    $c->raw(frame_bytes(TEXT, 'any', rsv => 0x40));
    is((frame($s))[1], 'any', 'to=URL compression=pass: a compressed message reaches the server unchanged');
    $c->raw(frame_bytes(BINARY, 'x' x (1 << 20), rsv => 0x40, fin => 0));
    $c->raw(frame_bytes(CONTINUATION, 'x'));
    my @close;
    do { @close = frame($s) } until !@close || $close[0] == CLOSE;
    is(unpack('n', $close[1] // ''), 1009, 'WebSocketMaxMessageSize applies to the compressed size');
    $c = Client->new($httpd, '/drafts', expect => 0, request => join "\r\n", 'GET /drafts HTTP/1.1', 'Host: localhost:' . $httpd->port,
        'Upgrade: WebSocket', 'Connection: Upgrade', 'Origin: http://localhost:' . $httpd->port, "Sec-WebSocket-Extensions: $pmd", '', '');
    ($s, $head) = accepted($raw);
    unlike($head, qr/Extensions/, 'version 75: no compression is offered to the server');
    answer($s, $head);
    $c->read_answer;
    is($c->status, 101, 'version 75: the client is connected through the proxy');
    $c->raw("\0hello\xff");
    is((frame($s))[1], 'hello', 'version 75: a message reaches the server');
}
for my $bad ("$pmd; client_max_window_bits=10", "$pmd; unknown=1", "$pmd, $pmd", "$pmd; client_max_window_bits", 'x-other',
    "$pmd; server_max_window_bits=16")
{
    my $c = Client->new($httpd, '/raw/x', headers => ["Sec-WebSocket-Extensions: $pmd"], expect => 0);
    my ($s, $head) = accepted($raw);
    answer($s, $head, "Sec-WebSocket-Extensions: $bad");
    $c->read_answer;
    is($c->status, 502, "an extension that the client did not offer is answered with 502: \"$bad\"");
}
{
    my $c = Client->new($httpd, '/raw/x', headers => ["Sec-WebSocket-Extensions: $pmd; server_no_context_takeover"], expect => 0);
    my ($s, $head) = accepted($raw);
    answer($s, $head, "Sec-WebSocket-Extensions: $pmd");
    $c->read_answer;
    is($c->status, 502, 'an extension without a required parameter is answered with 502');
}
$httpd->stop;
done_testing;
