# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests channels with Redis as in production: a cluster of three masters with replicas, of which one replaces its master, TLS
# with a private CA, several sentinels, and a server that loses acknowledged writes.

use strict;
use warnings;
use lib 't/lib';
use JSON::PP;
use Test::More;
use Client;
use Crowd;
use Httpd;
use Redis qw(bus_httpd publish stop_bus_httpds subscribed_in_redis);

Httpd::once();

sub position { return (publish(@_))[1]{published}[0]{position} // '' }

# Wait until $n processes have subscribed to a sharded channel at exactly one node, which is the one with its hash slot.
sub sharded {
    my ($channel, $n, @redis) = @_;
    Httpd::wait_for(
        sub {
            my @counts = grep {$_} map { $_->cli('PUBSUB', 'SHARDNUMSUB', "websocket:c:$channel") =~ /^(\d+)$/m ? $1 : 0 } @redis;
            return @counts == 1 && $counts[0] == $n;
        },
        "$n processes to subscribe to $channel at one node");
}

# ---- A cluster ----

{
    # On a busy machine, nodes with a short timeout would replace masters that are still running. A master that is replaced without
    # having been killed loses messages, as does one whose replica waits so long for its disk that WAIT gives up.
    my @nodes = map {
        Redis->start(options => ['--cluster-enabled', 'yes', '--cluster-port', Httpd::free_port(), '--cluster-node-timeout', 600_000, '--appendonly', 'no'])
    } 1 .. 6;
    my $at = join ' ', map { '127.0.0.1:' . $_->port } @nodes;
    my $made = `redis-cli --cluster create $at --cluster-replicas 1 --cluster-yes 2>&1`;
    like($made, qr/All 16384 slots covered/, 'a cluster of three masters and three replicas is created') or diag $made;
    Httpd::wait_for(sub { $nodes[0]->cli('CLUSTER', 'INFO') =~ /cluster_state:ok/ }, 'the cluster', sub { $nodes[0]->cli('CLUSTER', 'INFO') });
    for my $replica (@nodes[3 .. 5]) {
        Httpd::wait_for(sub { $replica->cli('INFO', 'replication') =~ /master_link_status:up/ }, 'a replica');
    }
    my $nowhere = Httpd::free_port();
    my $bus = "redis-cluster://127.0.0.1:$nowhere,127.0.0.1:" . $nodes[1]->port . ',127.0.0.1:' . $nodes[2]->port;
    my $big = "StartServers 3\nServerLimit 4\nThreadsPerChild 8\nMaxRequestWorkers 32\nMinSpareThreads 16\nMaxSpareThreads 32";
    my @both = map { bus_httpd("$bus\nWebSocketLog $bus/ends \"%U %P %{id}w\"", log_level => 'info', mpm_conf => $big) } 1, 2;

    my @slots = map { $nodes[0]->cli('CLUSTER', 'KEYSLOT', "'websocket:{kept/$_}:m'") + 0 } 'a' .. 'f';
    ok((grep { $_ < 5461 } @slots) && (grep { $_ > 10922 } @slots), 'the channels of this test belong to several masters') or diag "@slots";
    # Read the history from its beginning, because a client without subprotocol does not know when it is subscribed.
    my %reader = map { $_ => Client->new($both[0], "/ws?channel=kept/$_&after=all") } 'a' .. 'f';
    for my $channel ('a' .. 'f') {
        like(position($both[1], "kept/$channel", "to $channel"), qr/-1$/, "kept/$channel has its first position from its master");
        is(($reader{$channel}->message)[1], "to $channel", "a message to kept/$channel arrives at the other httpd");
    }
    my $plain = Client->new($both[0], '/ws?channel=plain');
    sharded('plain', 1, @nodes);
    publish($both[1], 'plain', 'everywhere');
    is(($plain->message)[1], 'everywhere', 'a message to a channel without a history arrives');
    my @plain = map { Client->new($both[0], "/ws?channel=plain/$_") } 1 .. 20;
    sharded("plain/$_", 1, @nodes) for 1 .. 20;
    publish($both[1], "plain/$_", "to $_") for 1 .. 20;
    is(join(' ', map { ($_->message)[1] } @plain), join(' ', map {"to $_"} 1 .. 20), 'messages to channels of all nodes arrive');

    # Move a hash slot to another node. Meanwhile, the old node replies ASK for keys that it no longer has.
    my ($slot) = $nodes[0]->cli('CLUSTER', 'KEYSLOT', "'websocket:{kept/moved}:m'") =~ /(\d+)/;
    my ($from) = grep { $_->cli('CLUSTER', 'COUNTKEYSINSLOT', $slot) =~ /^0/ && $_->cli('CLUSTER', 'NODES') =~ /myself,master.* connected (\d+)-(\d+)/ && $slot >= $1 && $slot <= $2 } @nodes[0 .. 2];
    my ($to) = grep { $_ != $from } @nodes[0 .. 2];
    my ($from_id, $to_id) = map { $_->cli('CLUSTER', 'MYID') =~ s/\s//gr } $from, $to;
    $to->cli('CLUSTER', 'SETSLOT', $slot, 'IMPORTING', $from_id);
    $from->cli('CLUSTER', 'SETSLOT', $slot, 'MIGRATING', $to_id);
    like(($both[0]->request('DELETE', '/channels/kept/moved'))[0], qr/^200$/, 'while a slot is being moved, ASK is followed');
    my $writer = Client->new($both[0], '/ws?channel=kept/moved', protocol => 'channel.v1.json');
    $writer->text(encode_json({ type => 'publish', channel => 'kept/moved', data => 'x', id => 1 }));
    $_->cli('CLUSTER', 'SETSLOT', $slot, 'NODE', $to_id) for $to, $from, grep { $_ != $from && $_ != $to } @nodes[0 .. 2];
    my $o = {};
    $o = decode_json(($writer->message)[1]) while ($o->{id} // 0) != 1;
    like($o->{position}, qr/-1$/, 'after a slot was moved, a script that has waited follows MOVED');
    like($to->cli('CLUSTER', 'COUNTKEYSINSLOT', $slot), qr/^[1-9]/, "the message is stored at the slot's new node");

    # Move the hash slot of a sharded channel, which moves the channel, too.
    my $told = Client->new($both[0], '/ws?channel=going');
    sharded('going', 1, @nodes);
    my ($of_channel) = $nodes[0]->cli('CLUSTER', 'KEYSLOT', 'websocket:c:going') =~ /(\d+)/;
    my ($was) = grep { $_->cli('PUBSUB', 'SHARDNUMSUB', 'websocket:c:going') =~ /^1$/m } @nodes;
    my ($will) = grep { $_ != $was } @nodes[0 .. 2];
    my ($old_id, $new_id) = map { $_->cli('CLUSTER', 'MYID') =~ s/\s//gr } $was, $will;
    $will->cli('CLUSTER', 'SETSLOT', $of_channel, 'IMPORTING', $old_id);    # gives the move a new epoch, so that all nodes accept it
    $was->cli('CLUSTER', 'SETSLOT', $of_channel, 'MIGRATING', $new_id);
    $_->cli('CLUSTER', 'SETSLOT', $of_channel, 'NODE', $new_id) for $will, $was, grep { $_ != $was && $_ != $will } @nodes[0 .. 2];
    Httpd::wait_for(sub { $will->cli('PUBSUB', 'SHARDNUMSUB', 'websocket:c:going') =~ /^1$/m }, 'the subscription to move',
        sub { join '', map { $_->cli('CLUSTER', 'NODES') =~ /^(.*myself.*)$/m, "\n" } @nodes });
    publish($both[1], 'going', 'gone');
    is(($told->message)[1], 'gone', 'after a slot was moved, its channel is subscribed to at the new node');

    my $subscribers = Crowd::size();
    # Choose a channel whose history and whose sharded channel are both on the master that will be killed.
    my $third = sub { int(($nodes[0]->cli('CLUSTER', 'KEYSLOT', "'$_[0]'") =~ /(\d+)/)[0] / 5462) };
    my ($kept) = grep { $third->("websocket:{$_}:m") == $third->("websocket:c:$_") } map {"kept/crowd$_"} 1 .. 100;
    my $crowd = Crowd->start(\@both, "/ws?channel=$kept", $subscribers);
    $crowd->go_on(200);
    my ($of) = $nodes[0]->cli('CLUSTER', 'KEYSLOT', "'websocket:{$kept}:m'") =~ /(\d+)/;
    my ($master) = grep { $_->cli('CLUSTER', 'NODES') =~ /myself,master.* connected .*?(\d+)-(\d+)/ && $of >= $1 && $of <= $2 } @nodes[0 .. 2];
    my $id = $master->cli('CLUSTER', 'MYID') =~ s/\s//gr;
    my ($replica) = grep { $_->cli('CLUSTER', 'NODES') =~ /myself,slave $id/ } @nodes;
    $master->stop('KILL');
    $replica->cli('CLUSTER', 'FAILOVER', 'TAKEOVER');
    my @left = grep { $_ != $master } @nodes;
    my $promoted = $replica->port;
    for my $node (@left) {
        Httpd::wait_for(sub { $node->cli('CLUSTER', 'NODES') =~ /:$promoted\@\d+ (?:myself,)?master .* connected .*\d-\d/ },
            'all nodes to know the new master', sub { $node->cli('CLUSTER', 'NODES') });
    }
    $crowd->go_on(200);
    sharded("plain/$_", 1, @left) for 1 .. 20;
    publish($both[1], "plain/$_", "again $_") for 1 .. 20;
    is(join(' ', map { ($_->message)[1] } @plain), join(' ', map {"again $_"} 1 .. 20), 'after a master was killed, channels without a history work on the remaining nodes');
    $both[0]->graceful;
    $crowd->go_on(200);
    my ($all, $lost, $messages, $faults) = $crowd->result;
    is($all, $subscribers, "$subscribers subscribers remain after a master of the cluster was killed and an httpd was reloaded");
    cmp_ok($messages, '>=', 600, "the publishers received $messages messages of their own");
    is($faults, 'missing=0 twice=0 disordered=0', 'each subscriber has received each message once, in the order of its publisher');
    {
        my @plain_bus = map { bus_httpd("$bus sharded=off prefix=off:") } 1, 2;
        my $reader = Client->new($plain_bus[0], '/ws?channel=plain');
        Httpd::wait_for(sub { grep { $_->cli('PUBSUB', 'NUMSUB', 'off:c:plain') =~ /^1$/m } @left }, 'a subscription');
        publish($plain_bus[1], 'plain', 'to all nodes');
        is(($reader->message)[1], 'to all nodes', 'with sharded=off, a message is delivered by any node');
    }
    my $ends = 0;
    Httpd::wait_for(
        sub {
            my $answer = `redis-cli -c -p @{[$left[0]->port]} --raw LRANGE ends 0 -1 2>/dev/null`;
            $ends = keys %{ { map { $_ => 1 } grep {m{^/ws \d+ [0-9a-f]+$}} split /\n/, $answer } };
            return $ends >= $subscribers;
        },
        'WebSocketLog in the cluster to have a record of each subscriber',
        sub {$ends});
    pass("WebSocketLog has $ends records in the cluster");
}

# ---- TLS ----

{
    my $certs = Httpd::certificates();
    my $port  = Httpd::free_port();
    my $redis = Redis->start(options => ['--tls-port', $port, '--port', 0, '--tls-cert-file', "$certs/server.crt",
        '--tls-key-file', "$certs/server.key", '--tls-ca-cert-file', "$certs/ca.crt", '--tls-auth-clients', 'yes']);
    my $files = "ca=$certs/ca.crt cert=$certs/client.crt key=$certs/client.key";
    my @both = map { bus_httpd($_) } "rediss://localhost:$port $files", "rediss://127.0.0.1:$port/0 name=localhost $files";
    my @readers = map { Client->new($_, '/ws?channel=kept/tls&after=all') } @both;
    subscribed_in_redis('kept/tls', 2, $redis);
    like(position($both[0], 'kept/tls', 'x' x 300_000), qr/-1$/, 'rediss: a message of 300 KB is published');
    is(length(($_->message)[1]), 300_000, 'rediss: the message of 300 KB arrives') for @readers;
    $redis->stop('KILL');
    $_->wait_log(qr/redis: .*trying again/) for @both;
    $redis->again;
    subscribed_in_redis('kept/tls', 2, $redis);
    like(position($both[1], 'kept/tls', 'again'), qr/-2$/, 'rediss: a message is published after Redis has restarted');
    for (
        ["rediss://localhost:$port cert=$certs/client.crt key=$certs/client.key", qr/TLS: .*(?:issuer|self|unable)/i, 'a server certificate of an unknown CA'],
        ["rediss://localhost:$port $files name=other.example", qr/TLS: .*[Hh]ostname mismatch/, 'a server certificate for another name'],
        ["rediss://localhost:$port ca=$certs/ca.crt", qr/redis: localhost: TLS/, 'a missing client certificate'],
        ["redis://localhost:$port", qr/redis: localhost: .*trying again/, 'a connection without TLS, although Redis requires TLS'],
        )
    {
        my ($bus, $says, $what) = @$_;
        bus_httpd($bus)->wait_log($says);
        pass("$what: the log has the reason");
    }
}

# ---- Several sentinels ----

{
    my $master    = Redis->start;
    my $replica   = Redis->start(options => ['--replicaof', '127.0.0.1', $master->port]);
    my $port      = $replica->port;
    my @sentinels = map { Redis->start(watches => $master, quorum => 2) } 1 .. 3;
    Httpd::wait_for(sub { $replica->cli('INFO', 'replication') =~ /master_link_status:up/ }, 'the replica');
    for my $s (@sentinels) {
        Httpd::wait_for(sub { $s->cli(qw(SENTINEL replicas mymaster)) =~ /^$port$/m && $s->cli(qw(SENTINEL sentinels mymaster)) =~ /(?:^name\n.*?){2}/ms },
            'the sentinels to find the replica and each other');
    }
    $sentinels[0]->stop('KILL');
    my $bus = 'sentinel://' . join(',', map { '127.0.0.1:' . $_->port } @sentinels) . '/mymaster';
    my @both = map { bus_httpd($bus) } 1, 2;
    my @readers = map { Client->new($_, '/ws?channel=kept/s&after=all') } @both;
    subscribed_in_redis('kept/s', 2, $master);
    my $first = position($both[0], 'kept/s', 'one');
    like($first, qr/-1$/, 'when one of three sentinels is down, another one names the master');
    unlike($both[0]->error_log, qr/redis: .*trying again/, 'a sentinel that is down causes no error in the log');
    $master->stop('KILL');
    subscribed_in_redis('kept/s', 2, $replica);
    is(position($both[1], 'kept/s', 'two') =~ s/-.*//r, $first =~ s/-.*//r, 'when the master is down, the sentinels name its replacement');
    is(join(' ', map { ($_->message)[1] } $readers[0], $readers[0]), 'one two', 'no message is lost when the master is replaced');
}

# ---- A server that loses acknowledged writes ----

{
    my $redis = Redis->start(options => ['--appendonly', 'no']);
    my $httpd = bus_httpd('redis://127.0.0.1:' . $redis->port);
    my $reader = Client->new($httpd, '/ws?channel=kept/lost', protocol => 'channel.v1.json');
    subscribed_in_redis('kept/lost', 1, $redis);
    position($httpd, 'kept/lost', "m$_") for 1 .. 3;
    $redis->cli('SAVE');
    my %given = map { position($httpd, 'kept/lost', "m$_") => 1 } 4 .. 6;
    $redis->stop('KILL');
    $httpd->wait_log(qr/redis: .*trying again/);
    $redis->again;
    subscribed_in_redis('kept/lost', 1, $redis);
    my @now = map { position($httpd, 'kept/lost', "n$_") } 1 .. 4;
    is_deeply([grep { $given{$_} } @now], [], 'no position is given a second time') or diag join ' ', sort keys %given, @now;
    isnt($now[0] =~ s/-.*//r, (keys %given)[0] =~ s/-.*//r, 'after acknowledged writes were lost, there is a new epoch');
    my @types;
    while (1) {
        my $o = decode_json(($reader->message)[1]);
        push @types, $o->{type};
        last if ($o->{data} // '') eq 'n4';
    }
    like("@types", qr/ gap /, 'after acknowledged writes were lost, subscribers get a gap');
    is(position($httpd, 'kept/lost', 'next') =~ s/-.*//r, $now[0] =~ s/-.*//r, 'later messages have the same new epoch');
}

# ---- httpd -t ----

for (
    ['redis://a,b', qr/several addresses need sentinel/], ['redis-cluster://a/1', qr/a cluster has one database/],
    ['redis-cluster://' . join(',', 1 .. 17), qr/at most 16 addresses/], ['redis-cluster://a,,b', qr/invalid URL/],
    ['redis-cluster://a:0,b', qr/invalid port "0"/], ['sentinel://a,b', qr/name of the master/],
    ['redis://a sharded=off', qr/is for a cluster/], ['redis-cluster://a sharded=maybe', qr/sharded= must be on or off/],
    ['redis://a ca=/x', qr/need TLS: use rediss:/], ['rediss://a ca=/nowhere', qr{/nowhere: }],
    ['rediss://a key=/x', qr/key= needs a certificate/], ['rediss://a cert=/nowhere', qr{/nowhere: }],
    ['rediss://a name=', qr/invalid value "name="/], ['rediss-cluster://', qr/invalid URL/])
{
    my ($what, $why) = @$_;
    my ($right, $text) = Httpd->check("WebSocketBus $what\n", load => $Redis::LOAD);
    ok(!$right, "httpd -t refuses: WebSocketBus $what");
    like($text, $why, "the error says what is wrong in: WebSocketBus $what");
}

stop_bus_httpds();
done_testing();
