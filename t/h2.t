# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests WebSockets over HTTP/2 (RFC 8441). The clients are node, Debian's python3-h2, Chromium, and haproxy as a proxy.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client qw(TEXT BINARY);
use Program;

plan skip_all => 'mod_http2 is inactive with the prefork MPM' if $Httpd::MPM eq 'prefork';

my $api  = Httpd::compile('api');
my $conf = <<"END";
Protocols h2 h2c http/1.1
H2WebSockets on
LogFormat "%{H2_STREAM_ID}e %H %>s %U%q" h2
CustomLog logs/h2_log h2
WebSocketMaxMessageSize 16M
WebSocketHandler $api
Header always set X-Always "always set"
<Location "/">
    WebSocketRelay on
    WebSocketCompression on takeover=on
    Header always add Set-Cookie "c=3" "expr=%{QUERY_STRING} =~ /cookies/"
</Location>
<Location "/protocols">
    WebSocketHandler ws_echo.so protocol=echo
    WebSocketHandler ws_echo.so
</Location>
<Location "/protocols/only">
    WebSocketHandler ws_echo.so protocol=echo
</Location>
<Location "/old">
    WebSocketVersions 13 76 75
</Location>
<Location "/events">
    WebSocketHandler off
    WebSocketRelay off
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe all
</Location>
<Location "/few">
    WebSocketRelay off
</Location>
<Location "/ordinary">
    WebSocketHandler off
</Location>
END

