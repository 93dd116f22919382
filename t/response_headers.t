# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# mod_headers can compute response headers from the request, also for responses that this module writes itself. A line
# break in such a header must not split the response.

use strict;
use warnings;
use lib 't/lib';
use Client;
use Httpd;
use Test::More;

my $split    = '%0d%0aX-Split:%20yes';
my $sections = <<"END";
RewriteEngine on
<Location "/ws">
    WebSocketHandler ws_echo.so
    Header always set X-Path "expr=%{REQUEST_URI}"
</Location>
<Location "/relayed">
    WebSocketHandler ws_echo.so
    WebSocketRelay on
    Header always set X-Path "expr=%{REQUEST_URI}"
</Location>
<Location "/success">
    WebSocketHandler ws_echo.so
    Header set X-Path "expr=%{REQUEST_URI}"
</Location>
<Location "/cookie">
    WebSocketHandler ws_echo.so
    Header always add Set-Cookie "expr=path=%{REQUEST_URI}"
</Location>
<Location "/refused">
    WebSocketHandler ws_echo.so
    WebSocketOrigin https://www.example.org
    Header always set X-Path "expr=%{REQUEST_URI}"
</Location>
<Location "/path-events">
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe all
    Header always set X-Query "expr=%{unescape:%{QUERY_STRING}}"
</Location>
<Location "/relayed-events">
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe all
    WebSocketRelay on
    Header always set X-Query "expr=%{unescape:%{QUERY_STRING}}"
</Location>
END
my $h2    = $Httpd::MPM ne 'prefork';
my $httpd = Httpd->start(
    modules  => ['headers', $h2 ? 'http2' : ()],
    conf     => $sections,
    ssl_conf => $sections . ($h2 ? "Protocols h2 http/1.1\nH2WebSockets on\n" : ''),
);

for my $tls (0, 1) {
    my $over = $tls ? ', TLS' : '';
    for my $path (qw(/ws /relayed /success /cookie)) {
        my ($status, $c) = Client->refused($httpd, "$path/$split", tls => $tls);
        is($status, 500, "$path: a handshake with a line break in a header is refused$over");
        unlike($c->head, qr/^X-Split/mi, "$path: the line break adds no header$over");
        $c = Client->new($httpd, "$path/a%20b", tls => $tls);
        my ($value) = map { $c->header($_) // () } 'X-Path', 'Set-Cookie';
        like($value, qr{$path/a b$}, "$path: a value without a line break is sent$over");
        $c->echoes("$path$over", "$path: a connection with such a value echoes$over");
    }
    my ($status, $c) = Client->refused($httpd, "/refused/$split", tls => $tls, origin => 'https://other.example');
    unlike($c->head, qr/^X-Split/mi, "a refusal with a line break in a header has no added header$over");
}
$httpd->wait_log(qr/refused with 500: response header "X-Path": the value contains control characters/);
my ($status) = Client->refused($httpd, '/ws/%7f%01');
is($status, 500, 'a handshake with other control characters in a header is refused');

my $curl = 'curl -s -i -g -m 60 --cacert ' . Httpd::certificates() . '/ca.crt';
my $https = 'https://localhost:' . $httpd->ssl_port;
for (['', 'http://127.0.0.1:' . $httpd->port], ['--http1.1', $https], $h2 ? ['--http2', $https] : ()) {
    my ($version, $url) = @$_;
    for my $accept ('text/event-stream', 'application/json') {
        for my $path (qw(/path-events /relayed-events)) {
            my $answer = `$curl $version -H 'Accept: $accept' '$url$path/news?wait=0&x=$split'`;
            unlike($answer, qr/^X-Split/mi, "$accept, $version $url$path: the line break adds no header");
            next if $version eq '--http2';    # with HTTP/2, mod_http2 resets the stream, as for any page
            like($answer, qr{^HTTP/\S+ 500 }, "$accept, $version $url$path: the request is refused with 500") or diag $answer;
            is(() = $answer =~ m{^HTTP/}mg, 1, "$accept, $version $url$path: there is one response");
        }
    }
    like(`$curl $version '$url/path-events/news?wait=0'`, qr/^x-query: wait=0\r.*"messages":\[\]/msi, "$version $url: a value without a line break is sent");
}
$httpd->stop;
done_testing;
