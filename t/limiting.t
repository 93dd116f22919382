# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# WebSocketLimit: the module counts connections and handshakes across all children and reloads. A connection is no longer
# counted after it has ended in any way. Also tests the limits of open connections.

use strict;
use warnings;
no warnings "portable";
use lib 't/lib';
use MIME::Base64 qw(encode_base64);
use Test::More;
use Time::HiRes qw(time);
use Httpd;
use Client qw(frame_bytes TEXT BINARY CLOSE PING PONG);

# The last test needs many descriptors. The shell raises the soft limit, which httpd inherits.
my $files = 1500;
if (!$ENV{WS_TEST_FILES}) {
    $ENV{WS_TEST_FILES} = 1;
    exec 'sh', '-c', "test \$(ulimit -n) -ge $files 2>/dev/null || ulimit -n $files 2>/dev/null; exec \"\$@\"",
        'sh', $^X, $0;
}
chomp(my $limit = `sh -c 'ulimit -n'`);

my $api = Httpd::compile('api');
my $pid = Httpd::compile('pid', <<'END');
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "mod_websocket.h"
static void tell(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    char text[20];
    (void)type, (void)data, (void)len;
    sprintf(text, "%ld", (long)getpid());
    ws_send(c, WS_TEXT, text, strlen(text));
}
WS_HANDLER(pid) = {.on_message = tell};
END

# The password is "sesame", hashed by htpasswd -s.
my $hash = '{SHA}CEo1Ae3vaEXy8eQZjsOiuBz1xrw=';

# Several children run from the beginning.
my $mpm_conf = $Httpd::MPM eq 'prefork'
    ? "StartServers 6\nServerLimit 32\nMaxRequestWorkers 32\nMinSpareServers 6\nMaxSpareServers 32"
    : "StartServers 4\nServerLimit 16\nThreadsPerChild 4\nMaxRequestWorkers 64\nMinSpareThreads 16\nMaxSpareThreads 64";

my $httpd = Httpd->start(
    mpm_conf => $mpm_conf,
    files    => { users => "alice:$hash\nbob:$hash\n" },
    conf     => <<"END");
WebSocketHandler $api
WebSocketPing off
RemoteIPHeader X-Forwarded-For
RemoteIPInternalProxy 127.0.0.0/8
<Location /total>
    WebSocketLimit connections=3
</Location>
<Location /address>
    WebSocketLimit connections=2 key=address
</Location>
<Location /user>
    WebSocketLimit connections=1 "key=%{REMOTE_USER}"
</Location>
<Location /user/login>
    AuthType Basic
    AuthName test
    AuthUserFile users
    Require valid-user
</Location>
<Location /query>
    WebSocketLimit connections=2 "key=%{QUERY_STRING}"
    WebSocketLimit connections=5
</Location>
<Location /query/inner>
    WebSocketLimit connections=1
</Location>
<Location /query/off>
    WebSocketLimit off
</Location>
<Location /dry>
    WebSocketLimit connections=1 dry-run
</Location>
<Location /pids>
    WebSocketHandler $pid
    WebSocketLimit connections=20
</Location>
<Location /pace>
    WebSocketLimit handshakes=1 burst=4
</Location>
<Location /pace/address>
    WebSocketLimit off
    WebSocketLimit handshakes=1 key=address
</Location>
<Location /messages>
    WebSocketLimit messages=1 burst=10
</Location>
<Location /messages/dry>
    WebSocketLimit off
    WebSocketLimit messages=1 burst=10 dry-run
</Location>
<Location /messages/more>
    WebSocketLimit messages=1000000
</Location>
<Location /bytes>
    WebSocketLimit bytes=1K burst=10K
</Location>
<Location /lifetime>
    WebSocketLimit lifetime=300ms
</Location>
<Location /lifetime/dry>
    WebSocketLimit off
    WebSocketLimit lifetime=1ms dry-run
</Location>
<Location /idle>
    WebSocketLimit idle=300ms
</Location>
<Location /idle/time>
    WebSocketHandler ws_time.so
    WebSocketLimit idle=10s
    WebSocketLimit idle=500ms dry-run
</Location>
END

sub client { my ($path, %o) = @_; return Client->new($httpd, $path, %o) }
sub refused { my ($path, %o) = @_; return Client->refused($httpd, $path, %o) }

