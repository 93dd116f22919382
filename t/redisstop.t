# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# A child process stops while it connects to a Redis server that does not answer. It must not wait until the attempt to
# connect times out.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use IO::Socket::INET;
use Time::HiRes 'time';
use Httpd;
use Redis ();

plan skip_all => 'the module was built without hiredis' if !-e "$Httpd::BUILD/mod_websocket_redis.so";

# A listening socket whose queue is full, so that the kernel drops further SYNs.
my $redis = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die $!;
my $port  = $redis->sockport;
my @queue = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Blocking => 0) } 1 .. 4;

# Returns the number of sockets that are connecting to this port.
sub connecting {
    my $there = sprintf ':%04X', $port;
    return scalar grep { /^\s*\d+: \S+ \S+\Q$there\E 02 / } split /\n/, Httpd::read_file('/proc/net/tcp');
}
Httpd::wait_for(sub { connecting() }, 'the queue to be full');

my $others = connecting();
my $httpd;
for (1 .. 5) {    # retry until httpd has started and stopped within 5 seconds, the timeout of the first attempt to connect
    my $since = time;
    $httpd = Httpd->start(load => $Redis::LOAD, conf => "WebSocketBus redis://127.0.0.1:$port\n<Location /echo>\n    WebSocketHandler ws_echo.so\n</Location>");
    Httpd::wait_for(sub { connecting() > $others }, 'an attempt to connect');
    $httpd->stop;
    last if time - $since < 4.5;
}
is($httpd->count_log(qr/redis: .*trying again/), 0, 'the child ends before its connect to Redis fails');
is($httpd->count_log(qr/did not exit/),          0, 'httpd does not have to kill the child');
is_deeply([$httpd->complaints], [], 'no child has crashed');

done_testing();
