# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests channels across machines: two httpds use a Redis server, which stops and restarts.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Client;
use Crowd;
use Httpd;
use IO::Select;
use JSON::PP;
use Redis qw(bus_httpd channel_answer channel_http channel_request publish stop_bus_httpds subscribed_in_redis);

Httpd::once();

my $redis = Redis->start;
my $conf  = <<'END';
<Location "/json">
    WebSocketHandler ws_channel.so
    WebSocketSubscribe all
    WebSocketWildcards far/*
</Location>
END

sub httpd {
    my ($bus, %arg) = @_;
    return bus_httpd($bus, %arg, conf => $conf . ($arg{conf} // ''));
}

# The first httpd connects to the port of Redis, the second one to its socket. A third one has another prefix.
my $one      = httpd('redis://127.0.0.1:' . $redis->port);
my $two      = httpd('unix:' . $redis->socket);
my $stranger = httpd('redis://127.0.0.1:' . $redis->port . '/1 prefix=other:');

# Wait until this number of processes have subscribed to the channel in Redis.
sub heard {
    my ($channel, $n, $server) = @_;
    subscribed_in_redis($channel, $n, $server || $redis);
}

# Wait until a channel has a subscriber on this machine, because the handshake is answered before that.
sub subscribed {
    my ($httpd, $channel) = @_;
    Httpd::wait_for(sub { (channel_http($httpd, 'GET', $channel, ''))[1]{channels}[0]{subscribers} },
        "a subscriber of $channel");
}

# ---- Without a history ----

my $a = Client->new($one, '/ws?channel=news');
my $b = Client->new($two, '/ws?channel=news');
my $x = Client->new($stranger, '/ws?channel=news');
heard('news', 2);
subscribed($stranger, 'news');
my ($status, $answer) = publish($one, 'news', 'from one');
is($status, 200, 'a message is published');
is(($a->message)[1], 'from one', 'a subscriber on the same machine receives the message');
is(($b->message)[1], 'from one', 'a subscriber on the other machine receives the message');
publish($two, 'news', 'from two');
is(($a->message)[1], 'from two', 'a message from the other machine arrives next, so each message arrives once');
is(($b->message)[1], 'from two', 'on the other machine, each message arrives once, too');
publish($stranger, 'news', 'mine');
is(($x->message)[1], 'mine', 'a different prefix= separates the channels');
publish($one, 'news', 'x' x 100_000);
is(length(($b->message)[1]), 100_000, 'a message of 100 KB arrives on the other machine');
is(length(($a->message)[1]), 100_000, 'a message of 100 KB arrives on the same machine');

# ---- Lists, wildcards, keys and events across machines ----

my $wild = Client->new($two, '/json', protocol => 'channel.v1.json');
$wild->text('{"type":"subscribe","channel":"far/*"}');
is(decode_json(($wild->message)[1])->{type}, 'subscribed', 'a client is subscribed to a wildcard');
heard('far/*', 1);
my $near = Client->new($one, '/ws?channel=far/a');
my $far  = Client->new($two, '/ws?channel=far/a');
heard('far/a', 2);
publish($one, 'far/a?key=k&event=e', 'seen');
my $seen = decode_json(($wild->message)[1]);
is_deeply([@$seen{qw(channel wildcard data key event)}], ['far/a', 'far/*', 'seen', 'k', 'e'], 'a message from the other machine arrives through a subscription to a wildcard, with its key and event');
is(($far->message)[1], 'seen', 'a message from the other machine arrives through a subscription to its channel');
my $list = (channel_http($one, 'GET', '?prefix=far/', ''))[1];
is_deeply($list->{channels}, [{ channel => 'far/a', subscribers => 2 }], 'the list of channels counts subscribers of both machines');
publish($one, 'kept/fields?key=k&event=e&ttl=60', 'kept');
my ($kept) = @{ (channel_http($two, 'GET', 'kept/fields?history', ''))[1]{messages} };
is_deeply([@$kept{qw(data key event)}], ['kept', 'k', 'e'], 'the history in Redis has key and event');
$_->close for $wild, $near, $far;

# ---- Presence ----

my $ann = Client->new($one, '/members?channel=room&name=Ann', protocol => 'channel.v1.json');
heard('room', 1);
my $bob = Client->new($two, '/members?channel=room&name=Bob', protocol => 'channel.v1.json');
Httpd::wait_for(
    sub {
        my (undef, $here) = channel_http($two, 'GET', 'room', '');
        return join(',', sort map { $_->{data} } @{ $here->{channels}[0]{members} || [] }) eq 'Ann,Bob';
    },
    'the members of both machines');
pass('presence has the members of both machines');

# ---- With a history, while Redis is restarted ----

my @readers = map { Client->new($_, '/ws?channel=kept/a&after=all') } $one, $two, $one, $two;
heard('kept/a', 2);
my ($first, $position);
for my $i (1 .. 20) {
    (undef, $answer) = publish($i % 2 ? $one : $two, 'kept/a', "m$i");
    $first //= $answer->{published}[0]{position};
}
like($first, qr/^[0-9a-f]+-1$/, 'positions are assigned by Redis');

$redis->stop;
$one->wait_log(qr/redis: .*trying again/);
$two->wait_log(qr/redis: .*trying again/);
my $local = Client->new($one, '/ws?channel=local');
subscribed($one, 'local');
publish($one, 'local', 'meanwhile');
is(($local->message)[1], 'meanwhile', 'while Redis is down, a message arrives on the same machine');
publish($one, 'news', 'lost');
is(($a->message)[1], 'lost', 'while Redis is down, a message to a channel with remote subscribers arrives on the same machine');

# Publish over WebSocket, which does not wait for Redis: the server queues the messages.
my @json = map { Client->new($_, '/ws?channel=kept/a', protocol => 'channel.v1.json') } $one, $two;
for my $i (1 .. 10) {
    $_->text(encode_json({ type => 'publish', channel => 'kept/a', data => "n$i" })) for @json;
}
$redis->again;
$one->wait_log(qr/redis: connected again/);
$two->wait_log(qr/redis: connected again/);
heard('kept/a', 2);
publish($two, 'kept/a', 'end');

my @wrong;
my @want = ((map {"m$_"} 1 .. 20), (map { ("n$_") x 2 } 1 .. 10), 'end');
for my $r (@readers) {
    my @got = map { ($r->message)[1] } @want;
    push @wrong, "@got" if join(' ', sort @got) ne join(' ', sort @want) || $got[0] ne 'm1' || $got[19] ne 'm20';
}
is("@wrong", '', 'after Redis has restarted, all readers have all messages once');

my $back = Client->new($two, "/ws?channel=kept/a&after=$first");
my @resumed = map { ($back->message)[1] } 2 .. @want;
is("@resumed[0 .. 18]", join(' ', map {"m$_"} 2 .. 20), 'a reader resumes with messages published on the other machine');
is(join(' ', sort @resumed), join(' ', sort @want[1 .. $#want]), 'a reader that resumes gets all messages up to the last one, each once');

# $b may also receive the message "lost": it may have been in the queue for Redis when Redis restarted.
publish($one, 'news', 'again');
my $next = ($b->message)[1];
$next = ($b->message)[1] if $next eq 'lost';
is($next, 'again', 'after Redis has restarted, channels without a history work again');

# ---- Published once, or not at all ----

# Publish a message with an id. Repeat the request while Redis does not know yet that an earlier message was published.
sub published_once {
    my ($httpd, $path, $text) = @_;
    my ($status, $answer);
    Httpd::wait_for(sub { ($status, $answer) = channel_http($httpd, 'POST', $path, $text); $status == 200 }, "a message to $path");
    return $answer->{published}[0];
}

for my $channel ('once', 'kept/once') {
    my @readers = map { Client->new($_, "/ws?channel=$channel&after=all") } $one, $two;
    heard($channel, 2);
    my @first = map { published_once($_, "$channel?id=x", 'x') } $one, $two, $one, $two;
    is_deeply([map { $_->{duplicate} ? 1 : 0 } @first], [0, 1, 1, 1], "$channel: a message with an id is published once on all machines");
    is($first[1]{position}, $first[0]{position}, "$channel: a duplicate is answered with the position of the first message") if $channel =~ /kept/;
    publish($two, $channel, 'behind');
    is_deeply([map { ($_->message)[1] } ($_) x 2], ['x', 'behind'], "$channel: each reader receives the message once") for @readers;
    $_->close for @readers;
}

# While Redis is down, the server refuses messages. It must not publish them later, whether the client has waited or has
# disconnected.
{
    my @readers = map { Client->new($_, '/ws?channel=kept/refused&after=all') } $one, $two;
    heard('kept/refused', 2);
    $redis->stop;
    $one->wait_log(qr/(?:redis: .*trying again.*){2}/s);
    my $waits = channel_request($one, 'POST', 'kept/refused', 'waits');
    my $claim = channel_request($one, 'POST', 'refused?id=claim', 'claim');
    my $left  = channel_request($one, 'POST', 'kept/refused', 'left');
    shutdown $left, 1;
    my ($status, $told, $again) = channel_answer($left);
    is($status, 503, 'while Redis is down, a publisher that has shut down its sending side is refused immediately');
    ok($again, 'while Redis is down, that publisher may try again');
    ($status, $told, $again) = channel_answer($waits);
    is($status, 503, 'while Redis is down, a waiting publisher is refused after the timeout');
    is($told->{published}[0]{error}, 'try again later', 'while Redis is down, a waiting publisher is told to try again later');
    ok($again, 'while Redis is down, a waiting publisher gets Retry-After');
    is((channel_answer($claim))[0], 503, 'while Redis is down, a message whose id cannot be checked is refused');
    $redis->again;
    Httpd::wait_for(sub { (publish($two, 'kept/refused', 'end'))[0] == 200 }, 'Redis');
    heard('kept/refused', 2);
    ok(!(channel_answer(channel_request($one, 'POST', 'refused?id=claim', 'claim')))[1]{published}[0]{duplicate}, 'an id that could not be checked is not used up');
    is(($_->message)[1], 'end', 'no refused message is published later') for @readers;
    $_->close for @readers;
}

# ---- Many clients, while Redis is killed ----

{
    my $subscribers = Crowd::size();
    my @both = map {
        httpd("$_\nWebSocketThreads 2", log_level => 'info',
            mpm_conf => "StartServers 3\nServerLimit 4\nThreadsPerChild 8\nMaxRequestWorkers 32\n"
                . "MinSpareThreads 16\nMaxSpareThreads 32")
    } 'redis://127.0.0.1:' . $redis->port, 'unix:' . $redis->socket;
    my $crowd = Crowd->start(\@both, '/ws?channel=kept/crowd', $subscribers);
    $crowd->go_on(200);
    $redis->stop('KILL');
    $_->wait_log(qr/redis: .*trying again/) for @both;
    $redis->again;
    $crowd->go_on(200);
    my ($left, $lost, $messages, $faults) = $crowd->result;
    is($left, $subscribers, "$subscribers subscribers in the children of two httpds remain after Redis was killed");
    cmp_ok($messages, '>=', 400, "the publishers received $messages messages of their own");
    is($faults, 'missing=0 twice=0 disordered=0', 'each subscriber has received each message once, in the order of its publisher');
}

# ---- A sentinel ----

{
    my $master   = Redis->start;
    my $replica  = Redis->start(options => ['--replicaof', '127.0.0.1', $master->port]);
    my $port     = $replica->port;
    my $sentinel = Redis->start(watches => $master);
    my @both = map { httpd('sentinel://127.0.0.1:' . $sentinel->port . '/mymaster') } 1, 2;
    Httpd::wait_for(sub { $replica->cli('INFO', 'replication') =~ /master_link_status:up/ }, 'the replica');
    Httpd::wait_for(sub { $sentinel->cli(qw(SENTINEL replicas mymaster)) =~ /^$port$/m }, 'the sentinel to find the replica');
    my @readers = map { Client->new($_, '/ws?channel=kept/s&after=all') } @both;
    my @writers = map { Client->new($_, '/ws?channel=kept/s', protocol => 'channel.v1.json') } @both;
    heard('kept/s', 2, $master);
    my (undef, $answer) = publish($both[0], 'kept/s', 'first');
    my $first = $answer->{published}[0]{position};
    like($first, qr/-1$/, 'a sentinel names the master, which assigns a position');
    publish($both[$_ % 2], 'kept/s', "m$_") for 1 .. 10;

    my @plain = map { Client->new($_, '/ws?channel=plain') } @both;
    heard('plain', 2, $master);
    $master->stop('KILL');
    $_->wait_log(qr/redis: .*trying again/) for @both;
    for my $i (1 .. 5) {
        $_->text(encode_json({ type => 'publish', channel => 'kept/s', data => "n$i" })) for @writers;
    }
    heard('kept/s', 2, $replica);
    publish($both[1], 'kept/s', 'end');

    my @want = ('first', (map {"m$_"} 1 .. 10), (map { ("n$_") x 2 } 1 .. 5), 'end');
    my $all  = join ' ', sort @want;
    my @got;
    for my $r (@readers) {
        push @got, [map { ($r->message)[1] } @want];
        is(join(' ', sort @{ $got[-1] }), $all, 'after a replica was promoted, a reader has all messages once');
    }
    is("@{$got[0]}", "@{$got[1]}", 'after a replica was promoted, both readers have the messages in the same order');
    my $back = Client->new($both[1], "/ws?channel=kept/s&after=$first");
    is(join(' ', map { ($back->message)[1] } 2 .. @want), "@{$got[0]}[1 .. $#want]",
        'after a replica was promoted, earlier positions are valid');
    heard('plain', 2, $replica);
    publish($both[0], 'plain', 'again');
    is(($_->message)[1], 'again', 'after a replica was promoted, channels without a history work again') for @plain;
}

# A sentinel may require a password: a separate one, or the password of the Redis servers.
{
    my $master   = Redis->start(options => ['--requirepass', 'secret']);
    my $own      = Redis->start(watches => $master, password => 'other');
    my $same     = Redis->start(watches => $master, password => 'secret');
    my ($at, $by) = map { '127.0.0.1:' . $_->port } $own, $same;
    my %told = (
        "sentinel://:secret\@$at/mymaster"                => qr/the sentinel answered: \S*(?:NOAUTH|WRONGPASS)|redis: 127.0.0.1: (?:WRONGPASS|ERR invalid)/,
        "sentinel://:secret\@$at/mymaster sentinel=wrong" => qr/redis: 127.0.0.1: (?:WRONGPASS|ERR invalid)|the sentinel answered: \S*(?:WRONGPASS|ERR)/,
        "sentinel://:secret\@$at/nobody sentinel=other"   => qr/the sentinel has no master named nobody/,
    );
    for my $line (sort keys %told) {
        my $refused = httpd($line);
        $refused->wait_log($told{$line});
        pass("the log says what is wrong with: $line");
        is($refused->count_log(qr/has no master/), $line =~ /nobody/ ? 1 : 0, "the log says that there is no such master only if the master's name is wrong: $line")
            if $Httpd::MPM ne 'prefork';
    }
    for my $line ("sentinel://:secret\@$at/mymaster sentinel=other",
        "sentinel://:secret\@$by/mymaster",
        "sentinel://:secret\@$at/mymaster prefix=p: sentinel=default:other")
    {
        my $third = httpd($line);
        my (undef, $answer);
        Httpd::wait_for(
            sub {
                (undef, $answer) = publish($third, 'kept/w', 'x');
                return $answer->{published}[0]{position};
            },
            'a position'
        );
        like($answer->{published}[0]{position}, qr/-\d+$/, "a sentinel with a password names the master: $line");
    }
}

# ---- ws_broadcast_everywhere() ----

# The module identifies a Location by a text that contains its path and the handler's file. Here this text is longer than
# the name of a channel may be, and its length does not fit into one byte.
{
    my $handler = Httpd::compile('everywhere', <<'END');
#include "mod_websocket.h"
static void on_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    ws_broadcast_everywhere(ws_conn_location(c), type, data, len, 0);
}
WS_HANDLER(everywhere) = {.on_message = on_message};
END
    my $bus = 'redis://127.0.0.1:' . $redis->port;
    my @paths = map { '/' . join '/', map { substr($_, 0, 1) x 60 } 1 .. $_ } 3, 4, 6;
    $paths[3] = "/other$paths[2]";    # differs only after the first 255 bytes of the text
    my @both = map {
        bus_httpd($bus, conf => join '', map {"<Location \"$_\">\n    WebSocketHandler $handler\n</Location>\n"} @paths)
    } 1, 2;
    for my $path (@paths) {
        my ($near, $far) = map { Client->new($_, $path) } @both;
        my @others = map { Client->new($both[1], $_) } grep { $_ ne $path } @paths;
        Httpd::wait_for(
            sub {
                $near->text("to $path");
                $near->message;
                return IO::Select->new($far->socket)->can_read(0.1);
            },
            'the connections to Redis'
        );
        is(($far->message)[1], "to $path", 'a location of ' . length($path) . ' bytes gets the broadcast on the other machine');
        my @strange;
        for my $o (@others) {
            $o->text('own');
            my $text;
            push @strange, $text while ($text = ($o->message)[1]) ne 'own';
        }
        is(scalar(grep {/^to/} @strange), 0, 'other Locations do not receive the broadcast');
    }
}

# ---- Users of Redis ----

# The minimal permissions of a user according to docs/channels.md.
my $rights = join ' ', '~site:* &site:* +@connection', map {"+$_"}
    qw(publish subscribe unsubscribe eval del get set hget hsetnx hincrby xadd xrange expire);
my $locked = Redis->start(options => ['--requirepass', 'secret', '--user', 'web', 'on', '>pass', split ' ', $rights]);
my $at     = '127.0.0.1:' . $locked->port;
my $acl    = httpd("redis://web:pass\@$at prefix=site:");
my $third  = Client->new($acl, '/ws?channel=kept/b&after=all');
($status, $answer) = publish($acl, 'kept/b', 'x');
like($answer->{published}[0]{position}, qr/-1$/, 'a user with minimal permissions can publish');
is(($third->message)[1], 'x', 'a user with minimal permissions can subscribe');
my $again = Client->new($acl, '/ws?channel=kept/b&after=all');
is(($again->message)[1], 'x', 'a user with minimal permissions can read the history');
($status) = channel_http($acl, 'DELETE', 'kept/b', '');
is($status, 200, 'a user with minimal permissions can clear the history');
is($acl->count_log(qr/redis: /), 0, 'a user with minimal permissions causes no error in the log');

my $outside = httpd("redis://w%65b:p%61%73%73\@$at");    # percent-encoded, as in any URL
($status) = publish($outside, 'kept/b', 'x');
is($status, 503, 'a user cannot publish outside of the prefix');
$outside->wait_log(qr/redis: .*NOPERM.*channel|redis: .*permission.* channel/i);
$outside->wait_log(qr/redis: .*NOPERM.*key|redis: .*permission.* key/i);
pass('the log says that the user has no permission for channels and keys');
my $wrong = httpd("redis://:no\@$at");
$wrong->wait_log(qr/redis: 127.0.0.1: .*(?:WRONGPASS|invalid)/);
pass('a wrong password is logged');

# ---- The directive ----

my $certs = Httpd::certificates();
for (
    ['http://host',           qr/invalid URL: expected redis:/],
    ['redis://host/x',        qr/invalid database number "x": takes a whole number from 0 to 65535/],
    ['redis://host/1x',       qr/invalid database number "1x"/],
    ['redis://host:0',        qr/invalid port "0": expected 1 to 65535/],
    ['"redis://lo cal"',      qr/invalid host "lo cal": takes a host name/],
    ['redis://[::1',          qr/invalid host "\[::1": takes a host name/],
    ['redis://[zz]',          qr/invalid host "\[zz\]": takes a host name/],
    (map { ["redis://localhost$_", qr/invalid host "localhost\Q$_\E": takes a host name/] } '?x=1', '#x'),
    ["redis://localhost\xff",  qr/invalid host "localhost\\xff": takes a host name/],
    ['unix:/' . 'x' x 120,    qr/unix: takes the absolute path of a unix socket, at most 107 bytes/],
    ['redis://host sharded=on', qr/sharded= is for a cluster/],
    ['rediss://host "name=a b"', qr/invalid value "name=a b": expected a host name or an address/],
    ['rediss://host ca=/nosuch', qr{ca=/nosuch: No such file or directory}],
    ["rediss://host cert=$certs/client.crt", qr{no key=, and no key in cert=\Q$certs\E/client.crt: }],
    ["rediss://host cert=$certs/client.crt key=$certs/server.key", qr{key=\Q$certs\E/server.key: .*mismatch}],
    ['redis://host:65536',    qr/invalid port "65536"/],
    ['redis://:50%@host',     qr/write % as %25/],
    ['redis://%zz:x@host',    qr/write % as %25/],
    ['redis://user@host',     qr/a user needs a password/],
    ['sentinel://host',       qr/name of the master/],
    ['redis://host suffix=x', qr/invalid value "suffix=x"/],
    ['redis://host prefix=a suffix=x', qr/invalid value "suffix=x"/],
    ['redis://host prefix=a prefix=b', qr/WebSocketBus: prefix= is given twice: remove one/],
    ['redis://host sentinel=x', qr/it needs a sentinel:/],
    ['sentinel://host/m sentinel=', qr/the sentinel's password/],
    ["redis://host\nWebSocketBus redis://host", qr/is set twice/])
{
    my ($what, $why) = @$_;
    my ($right, $text) = Httpd->check("WebSocketBus $what\n", load => $Redis::LOAD);
    ok(!$right, "httpd -t refuses: WebSocketBus $what");
    like($text, $why, "the error says what is wrong in: WebSocketBus $what");
}

# Stop all at the same time, because each needs several seconds.
stop_bus_httpds();
done_testing();