sub server {
    my (%o) = @_;
    return Httpd->start(
        modules  => ['http2'],
        files    => { 'htdocs/ordinary/index.html' => 'no WebSocket here' },
        mpm_conf => $o{mpm_conf} || "StartServers 1\nServerLimit 4\nThreadsPerChild 25\nMaxRequestWorkers 100\nMinSpareThreads 1",
        conf     => $conf . ($o{conf} // ''),
    );
}

my $httpd = server();
my $ca    = Httpd::certificates() . '/ca.crt';

sub node { my ($part, $server) = @_; return ('node', 't/clients/h2.js', ($server || $httpd)->ssl_port, $ca, $part) }
sub h2_log { Httpd::read_file($httpd->root . '/logs/h2_log') }

# Test the arguments of on_close for a connection.
sub is_told {
    my ($name, $told, $test, $server) = @_;
    my (undef, $got) = ($server || $httpd)->wait_log(qr/api: closed \Q$name\E (\d+ ".*?")/);
    is($got, $told, $test // "$name: the handler gets $told");
}

# ---- node ----

Program::tap('node', node('messages'));
ok(Httpd::wait_for(sub { h2_log() =~ m{^\d+ HTTP/2\.0 101 /\?cookie&name=cookies$}m }, 'the access log'),
    'the access log says that the WebSocket was a stream of HTTP/2');
ok($httpd->wait_log(qr/relayed: WebSocketRelay is on/), 'the error log says that WebSocketRelay caused the connection to be relayed');
is_told('cookies', '1006 ""');

Program::tap('node', node('ends'));
is_told(@$_) for ['client-closes', '4321 "done"'], ['server-closes', '4002 "enough"'], ['says-and-ends', '4003 ""'],
    ['ends-its-stream', '1006 ""'], ['resets-its-stream', '1006 ""'], ['is-gone-1', '1006 ""'], ['is-gone-2', '1006 ""'];
Program::tap('node', node('streams'));
Program::tap('node', node('refused'));
is($httpd->count_log(qr/is refused with HTTP_1_1_REQUIRED/), 0, 'with WebSocketRelay on, no WebSocket is refused with HTTP_1_1_REQUIRED');

{
    my $slow = Program->start(node('slow'));
    $slow->wait_output(qr/not reading/);
    ok($httpd->wait_log(qr/api: flood waits slow/), 'when a client does not read, the handler has to wait');
    $slow->write("go on\n");
    ok($slow->wait_output(qr/^ok when it reads.*/m), 'when the client reads again, the rest arrives');
}

# ---- Limits ----

Program::tap('node', node('limit'));
is($httpd->count_log(qr/\[websocket:warn\].* a WebSocket over HTTP\/2 is refused with HTTP_1_1_REQUIRED/), 1, 'too many WebSockets on a connection: the log warns once');
{
    my $small = server(mpm_conf => "StartServers 1\nServerLimit 1\nThreadsPerChild 25\nMaxRequestWorkers 25\n");
    Program::tap('one on each of many connections', node('connections', $small));
    is($small->count_log(qr/\[websocket:warn\].* a WebSocket over HTTP\/2 is refused with HTTP_1_1_REQUIRED/), 1, 'too many WebSockets on many connections: the log warns once');
}

# ---- Others ----

Program::tap('python3-h2', '/usr/bin/python3', 't/clients/python-h2.py', $httpd->port);
Program::tap('Chromium', 'node', 't/clients/h2-page.js', 'https://localhost:' . $httpd->ssl_port . '/');
ok(Httpd::wait_for(sub { h2_log() =~ m{^\d+ HTTP/2\.0 101 /chromium$}m }, 'the access log'),
    "Chromium's WebSocket was a stream of HTTP/2");

{
    # The client uses HTTP/1.1 to haproxy, and haproxy uses HTTP/2 to httpd. haproxy passes the upgrade token on unchanged,
    # and mod_http2 accepts it only in lower case.
    my $port = Httpd::free_port();
    my $file = $httpd->root . '/haproxy.cfg';
    Httpd::write_file($file, <<"END");
defaults
    mode http
    timeout connect 60s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:$port
    http-request set-header Upgrade websocket if { hdr(Upgrade) -i websocket } !{ path /as-it-is }
    default_backend back
backend back
    server httpd 127.0.0.1:@{[$httpd->ssl_port]} ssl verify none alpn h2 ws h2
END
    local $ENV{PATH} = "$ENV{PATH}:/usr/sbin";
    my $haproxy = Program->start('haproxy', '-db', '-f', $file);
    Httpd::wait_for(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) }, 'haproxy to listen');
    my $ask = sub {
        my ($path, $token) = @_;
        my $request = join "\r\n", "GET $path HTTP/1.1", 'Host: localhost', "Upgrade: $token", 'Connection: Upgrade',
            'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', '', '';
        return Client->refused($httpd, $path, port => $port, request => $request);
    };
    for my $token (qw(websocket WebSocket)) {
        my ($status, $c) = $ask->("/haproxy-$token?name=haproxy-$token", $token);
        is($status, 101, "haproxy, Upgrade: $token: the handshake is answered with 101");
        is($c->header('Sec-WebSocket-Accept'), 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=', "haproxy, Upgrade: $token: Sec-WebSocket-Accept is right");
        $c->echoes("through $token", "haproxy, Upgrade: $token: the connection echoes");
        my $data = 'big ' x 250_000;
        $c->binary($data);
        ok(($c->message)[1] eq $data, "haproxy, Upgrade: $token: a large message comes back");
        $c->close(4005, 'done');
        $c->expect_close(4005, "haproxy, Upgrade: $token: the connection closes cleanly");
        is_told("haproxy-$token", '4005 "done"');
        ok(Httpd::wait_for(sub { h2_log() =~ m{^\d+ HTTP/2\.0 101 /haproxy-$token}m }, 'the access log'),
            "haproxy, Upgrade: $token: the WebSocket was a stream of HTTP/2");
    }
    is(($ask->('/as-it-is', 'WebSocket'))[0], 501, 'haproxy, an upgrade token that is not in lower case: mod_http2 answers with 501');
}

# ---- Reloads and stops ----

{
    my $server = server(conf => 'WebSocketDrainTimeout ' . Patience::stretch('3s') . "\n");
    my $held = Program->start(node('hold', $server));
    $held->wait_output(qr/^open$/m);
    $server->graceful;
    $held->write("hello\n");
    ok($held->wait_output(qr/^text hello$/m), 'after a reload, a stream stays open');
    ok($held->wait_output(qr/^close 1012$/m), 'at the end of WebSocketDrainTimeout, the stream is closed with 1012');
    ok($held->wait_output(qr/^end 0$/m), 'the drained stream ends cleanly');
    is_told('held', '1012 "server restarts"', 'the handler of the drained stream gets 1012', $server);
}
{
    my $server = server();
    my $held = Program->start(node('hold', $server));
    $held->wait_output(qr/^open$/m);
    $server->graceful;
    $held->write("hello\n");
    $held->wait_output(qr/^text hello$/m);
    $server->stop;
    ok($held->wait_output(qr/^close 1001$/m), 'a stop after a reload closes the stream with 1001');
    unlike($server->error_log, qr/SIGKILL/, 'a stop after a reload does not have to kill a child');
}
{
    my $server = server();
    my $held = Program->start(node('hold', $server));
    $held->wait_output(qr/^open$/m);
    $server->stop;
    ok($held->finish >= 0, 'a stop ends a stream');
    unlike($server->error_log, qr/SIGKILL/, 'a stop with an open stream does not have to kill a child');
}

done_testing;
