# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# A child process stops while it waits for a Redis server that does not answer. It must not wait until the connection
# times out.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Client;
use FakeRedis;
use IO::Socket::INET;
use Time::HiRes 'time';
use Httpd;
use Redis ();

plan skip_all => 'the module was built without hiredis' if !-e "$Httpd::BUILD/mod_websocket_redis.so";

# Start httpd, and stop it while it waits for Redis. Retry until httpd has started and stopped within 5 seconds, the
# timeout of the first wait. On a very busy machine, it may never do so.
sub stops {
    my ($when, $bus, $waits) = @_;
    my ($httpd, $quick);
    for (1 .. 10) {
        my $since = time;
        $httpd = Redis::bus_httpd($bus);
        $waits->($httpd);
        $httpd->stop;
        last if $quick = time - $since < 4.5;
    }
    SKIP: {
        skip 'the machine is too busy to start and stop httpd within 5 seconds', 1 if !$quick;
        is($httpd->count_log(qr/redis: .*trying again/), 0, "$when: the child ends before the timeout");
    }
    is($httpd->count_log(qr/did not exit/),          0, "$when: httpd does not have to kill the child");
    is_deeply([$httpd->complaints], [], "$when: no child has crashed");
    return;
}

# Returns the number of sockets that have connected to a port, or are connecting to it.
sub sockets {
    my ($port, $state) = @_;
    my $there = sprintf ':%04X', $port;
    return scalar grep { /^\s*\d+: \S+ \S+\Q$there\E $state / } split /\n/, Httpd::read_file('/proc/net/tcp');
}
my ($CONNECTED, $CONNECTING) = qw(01 02);

# ---- Connects ----

# A listening socket whose queue is full, so that the kernel drops further SYNs.
my $full  = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die $!;
my $port  = $full->sockport;
my @queue = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Blocking => 0) } 1 .. 4;
Httpd::wait_for(sub { sockets($port, $CONNECTING) }, 'the queue to be full');

my $others = sockets($port, $CONNECTING);
stops('an attempt to connect', "redis://127.0.0.1:$port",
    sub { Httpd::wait_for(sub { sockets($port, $CONNECTING) > $others }, 'an attempt to connect') });

# ---- Replies ----

# The kernel accepts connections, and no program answers.
my $silent = IO::Socket::INET->new(Listen => 100, LocalAddr => '127.0.0.1') or die $!;
for my $scheme (qw(redis rediss)) {
    stops($scheme eq 'redis' ? 'the first reply' : 'the TLS handshake', "$scheme://127.0.0.1:" . $silent->sockport,
        sub { Httpd::wait_for(sub { sockets($silent->sockport, $CONNECTED) }, 'a connection') });
}

# ---- Appends ----

# The server replies to all commands, except to those that store a message.
my $fake = FakeRedis->start;
my (@publishers, $before);
my %publish  = (
    'HTTP' => sub {
        my ($httpd) = @_;
        push @publishers, $httpd->connect;
        print { $publishers[-1] } "POST /channels/kept/a HTTP/1.0\r\nContent-Length: 1\r\n\r\nx";
    },
    'WebSocket' => sub {
        my ($httpd) = @_;
        push @publishers, Client->new($httpd, '/ws?channel=kept/a');
        $publishers[-1]->text('x');
    },
);
for my $how (sort keys %publish) {
    $fake->answer('APPEND', '');
    stops("an append for a publisher over $how", 'redis://127.0.0.1:' . $fake->port, sub {
        $before = $fake->seen('APPEND');
        $publish{$how}->($_[0]);
        Httpd::wait_for(sub { $fake->seen('APPEND') > $before }, 'the append');
    });
    @publishers = ();
}

done_testing();
