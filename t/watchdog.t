# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# When a handler blocks its event loop, the log names the handler, both while it blocks and afterwards. Other connections
# continue after that.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client qw(frame_bytes TEXT);

Httpd::once();

my $api      = Httpd::compile('api');
my $blocking = Httpd::compile('api', Httpd::read_file('t/handlers/api.c'), '-DBLOCKING');
my $httpd    = Httpd->start(conf => <<"END");
WebSocketThreads 1
WebSocketWatchdog 100ms
WebSocketPing off
WebSocketHandler $api
<Location /blocking>
    WebSocketHandler $blocking
</Location>
END

sub client { my ($path, %o) = @_; return Client->new($httpd, $path, %o) }

my $late = qr/handler api has not returned from on_message for \d+ ms, connection ([0-9a-f]{16}): its event loop is blocked \(WebSocketWatchdog\)/;
my $over = qr/\/, connection ([0-9a-f]{16}): handler api has returned, after (\d+) ms \(WebSocketWatchdog\)/;

for my $tls (0, 1) {
    my ($over_tls) = $tls ? ' (TLS)' : '';
    my ($sleeper, @others) = map { client('/', tls => $tls) } 0 .. 5;
    $sleeper->text('id');
    my $id = sprintf '%016s', ($sleeper->message)[1];
    my ($told, $ended) = ($httpd->count_log($late), $httpd->count_log($over));
    my $asleep = $httpd->root . "/logs/asleep$tls";
    Httpd::write_file($asleep, '');
    $sleeper->text("sleep while $asleep");
    Httpd::wait_for(sub { $httpd->count_log($late) > $told }, 'a log line of the watchdog');
    is($httpd->count_log($over), $ended, "the log has the handler whose callback is still running$over_tls");
    my @named = $httpd->error_log =~ /$late/g;
    is($named[-1], $id, "the log has the connection whose callback is still running$over_tls");

    for my $i (1 .. 200) {
        $_->text("message $i") for @others;
    }
    unlink $asleep;
    my $right = 0;
    for my $c (@others) {
        for my $i (1 .. 200) {
            $right++ if ($c->message)[1] eq "message $i";
        }
    }
    is($right, 200 * @others, "when the callback has returned, messages of other connections are answered in order$over_tls");
    is(($sleeper->message)[1], 'slept', "the connection whose callback was slow continues$over_tls");
    Httpd::wait_for(sub { $httpd->count_log($over) > $ended }, 'the watchdog to log that the callback has returned');
    my ($who, $ms) = @{[$httpd->error_log =~ /$over/g]}[-2, -1];
    is($who, $id, "the log says that the callback has returned$over_tls");
    cmp_ok($ms, '>=', 100, "the log has the duration of the callback$over_tls");
    is($httpd->count_log($late), $told + 1, "each slow callback is logged once$over_tls");
    $_->echoes('still here') for $sleeper, @others;
}
{
    my $c = client('/');
    my $told = $httpd->count_log($late);
    for (1 .. 20) {
        $c->text('sleep 30');
        $c->message;
    }
    my $sleeper = client('/blocking');
    $sleeper->text('sleep 800');
    $c->echoes('at once', 'a callback of a blocking handler delays no other connection');
    is(($sleeper->message)[1], 'slept', 'the blocking handler answers later');
    $c->text('timer 0 0 2');
    is(($c->message)[1], 'tick', 'a timer callback that is slow answers');
    $c->text('sleep 1000');
    $c->message;
    Httpd::wait_for(sub { $httpd->count_log($late) > $told }, 'the next log line of the watchdog');
    ok($httpd->error_log !~ m{/blocking.*WebSocketWatchdog}, 'the log does not report the blocking handler');
}
{
    my $quiet = Httpd->start(conf => "WebSocketThreads 1\nWebSocketWatchdog off\nWebSocketHandler $api\n");
    my $c = Client->new($quiet, '/');
    $c->text('sleep 1500');
    is(($c->message)[1], 'slept', 'with WebSocketWatchdog off, a slow callback answers');
    is($quiet->count_log(qr/WebSocketWatchdog/), 0, 'with WebSocketWatchdog off, a slow callback is not logged');
}

done_testing;
