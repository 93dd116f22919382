# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# A thousand sessions of SockJS, some of them over TLS, are distributed over four children. Meanwhile, httpd reloads, and a
# child is killed. The server must not lose, duplicate or reorder messages, and only the sessions of the killed child may
# end. With a sanitizer, the test has only sixty sessions and two children.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Program;
use SockJS;

plan skip_all => 'with prefork, each of a thousand polls needs a process' if $Httpd::MPM eq 'prefork';
my $small    = $ENV{WS_TEST_PRELOAD};
my $sessions = $ENV{WS_TEST_CONNECTIONS} || ($small ? 60 : 1000);
my $children = $small ? 2 : 4;

# The client and the children need descriptors for the sessions. The shell raises the soft limit, which httpd inherits.
my $files = 5 * $sessions;
if (!$ENV{WS_TEST_FILES}) {
    $ENV{WS_TEST_FILES} = 1;
    exec 'sh', '-c', "test \$(ulimit -n) -ge $files 2>/dev/null || ulimit -n $files 2>/dev/null; exec \"\$@\"", 'sh', $^X, $0;
}
chomp(my $limit = `sh -c 'ulimit -n'`);
plan skip_all => "$sessions sessions need $files open files, ulimit -n allows $limit" if $limit ne 'unlimited' && $limit < $files;

my $service = Httpd::compile('pid', <<'END');
#include <stdio.h>
#include <unistd.h>
#include "mod_websocket.h"

static void tell(ws_conn *c)
{
    char text[24];
    ws_send(c, WS_TEXT, text, (apr_size_t)snprintf(text, sizeof(text), "%d", (int)getpid()));
}

static void echo(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    ws_send(c, type, data, len);
}

WS_HANDLER(pid) = {.on_open = tell, .on_message = echo};
END
my $delay   = Patience::stretch('60s');
my $conf    = <<"END";
<Location "/pid">
    WebSocketHandler $service
    WebSocketTransports sockjs
    WebSocketSockJS delay=$delay
</Location>
END

# KeepAlive is off because Node may reuse a connection that httpd has just closed, and then reports an error. ServerLimit is
# four times the number of children that MaxRequestWorkers allows, because stopping children occupy slots. AcceptFilter is none
# because the kernel drops some of so many connections if they have TCP_DEFER_ACCEPT.
my $httpd = Httpd->start(
    conf     => "WebSocketPing 20s 10min\nWebSocketDrainTimeout 1h\nListenBacklog 2000\nKeepAlive off\nAcceptFilter http none\nAcceptFilter https none\n$conf",
    ssl_conf => $conf,
    mpm_conf => "StartServers 4\nServerLimit 80\nThreadsPerChild 25\nMaxRequestWorkers 500\nMinSpareThreads 100\nMaxSpareThreads 500",
);
$ENV{NODE_EXTRA_CA_CERTS} = Httpd::certificates() . '/ca.crt';
my $client = Program->start('node', 't/clients/sockjs-crowd.js', 'http://127.0.0.1:' . $httpd->port . '/pid',
    'https://localhost:' . $httpd->ssl_port . '/pid');

sub ask {
    my ($what, $answer) = @_;
    $client->write("$what\n");
    return ($client->wait_output(qr/^$answer ?(.*)\n/m))[1];
}

is(ask("open $sessions", 'opened'), $sessions, "$sessions sessions are open") or diag ask('why', 'why');
my %of = map { split /:/ } split ' ', ask('pids', 'pids');
while ($small && keys %of < $children && $sessions < 600) {    # a few sessions may all be in one child
    ask('open 20', 'opened');
    $sessions += 20;
    %of = map { split /:/ } split ' ', ask('pids', 'pids');
}
cmp_ok(scalar keys %of, '>=', $children, "the sessions are in $children children or more: " . join ' ', values %of);
is(ask('rounds 1', 'done'), $sessions, 'all sessions send and receive');

$httpd->graceful;
is(ask('rounds 2', 'done'), $sessions, 'after a reload, all sessions send and receive, although their requests reach other children') or diag ask('why', 'why');
is(ask('ended', 'ended'), '', 'after a reload, no session has ended');

my ($victim) = sort { $of{$a} <=> $of{$b} } keys %of;
kill 'KILL', $victim;
is(ask('rounds 2', 'done'), $sessions - $of{$victim}, 'all sessions except those of a killed child continue');
is(ask('ended', 'ended'), "$victim:1006:$of{$victim}", 'the sessions of the killed child end with 1006');
is(ask('wrong', 'wrong'), '0 ', 'no message is lost, doubled or out of order');
$client->write("quit\n");
$client->finish;

done_testing;
