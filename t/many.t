# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# 2,000 connections at once, half of them TLS, against a server with 25 worker threads, which goes on
# answering ordinary requests. WS_TEST_SECONDS says how long they echo.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Time::HiRes qw(sleep time);
use Httpd;
use Client qw(TEXT);

my $count = 2000;
{
    chomp(my $limit = `sh -c 'ulimit -n'`);
    if ($limit ne 'unlimited' && $limit < 2 * $count && !$ENV{WS_TEST_RAISED}) {
        local $ENV{WS_TEST_RAISED} = 1;
        exec 'sh', '-c', 'ulimit -n "$(ulimit -Hn)"; exec "$0" "$@"', $^X, $0;
    }
    plan skip_all => "a process may have $limit descriptors here" if $limit ne 'unlimited' && $limit < $count + 100;
}
my $seconds = $ENV{WS_TEST_SECONDS} || 3;
my $httpd   = Httpd->start(
    conf => "<Location /echo>\n    WebSocketHandler ws_echo.so\n</Location>\n",
    $Httpd::MPM eq 'prefork' ? () : (mpm_conf => "StartServers 1\nServerLimit 1\nThreadsPerChild 25\nMaxRequestWorkers 25"),
    log_level => 'info'
);
my $busy = $httpd->status_value('BusyWorkers');
my @c = map { Client->new($httpd, '/echo', tls => $_ % 2) } 1 .. $count;
is(scalar @c, $count, "$count connections, half of them TLS");
# The last handshakes' workers may be about to let go, and so may the one that answered before this.
my $free = sub { sleep 0.2; $httpd->status_value('BusyWorkers') <= $busy };
ok(Httpd::wait_for($free, 'the workers to be free'), 'no worker is busy with them');

my ($until, $rounds, $wrong, @times) = (time + $seconds, 0, 0);
do {
    $_->text("round $rounds") for @c;
    my $start = time;
    $wrong++ if ($httpd->get('/index.html'))[0] != 200;
    push @times, time - $start;
    for (@c) {
        my ($opcode, $payload) = $_->frame;
        $wrong++ if $opcode != TEXT || $payload ne "round $rounds";
    }
    $rounds++;
} while (time < $until);
is($wrong, 0, "every message came back, in $rounds rounds, and every ordinary request was answered");
ok(Httpd::wait_for($free, 'the workers to be free'), 'no worker is busy with them still');
@times = sort { $a <=> $b } @times;
diag(sprintf '%d echoes, ordinary requests between them took %.1f ms, %.1f ms at most', $rounds * $count,
    1000 * $times[@times / 2], 1000 * $times[-1]);

done_testing;