# Retry until the server accepts a connection.
sub enter {
    my ($path, %o) = @_;
    my $c;
    Httpd::wait_for(sub {
        $c = Client->new($httpd, $path, %o, expect => 0);
        $c->read_answer;
        return $c->status == 101;
    }, "room at $path");
    return $c;
}

sub is_full {
    my ($path, $name, %o) = @_;
    my ($status, $c) = refused($path, %o);
    is($status, 503, $name);
    like($c->header('Retry-After') // 'none', qr/^[1-9]\d*$/, "$name: the refusal has Retry-After");
}

# ---- Connections ----

for my $tls (0, 1) {
    my $over = $tls ? ' (TLS)' : '';
    my @c = map { $tls ? enter('/total', tls => $tls) : client('/total') } 1 .. 3;
    is_full('/total', "a fourth connection is refused$over") for 1 .. 10;    # any child may accept these connections
    ok($httpd->wait_log(qr/handshake refused with 503: the limit is reached, for all clients \(WebSocketLimit connections=3\)/),
        "the log says that connections=3 is reached$over");
    $c[0]->close(1000);
    $c[0]->expect_close(1000);
    push @c, enter('/total', tls => $tls);
    pass("after a client has closed its connection, another connection is accepted$over");
    $c[1]->drop;
    push @c, enter('/total', tls => $tls);
    pass("after a client's connection has broken, another connection is accepted$over");
    is_full('/total', "with three connections again, a further connection is refused$over");
    $c[2]->echoes('still here', "a connection within the limit still echoes$over");
}
{
    refused('/total?refuse=403') for 1 .. 10;
    my @c = map { enter('/total') } 1 .. 3;
    pass('a handshake that a handler refuses is not counted');
    is((refused('/total?refuse=403'))[0], 503, 'beyond the limit, a handshake is refused without calling the handler');
}
{
    my @c = map { client('/address', from => '127.0.0.2') } 1 .. 2;
    is_full('/address', 'a third connection of an address is refused', from => '127.0.0.2');
    ok($httpd->wait_log(qr/the limit is reached, for 127\.0\.0\.2 \(WebSocketLimit connections=2 key=address\)/), 'the log has the address whose limit is reached');
    push @c, map { client('/address', from => '127.0.0.3') } 1 .. 2;
    pass('another address has a separate count');
    push @c, client('/address', from => '127.0.0.2', headers => ['X-Forwarded-For: 203.0.113.7']);
    pass('a client behind a proxy has a separate count');
    push @c, client('/address', from => '127.0.0.3', headers => ['X-Forwarded-For: 203.0.113.7']);
    is_full('/address', 'a client behind a proxy has the same count through another proxy', from => '127.0.0.4', headers => ['X-Forwarded-For: 203.0.113.7']);
    push @c, map { client('/address', headers => ["X-Forwarded-For: 2001:db8:0:1::$_"]) } 1 .. 2;
    is_full('/address', 'a third connection of an IPv6 network is refused', headers => ['X-Forwarded-For: 2001:db8:0:1:2:3:4:5']);
    push @c, client('/address', headers => ['X-Forwarded-For: 2001:db8:0:2::1']);
    pass('another IPv6 network has a separate count');
    push @c, client('/total');
    pass('another WebSocketLimit has a separate count');
}
{
    my %login = map { $_ => ['Authorization: Basic ' . encode_base64("$_:sesame", '')] } qw(alice bob);
    my @c = client('/user/login', headers => $login{alice});
    is_full('/user/login', 'a second connection of a user is refused', headers => $login{alice});
    push @c, client('/user/login', headers => $login{bob});
    pass('another user has a separate count');
    push @c, map { client('/user') } 1 .. 3;
    pass('clients without a user are not counted');
}
{
    my @c = map { client('/query?a') } 1 .. 2;
    is_full('/query?a', 'a third connection with the same value of key= is refused');
    push @c, map { client('/query?b') } 1 .. 2;
    push @c, client('/query/inner?c');
    is_full('/query/inner?d', 'one connection more than the inner section allows is refused');
    is_full('/query?e', 'the outer section also counts connections of the inner section');
    push @c, map { client('/query/off?a') } 1 .. 3;
    pass('WebSocketLimit off admits any number of connections');
}
{
    my @c = map { client('/dry') } 1 .. 4;
    is($httpd->count_log(qr/dry run: handshake would be refused with 503: the limit is reached, for all clients \(WebSocketLimit connections=1 dry-run\)/),
        3, 'dry-run accepts connections beyond the limit, and logs them');
}

# ---- Reloads, and children that die ----

{
    my @c = map { enter('/total') } 1 .. 3;
    $httpd->graceful;
    is_full('/total', 'after a reload, connections of old children are still counted') for 1 .. 10;
    $_->echoes('still here') for @c;
    (shift @c)->drop;
    push @c, enter('/total');
    is_full('/total', 'after a reload, a closed connection of an old child is no longer counted') for 1 .. 5;
}
{
    my @c = map { client('/pids') } 1 .. 20;
    is_full('/pids', 'with twenty connections, a further one is refused');
    my %of;
    for my $c (@c) {
        $c->text('?');
        push @{ $of{ ($c->message)[1] } }, $c;
    }
    my ($victim) = sort { $a <=> $b } keys %of;
    my $n = @{ $of{$victim} };
    note(scalar(keys %of) . " children have connections, $n are killed");
    kill 'KILL', $victim;
    my @new = map { enter('/pids') } 1 .. $n;
    is_full('/pids', 'only the connections of a killed child are no longer counted');
    push @new, grep { !$_->{broken} } map { @{ $of{$_} } } grep { $_ != $victim } keys %of;
    is(scalar @new, 20, 'the connections of other children stay open');
}

# ---- Handshakes ----

{
    # Send all requests before reading answers, so that the speed of the clients does not affect the result.
    my $at_once = sub { my ($n, @to) = @_; map { $_->read_answer; $_ } map { Client->new($httpd, @to, expect => 0) } 1 .. $n };
    my @all = $at_once->(60, '/pace');
    my ($retry) = map { $_->header('Retry-After') } grep { $_->status == 503 } @all;
    cmp_ok(scalar(grep { $_->status == 101 } @all), '>=', 4, 'handshakes=: at least as many as burst= are accepted at the same time');
    cmp_ok(scalar(grep { $_->status == 503 } @all), '>', 0, 'handshakes=: some are refused');
    like($retry // 'none', qr/^[1-9]\d*$/, 'handshakes=: the refusal has Retry-After');
    ok(enter('/pace'), 'handshakes=: later, a handshake is accepted again');
    my %seen;
    for my $from (2, 3) {
        $seen{ $_->status }++ for $at_once->(40, '/pace/address', from => "127.0.0.$from");
        ok($seen{101} && $seen{503}, "handshakes= by address: some of 127.0.0.$from are accepted, some refused");
        %seen = ();
    }
}

# ---- Limits of an open connection ----

sub answers {
    my ($path, $bytes) = @_;
    my $c = client($path);
    $c->raw($bytes);
    my $n = 0;
    while (my ($opcode, $payload) = $c->frame) {
        return ($n, unpack('n', $payload), substr $payload, 2) if $opcode == CLOSE;
        $n++;
        return $n if $opcode == TEXT && $payload eq 'last';
    }
    return ($n, 0, '');
}

for (
    ['messages', '/messages', frame_bytes(TEXT, 'm') x 100, 'messages'],
    ['pings', '/messages', frame_bytes(PING, 'p') x 100, 'messages'],
    ['frames of one message', '/messages', frame_bytes(TEXT, 'f', fin => 0) . frame_bytes(0, 'f', fin => 0) x 100, 'messages'],
    ['bytes', '/bytes', frame_bytes(BINARY, 'x' x 1000) x 100, 'bytes'],
    ['one long message', '/bytes', frame_bytes(BINARY, 'x' x 100_000), 'bytes'],
    )
{
    my ($name, $path, $bytes, $what) = @$_;
    my ($n, $code, $reason) = answers($path, $bytes);
    is($code, 1008, "too many $name: the connection is closed with 1008");
    is($reason, "more $what than WebSocketLimit allows", "too many $name: the close reason has the limit");
    cmp_ok($n, '>=', 10, "too many $name: those that burst= allows are answered") if $path eq '/messages' && $name ne 'frames of one message';
    cmp_ok($n, '<', 100, "too many $name: not all of them are answered");
}
ok($httpd->wait_log(qr/failing the connection with 1008: more messages than WebSocketLimit allows/), 'the log says that messages= is exceeded');
is_deeply([answers('/messages/dry', frame_bytes(TEXT, 'm') x 50 . frame_bytes(TEXT, 'last'))], [51], 'messages= with dry-run: all messages are answered');
is($httpd->count_log(qr/dry run: the connection would be failed with 1008: more messages than WebSocketLimit allows/), 1, 'messages= with dry-run: the excess is logged once');
is_deeply([answers('/messages/more', frame_bytes(TEXT, 'm') x 500 . frame_bytes(TEXT, 'last'))], [501], 'messages=: an inner section allows more');

{
    my $c = client('/lifetime');
    $c->expect_close(1001, 'lifetime=: the connection is closed with 1001');
    is($c->{reason}, 'its lifetime has ended', 'lifetime=: the close reason has the limit');
    ok($httpd->wait_log(qr/closing: its lifetime has ended \(WebSocketLimit\)/), 'lifetime=: the log says that the lifetime has ended');
    $c = client('/lifetime/dry');
    ok($httpd->wait_log(qr/dry run: the connection would be closed: its lifetime has ended \(WebSocketLimit\)/), 'lifetime= with dry-run: the end of the lifetime is logged');
    $c->echoes('on', 'lifetime= with dry-run: the connection stays open');
}
{
    my $c = client('/idle');
    $c->send(PING, '') for 1 .. 3;
    $c->expect_close(1001, 'idle=: a client that sends only pings is closed with 1001');
    is($c->{reason}, 'no message for too long', 'idle=: the close reason has the limit');
    $c = client('/idle/time');
    $c->message for 1 .. 3;
    ok($httpd->wait_log(qr{/idle/time, .*: dry run: the connection would be closed: no message for too long \(WebSocketLimit\)}), 'idle= with dry-run: the limit is logged');
    $c->message;
    pass('idle=: a client that receives messages is not idle');
}

# ---- Descriptors ----

# With a limit of 500, the module does not check the descriptors at each handshake until half of them are in use.
for my $files (200, 500) {
    local $Httpd::PROGRAM = "ulimit -n $files; $Httpd::PROGRAM";
    my $short = Httpd->start(conf => "WebSocketHandler ws_echo.so\nWebSocketPing off\n",
        mpm_conf => $Httpd::MPM eq 'prefork'
        ? "StartServers 1\nServerLimit 1\nMaxRequestWorkers 1"
        : "StartServers 1\nServerLimit 1\nThreadsPerChild 4\nMaxRequestWorkers 4");
    my (@c, $status, $c);
    while (@c < $files) {
        ($status, $c) = Client->refused($short, '/');
        last if $status != 101;
        push @c, $c;
    }
    is($status, 503, "$files: a handshake is refused when too few descriptors are left, after " . @c . ' connections');
    ok($short->wait_log(qr/\[websocket:error\].*handshake refused with 503: too few descriptors left in this child/),
        "$files: the log says that too few descriptors are left");
    for (1 .. 20) {    # the refused connection frees its descriptor when it ends, so another handshake may be accepted
        ($status, $c) = Client->refused($short, '/');
        last if $status != 101;
        push @c, $c;
    }
    is($status, 503, "$files: another handshake is refused, too");
    is($short->count_log(qr/\[websocket:error\].*too few descriptors left/), 1, "$files: too few descriptors are logged as an error only once");
    is(($short->get('/index.html'))[0], 200, "$files: ordinary requests are still served") for 1 .. 5;
    $_->drop for splice @c, 0, 20;
    Httpd::wait_for(sub { (Client->refused($short, '/'))[0] == 101 }, 'descriptors to be free again');
    pass("$files: after some clients have disconnected, handshakes are accepted again");
}

# With other MPMs, a child holds a lock while it accepts, so it cannot leave connections to another child.
if ($Httpd::MPM eq 'event') {
    local $Httpd::PROGRAM = "ulimit -n 200; $Httpd::PROGRAM";
    my $two = Httpd->start(conf => "WebSocketHandler ws_echo.so\nWebSocketPing off\n", children => 2,
        mpm_conf => "StartServers 2\nServerLimit 2\nThreadsPerChild 4\nMaxRequestWorkers 8\nMinSpareThreads 1\nMaxSpareThreads 8");
    my ($full, $empty) = $two->children;
    my (@c, $status, $c);
    Httpd::freeze($empty);
    Httpd::wait_for(sub { !grep { Httpd::read_file($_) !~ /\) T / } glob "/proc/$empty/task/*/stat" }, 'all threads of a child to stop');
    while (@c < 200) {
        ($status, $c) = Client->refused($two, '/');
        last if $status != 101;
        push @c, $c;
    }
    is($status, 503, 'a handshake is refused when one child has no descriptors left, with ' . @c . ' connections');
    kill 'CONT', $empty;
    my $opened = 0;
    for (1 .. 40) {
        ($status, $c) = Client->refused($two, '/');
        push @c, $c if $status == 101;
        $opened++ if $status == 101;
    }
    # Allow some refusals: on a busy machine, the other child may need more than one second to accept a connection.
    cmp_ok($opened, '>=', 36, 'a child without descriptors leaves new connections to the other child');
    my $before = @c;
    while (@c < 400) {
        ($status, $c) = Client->refused($two, '/');
        last if $status != 101;
        push @c, $c;
    }
    is($status, 503, 'a handshake is refused when both children have no descriptors left, with ' . @c . ' connections');
    cmp_ok(scalar @c, '>=', 2 * ($before - $opened) - 20, 'both children have about the same number of connections');
    is(($two->get('/index.html'))[0], 200, 'two children without descriptors still serve ordinary requests') for 1 .. 5;
}

# ---- The table ----

# Returns the index of the entry for "?TEXT" in a table of 1,024 entries, if the hash function (FNV-1a, then mixed) had no
# random key. Attackers could compute this index, and fill the neighboring entries.
sub unkeyed_place {
    my ($text) = @_;
    use integer;
    my $mix = sub {
        my ($hash, $bytes) = @_;
        $hash = ($hash ^ $_) * 0x100000001B3 for unpack 'C*', $bytes;
        my $shift = sub { ($hash >> $_[0]) & ~(-1 << 64 - $_[0]) };    # logical shift, although integers are signed here
        $hash ^= $shift->(29);
        $hash *= unpack 'q', pack 'Q', 0xBF58476D1CE4E5B9;
        return $hash ^ $shift->(32);
    };
    my $seed = $mix->(unpack('q', pack 'Q', 0xCBF29CE484222325), 'localhost:0  connections %{QUERY_STRING} 0 0');
    return ($mix->($seed, $text) >> 32) & 1023;
}

SKIP: {
    # With this ServerLimit, each child gets few entries of the table. A single child gets all the keys.
    skip 'the test does not depend on the MPM', 5 if $Httpd::MPM ne 'event';
    skip "ulimit -n allows $limit open files", 5 if $limit ne 'unlimited' && $limit < $files;
    my $server = Httpd->start(conf => <<'END', mpm_conf => "StartServers 1\nServerLimit 1100\nThreadsPerChild 25\nMaxRequestWorkers 25\n");
WebSocketHandler ws_echo.so
WebSocketPing off
WebSocketLimit connections=1 "key=%{QUERY_STRING}"
END
    my ($n, @chosen, @c) = (0);
    while (@chosen < 17) {
        $n++;
        push @chosen, "chosen$n" if unkeyed_place("chosen$n") == 77;
    }
    push @c, map { Client->new($server, "/?$_") } @chosen;
    is((Client->refused($server, "/?$chosen[16]"))[0], 503, 'keys that were chosen to collide are all counted');

    my ($status, $c, @more) = (101);
    for ($n = 1; $n <= 1300 && $status == 101; $n++) {
        ($status, $c) = Client->refused($server, "/?key$n");
        push @more, $c if $status == 101;
    }
    is($status, 503, 'when the table is full, a handshake with a new key is refused');
    cmp_ok(@more, '>', 800, 'the table has room for ' . (@more + @c) . ' of 1,024 keys');
    Client->refused($server, '/?key' . ($n - 1));
    is($server->count_log(qr/the table of WebSocketLimit is full/), 1, 'a table that is full is logged once');
    $_->drop for splice @more, 0, 400;
    Httpd::wait_for(sub { (Client->refused($server, '/?key' . ($n - 1)))[0] == 101 }, 'a free entry in the table');
    pass('after some clients have disconnected, the new key is accepted');
}

done_testing;
