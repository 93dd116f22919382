# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Redis processes SUBSCRIBE slowly. When a client has received the event "subscribed", it must receive all messages that
# another machine publishes from then on, and events about all members that join, even if Redis has not yet subscribed the
# server to the channel.

use strict;
use warnings;
use lib 't/lib';
use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use Test::More;
use Client;
use Httpd;
use Redis qw(start_relay);

Httpd::once();

my $redis = Redis->start;

# ---- A relay in front of Redis, which can hold back the bytes of connections that subscribe to channels ----

my ($listener, $control, $relay) = start_relay(\&relay);

sub relay {
    my ($listener, $theirs) = @_;
    my $all = IO::Select->new($listener, $theirs);
    my (%other, %server, %kept, $holds);
    while (1) {
        for my $s ($all->can_read) {
            if ($s == $listener) {
                my $client = $listener->accept                                       or next;
                my $server = IO::Socket::INET->new('127.0.0.1:' . $redis->port) or die $!;
                @other{ $client, $server } = ($server, $client);
                $server{$client} = $server;
                $all->add($client, $server);
            }
            elsif ($s == $theirs) {
                sysread $s, my $order, 1 or return;
                $holds = $order eq 'h';
                if (!$holds) {
                    syswrite $_->[0], $_->[1] for values %kept;
                    %kept = ();
                }
                syswrite $s, '.';
            }
            elsif (!$other{$s}) {
                next;    # closed in this round, with the other side
            }
            elsif (!sysread $s, my $bytes, 65536) {
                my @both = ($s, $other{$s});
                delete @$_{@both} for \%other, \%server, \%kept;
                $all->remove($_), close $_ for @both;
            }
            elsif ($server{$s} && ($kept{$s} || ($holds && $bytes =~ /SUBSCRIBE/))) {
                $kept{$s} ||= [$other{$s}, ''];
                $kept{$s}[1] .= $bytes;
            }
            else {
                syswrite $other{$s}, $bytes;
            }
        }
    }
}

sub order {
    syswrite $control, $_[0];
    sysread $control, my $done, 1 or die 'the relay has ended';
}

# ---- Two machines, one behind the relay ----

my $load = "LoadModule websocket_redis_module $Httpd::BUILD/mod_websocket_redis.so";
my $conf = <<'END';
WebSocketHistory kept/* 1000
WebSocketPing off
<Location "/ws">
    WebSocketHandler ws_channel.so
</Location>
<Location "/poll">
    WebSocketChannelHTTP subscribe
</Location>
WebSocketSubscribe all
WebSocketPublish all
END
my ($slow, $fast) = map { Httpd->start(load => $load, conf => "WebSocketBus redis://127.0.0.1:$_\n$conf") } $listener->sockport, $redis->port;

# Read events up to the next one of a type, and return that one.
sub event {
    my ($client, $type) = @_;
    while (1) {
        my $o = decode_json(($client->message)[1]);
        return $o if $o->{type} eq $type;
    }
}

sub subscribed {
    my ($httpd, $channel, %how) = @_;
    my $c = Client->new($httpd, '/ws', protocol => 'channel.v1.json');
    $c->text(encode_json({ type => 'subscribe', channel => $channel, %how }));
    return ($c, event($c, 'subscribed'));
}

sub publish {
    my ($client, $channel, $text) = @_;
    $client->text(encode_json({ type => 'publish', channel => $channel, data => $text, id => 1 }));
    return event($client, 'published');
}

my ($writer) = subscribed($fast, 'kept/x');
for my $round (1 .. 3) {
    order('h');
    my ($reader) = subscribed($slow, "kept/$round");
    publish($writer, "kept/$round", 'while Redis does not know of the subscription');
    order('g');
    is(event($reader, 'message')->{data}, 'while Redis does not know of the subscription', "round $round: a message published before Redis has subscribed the reader arrives");
    publish($writer, "kept/$round", 'next');
    is(event($reader, 'message')->{data}, 'next', "round $round: the next message follows, so no message arrives twice");
}

order('h');
my ($watcher) = subscribed($slow, 'kept/room', watch => JSON::PP::true);
$watcher->text(encode_json({ type => 'presence', channel => 'kept/room' }));
is_deeply(event($watcher, 'presence')->{members}, [], 'a channel has no members at first');
my ($member) = subscribed($fast, 'kept/room', member => 'late');
order('g');
is(event($watcher, 'join')->{data}, 'late', 'a member that joins before Redis has subscribed the watcher is reported');

# ---- A poll that does not wait ----

$redis->cli(qw(CLIENT PAUSE 3000));
my $poll = decode_json(($fast->get('/poll/kept/1?after=all&wait=0'))[2]);
is(scalar @{ $poll->{messages} }, 2, 'a poll with wait=0 is answered with the stored messages, even if Redis replies later');
like($poll->{position}, qr/-2$/, 'a poll with wait=0 is answered with the position');

$_->stop for $slow, $fast;
is_deeply([map { $_->complaints } $slow, $fast], [], 'no child has crashed');
kill 'TERM', $relay;
waitpid $relay, 0;
done_testing();
