# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# A thousand connections, half of them over TLS, have steady traffic while children start and stop because of idle limits,
# MaxConnectionsPerChild, and ten reloads in a row. The server must not lose, duplicate or reorder messages, and must not
# drop connections.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Time::HiRes qw(sleep);
use Client qw(TEXT);
use Httpd;
use Program;

my ($connections, $reloads) = ($ENV{WS_TEST_CONNECTIONS} || 1000, 10);

# The client needs a descriptor for each connection. The shell raises the soft limit, which httpd inherits.
my $files = $connections + 300 * $reloads;
if (!$ENV{WS_TEST_FILES}) {
    $ENV{WS_TEST_FILES} = 1;
    exec 'sh', '-c', "test \$(ulimit -n) -ge $files 2>/dev/null || ulimit -n $files 2>/dev/null; exec \"\$@\"",
        'sh', $^X, $0;
}
chomp(my $limit = `sh -c 'ulimit -n'`);
plan skip_all => "$connections connections need $files open files, ulimit -n allows $limit"
    if $limit ne 'unlimited' && $limit < $files;

# Stopping children occupy slots, so ServerLimit must be large.
my $prefork = $Httpd::MPM eq 'prefork';
my $httpd = Httpd->start(
    conf     => "WebSocketHandler ws_echo.so\nWebSocketPing 20s 10min\nWebSocketDrainTimeout 1h\n"
        . 'MaxConnectionsPerChild ' . ($prefork ? 100 : 150) . "\n",
    mpm_conf => $prefork
    ? "StartServers 10\nServerLimit 250\nMaxRequestWorkers 250\nMinSpareServers 2\nMaxSpareServers 4"
    : "StartServers 6\nServerLimit 150\nThreadsPerChild 5\nMaxRequestWorkers 750\nMinSpareThreads 5\nMaxSpareThreads 15",
);

my $certs  = Httpd::certificates();
my $client = Program->start('node', "$Httpd::TOP/t/clients/steady.js", 200, "$certs/ca.crt",
    'ws://127.0.0.1:' . $httpd->port . '/', 'wss://127.0.0.1:' . $httpd->ssl_port . '/');

sub ask {
    my ($what, $answer) = @_;
    $client->write("$what\n");
    return ($client->wait_output(qr/^$answer (\d+)$/m))[1];
}

# Wait until this many more messages have been echoed.
sub traffic {
    my ($n) = @_;
    my $until = ask('count', 'echoed') + $n;
    Httpd::wait_for(sub { ask('count', 'echoed') >= $until }, "$n messages");
}

is(ask("open $connections", 'opened'), $connections, "$connections connections are open");
traffic($connections);

# httpd stops idle children once a second, and also stops children that have served MaxConnectionsPerChild connections.
Httpd::wait_for(sub { $httpd->count_log(qr/child is stopping; draining \d+ connections/) >= 5 }, 'children to go');
pass($httpd->count_log(qr/child is stopping; draining/) . 'children were stopped, because they were idle or had their number of connections');
traffic($connections);

my $total = $connections;
for my $i (1 .. $reloads) {
    # New connections while httpd reloads: a handshake in progress is not lost.
    $total += 20;
    $client->write("open 20\n");
    $httpd->graceful;
    $client->wait_output(qr/^opened $total$/m);
    traffic(100);
}
pass("httpd reloads $reloads times while messages are sent");
traffic($connections);

my $children = () = $httpd->children;
cmp_ok($children, '>', $reloads, "$children old and new children are running");
is(ask('end', 'ended'), $total, "all $total connections stayed open until the client closed them");
my $status = $client->finish;
is($status, 0, 'no message was lost, doubled or out of order, and no connection was dropped');
my @wrong = $client->output =~ /^wrong (.*)$/mg;
is("@wrong", '', 'the client reports no error');
Httpd::wait_for(sub { my $n = () = $httpd->children; $n < $children }, 'old children to end');
pass('old children end after their last connection');

# ---- Connections left in the queue of event's workers ----

