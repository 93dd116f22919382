# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests WebSocketLog in Redis: lists and streams with a maximum length, and a Redis that stops and restarts.

use strict;
use warnings;
use lib 't/lib';
use JSON::PP;
use Test::More;
use Client;
use FakeRedis;
use Httpd;
use Redis;

Httpd::once();

my $load   = $Redis::LOAD;
my $status = "<Location /status>\nSetHandler websocket-status\nRequire all granted\n</Location>";
my $one    = "StartServers 1\nServerLimit 4\nThreadsPerChild 8\nMaxRequestWorkers 8\nMinSpareThreads 1\nMaxSpareThreads 8";
my @httpds;

sub httpd {
    my ($conf, %arg) = @_;
    push @httpds, Httpd->start(load => $load, mpm_conf => $one, conf => "$conf\n$status", %arg);
    return $httpds[-1];
}

# Open and close a connection. The server may queue its record a little later, even after the record of the next one.
sub visit {
    my ($httpd, $path) = @_;
    my $c = Client->new($httpd, $path);
    $c->close(1000);
    $c->expect_close(1000, "a connection to " . substr $path, 0, 30);
    $c->drop;
}

sub lost { return ($_[0]->get('/status?prometheus'))[2] =~ /^websocket_log_lost_total (\d+)/m ? $1 : -1 }

# Wait until a list has this number of elements, and return them.
sub list {
    my ($redis, $key, $count, @cli) = @_;
    my @all;
    Httpd::wait_is(sub { @all = split /\n/, $redis->cli(@cli, '--raw', 'LRANGE', "'$key'", 0, -1); scalar @all }, $count, "records in $key");
    return @all;
}

# ---- httpd -t ----

