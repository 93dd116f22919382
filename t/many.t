# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# httpd has far more WebSockets than workers, half of them over TLS, and serves ordinary requests at the same time.
# WS_TEST_SECONDS sets the duration.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Time::HiRes qw(sleep time);
use Httpd;
use Client qw(CLOSE PING);

my ($connections, $workers) = (2000, 25);
my $seconds = $ENV{WS_TEST_SECONDS} || 5;

# The test and httpd each need a descriptor for each connection. The shell raises the soft limit, which httpd inherits.
my $files = $connections + 200;
if (!$ENV{WS_TEST_FILES}) {
    $ENV{WS_TEST_FILES} = 1;
    exec 'sh', '-c', "test \$(ulimit -n) -ge $files 2>/dev/null || ulimit -n $files 2>/dev/null; exec \"\$@\"",
        'sh', $^X, $0;
}
chomp(my $limit = `sh -c 'ulimit -n'`);
plan skip_all => "$connections connections need $files open files, ulimit -n allows $limit"
    if $limit ne 'unlimited' && $limit < $files;

my $httpd = Httpd->start(
    conf => <<'END',
<Location /echo>
    WebSocketHandler ws_echo.so
    WebSocketPing 20s 10min
</Location>
END
    mpm_conf => $Httpd::MPM eq 'prefork'
    ? "StartServers $workers\nServerLimit $workers\nMaxRequestWorkers $workers\n"
        . "MinSpareServers 1\nMaxSpareServers $workers"
    : "StartServers 1\nServerLimit 1\nThreadsPerChild $workers\nMaxRequestWorkers $workers\n"
        . "MinSpareThreads 1\nMaxSpareThreads $workers",
);

# Returns the number of threads of each child.
sub threads {
    return join ' ', map { my @tasks = glob "/proc/$_/task/*"; "$_:" . @tasks } sort $httpd->children;
}

# Wait until only one worker is busy, which is the one that serves the status request.
sub only_one_busy {
    Httpd::wait_for(sub { ($httpd->status_value('BusyWorkers') // 0) == 1 }, 'all other workers to be idle');
}

# The children and their threads start one after another.
my $threads = '';
Httpd::wait_for(
    sub {
        my $before = $threads;
        sleep 0.5;
        $threads = threads();
        return $threads eq $before && $httpd->children == ($Httpd::MPM eq 'prefork' ? $workers : 1);
    },
    'all threads to have started'
);
only_one_busy();

my @clients = map { Client->new($httpd, '/echo', $_ % 2 ? (tls => 1) : ()) } 1 .. $connections;
is(scalar @clients, $connections, "$connections connections are open with $workers workers");
is(threads(), $threads, 'no thread was created for the connections');
only_one_busy();
pass('no worker is busy with the connections');

my ($rounds, $echoes, $requests, @wrong) = (0, 0, 0);
my $until = time + $seconds;
do {
    $rounds++;
    $clients[$_]->text("round $rounds of $_") for 0 .. $#clients;
    for (1 .. 2) {
        my ($status, undef, $body) = $httpd->get('/index.html');
        push @wrong, "request: $status" if $status != 200 || $body ne "ordinary content\n";
        $requests++;
    }
    for my $i (0 .. $#clients) {
        my (undef, $text) = $clients[$i]->message;
        push @wrong, "client $i: $text" if $text ne "round $rounds of $i";
        $echoes++;
    }
} while ($rounds < 2 || time < $until);
is_deeply(\@wrong, [], "$echoes echoes in $rounds rounds, with $requests ordinary requests among them");
is($echoes, $rounds * $connections, 'every connection received its own message in each round');
is(threads(), $threads, 'after the echoes, there are as many threads as before');
only_one_busy();
pass('after the echoes, no worker is busy');

$httpd->stop;
my $told = 0;
for my $c (@clients) {
    my ($opcode, $payload);
    do {
        ($opcode, $payload) = $c->frame;
    } while (defined $opcode && $opcode == PING);
    $told++ if ($opcode // -1) == CLOSE && unpack('n', $payload) == 1001;
}
is($told, $connections, 'when httpd stops, each connection is closed with 1001');

done_testing;
