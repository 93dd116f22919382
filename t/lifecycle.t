# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests connections while httpd stops, reloads, restarts, or ends a child process.

use strict;
use warnings;
use lib 't/lib';
use IO::Socket::INET;
use Test::More;
use Httpd;
use Client qw(TEXT CLOSE);

my $api = Httpd::compile('api');

sub server {
    my ($conf, %o) = @_;
    return Httpd->start(conf => "WebSocketHandler $api greeting=old\n" . ($conf // ''), %o);
}

sub ask {
    my ($c, $command) = @_;
    $c->text($command);
    return ($c->message)[1];
}

# Connect, and wait until the engine has taken over the connection.
sub client {
    my ($httpd, $name, %o) = @_;
    my $c = Client->new($httpd, "/?name=$name", %o);
    ask($c, 'ready');
    return $c;
}

sub greeting { return ask($_[0], 'who') =~ /greeting=(\w+)/ ? $1 : 'none' }

# Connect to a child that has this greeting= in its configuration. Retries, because an old child may still answer right
# after a reload.
sub connect_to {
    my ($httpd, $greeting) = @_;
    return Httpd::wait_for(
        sub {
            my $c = eval { client($httpd, $greeting) } or return;
            return greeting($c) eq $greeting && $c;
        },
        "a child with greeting=$greeting"
    );
}

# Test that the server closes with this code. Then close the client's socket, so that the server does not wait for that.
sub closed {
    my ($c, $code, $name) = @_;
    $c->expect_close($code, $name);
    $c->drop;
}

sub ended {
    my ($httpd) = @_;
    return Httpd::wait_for(sub { !kill 0, $httpd->pid }, 'httpd to end');
}

# ---- Stop ----

{
    my $httpd = server();
    my %open  = map { $_ => client($httpd, $_, tls => /tls/ ? 1 : 0) } qw(plain tls silent);
    $httpd->terminate;
    closed($open{$_}, 1001, "stop: the connection $_ is closed with 1001") for qw(plain tls);
    is(($open{silent}->frame)[0], CLOSE, 'stop: a client that does not answer gets a Close frame');
    ok(ended($httpd), 'stop: a client that does not answer does not delay the stop');
    like($httpd->error_log, qr/api: closed $_ 1001 "server stops"/, "stop: on_close is called for the connection $_")
        for keys %open;
    like($httpd->error_log, qr/api: stop/, "stop: the handler's function stop is called");
    unlike($httpd->error_log, qr/did not exit/, 'stop: no child had to be killed');
}

# A thread of the MPM waits for a server that does not answer. The MPM joins its threads before it stops the child, so the
# other connections must be closed before that.
{
    my $server = IO::Socket::INET->new(Listen => 10, LocalAddr => '127.0.0.1') or die $!;
    my $httpd  = server("<Location /slow>\nWebSocketHandler ws_proxy.so timeout=60s to=ws://127.0.0.1:" . $server->sockport . "\n</Location>");
    my $open   = client($httpd, 'open');
    my $slow   = $httpd->connect;
    print $slow "GET /slow HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    my $waits  = $server->accept or die $!;
    $httpd->terminate;
    closed($open, 1001, 'stop, while a thread waits for a server: the connections of others are closed with 1001');
    close $waits;
    ok(ended($httpd), 'stop, while a thread waits for a server: httpd ends when the wait ends');
}

# ---- Reload ----

{
    my $httpd = server();
    my %old = map { $_ => client($httpd, "old$_", tls => /tls/ ? 1 : 0) } qw(plain tls other);
    my %started = map { $_ => 1 } $httpd->children;
    $httpd->write_conf("WebSocketHandler $api greeting=new");
    $httpd->graceful;
    my $new = connect_to($httpd, 'new');
    ok($new, 'reload: new connections have the new configuration');
    for my $name (qw(plain tls)) {
        is(join(',', map { ask($old{$name}, "m$_") } 1 .. 50), join(',', map {"m$_"} 1 .. 50),
            "reload: an old connection continues, $name");
        is(greeting($old{$name}), 'old', "reload: an old connection keeps the old configuration, $name");
    }
    is(($httpd->get('/index.html'))[0], 200, 'reload: ordinary requests are answered');
    for my $name (qw(plain tls)) {
        $old{$name}->close(1000);
        closed($old{$name}, 1000, "reload: an old connection closes cleanly, $name");
    }

    $httpd->write_conf("WebSocketHandler $api greeting=newest");
    $httpd->graceful;
    my $newest = connect_to($httpd, 'newest');
    my $generations = sub { return join ' ', map { greeting($_) } $old{other}, $new, $newest };
    is($generations->(), 'old new newest', 'second reload: there are connections of three generations');

    $httpd->write_conf('WebSocketHandler no-such-handler');
    like($httpd->run('-k graceful'), qr/no-such-handler/, 'reload: a mistake in the new configuration is reported');
    is($generations->(), 'old new newest', 'reload with a mistake: old connections keep their configurations');
    is(greeting(client($httpd, 'another')), 'newest', 'reload with a mistake: new connections have the previous configuration');

    $old{other}->drop;
    ok(Httpd::wait_for(sub { !grep { $started{$_} } $httpd->children }, 'the old children to end'),
        'reload: an old child ends with its last connection');
    $httpd->terminate;
    closed($_, 1001, 'reload, then stop: connections of all generations are closed with 1001')
        for $new, $newest;
    ok(ended($httpd), 'reload, then stop: httpd ends');
}
{
    my $httpd = server('WebSocketDrainTimeout 100ms');
    my @open  = map { client($httpd, "drained$_", tls => $_ % 2) } 1 .. 6;
    $httpd->graceful;
    closed($_, 1012, 'reload: after WebSocketDrainTimeout the remaining connections are closed with 1012') for @open;
    ok($httpd->wait_log(qr/api: closed drained$_ 1012 /), "reload: after WebSocketDrainTimeout, on_close of connection $_ gets 1012") for 1 .. 6;
}

# ---- Restart ----

{
    my $httpd = server();
    my $c = client($httpd, 'restarted');
    $httpd->terminate('HUP');
    closed($c, 1001, 'restart: an open connection is closed with 1001');
    ok($httpd->wait_log(qr/api: closed restarted 1001/), 'restart: on_close gets 1001');
    ok(connect_to($httpd, 'old'), 'restart: new connections are served');
    unlike($httpd->error_log, qr/did not exit/, 'restart: no child had to be killed');
}

# ---- Graceful stop ----

{
    my $httpd = server('GracefulShutdownTimeout 0');
    my $c = client($httpd, 'last');
    kill 'WINCH', $httpd->pid;
    ok(Httpd::wait_for(sub { !$httpd->connect }, 'the port to be closed'), 'graceful stop: no new connection is accepted');
    is(ask($c, 'still here'), 'still here', 'graceful stop: an open connection continues');
    $c->close(1000);
    closed($c, 1000, 'graceful stop: the open connection stays until it closes cleanly');
    ok(ended($httpd), 'graceful stop: after the last connection, httpd ends');
}

# ---- A callback that does not return ----

SKIP: {
    skip 'the same in every MPM with threads', 1 if $Httpd::MPM ne 'event';
    my $blocking = Httpd::compile('api', Httpd::read_file('t/handlers/api.c'), '-DBLOCKING');
    my $httpd    = Httpd->start(conf => "WebSocketHandler $blocking");
    my $c        = client($httpd, 'stuck');
    my ($old)    = $httpd->children;
    my $asleep   = $httpd->root . '/logs/asleep';
    Httpd::write_file($asleep, '');
    $c->text("sleep while $asleep");
    $httpd->graceful;
    # Not to httpd, which would kill the child before it gives up; repeated, because the child may not have begun to stop.
    my $gives_up = qr/a WS_BLOCKING handler does not return/;
    Httpd::wait_for(sub { kill 'TERM', $old; $httpd->count_log($gives_up) }, 'the child to give up');
    Httpd::wait_for(sub { !kill 0, $old }, 'the old child to end');
    unlink $asleep;
    unlike($httpd->error_log, qr/api: (?:stop|pool of the child destroyed)/,
        'the child ends without destroying what a callback still uses');
}

# ---- Children that httpd ends on its own ----

{
    my $httpd = server('MaxConnectionsPerChild 4', mpm_conf => $Httpd::MPM eq 'prefork' ? <<'PREFORK' : <<'THREADS');
StartServers 2
ServerLimit 32
MaxRequestWorkers 32
MinSpareServers 1
MaxSpareServers 4
PREFORK
StartServers 1
ServerLimit 16
ThreadsPerChild 5
MaxRequestWorkers 80
MinSpareThreads 1
MaxSpareThreads 80
THREADS
    my @open = map { client($httpd, "child$_", tls => $_ % 2) } 1 .. 20;
    is(join(',', map { ask($_, 'live') } @open), join(',', ('live') x 20),
        'MaxConnectionsPerChild: connections continue after their child was told to stop');
    cmp_ok(scalar($httpd->children), '>', 2, 'MaxConnectionsPerChild: several children have connections');
}
{
    # httpd regards a child that has only WebSockets as idle, and ends it.
    my $httpd = server('', mpm_conf => $Httpd::MPM eq 'prefork' ? <<'PREFORK' : <<'THREADS');
StartServers 8
ServerLimit 32
MaxRequestWorkers 32
MinSpareServers 1
MaxSpareServers 2
PREFORK
StartServers 16
ServerLimit 16
ThreadsPerChild 5
MaxRequestWorkers 80
MinSpareThreads 5
MaxSpareThreads 10
THREADS
    my @open = map { client($httpd, "idle$_", tls => $_ % 2) } 1 .. 20;
    ok($httpd->wait_log(qr/draining \d+ connections/), 'spare children: a child with connections is stopped');
    is(join(',', map { ask($_, 'live') } @open), join(',', ('live') x 20),
        'spare children: its connections stay open');
}

done_testing;