{
    my ($ok, $text) = Httpd->check('WebSocketLog redis://localhost/log');
    ok(!$ok, 'httpd -t without mod_websocket_redis refuses a log in Redis');
    like($text, qr/WebSocketLog: a log in Redis needs a module: add "LoadModule websocket_redis_module /, 'the error suggests mod_websocket_redis');
}
for (
    ['redis://localhost',              qr/add the name of a list after the server/],
    ['redis://localhost/',             qr/add the name of a list after the server/],
    ['unix:/socket',                   qr/or list=NAME or stream=NAME/],
    ['redis://localhost/3',            qr{"/3" names no list: for database 3, write /3/NAME; for a list called "3", write list=3}],
    ['redis://localhost/x/log',        qr/invalid database number "x"/],
    ['redis://localhost:0/log',        qr/invalid port "0"/],
    ['redis://user@localhost/log',     qr/a user needs a password/],
    ['redis://localhost/%zz',          qr/in the name of the list, write % as %25/],
    ['redis://localhost/a%00b',        qr/in the name of the list/],
    ['redis://localhost list=',        qr/must have 1 to 512 bytes/],
    ['redis://localhost list=' . 'x' x 513, qr/must have 1 to 512 bytes/],
    ['redis://localhost list=a stream=b',   qr/name one list= or stream=/],
    ['redis://localhost/log max=0',    qr/invalid value "max=0": takes a whole number from 1/],
    ['redis://localhost/log max=1k',   qr/invalid value "max=1k"/],
    ['redis://localhost/log prefix=a', qr/remove prefix=, which is for WebSocketBus/],
    ['redis://localhost/log ca=/x',    qr/need TLS: use rediss:/],
    ['redis://localhost/log max=1 max=2', qr/max= is given twice: remove one/],
    ['redis://localhost/log plain',    qr/invalid value "plain"/],
    ['redis://localhost/log json %u',  qr/invalid value "%u"/],
    ['redis://localhost/log %y',       qr/"%y": unknown item; the items are %a %h/],
    ['rediss://localhost/log ca=/nowhere', qr{/nowhere: }],
    ['sentinel://localhost/log',       qr/name of the master/],
    ['redis://a,b/log',                qr/several addresses need sentinel/],
    ['mysql://localhost/log',          qr/invalid URL: expected redis:/],
    ['logs/x json more',               qr/only one format is possible/],
    ['',                               qr/takes a file/])
{
    my ($line, $error) = @$_;
    my ($ok, $output) = Httpd->check("WebSocketLog $line", load => $load);
    ok(!$ok && $output =~ /WebSocketLog: .*$error/, 'httpd -t: WebSocketLog ' . substr $line, 0, 50) or diag($output);
}

# ---- Lists and streams ----

my $redis = Redis->start(options => ['--requirepass', 's%/:t']);
local $ENV{REDISCLI_AUTH} = 's%/:t';
my $at    = 'redis://:s%25%2F%3At@127.0.0.1:' . $redis->port;
{
    my $sentinel = Redis->start(watches => $redis);
    $sentinel->cli(qw(SENTINEL SET mymaster auth-pass), "'s%/:t'");
    my $socket = $redis->socket;
    my $httpd  = httpd(<<"END");
WebSocketHandler ws_echo.so
<Location /json>
    WebSocketLog $at/3/the%20list json
</Location>
<Location /default>
    WebSocketLog $at list=default
</Location>
<Location /format>
    WebSocketLog $at/format "%U %{code}w" max=3
</Location>
<Location /stream>
    WebSocketLog $at/2 "%U %{code}w" stream=ends max=2
</Location>
<Location /stream/json>
    WebSocketLog $at/2 stream=ends max=2 json
</Location>
<Location /wrong>
    WebSocketLog redis://default:wrong\@127.0.0.1:@{[$redis->port]}/wrong
</Location>
<Location /sentinel>
    WebSocketLog sentinel://:s%25%2F%3At\@127.0.0.1:@{[$sentinel->port]}/mymaster/1/master %U
</Location>
<Location /off>
    WebSocketLog off
</Location>
END
    visit($httpd, '/json/a"b?c');
    my ($record) = list($redis, 'the list', 1, '-n', 3);
    my $o = decode_json($record);
    is("$o->{uri} $o->{args} $o->{code}", '/json/a"b c 1000', 'a record in JSON is in a list of database 3') or diag $record;
    visit($httpd, '/default?x');
    ($record) = list($redis, 'default', 1);
    like($record, qr{^\[.*\] 127\.0\.0\.1 - localhost "/default\?x" direct v13 .* client 1000 "-"$}, 'a record in the default format is in a list');
    for my $n (1 .. 5) {
        visit($httpd, "/format/$n");
        Httpd::wait_for(sub { $redis->cli('LINDEX', 'format', -1) =~ m{/format/$n} }, "record $n");
    }
    is_deeply([list($redis, 'format', 3)], [map {"/format/$_ 1000"} 3 .. 5], 'a list has the newest three records, in their format');
    my $entries;
    for my $n (1, 2) {
        visit($httpd, "/stream/$n");
        Httpd::wait_for(sub { $redis->cli('-n', 2, '--raw', qw(XRANGE ends - +)) =~ m{/stream/$n } }, "record $n");
    }
    visit($httpd, '/stream/json');
    Httpd::wait_for(sub { ($entries = $redis->cli('-n', 2, '--raw', qw(XRANGE ends - +))) =~ /"uri":/ }, 'a record of the other WebSocketLog line');
    like($entries, qr{\A\d+-\d+\nrecord\n/stream/2 1000\n\d+-\d+\nrecord\n\{.*\}\n*\z}, 'a stream has the newest two records, of two WebSocketLog lines');
    visit($httpd, '/sentinel');
    is((list($redis, 'master', 1, '-n', 1))[0], '/sentinel', 'a log with a sentinel is written to the master that the sentinel names');
    visit($httpd, '/off');
    visit($httpd, '/wrong');
    is(lost($httpd), 0, 'no record is lost');
    $httpd->wait_log(qr/redis: 127\.0\.0\.1: WRONGPASS.*; trying again/);
    unlike($httpd->error_log, qr/s%\/:t|s%25|:wrong@/, 'no password is logged');
    $httpd->graceful;
    visit($httpd, '/format/6');
    Httpd::wait_for(sub { $redis->cli('LINDEX', 'format', -1) =~ m{/format/6} }, 'a record after a reload');
}

# ---- A Redis that refuses records, and one that is down ----

{
    my $httpd = httpd(<<"END");
WebSocketHandler ws_echo.so
WebSocketLog $at/log "%q%q%q%q%q%q%q%q%U"
<Location /file>
    WebSocketLog logs/file %U
</Location>
END
    visit($httpd, '/first');
    is((list($redis, 'log', 1))[0], '/first', 'a record is written');
    $redis->cli('SET', 'log', 'text');
    visit($httpd, '/refused') for 1, 2;
    Httpd::wait_is(sub { lost($httpd) }, 2, 'records that Redis refuses are counted');
    my $refused = qr/records of WebSocketLog are lost: redis:\S+, list log: \S*WRONGTYPE/;
    is($httpd->count_log($refused), 1, 'records that Redis refuses are logged once');
    $redis->cli('DEL', 'log');
    visit($httpd, '/taken');
    is((list($redis, 'log', 1))[0], '/taken', 'after a refusal, the next record is written');
    $redis->cli('SET', 'log', 'text');
    visit($httpd, '/refused');
    Httpd::wait_is(sub { $httpd->count_log($refused) }, 2, 'a later refusal is logged again');
    $redis->cli('DEL', 'log');

    $redis->stop('KILL');
    visit($httpd, "/kept/$_") for 1 .. 5;
    $httpd->wait_log(qr/redis: 127\.0\.0\.1: .*; trying again/);
    $redis->again;
    is_deeply([sort(list($redis, 'log', 5))], [map {"/kept/$_"} 1 .. 5], 'records written while Redis was down arrive after its restart');
    is(lost($httpd), 3, 'no record is lost while Redis restarts');
    $redis->cli('DEL', 'log');

    # Each record has 60 KB, so the queue of 4 MiB is full after 70 records.
    $redis->stop('KILL');
    my $before = $httpd->count_log(qr/trying again/);
    visit($httpd, "/many/$_?" . 'x' x 7500) for 1 .. 3;
    Httpd::wait_for(sub { $httpd->count_log(qr/trying again/) > $before }, 'the log line about the lost connection');
    visit($httpd, "/many/$_?" . 'x' x 7500) for 4 .. 90;
    Httpd::wait_for(sub { lost($httpd) > 4 }, 'lost records');
    pass('when the queue is full, further records are counted as lost');
    is($httpd->count_log(qr/records of WebSocketLog are lost: .*: 4 MiB of records wait to be written/), 1, 'a full queue is logged once');
    visit($httpd, '/file');
    Httpd::wait_for(sub { Httpd::read_file($httpd->root . '/logs/file') eq "/file\n" }, 'a record in a file, which does not wait for Redis');
    $redis->again;
    Httpd::wait_is(sub { $redis->cli('LLEN', 'log') + lost($httpd) - 3 }, 90, 'records that arrive or are counted as lost');
    cmp_ok($redis->cli('LLEN', 'log'), '>=', 60, 'the queued records arrive when Redis is back');

    $redis->stop('KILL');
    visit($httpd, '/last') for 1, 2;
    my $said = $httpd->count_log(qr/records of WebSocketLog are lost/);
    $httpd->stop;
    is($httpd->count_log(qr/records of WebSocketLog are lost: .*: Redis is unreachable/), 1, 'when httpd stops while Redis is down, the log has the number of lost records');
    is($httpd->count_log(qr/records of WebSocketLog are lost/), $said + 1, 'the number of lost records is logged once');
}

# ---- Wrong answers ----

{
    my $fake  = FakeRedis->start;
    my $httpd = httpd('WebSocketHandler ws_echo.so' . "\nWebSocketLog redis://127.0.0.1:" . $fake->port . ' stream=s %U');
    my $lost  = 0;
    for my $wrong ("*0\r\n", "\$-1\r\n", "*-1\r\n", ":-1\r\n") {
        $fake->answer(XADD => $wrong);
        visit($httpd, '/x');
        Httpd::wait_is(sub { lost($httpd) }, ++$lost, 'a record with an invalid reply of Redis counts as lost: ' . $wrong =~ s/\r\n//r);
    }
    $fake->answer(XADD => "\$9\r\nxx");
    visit($httpd, '/x');
    $fake->answer(XADD => "?\r\n");
    visit($httpd, '/x');
    $fake->answer(XADD => "\$3\r\n1-1\r\n");
    my $seen = $fake->seen('XADD');
    visit($httpd, '/x');
    Httpd::wait_for(sub { $fake->seen('XADD') > $seen }, 'the next record');
    ok(1, 'after an invalid reply, the server connects again, and writes the next record');
}

# ---- TLS ----

{
    delete local $ENV{REDISCLI_AUTH};
    my $certs = Httpd::certificates();
    my $port  = Httpd::free_port();
    my $tls   = Redis->start(options => ['--tls-port', $port, '--port', 0, '--tls-cert-file', "$certs/server.crt",
        '--tls-key-file', "$certs/server.key", '--tls-ca-cert-file', "$certs/ca.crt", '--tls-auth-clients', 'yes']);
    my $httpd = httpd("WebSocketHandler ws_echo.so\nWebSocketLog rediss://localhost:$port/log %U ca=$certs/ca.crt cert=$certs/client.crt key=$certs/client.key");
    visit($httpd, '/secret');
    is((list($tls, 'log', 1))[0], '/secret', 'rediss: a record is written with a client certificate');
}

$_->stop for @httpds;
is_deeply([map { $_->complaints } @httpds], [], 'no child has crashed');
done_testing();
