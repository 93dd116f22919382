# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# At LogLevel warn, the log has lines about clients that were refused because of a limit or their origin. Each line names
# the client and the directive. The number of these lines is limited.

use strict;
use warnings;
use lib 't/lib';
use Client;
use Httpd;
use Test::More;

my $httpd = Httpd->start(
    log_level => 'warn',
    mpm_conf  => $Httpd::MPM eq 'prefork' ? undef : "StartServers 1\nServerLimit 1\nThreadsPerChild 25\nMaxRequestWorkers 25\nMinSpareThreads 1\nMaxSpareThreads 25",
    conf      => <<'END');
<Location "/limit">
    WebSocketHandler ws_echo.so
    WebSocketLimit handshakes=1 key=address
</Location>
<Location "/messages">
    WebSocketHandler ws_echo.so
    WebSocketLimit messages=1
</Location>
<Location "/origin">
    WebSocketHandler ws_echo.so
    WebSocketOrigin https://www.example.org
</Location>
<Location "/events">
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe all
    WebSocketOrigin https://www.example.org
</Location>
END
my $level = qr/\[websocket:warn\][^\n]*\[client 127\.0\.0\.1:\d+\] websocket: /;

Client->new($httpd, '/limit');
Httpd::wait_for(sub { (Client->refused($httpd, '/limit?token=secret'))[0] == 503 }, 'the limit');
ok($httpd->wait_log(qr/${level}handshake refused with 503: the limit is reached, for 127\.0\.0\.1 \(WebSocketLimit handshakes=1 key=address\)/),
    'a refusal by WebSocketLimit handshakes= is logged as a warning');
my $c = Client->new($httpd, '/messages?token=secret');
$c->text($_) for 1 .. 50;
ok($httpd->wait_log(qr/\[websocket:warn\][^\n]*\[client 127\.0\.0\.1\] \/messages, connection [0-9a-f]{16}: failing with 1008: more messages than WebSocketLimit allows/),
    'a connection closed by WebSocketLimit messages= is logged as a warning');
is((Client->refused($httpd, '/origin?token=secret', origin => 'https://evil.example'))[0], 403, 'a handshake with a wrong origin is refused');
ok($httpd->wait_log(qr{${level}handshake refused with 403: origin "https://evil\.example" may not connect to localhost:\d+ \(WebSocketOrigin\)}),
    'a handshake with a wrong origin is logged as a warning');
is(($httpd->get('/events/news?token=secret', 'Origin: https://evil.example'))[0], 403, 'an event stream with a wrong origin is refused');
ok($httpd->wait_log(qr{${level}channels: refused with 403: origin "https://evil\.example" is not allowed \(WebSocketOrigin\)}), 'an event stream with a wrong origin is logged as a warning');
SKIP: {
    skip 'with prefork, each of many processes has its own limit', 2 if $Httpd::MPM eq 'prefork';
    Client->refused($httpd, '/origin', origin => 'https://evil.example') for 1 .. 40;
    ok($httpd->wait_log(qr/more like this are logged at level info for a minute/), 'after many refusals, the log says that more are not logged as warnings');
    cmp_ok($httpd->count_log(qr/may not connect to/), '<', 41, 'not all of many refusals are logged as warnings');
}
unlike($httpd->error_log, qr/secret/, 'no log line has a query string');
$httpd->stop;
done_testing;
