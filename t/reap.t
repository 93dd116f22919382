# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Processes started by a test end with it, however it ends: even daemons, stopped processes, and those that ignore
# signals.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Program;

Httpd::once();
plan skip_all => 'no sanitizer matters here' if $ENV{WS_TEST_PRELOAD};

my $dir = Httpd::folder();

# A test that starts a program, a daemon, one that ignores all signals it can, and one that is stopped, and then follows
# its argument. It prints its own pid and that of its parent, the inner reap.
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

# Start it from a shell that waits for it, as prove does.
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
        "$name: all to be gone",
        sub {"@left"});
    pass("$name: nothing it has started is left");
    Httpd::wait_for(sub { $kept || !-e $t->{folder} }, "$name: the folder to go");
    is(!!-e $t->{folder}, !!$kept, "$name: its folder is " . ($kept ? 'kept' : 'gone'));
}

for (['passes', 0, 0], ['fails', 1, 1], ['dies', 255, 1]) {
    my ($what, $status, $kept) = @$_;
    my $t = start($what);
    is(($t->{shell}->wait_output(qr/^status (\d+)$/m))[1], $status, "a test that $what: its status");
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
    is_gone($t, 'SIGKILL to what has started the test', 0);
}

# ---- Ports ----
{
    my @ports = map { Httpd::free_port() } 1 .. 200;
    my %seen;
    is(scalar(grep { $seen{$_}++ } @ports), 0, 'no port is given twice');
    my $other = fork // die;
    if (!$other) {    # another test at the same time
        my @others = map { Httpd::free_port() } 1 .. 200;
        exit(scalar(grep { $seen{$_} } @others) ? 1 : 0);
    }
    waitpid $other, 0;
    is($?, 0, 'nor to another test');
    ok(!IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $ports[0]), 'connections to it are refused');
    ok(IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => $ports[0], ReuseAddr => 1),
        'until a server listens there');
}

# ---- Waits ----
{
    local $Patience::SECONDS = 0;
    ok(!eval { Httpd::wait_for(sub {''}, 'the moon', sub {'clouds'}) }, 'what does not come is given up');
    like($@, qr/waited 0 s for the moon; last seen: clouds/, 'and the message has what was seen');
    ok(!eval { Httpd::wait_is(sub {3}, 4, 'moons') }, 'also of a value');
    like($@, qr/for moons \("4"\); last seen: "3"/, 'with both');
}

done_testing;
