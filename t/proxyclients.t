# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests ws_proxy to=proxypass with third-party clients and applications: socket.io on two servers with a sticky balancer,
# noVNC, Chromium, and clients in other languages. They connect over HTTP/1.1, TLS and HTTP/2.

use strict;
use warnings;
use lib 't/lib';
use Client;
use File::Temp qw(tempdir);
use Httpd;
use Program;
use Test::More;

my $dir = tempdir('mod_websocket-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
my ($one, $two, $echo, $vnc) = map { Httpd::free_port() } 1 .. 4;
my @servers = map { Program->start('node', 't/clients/socketio.js', 'server', @$_) } ['one', $one], ['two', $two];
$_->wait_output(qr/^ready$/m) for @servers;
my $desk = Program->start('Xtigervnc', '-displayfd', '1', '-geometry', '1024x768', '-depth', '24', '-SecurityTypes', 'None', '-retro',
    '-interface', '127.0.0.1', '-rfbport', $vnc, '-nolisten', 'tcp');
$desk->wait_output(qr/^\d+$/m);

# Read the page with noVNC from docs/tutorial.md.
my ($page) = Httpd::read_file('docs/tutorial.md') =~ /^```html file=htdocs\/desk\.html\n(.*?)^```$/ms;
ok($page, 'docs/tutorial.md has the page for noVNC');

my $httpd = Httpd->start(
    modules => [qw(proxy proxy_http proxy_wstunnel slotmem_shm proxy_balancer lbmethod_byrequests http2 mime)],
    files   => { 'htdocs/desk.html' => $page, 'htdocs/page.html' => '<!DOCTYPE html><title>A page</title>' },
    conf    => <<"END");
Protocols h2 h2c http/1.1
TypesConfig /dev/null
AddType text/javascript .js
AddType text/html .html
H2WebSockets on
WebSocketHandler ws_proxy.so to=proxypass
WebSocketMaxMessageSize 16M
ProxyPreserveHost on
Header add Set-Cookie "SERVERID=sticky.%{BALANCER_WORKER_ROUTE}e; path=/" env=BALANCER_ROUTE_CHANGED
<Proxy "balancer://nodes_polling">
    BalancerMember "http://127.0.0.1:$one" route=one
    BalancerMember "http://127.0.0.1:$two" route=two
    ProxySet stickysession=SERVERID
</Proxy>
<Proxy "balancer://nodes_ws">
    BalancerMember "ws://127.0.0.1:$one" route=one
    BalancerMember "ws://127.0.0.1:$two" route=two
    ProxySet stickysession=SERVERID
</Proxy>
RewriteEngine On
RewriteCond %{HTTP:Upgrade} =websocket [NC]
RewriteRule ^/(socket.io/.*) balancer://nodes_ws/\$1 [P,L]
RewriteRule ^/(socket.io/.*) balancer://nodes_polling/\$1 [P,L]
ProxyPass /desktops ws://127.0.0.1:$echo/vnc
ProxyPass /echo ws://127.0.0.1:$echo/echo
ProxyPass /compressed ws://127.0.0.1:$echo/compressed
ProxyPass /who http://127.0.0.1:$echo/who upgrade=websocket
Listen 127.0.0.1:$echo
<VirtualHost 127.0.0.1:$echo>
    ProxyPass / !
    WebSocketHandler off
    <Location /vnc>
        WebSocketHandler ws_tcp.so to=127.0.0.1:$vnc
    </Location>
    <Location /echo>
        WebSocketHandler ws_echo.so protocol=echo
        WebSocketHandler ws_echo.so
    </Location>
    <Location /compressed>
        WebSocketHandler ws_echo.so protocol=echo
        WebSocketHandler ws_echo.so
        WebSocketCompression on takeover=on
    </Location>
    <Location /who>
        WebSocketHandler @{[Httpd::compile('api')]}
    </Location>
</VirtualHost>
END
my ($plain, $secure) = ('localhost:' . $httpd->port, 'localhost:' . $httpd->ssl_port);
my $ca = Httpd::certificates() . '/ca.crt';

# ---- socket.io with sticky sessions ----

Program::tap('socket.io', 'node', 't/clients/socketio.js', 'client', "http://$plain", 'one,two');

# ---- noVNC in Chromium ----

system('cp', '-r', 't/node_modules/@novnc', $httpd->root . '/htdocs/') == 0 or die 'cp';
{
    my $path = $httpd->root . '/htdocs/desk.html';
    $page =~ s{\./node_modules/}{./};
    Httpd::write_file($path, $page);
}
Program::tap('noVNC', 'node', 't/clients/tutorial.js', 'desktop', "http://$plain/desk.html", $dir);

# ---- Browsers and other clients ----

Program::tap('Chromium', 'node', 't/clients/chromium.js', map { ("http://$plain/page.html", "ws://$plain/$_") } qw(echo compressed));
Program::tap('Chromium, TLS', 'node', 't/clients/chromium.js',
    map { ("https://$secure/page.html", "wss://$secure/$_") } qw(echo compressed));
for my $path (qw(echo compressed)) {
    Program::tap("python3-websockets, $path", '/usr/bin/python3', 't/clients/echo.py', "ws://$plain/$path", $ca);
}

# ---- HTTP/2 ----

SKIP: {
    skip 'mod_http2 is inactive with the prefork MPM', 1 if $Httpd::MPM eq 'prefork';
    Program::tap('HTTP/2', 'node', 't/clients/h2.js', $httpd->ssl_port, $ca, 'proxied');
}
$httpd->stop;
done_testing;
