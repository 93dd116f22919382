# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests the values that mod_status shows for WebSockets, and how they change when children end.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client qw(TEXT BINARY);

my $never = Httpd::compile('never', <<'END');
#include "mod_websocket.h"
static int refuse(ws_request *r, void *config)
{
    (void)r, (void)config;
    return 402;
}
WS_HANDLER(never) = {.on_request = refuse};
END
my $prefork = $Httpd::MPM eq 'prefork';
my $httpd = Httpd->start(
    ($prefork ? () : (mpm_conf => <<'MPM')),
StartServers 2
ServerLimit 8
ThreadsPerChild 8
MaxRequestWorkers 16
MinSpareThreads 1
MaxSpareThreads 16
MPM
    conf => <<"END");
<Location /echo>
    WebSocketHandler ws_echo.so protocol=echo
    WebSocketHandler ws_echo.so
</Location>
<Location /relayed>
    WebSocketHandler ws_echo.so
    WebSocketRelay on
</Location>
<Location /picky>
    WebSocketHandler ws_echo.so protocol=picky
</Location>
<Location /never>
    WebSocketHandler $never
</Location>
<Location /full>
    WebSocketHandler ws_echo.so
    WebSocketLimit connections=1
</Location>
END

# Returns all values of mod_status by name.
sub values_now {
    my (undef, undef, $body) = $httpd->get('/server-status?auto');
    return { $body =~ /^(websocket_\w+): (\d+)$/mg };
}

# Wait until all connections of earlier tests have ended, and return the values.
sub values_at_rest {
    my $now;
    Httpd::wait_for(sub {
        $now = values_now();
        return !grep { $now->{"websocket_connections_$_"} } qw(direct tls relay);
    }, 'all connections to end');
    return $now;
}

# Wait until the values have increased by the numbers in %by since $before.
sub grown {
    my ($before, %by) = @_;
    my $now;
    return Httpd::wait_for(sub {
        $now = values_now();
        return !grep { $now->{"websocket_$_"} - $before->{"websocket_$_"} != $by{$_} } keys %by;
    }, 'values', sub { join ', ', map {"$_ $before->{\"websocket_$_\"} -> $now->{\"websocket_$_\"}"} sort keys %by });
}

{
    my $before = values_at_rest();
    my @plain = map { Client->new($httpd, '/echo') } 1 .. 2;
    my $tls = Client->new($httpd, '/echo', tls => 1);
    my $relayed = Client->new($httpd, '/relayed');
    ok(grown($before, connections_direct => 2, connections_tls => 1, connections_relay => 1,
        connections_total_direct => 2, connections_total_tls => 1, connections_total_relay => 1),
        'connections are counted by their transport');
    $plain[0]->text('hello');
    $plain[0]->frame;
    $tls->text('x' x 1000);
    $tls->frame;
    ok(grown($before, messages_total_in => 2, messages_total_out => 2, message_bytes_total_in => 1005,
        message_bytes_total_out => 1005, wire_bytes_total_in => 5 + 6 + 1000 + 8,
        wire_bytes_total_out => 5 + 2 + 1000 + 4), 'messages and bytes are counted in both directions');
    $plain[0]->close(1000);
    $plain[0]->frame;
    $plain[1]->close(4321);
    $plain[1]->frame;
    undef $tls;
    ok(grown($before, close_received_total_1000 => 1, close_received_total_other => 1,
        close_sent_total_1000 => 1, close_sent_total_other => 1, abnormal_total => 1),
        'the server counts Close frames by code, and connections that end without a Close frame');
    undef @plain;
    undef $relayed;
    ok(grown($before, connections_direct => 0, connections_tls => 0, connections_relay => 0,
        connections_total_direct => 2), 'when connections end, the number of open connections decreases, and the totals stay the same');
}
{
    my $before = values_at_rest();
    Client->refused($httpd, '/echo', version => 9);
    Client->refused($httpd, '/echo', key => 'short');
    Client->refused($httpd, '/echo', origin => 'http://elsewhere.example');
    Client->refused($httpd, '/picky', protocol => 'other');
    Client->refused($httpd, '/never');
    my $held = Client->new($httpd, "/full");
    Client->refused($httpd, '/full');
    ok(grown($before, map { ("handshakes_refused_total_$_" => 1) } qw(version request origin subprotocol handler limit)),
        'refused handshakes are counted by reason');
    is($httpd->count_log(qr/handshake refused with \d+: |handler never refuses with 402/), 6, 'each refused handshake has a line in the log');
}
{
    my (undef, undef, $body) = $httpd->get('/server-status');
    like($body, qr{<h2>WebSockets</h2>}, 'the page of mod_status has a section for WebSockets');
    like($body, qr{<th align="left">messages_total</th><td>in <b>\d+</b> out <b>\d+</b>},
        'the section for WebSockets has the counters');
}

# Kill a child that has connections.
{
    my $before = values_at_rest();
    my $none   = $httpd->each_child(\&sockets);
    my @clients = map { Client->new($httpd, '/echo') } 1 .. 6;
    for my $c (@clients) {
        $c->text('hello');
        $c->frame;
    }
    ok(grown($before, connections_direct => 6, messages_total_in => 6), 'six connections and their messages are counted');
    my $open = $httpd->each_child(\&sockets);
    my ($victim) = sort { $open->{$b} - ($none->{$b} // 0) <=> $open->{$a} - ($none->{$a} // 0) } keys %$open;
    kill 'KILL', $victim;
    Httpd::wait_for(sub { !grep { $_ == $victim } $httpd->children }, 'the parent to notice that the child has ended');
    my $lost = grep { !ping_answered($_) } @clients;
    cmp_ok($lost, '>', 0, 'a child with connections is killed');
    ok(grown($before, connections_direct => 6 - $lost), "open connections of a killed child are subtracted ($lost)");
    my $now = values_now();
    is($now->{websocket_messages_total_in} - $before->{websocket_messages_total_in}, 6 + 6 - $lost,
        'messages of a killed child remain counted');
    is($now->{websocket_connections_total_direct} - $before->{websocket_connections_total_direct}, 6,
        'connections of a killed child remain in the total');
}

# Returns the number of sockets of a process. The test kills the process whose number of sockets has increased most, because that
# process has connections.
sub sockets { return Httpd::descriptors($_[0], qr/^socket:/) }

sub ping_answered {
    my ($c) = @_;
    return 0 if !$c->text('still there');
    my ($opcode) = $c->frame;
    return defined $opcode && $opcode == TEXT;
}

{
    my $before = values_at_rest();
    my $old = Client->new($httpd, '/echo');
    ok(grown($before, connections_direct => 1), 'a connection is counted before a reload');
    $httpd->graceful;
    $old->text('over there');
    $old->frame;
    my $new = Client->new($httpd, '/echo');
    ok(grown($before, connections_direct => 2, messages_total_in => 1),
        'old and new children are counted together');
    undef $old;
    ok(grown($before, connections_direct => 1, connections_total_direct => 2, messages_total_in => 1),
        'when an old child has ended, its counts remain');
}

done_testing;