if ($Httpd::MPM eq 'event') {
    my $strand = Httpd::compile('strand');
    my $httpd = Httpd->start(
        modules => ['http2'],
        load    => "LoadModule strand_module $strand",
        conf    => "WebSocketHandler ws_echo.so\nWebSocketPing off\nProtocols h2 h2c http/1.1\n",
    );
    my ($plain, $tls) = ('127.0.0.1:' . $httpd->port, '127.0.0.1:' . $httpd->ssl_port);
    my $stays = Client->new($httpd, '/');
    open my $file, '>', $httpd->root . '/strand' or die $!;
    my @curl    = (qw(curl -sS -m), 10 * $Httpd::DEADLINE, qw(-o /dev/null -w), '%{http_version} %{http_code}', '--cacert', "$certs/ca.crt");
    my @clients = map {(
        ["a WebSocket over $_->[0]", qr/^opened 1$/m, 'node', "$Httpd::TOP/t/clients/steady.js", 20, "$certs/ca.crt", $_->[1]],
        ["a request over $_->[0]", qr/1\.1 200/, @curl, '--http1.1', "$_->[2]/index.html"],
        ["a request of HTTP/2 over $_->[0]", qr/^2 200/, @curl, $_->[3], "$_->[2]/index.html"],
    )} ['TCP', "ws://$plain/", "http://$plain", '--http2-prior-knowledge'], ['TLS', "wss://$tls/", "https://$tls", '--http2'];
    my @running = map { Program->start(@$_[2 .. $#$_]) } @clients;
    $_->write("open 1\n") for @running;
    Httpd::wait_for(sub { $httpd->count_log(qr/strand: one more/) >= @clients }, 'all connections to wait in the queue');
    unlink $httpd->root . '/strand';
    $httpd->graceful;
    for (0 .. $#clients) {
        ok($running[$_]->wait_output($clients[$_][1]), "$clients[$_][0] that no worker had taken is served after a reload");
    }
    for (grep { $clients[$_][2] eq 'node' } 0 .. $#clients) {
        $running[$_]->write("end\n");
        is($running[$_]->finish, 0, "$clients[$_][0] that no worker had taken stays open until its end");
    }
    is($httpd->count_log(qr/accepted a connection without starting/), @clients, 'the log has a line for each of these connections');
    $stays->echoes('still here', 'another connection is not affected');
    $stays->drop;
    my ($old) = $httpd->error_log =~ /pid (\d+).*accepted a connection without/;
    Httpd::wait_for(sub { !kill 0, $old }, 'the old child to end');
    pass('the old child ends');
}

# ---- A late signal of the MPM ----

# When worker's listener ends, it sends SIGTERM to its own process. If it waits for the accept mutex longer than the MPM waits for
# it, the signal arrives during the drain.
if (!$prefork) {
    my $sigterm = Httpd::compile('sigterm', <<'END');
#include <signal.h>
#include <unistd.h>
#include "mod_websocket.h"
static void on_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    if (*data == 'S') {
        kill(getpid(), SIGTERM);
    }
    ws_send(c, type, data, len);
}
WS_HANDLER(sigterm) = {.on_message = on_message};
END
    my $httpd = Httpd->start(conf => "WebSocketHandler $sigterm\nWebSocketPing off\n");
    my @c     = map { Client->new($httpd, '/') } 1 .. 2;
    $httpd->graceful;
    $httpd->wait_log(qr/child is stopping; draining/);
    $c[0]->echoes('SIGTERM', 'a child that drains sends SIGTERM to itself');
    # The child looks at the signal every 100 ms.
    for (1 .. 10) {
        sleep 0.1;
        $c[0]->text('more');
        last if ($c[0]->frame)[0] != TEXT;
    }
    $_->echoes('still here', 'the connections of the child stay open') for @c;
    my ($pid) = $httpd->error_log =~ /pid (\d+).*child is stopping; draining/;
    # Like the MPM's parent process, repeat the signal: a pending one hides those that follow.
    Httpd::wait_for(sub { kill 'TERM', $pid; Httpd::ready($c[0]->socket, 0, 0.1) }, 'a Close frame');
    is(unpack('n', ($_->frame)[1]), 1001, 'a SIGTERM of another process closes them') for @c;
    $_->drop for @c;
}

# ---- Too few slots for children ----
{
    my $full = Httpd->start(
        conf     => "WebSocketHandler ws_echo.so\nWebSocketPing off\n",
        mpm_conf => $prefork
        ? "StartServers 1\nServerLimit 3\nMaxRequestWorkers 3\nMinSpareServers 1\nMaxSpareServers 3"
        : "StartServers 1\nServerLimit 3\nThreadsPerChild 2\nMaxRequestWorkers 6\nMinSpareThreads 1\nMaxSpareThreads 6",
    );
    my $told = qr/all 3 slots for child processes are in use, \d of them by stopping children that still have WebSockets/;
    my @old;
    for (1 .. 3) {
        push @old, Client->new($full, '/');
        $full->graceful;
    }
    ok($full->wait_log($told), 'the log says when old children occupy all slots');
    $_->echoes('still here', 'connections of children in all slots stay open') for @old;
    $_->drop for @old;
    Httpd::wait_for(sub { ($full->get('/index.html'))[0] == 200 }, 'a new child');
    is($full->count_log($told), 1, 'the log has the line about occupied slots once');
}

done_testing;
