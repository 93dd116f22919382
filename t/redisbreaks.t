# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# The connection to Redis breaks after Redis has executed a command, and before the reply arrives. Commands that must not run
# twice are not sent again. A request that was refused because Redis is down has no effect later.

use strict;
use warnings;
use lib 't/lib';
use IO::Select;
use IO::Socket::INET;
use Test::More;
use Client;
use Httpd;
use Redis qw(bus_httpd channel_http publish start_relay stop_bus_httpds subscribed_in_redis);

Httpd::once();

my $redis = Redis->start;

# ---- A relay in front of Redis, which cuts a connection when Redis has replied to certain bytes ----

my ($listener, $control, $relay) = start_relay(\&relay);

sub relay {
    my ($listener, $theirs) = @_;
    my $all = IO::Select->new($listener, $theirs);
    my (%other, %is_client, $match);
    while (1) {
        for my $s ($all->can_read) {
            if ($s == $listener) {
                my $client = $listener->accept                                  or next;
                my $server = IO::Socket::INET->new('127.0.0.1:' . $redis->port) or next;
                @other{ $client, $server } = ($server, $client);
                $is_client{$client} = 1;
                $all->add($client, $server);
                next;
            }
            if ($s == $theirs) {
                sysread $s, $match, 1000 or return;
                syswrite $s, '.';
                next;
            }
            my $to = $other{$s} or next;    # closed in this round, with the other side
            my $there = sysread $s, my $bytes, 65536;
            syswrite $to, $bytes if $there;
            my $cut = $there && $is_client{$s} && defined $match && $bytes =~ /$match/;
            if ($cut) {
                sysread $to, my $reply, 65536;
                undef $match;
            }
            if ($cut || !$there) {
                delete @$_{ $s, $to } for \%other, \%is_client;
                $all->remove($_), close $_ for $s, $to;
            }
        }
    }
}

# Cut the next connection that sends bytes that match, when Redis has replied.
sub cut {
    syswrite $control, $_[0];
    sysread $control, my $done, 1 or die 'the relay has ended';
}

# Each httpd has a single child, so that all its commands are in one queue.
my ($one, $two) = map {
    bus_httpd("redis://127.0.0.1:$_", mpm_conf =>
        "StartServers 1\nServerLimit 1\nThreadsPerChild 8\nMaxRequestWorkers 8\nMinSpareThreads 1\nMaxSpareThreads 8")
} $listener->sockport, $redis->port;

sub stored { return join ' ', map { $_->{data} } @{ (channel_http($two, 'GET', "$_[0]?history", ''))[1]{messages} } }

# ---- Without a history ----

my $reader = Client->new($two, '/ws?channel=news');
subscribed_in_redis('news', 1, $redis);
cut('once only');
publish($one, 'news', 'once only');
is(($reader->message)[1], 'once only', 'the connection breaks after Redis has published a message: the message arrives on the other machine');
publish($one, 'news', 'next');
is(($reader->message)[1], 'next', 'the message does not arrive twice');

# ---- With a history ----

cut('kept once');
is((publish($one, 'kept/a', 'kept once'))[0], 200, 'the connection breaks after Redis has stored a message: the message is published');
is(stored('kept/a'), 'kept once', 'the message is stored once');

# ---- Clearing a history ----

cut('DEL\r\n');
my ($status, $answer, $again) = channel_http($one, 'DELETE', 'kept/a', '');
is($status, 504, 'the connection breaks after Redis has deleted the history: the result is 504');
is($answer->{cleared}[0]{error}, 'unknown whether it was cleared', 'the error says that the outcome is unknown');
ok(!$again, 'the answer has no Retry-After');
is((publish($one, 'kept/a', 'stays'))[0], 200, 'the connection works again');
is(stored('kept/a'), 'stays', 'the history was deleted');
like($redis->cli('INFO', 'commandstats'), qr/^cmdstat_del:calls=1,/m, 'the history was not deleted a second time');

$redis->stop;
$two->wait_log(qr/redis: .*trying again/);
($status, $answer, $again) = channel_http($two, 'DELETE', 'kept/a', '');
is($status, 503, 'while Redis is down, a history cannot be deleted');
ok($again, 'while Redis is down, the answer has Retry-After');
$redis->again;
Httpd::wait_for(sub { (publish($two, 'kept/a', 'behind'))[0] == 200 }, 'Redis');
is(stored('kept/a'), 'stays behind', 'after Redis has restarted, the history is not deleted later');

stop_bus_httpds();
kill 'TERM', $relay;
waitpid $relay, 0;
done_testing;
