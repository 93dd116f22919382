# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# When the server refuses event streams, polls and SockJS receivers over HTTP/2, the clients repeat them over HTTP/1.1, where they
# occupy no thread. Tests curl, node and Chromium.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Program;

plan skip_all => 'mod_http2 is inactive with the prefork MPM' if $Httpd::MPM eq 'prefork';

my $httpd = Httpd->start(
    modules  => ['http2'],
    files    => { 'htdocs/page.html' => "<!DOCTYPE html>\n" },
    mpm_conf => "StartServers 1\nServerLimit 1\nThreadsPerChild 25\nMaxRequestWorkers 25\n",
    conf     => <<'END',
Protocols h2 h2c http/1.1
<Location "/events">
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe "%{WEBSOCKET_CHANNEL} != 'secret'"
</Location>
<Location "/elsewhere">
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe all
    ErrorDocument 403 https://localhost/elsewhere.html
</Location>
<Location "/relayed">
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe all
    WebSocketRelay on
</Location>
<Location "/sockjs">
    WebSocketHandler ws_echo.so
    WebSocketTransports sockjs
</Location>
<Location "/sockjs-relayed">
    WebSocketHandler ws_echo.so
    WebSocketTransports sockjs
    WebSocketRelay on
</Location>
END
);
my $ca  = Httpd::certificates() . '/ca.crt';
my $tls = 'https://localhost:' . $httpd->ssl_port;
my $http = 'http://localhost:' . $httpd->port;

sub curl { return ('curl', '-sSN', '-i', '-m', 300, '--cacert', $ca, @_) }

Program::tap('node', 'node', 't/clients/h2.js', $httpd->ssl_port, $ca, 'events');

# ---- 36 clients, 25 threads ----

my (@streams, @polls);
for my $n (1 .. 36) {
    my $server = $n % 2 ? $tls : $http;
    if ($n % 3) {
        push @streams, Program->start(curl('--http2', '-H', 'Accept: text/event-stream', "$server/events/many"));
    }
    else {
        push @polls, Program->start(curl('--http2', "$server/events/many?wait=120"));
    }
}
$_->wait_output(qr{^HTTP/1\.1 200 OK\r\n.*^event: live$}ms) for @streams;
pass('curl --http2 repeats the request over HTTP/1.1, over TLS and unencrypted');
Httpd::wait_for(sub { $httpd->count_log(qr/channel many, the first of 1: a poll$/m) >= @polls }, 'the polls');
like(scalar `curl -s -m 60 $http/index.html`, qr/ordinary content/, 'while many streams are open, an ordinary page is answered over HTTP/1.1');
like(scalar `curl -s -m 60 --http2 --cacert $ca $tls/index.html`, qr/ordinary content/, 'while many streams are open, an ordinary page is answered over HTTP/2');
ok(Httpd::wait_for(sub { $httpd->status_value('BusyWorkers') <= 2 }, 'the threads'), 'streams and polls that are repeated over HTTP/1.1 occupy no thread');
is($httpd->count_log(qr/\[websocket:warn\].* is refused with HTTP_1_1_REQUIRED.*"Protocols http\/1\.1"/), 1,
    'the log suggests "Protocols http/1.1", once');
undef $_ for @streams, @polls;

# ---- Chromium ----

SKIP: {
    skip 'the test with Chromium does not run with a sanitizer', 1 if $ENV{WS_TEST_PRELOAD};
    Program::tap('Chromium', 'node', 't/clients/http1-page.js', "$tls/page.html", "$tls/events/many");
}

done_testing;
