# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# An attacker controls a child process, writes arbitrary data to shared memory, and sends arbitrary messages to other
# children. The parent, which runs as root, and the other children must keep running, and open connections must stay open.

use strict;
use warnings;
use lib 't/lib';
use JSON::PP;
use Test::More;
use Client;
use Httpd;

my $rounds = 6;
my $hook   = -e "$Httpd::BUILD/mod_websocket_hook.so";
my $module = Httpd::compile('scribble');
my $httpd  = Httpd->start(
    load     => "LoadModule scribble_module $module",
    mpm_conf => $Httpd::MPM eq 'prefork'
    ? "StartServers 4\nServerLimit 64\nMaxRequestWorkers 64\nMinSpareServers 2\nMaxSpareServers 8"
    : "StartServers 3\nServerLimit 24\nThreadsPerChild 8\nMaxRequestWorkers 192\nMinSpareThreads 16\nMaxSpareThreads 64",
    conf => <<"END");
@{[$hook ? "LoadModule websocket_hook_module $Httpd::BUILD/mod_websocket_hook.so" : '']}
@{[$hook ? 'WebSocketChannelHook occupied,vacated /index.html' : '']}
<Location /status>
    SetHandler websocket-status
    Require all granted
</Location>
WebSocketPing off
WebSocketDrainTimeout 1h
WebSocketThreads 2
WebSocketCompression on
WebSocketLimit connections=100 key=address dry-run
WebSocketLimit handshakes=100 burst=100 key=address dry-run
WebSocketHandler ws_echo.so
<Location /news>
    WebSocketHandler ws_channel.so channel=news publish=on presence=on
</Location>
<Location /sockjs>
    WebSocketHandler ws_echo.so
    WebSocketTransports sockjs
</Location>
<Location /channels>
    WebSocketChannelHTTP publish subscribe
    WebSocketSubscribe all
    WebSocketPublish all
</Location>
END

my ($layout) = $httpd->wait_log(qr/layout of shared memory: (\d+)/) =~ /(\d+)$/;
my @open = map { Client->new($httpd, '/') } 1 .. 6;
my @news = map { Client->new($httpd, '/news') } 1 .. 4;

my (undef, undef, $children) = $httpd->get('/status', 'Accept: application/json');
my %holds = map { $_->{pid} => 1 } grep { $_->{connections} } @{ decode_json($children)->{children} };

# Send a request, and return the response. Retries, because a stopping child may drop the request.
sub ask {
    my ($method, $path, @headers) = @_;
    my @answer;
    Httpd::wait_for(sub { @answer = eval { $httpd->request($method, $path, @headers) }; $answer[0] }, $path);
    return @answer;
}

sub get { return ask('GET', @_) }

my $killed = 0;
for my $round (1 .. $rounds) {
    my (undef, undef, $tables)  = get('/scribble?memory');
    my (undef, undef, $sockets) = get("/scribble?$layout");
    cmp_ok($tables,  '>=', 15, "round $round: random bytes were written to " . ($tables + 0) . ' tables');
    cmp_ok($sockets, '>=', 60, 'packets were sent to ' . ($sockets + 0) . ' sockets');

    my ($code, undef, $body) = get('/status', 'Accept: application/json');
    is($code, 200, 'after that, the status page answers');
    ok(eval { decode_json($body) }, 'after that, the status page is valid JSON');
    is((get('/status?prometheus'))[0], 200, 'after that, the metrics for Prometheus are returned');
    get("/scribble?$layout") for 1 .. 2;

    # These requests read the tables of SockJS sessions, of the ids of messages and of occupied channels.
    for my $n (1 .. 3) {
        my ($opened) = ask('POST', "/sockjs/000/session$round-$n/xhr", 'Content-Length: 0');
        like($opened, qr/^(?:200|503)$/, 'after that, a SockJS session is opened, or refused because the table is full');
        my ($published) = ask('POST', "/channels/c$n", "Idempotency-Key: \"$round-$n\"", 'Content-Length: 0');
        like($published, qr/^(?:200|409|503)$/, 'after that, a message with an id is published, or refused');
    }

    my $c = Client->new($httpd, '/');
    $c->echoes("round $round", 'after that, a new connection echoes');
    $news[$round % @news]->text("round $round");
    $c->drop;

    $httpd->graceful;
    get('/scribble?memory');
    # Kill one of the new children, which has none of the connections that must stay open.
    my $victim = Httpd::wait_for(sub { (grep { !$holds{$_} } reverse $httpd->children)[0] }, 'a new child');
    $killed += kill 'KILL', $victim;
    Httpd::wait_for(sub { !kill 0, $victim }, 'the killed child to end');
    ok(kill(0, $httpd->pid), 'the parent keeps running');
}
$_->echoes('still here', 'a connection from the beginning is still open') for @open;
is($httpd->count_log(qr/exit signal (?!Killed)/), 0, 'no child has crashed');
is($killed, $rounds, "$killed children were killed meanwhile");

done_testing;
