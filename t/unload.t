# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# A reload removes the module from the configuration, and a later reload adds it again. Meanwhile, everything that outlives
# a configuration is in use: shared memory, sockets, files, programs, Redis. The parent must keep running, connections of old
# children must stay open, and the counters must be right. Also tests the order in which subsystems start and stop.

use strict;
use warnings;
use lib 't/lib';
use JSON::PP;
use List::Util qw(first);
use Test::More;
use Client;
use Httpd;
use Redis;

my $json = ['Accept: application/json'];

my $everything = <<'END';
<Location /websocket-status>
    SetHandler websocket-status
    Require all granted
</Location>
WebSocketThreads 2 2
WebSocketPing off
WebSocketDrainTimeout 1h
WebSocketHistory ** 100
WebSocketLimit connections=1000 key=address
WebSocketLimit handshakes=1000 key=address
WebSocketCompression on
WebSocketLog logs/websocket json
<Location /echo>
    WebSocketHandler ws_echo.so
</Location>
<Location /news>
    WebSocketHandler ws_channel.so channel=news publish=on presence=on
</Location>
<Location /pipe>
    WebSocketHandler ws_echo.so
    WebSocketLog "|/usr/bin/tee -a ROOT/logs/program" json
</Location>
END

sub start {
    my (%arg) = @_;
    my $httpd = Httpd->new(conf => '', %arg);
    ($httpd->{full} = $everything . ($arg{more} // '')) =~ s/ROOT/$httpd->{root}/g;
    $httpd->write_conf($httpd->{full});
    $httpd->run('-k', 'start');
    $httpd->{pid} = Httpd::wait_for(sub { Httpd::read_file("$httpd->{root}/httpd.pid") =~ /(\d+)/ ? $1 : 0 }, 'httpd');
    Httpd::wait_for(sub { $httpd->connect }, 'httpd to listen');
    $httpd->{load_all} = $httpd->{load};
    return $httpd;
}

# Reload with or without the module. When this returns, the old children are stopping.
sub reload {
    my ($httpd, $with) = @_;
    $httpd->{no_module} = !$with;
    $httpd->{load}      = $with ? $httpd->{load_all} : undef;
    $httpd->write_conf($with ? $httpd->{full} : '');
    $httpd->graceful;
    ok(kill(0, $httpd->pid), ($with ? 'with' : 'without') . ' the module, the parent keeps running after a reload');
}

sub status {
    my ($httpd) = @_;
    my ($code, $body);
    # Retry, because a child that httpd started just before a reload may still answer with the old configuration.
    Httpd::wait_for(sub { ($code, undef, $body) = $httpd->get('/websocket-status', @$json); $code == 200 }, 'the status page', sub {$code});
    return decode_json($body);
}

sub open_now {
    my ($httpd) = @_;
    my $c = status($httpd)->{counters}{connections} or return -1;
    return $c->{direct} + $c->{tls} + $c->{relay};
}

sub total {
    my ($httpd) = @_;
    my $c = status($httpd)->{counters}{connections_total};
    return $c->{direct} + $c->{tls} + $c->{relay};
}

# Open a connection to each Location, and send a message on each.
sub connections {
    my ($httpd, $name) = @_;
    my @c = map { Client->new($httpd, $_) } qw(/echo /pipe);
    $c[0]->echoes('one', "$name: a connection echoes");
    $c[1]->echoes('two', "$name: a connection with its own log echoes");
    push @c, Client->new($httpd, '/news', protocol => 'channel.v1.json');
    event($c[2], 'subscribed');
    publish($c[2], "from $name");
    is(event($c[2], 'message')->{data}, "from $name", "$name: a channel with a history delivers a message");
    return @c;
}

sub publish { $_[0]->text(encode_json({ type => 'publish', channel => 'news', data => $_[1] })) }

# Read events up to the next one of this type, and return that one.
sub event {
    my ($c, $type) = @_;
    while (1) {
        my $event = decode_json(($c->message)[1]);
        return $event if $event->{type} eq $type;
    }
}

sub drop { $_->drop for @_ }

# ---- Cycles ----

my $httpd = start();
my ($total, @old) = (0);
for my $cycle (1 .. 3) {
    my @c = connections($httpd, "cycle $cycle");
    $total += @c;
    is(total($httpd), $total, "cycle $cycle: the total is $total connections");
    reload($httpd, 0);
    is(($httpd->get('/index.html'))[0], 200, 'without the module, an ordinary request is served');
    $c[$_]->echoes('still here', 'without the module, a connection of an old child echoes') for 0, 1;
    if ($cycle == 2) {
        # End the old children while the parent has not loaded the module.
        my @before = $httpd->children;
        drop(@c, splice @old);
        my %new = map { $_ => 1 } grep { Httpd::read_file("/proc/$_/maps") !~ /mod_websocket\.so/ } @before;
        Httpd::wait_for(sub { !grep { !$new{$_} && kill 0, $_ } @before }, 'old children to end');
        reload($httpd, 0);
        @c = ();
    }
    reload($httpd, 1);
    push @old, @c;
    Httpd::wait_for(sub { open_now($httpd) == @old }, 'the server to count the connections of old children');
    pass('the open connections of old children are counted: ' . @old);
    is(total($httpd), $total, "after the old children have ended, the total is $total connections");
}
reload($httpd, 1);
my @late = connections($httpd, 'at last');
$total += @late;
$old[0]->echoes('still here', 'the oldest connection still echoes');
publish($old[2], 'to all');
is(event($late[2], 'message')->{data}, 'to all', 'a message of an old child reaches a new one');
drop(@old);
Httpd::wait_for(sub { open_now($httpd) == @late }, 'the old connections to end');
is(total($httpd), $total, "the total includes the connections of ended children: $total");
drop(@late);
Httpd::wait_for(sub { open_now($httpd) == 0 }, 'all connections to end');
my @log = map { split /\n/, Httpd::read_file("$httpd->{root}/logs/$_") } qw(websocket program);
Httpd::wait_for(sub {
    @log = map { split /\n/, Httpd::read_file("$httpd->{root}/logs/$_") } qw(websocket program);
    @log == $total;
}, 'the logs');
pass("both logs together have a record of each of the $total connections");

# ---- Children killed while the module is not loaded ----
{
    my @c = connections($httpd, 'before the kill');
    my @pids = map { $_->{pid} } @{ status($httpd)->{children} };
    reload($httpd, 0);
    kill 'KILL', @pids;
    Httpd::wait_for(sub { !grep { kill 0, $_ } @pids }, 'the killed children to end');
    reload($httpd, 1);
    Httpd::wait_for(sub { open_now($httpd) == 0 }, 'the connections of the killed children to be subtracted');
    is(total($httpd), $total + @c, 'the total includes the connections of killed children');
}

# ---- The Redis module alone ----
SKIP: {
    skip 'Redis is not installed', 1 if !-x '/usr/bin/redis-server' || !-e "$Httpd::BUILD/mod_websocket_redis.so";
    my $redis = Redis->start;
    my $both  = start(
        load => $Redis::LOAD,
        more => "<IfModule websocket_redis_module>\nWebSocketBus redis://127.0.0.1:" . $redis->port . "\n</IfModule>\n"
    );
    my @c = connections($both, 'with Redis');
    for my $cycle (1 .. 2) {
        for my $with (0, 1) {
            $both->{load_all} = $with ? $Redis::LOAD : undef;
            reload($both, 1);
            push @c, connections($both, $with ? 'with Redis again' : 'without Redis');
        }
        reload($both, $_) for 0, 1;
        push @c, connections($both, 'all again');
    }
    $c[0]->echoes('still here', 'with and without the Redis module, the oldest connection still echoes');
    Httpd::wait_for(sub { open_now($both) == @c }, 'the server to count all connections: ' . @c);
    pass('all open connections are counted: ' . @c);
    drop(@c);
    Httpd::wait_for(sub { open_now($both) == 0 }, 'all connections to end');
}

# ---- The order ----
{
    my $traced = start(log_level => 'trace1');
    my ($c) = connections($traced, 'traced');
    my ($pid) = grep { $traced->error_log =~ /pid $_\D.*child_init: engine/ }
        map { $_->{pid} } grep { $_->{connections} } @{ status($traced)->{children} };
    reload($traced, 1);
    $c->drop;
    Httpd::wait_for(sub { !kill 0, $pid }, 'the old child to end');
    my %at;
    my @lines = grep {/pid $pid\D/} split /\n/, $traced->error_log;
    for my $phase (qw(child_init child_stop child_exit)) {
        my @order = map {/ websocket: $phase: (\w+)/ ? $1 : ()} @lines;
        $at{$phase} = { map { $order[$_] => $_ } 0 .. $#order };
        $at{"$phase order"} = \@order;
    }
    my @init = @{ $at{'child_init order'} };
    for my $phase (qw(child_stop child_exit)) {
        my %has  = map { $_ => 1 } @{ $at{"$phase order"} };
        my %both = map { $_ => 1 } grep { $has{$_} } @init;
        is(join(' ', grep { $both{$_} } @{ $at{"$phase order"} }), join(' ', reverse grep { $has{$_} } @init),
            "$phase: the subsystems are released in the reverse order of child_init");
    }
    is($init[0], 'shm', 'child_init begins with shm');
    my @before = ([qw(child_init counters engine)], [qw(child_init ipc channels)], [qw(child_init engine channels)],
        [qw(child_init channels handlers)], [qw(child_stop channels ipc)], [qw(child_stop ipc engine)],
        [qw(child_stop engine connection_log)], [qw(child_stop engine reauthorize)], [qw(child_exit handlers engine)], [qw(child_exit channel_stores handlers)],
        [qw(child_exit channels engine)]);
    for (@before) {
        my ($phase, $first, $then) = @$_;
        ok(defined $at{$phase}{$first} && defined $at{$phase}{$then} && $at{$phase}{$first} < $at{$phase}{$then},
            "$phase: $first comes before $then");
    }
    my ($stop) = grep { $lines[$_] =~ /child_exit: / } 0 .. $#lines;
    ok(!grep({/child_stop: /} @lines[$stop .. $#lines]), 'in a child, all subsystems stop before the first is released');
    my @parent = $traced->error_log =~ /websocket: parent_init: (\w+)/g;
    is($parent[0], 'shm', 'the parent begins with shm');
}

done_testing;
