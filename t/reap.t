# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests the programs that run the tests. When a test ends in any way, t/lib/reap.c must end all processes that the test has
# started, including daemons, stopped processes, and processes that ignore signals. The summary of t/run must say which
# tests failed, and why, even if they pass in a second run.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Program;

Httpd::once();
plan skip_all => 'the test does not depend on the sanitizer' if $ENV{WS_TEST_PRELOAD};

my $dir = Httpd::folder();

# A test that starts a program, a daemon, a process that ignores signals, and a process that it stops. It prints its own pid
# and the pid of its parent, which is the inner process of reap. Then it passes, fails, dies or waits as its argument says.
Httpd::write_file("$dir/some.t", <<"END");
use strict; use warnings;
use lib '$Httpd::TOP/t/lib';
use Test::More;
use Httpd;
use File::Temp;
\$| = 1;
my \$folder = File::Temp::tempdir(TMPDIR => 1);
sub begin { my (\$how) = \@_; my \$pid = fork // die; return \$pid if \$pid; \$how->() if \$how; exec 'sleep', '1000' }
my \$daemon = fork // die;
if (!\$daemon) { require POSIX; POSIX::setsid(); if (!fork) { exec 'sleep', '1000' } POSIX::_exit(0) }
waitpid \$daemon, 0;
begin(); begin(sub { \$SIG{\$_} = 'IGNORE' for qw(TERM INT HUP) });
kill 'STOP', begin();
print "# ready \$\$ ", getppid, " \$folder\\n";
\$ARGV[0] eq 'passes' ? pass('it') : \$ARGV[0] eq 'fails' ? fail('it') : \$ARGV[0] eq 'dies' ? die 'so' : sleep 1000;
done_testing;
END

sub environ { return Httpd::read_file("/proc/$_[0]/environ") =~ tr/\0/\n/r }

# Start the test from a shell that waits for it, as prove does.
sub start {
    my ($what) = @_;
    delete local $ENV{WS_TEST_REAPED};
    my $shell = Program->start('sh', '-c', '"$0" "$@"; echo "status $?"', $^X, "$dir/some.t", $what);
    my (undef, $test, $inner, $folder) = $shell->wait_output(qr/^# ready (\d+) (\d+) (\S+)$/m);
    my ($outer) = Httpd::read_file("/proc/$inner/stat") =~ /\) \S (\d+)/;
    return { shell => $shell, test => $test, inner => $inner, outer => $outer, folder => $folder =~ s{/[^/]+$}{}r };
}

sub is_gone {
    my ($t, $name, $kept) = @_;
    my @left;
    Httpd::wait_for(
        sub {
            @left = grep { environ($_) =~ /^TMPDIR=\Q$t->{folder}\E$/m } map { m{/proc/(\d+)} } glob '/proc/[0-9]*';
            return !@left;
        },
        "$name: all processes to end",
        sub {"@left"});
    pass("$name: no process remains");
    Httpd::wait_for(sub { $kept || !-e $t->{folder} }, "$name: the folder to be removed");
    is(!!-e $t->{folder}, !!$kept, "$name: the folder of the test is " . ($kept ? 'kept' : 'gone'));
}

for (['passes', 0, 0], ['fails', 1, 1], ['dies', 255, 1]) {
    my ($what, $status, $kept) = @$_;
    my $t = start($what);
    is(($t->{shell}->wait_output(qr/^status (\d+)$/m))[1], $status, "a test that $what has the exit status $status");
    is_gone($t, "a test that $what", $kept);
}
for my $signal (qw(TERM INT HUP)) {
    my $t = start('waits');
    kill $signal, $t->{outer};
    $t->{shell}->finish;
    is_gone($t, "SIG$signal to a test", 0);
}
for my $who (qw(test inner outer)) {
    my $t = start('waits');
    kill 'KILL', $t->{$who};
    is_gone($t, "SIGKILL to the $who process", $who eq 'outer');
}
{
    my $t = start('waits');
    kill 'KILL', $t->{shell}{pid};
    is_gone($t, 'SIGKILL to the parent of the test', 0);
}

# ---- Ports ----
{
    my @ports = map { Httpd::free_port() } 1 .. 200;
    my %seen;
    is(scalar(grep { $seen{$_}++ } @ports), 0, 'no port is given out twice in a test');
    my $other = fork // die;
    if (!$other) {    # acts as another test at the same time
        my @others = map { Httpd::free_port() } 1 .. 200;
        exit(scalar(grep { $seen{$_} } @others) ? 1 : 0);
    }
    waitpid $other, 0;
    is($?, 0, 'no port of a test is given to another test');
    ok(!IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $ports[0]), 'a port that was given out refuses connections');
    ok(IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => $ports[0], ReuseAddr => 1),
        'a server can listen at a port that was given out');
}

# ---- Waits ----
{
    local $Patience::SECONDS = 0;
    ok(!eval { Httpd::wait_for(sub {''}, 'the moon', sub {'clouds'}) }, 'wait_for ends after the time limit');
    like($@, qr/waited 0 s for the moon; last seen: clouds/, 'the message of wait_for has the last state');
    ok(!eval { Httpd::wait_is(sub {3}, 4, 'moons') }, 'wait_is ends after the time limit');
    like($@, qr/for moons \("4"\); last seen: "3"/, 'the message of wait_is has the expected and the last value');
}

# ---- The summary ----
{
    my $write = sub { Httpd::write_file("$dir/$_[0].t", "use Test::More;\n$_[1]done_testing;\n") };
    $write->(fine  => "ok(1);\n");
    $write->(late  => "ok(-e '$dir/seen', 'it is there') or open my \$f, '>', '$dir/seen';\n");
    $write->(never => "ok(0, 'it never passes');\n");
    $write->(dies  => "ok(1); die 'waited 60 s for the moon';\n");
    $write->(races => "ok(-e '$dir/seen', 'once') or open my \$f, '>', '$dir/seen'; diag('ERROR: AddressSanitizer: heap');\n");
    my $summary = sub {
        my @tests = @_;
        unlink "$dir/seen", "$dir/summary";
        my ($status) = Program::run("$Httpd::TOP/t/run", 'some tests', "$dir/summary", '-j2', '--', map {"$dir/$_.t"} @tests);
        return ($status, Httpd::read_file("$dir/summary"));
    };
    my ($status, $text) = $summary->(qw(fine late));
    is($status, 0, 'a test that passes in the second run does not fail');
    like($text, qr/^PASS some tests: Files=2, .*\n +\S+late\.t .*Failed: 1\), passed in the second run\n +# +Failed test 'it is there'/,
        'the summary says that the test passed in the second run');
    ($status, $text) = $summary->(qw(fine late never));
    is($status, 1, 'a test that fails twice fails');
    like($text, qr/^FAIL some tests: .*\n.*late\.t .*, passed in the second run\n.*never\.t .*Failed: 1\)\n/, 'the summary has both tests');
    ($status, $text) = $summary->(qw(dies));
    is($status, 1, 'a test that dies twice fails');
    like($text, qr/dies\.t .*\n +waited 60 s for the moon at /, 'the summary says why the test died');
    ($status, $text) = $summary->(qw(races));
    is($status, 1, 'a test with a report of a sanitizer fails');
    like($text, qr/^FAIL .*\n.*Failed: 1\)\n/, 'a test with a report of a sanitizer is not run again');
    ($status, $text) = $summary->(qw(fine));
    is($status, 0, 'when all tests pass, the status is 0');
    like($text, qr/^PASS some tests: Files=1, .*\n\z/, 'when all tests pass, the summary has one line');
}

done_testing;
