# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# A child process that ends while it connects to a Redis server that does not answer: it does not wait for the
# connection's timeout.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use IO::Socket::INET;
use Time::HiRes 'time';
use Httpd;
use Redis ();

plan skip_all => 'made without hiredis' if !-e "$Httpd::BUILD/mod_websocket_redis.so";

# A listening socket whose queue is full: the kernel drops further SYNs.
my $redis = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die $!;
my $port  = $redis->sockport;
my @queue = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Blocking => 0) } 1 .. 4;

# Sockets that are connecting to it.
sub connecting {
    my $there = sprintf ':%04X', $port;
    return scalar grep { /^\s*\d+: \S+ \S+\Q$there\E 02 / } split /\n/, Httpd::read_file('/proc/net/tcp');
}
Httpd::wait_for(sub { connecting() }, 'the queue to be full');

my $others = connecting();
my $httpd;
for (1 .. 5) {    # until httpd starts and stops within the timeout of the first connect, 5 seconds
    my $since = time;
    $httpd = Httpd->start(load => $Redis::LOAD, conf => "WebSocketBus redis://127.0.0.1:$port\n<Location /echo>\n    WebSocketHandler ws_echo.so\n</Location>");
    Httpd::wait_for(sub { connecting() > $others }, 'a connect');
    $httpd->stop;
    last if time - $since < 4.5;
}
is($httpd->count_log(qr/redis: .*trying again/), 0, 'the child ends before its connect to Redis fails');
is($httpd->count_log(qr/did not exit/),          0, 'httpd does not have to kill the child');
is_deeply([$httpd->complaints], [], 'no child crashed');

done_testing();
