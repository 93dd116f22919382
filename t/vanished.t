# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Clients vanish without closing their connections, as when a cable is pulled. They run in a separate network namespace.

use strict;
use warnings;
use lib 't/lib';
use JSON::PP;
use Test::More;
use Httpd;
use Program;

Httpd::once();

my $name = "ws$$";
my ($here, $there) = map { sprintf '10.213.%d.%d', $$ % 250, 1 + $_ + 4 * ($$ / 250 % 60) } 0, 1;

sub ip { return system("ip @_ >/dev/null 2>&1") == 0 }

plan skip_all => 'network namespaces need root, iproute2, and a kernel that permits them' if $> != 0 || !ip("netns add $name");

END {
    my $status = $?;
    if (defined $name) {    # undefined if the test was skipped
        ip("link del ${name}a");
        ip("netns del $name");
    }
    $? = $status;
}
plan skip_all => 'a pair of network devices cannot be created'
    if !ip("link add ${name}a type veth peer name ${name}b netns $name") || !ip("addr add $here/30 dev ${name}a")
    || !ip("link set ${name}a up") || !ip("-n $name addr add $there/30 dev ${name}b") || !ip("-n $name link set ${name}b up");

my ($port, $tls_port) = map { Httpd::free_port() } 1, 2;
my $certs  = Httpd::certificates();
my $sockjs = <<'END';
<Location "/sockjs">
    WebSocketHandler ws_echo.so
    WebSocketTransports sockjs
</Location>
<Location "/sockjs/relayed">
    WebSocketRelay on
</Location>
END
my $httpd = Httpd->start(children => 2, tls => 1, conf => <<"END");
LogLevel websocket:debug
Listen $here:$port
Listen $here:$tls_port
WebSocketPing 1s 1s
$sockjs<VirtualHost $here:$tls_port>
    SSLEngine on
    SSLCertificateFile $certs/server.crt
    SSLCertificateKeyFile $certs/server.key
    $sockjs
</VirtualHost>
<Location "/channels">
    WebSocketChannelHTTP publish
    WebSocketPublish all
</Location>
${Httpd::STREAMS}<Location "/ws">
    WebSocketHandler ws_channel.so
    WebSocketSubscribe all
</Location>
<Location "/ws/relayed">
    WebSocketRelay on
</Location>
END

sub subscribers {
    my ($channel) = @_;
    return decode_json(($httpd->get("/channels/$channel"))[2])->{channels}[0]{subscribers};
}

my @curl = ('ip', 'netns', 'exec', $name, 'curl', '-sSN', '-m', 900);
my @clients;
for my $way (qw(events relayed)) {
    for my $what (qw(silent told)) {
        push @clients, [Program->start(@curl, '-H', 'Accept: text/event-stream', "http://$here:$port/$way/$way-$what"),
            "$way-$what", "an event stream, $way"];
        $clients[-1][0]->wait_output(qr/event: live/);
    }
    push @clients, [Program->start(@curl, "http://$here:$port/$way/$way-poll?wait=120"), "$way-poll", "a poll, $way"];
}
for my $way ('', '/relayed') {
    my $channel = 'ws' . ($way ? '-relayed' : '');
    push @clients, [Program->start('ip', 'netns', 'exec', $name, "$Httpd::BUILD/bin/wsclient", '--protocol', 'channel.v1.json',
        "ws://$here:$port/ws$way"), $channel, "a WebSocket$way"];
    $clients[-1][0]->write(qq({"type":"subscribe","channel":"$channel"}\n));
    $clients[-1][0]->wait_output(qr/subscribed/);
}
for my $c (@clients) {
    Httpd::wait_for(sub { subscribers($c->[1]) == 1 }, "$c->[1] to be subscribed");
}

# The clients of SockJS. The child that serves a client's stream over TLS need not be the one that has the session, so there
# are several.
my @sockjs = ('plain', 'relayed', map { "tls$_" } 1 .. 6);
my %streams;
for my $name (@sockjs) {
    my $url = ($name =~ /^tls/ ? "https://$here:$tls_port" : "http://$here:$port") . "/sockjs/$name/000/session";
    Program->start(@curl, '-k', '-d', '', "$url/xhr")->finish;
    $streams{$name} = Program->start(@curl, '-k', '-d', '', "$url/xhr_streaming");
    $streams{$name}->wait_output(qr/h\n/);
}
ok(ip("link set ${name}a down"), 'the network link of the clients goes down');
$httpd->request('POST', "/channels/$_-told", 'Content-Length: 0') for qw(events relayed);
for my $c (@clients) {
    my ($program, $channel, $test) = @$c;
    ok(Httpd::wait_for(sub { subscribers($channel) == 0 }, "the server to notice that the client of $channel has vanished"), "the server detects that the client has vanished: $test ($channel)");
}
for my $name (@sockjs) {
    ok($httpd->wait_log(qr{/sockjs/$name, connection \w+: end, code 1006}), "the server detects that the client has vanished: a SockJS stream, $name");
}
ok(Httpd::wait_for(sub { $httpd->status_value('BusyWorkers') <= 1 }, 'the threads'), 'no thread is occupied by a vanished client');

done_testing;
