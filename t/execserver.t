# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# ws_exec shared=server: all child processes share one program. One child, the owner, has started it and starts it again
# if it has ended. Also tests killed children, reloads, and the end of the program.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use File::Temp qw(tempdir);
use Httpd;
use Client qw(frame_bytes TEXT);

my $dir = tempdir('mod_websocket-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
Httpd::write_file("$dir/hall", <<'END');
#!/usr/bin/perl
$| = 1; use strict; use warnings;
my %sum;
while (<STDIN>) {
    chomp;
    my ($id, $kind, $text) = split /\t/, $_, 3;
    if    ($kind eq 'open')                { print "$id\tmessage\topened $id $$ $text\n" }
    elsif ($kind eq 'close')               { print "*\tmessage\tgone $id $text\n" }
    elsif ($text =~ /^all (.*)/)           { print "*\tmessage\tall: $1\n" }
    elsif ($text =~ /^to (\w+) (.*)/)      { print "$1\tmessage\tfrom $id: $2\n$id\tmessage\tsent\n" }
    elsif ($text =~ /^close (\w+) (.*)/)   { print "$1\tclose\t$2\n$id\tmessage\tclosed\n" }
    elsif ($text =~ /^echo (.*)/)          { print "$id\tmessage\t$1\n" }
    elsif ($text =~ /^much (\d+)/)         { print "$id\tmessage\t", 'x' x $1, "\n" }
    elsif ($text eq 'rubbish')             { print "what is this\n*\tend\t1000 no\n*\thello\t\n$id\tmessage\tstill here\n" }
    elsif ($text =~ /^wait/)               { sleep 1; $sum{$id} = 0 }
    elsif ($text eq 'sum')                 { print "$id\tmessage\t$sum{$id}\n" }
    elsif ($text =~ /^exit (\d+)/)         { exit $1 }
    else                                   { $sum{$id} += length $text }
}
END
chmod 0755, "$dir/hall";

my $children = $Httpd::MPM eq 'prefork'
    ? "StartServers 4\nServerLimit 16\nMinSpareServers 4\nMaxSpareServers 8\nMaxRequestWorkers 16"
    : "StartServers 4\nServerLimit 12\nThreadsPerChild 4\nMinSpareThreads 16\nMaxSpareThreads 48\nMaxRequestWorkers 48";
my $httpd = Httpd->start(mpm_conf => $children, log_level => 'info websocket:debug', conf => <<"END");
WebSocketDrainTimeout 1min
WebSocketPing off
<Location /hall>
    WebSocketHandler ws_exec.so command=$dir/hall shared=server
</Location>
<Location /other>
    WebSocketHandler ws_exec.so command=$dir/hall shared=server
</Location>
END

# Connect, and wait until the program has welcomed the client. Sets the client's id, program and process.
sub guest {
    my ($path) = @_;
    my $c = Client->new($httpd, $path // '/hall');
    welcomed($c);
    return $c;
}

sub welcomed {
    my ($c) = @_;
    my $text;
    do { (undef, $text) = $c->message } while ($text !~ /^opened (\w+) (\d+)/);
    ($c->{id}, $c->{program}) = ($1, $2);
    $c->{process} = substr $c->{id}, 0, 4;
    return $c;
}

# Read the next message. Skips messages about the end of other connections.
sub hear {
    my ($c) = @_;
    my $text;
    do { (undef, $text) = $c->message } while ($text =~ /^gone /);
    return $text;
}

sub ask {
    my ($c, $text) = @_;
    $c->text($text);
    return hear($c);
}

sub heard_gone {
    my ($c, $of, $code) = @_;
    my $text;
    do { (undef, $text) = $c->message } while ($text !~ /^gone $of->{id} /);
    return is($text, "gone $of->{id} $code", "the program gets the code $code of a closed connection");
}

sub parent_of { return (Httpd::read_file("/proc/$_[0]/stat") =~ /\) \w (\d+)/)[0] }
sub runs      { return -d "/proc/$_[0]" && Httpd::read_file("/proc/$_[0]/stat") !~ /\) Z / }

# Connect clients until they are in at least two processes, one of which may be the owner.
sub gather {
    my @all;
    Httpd::wait_for(sub {
        push @all, guest();
        my %of = map { $_->{process} => $_ } @all;
        keys %of >= 2 && @all >= 8;
    }, 'clients in two processes');
    return @all;
}

# When the owner is killed, the connections of its clients break.
my @all = gather();
my $pid = $all[0]{program};
is_deeply([map { $_->{program} } @all], [($pid) x @all], 'clients of all child processes have one program');
my ($here, $there) = do { my %of = map { $_->{process} => $_ } @all; (sort { $a->{id} cmp $b->{id} } values %of)[0, 1] };
isnt($here->{process}, $there->{process}, 'two clients are in different child processes');
isnt(guest('/other')->{program}, $pid, 'a client of another command has another program');

# ---- Answers ----
for (["to $there->{id} hi", $there], ["to $here->{id} ho", $here]) {
    my ($what, $to) = @$_;
    my ($from) = grep { $_ != $to } $here, $there;
    is(ask($from, $what), 'sent', 'the program sends to a client of another child process');
    like(hear($to), qr/^from $from->{id}: h[io]$/, 'the client of the other child process receives what the program has sent');
}
$there->text('all of you');
is_deeply([map { hear($_) } @all], [('all: of you') x @all], 'a message of the program to all clients arrives once');
is(ask($_, 'rubbish'), 'still here', 'invalid lines of the program, and lines reserved for the owner, are ignored') for $here, $there;
is(ask($_, 'to 0123456789abcdef x'), 'sent', 'a message of the program to an unknown id reaches no client') for $here, $there;
my $big = 'y' x 300_000;
is(ask($_, "echo $big"), $big, 'the program gets and sends a large message') for $here, $there;
is(length ask($_, 'much 900000'), 900_000, 'the program sends a large answer') for $here, $there;
for my $c ($here, $there) {
    $c->text('wait');
    $c->raw(frame_bytes(TEXT, 'x' x 1000) x 3000);
    is(ask($c, 'sum'), 3_000_000, 'messages wait while the program is busy');
}

# ---- Ends of connections ----
{
    my $c;
    Httpd::wait_for(sub { $c = guest(); $c->{process} ne $here->{process} }, 'a client of another process');
    is(ask($here, "close $c->{id} 4001 enough"), 'closed', 'the program closes a connection of another process');
    $c->expect_close(4001, "the other process closes the connection with the program's code");
    is($c->{reason}, 'enough', "the other process closes the connection with the program's reason");
    heard_gone($here, $c, 4001);
    my $d = guest();
    $d->close(1000);
    heard_gone($_, $d, 1000) for $here, $there;
    $there->text("two\nlines");
    $there->expect_close(1003, 'a client cannot forge a line to the program');
    @all = grep { $_ != $there } @all;
}

# ---- A child that is killed ----

# Kill the owner. Returns the clients whose connections are still open and which another program has welcomed.
sub kill_owner {
    my @clients = @_;
    my $before  = $clients[0]{program};
    my $owner   = parent_of($before);
    ok((grep { $_ == $owner } $httpd->children), "the program's owner is a child process");
    kill 'KILL', $owner;
    my @left;
    for my $c (@clients) {
        eval { welcomed($c); 1 } and push @left, $c;
    }
    cmp_ok(scalar @left, '>', 0, 'when the owner is killed, clients of other processes stay connected');
    isnt($left[0]{program}, $before, 'when the owner is killed, another process starts the program again');
    is_deeply([map { $_->{program} } @left], [($left[0]{program}) x @left], 'all remaining clients use the same new program');
    isnt(parent_of($left[0]{program}), $owner, 'the owner of the new program is another process');
    Httpd::wait_for(sub { !runs($before) }, 'the old program to end');
    return @left;
}
for my $round (1 .. 2) {
    push @all, guest() while @all < 8 * $round;
    my %of = map { $_->{process} => 1 } @all;
    while (keys %of < 2) { push @all, guest(); $of{ $all[-1]{process} } = 1 }
    @all = kill_owner(@all);
    is(ask($all[0], "echo round $round"), "round $round", 'the new program answers');
    $all[-1]->text("all round $round");
    is_deeply([map { hear($_) } @all], [("all: round $round") x @all], 'all clients receive the messages of the new program');
    my $new = guest();
    is($new->{program}, $all[0]{program}, 'new clients use the new program');
    push @all, $new;
}

# ---- Another child is killed, and the program is notified that the child's clients have gone ----
{
    my $owner = parent_of($all[0]{program});
    my ($victim) = grep { $_ != $owner } $httpd->children;
    my @mine;
    Httpd::wait_for(sub {
        push @all, guest();
        my %of = map { $_->{process} => 1 } @all;
        keys %of >= 2;
    }, 'clients in two processes');
    kill 'KILL', grep { $_ != $owner } $httpd->children;
    my @left = grep { defined eval { ask($_, 'echo here') } } @all;
    my ($gone) = grep { my $c = $_; !grep { $_ == $c } @left } @all;
    ok($gone && @left, 'when other children are killed, only their connections break');
    is($_->{program}, $all[0]{program}, 'when other children are killed, the program continues') for $left[0];
    @all = @left;
    my $late = guest();
    is($late->{program}, $all[0]{program}, 'clients of a new child process use the same program');
    push @all, $late;
}

# ---- A reload ----
{
    my @before = @all;
    $httpd->graceful;
    my @after = map { guest() } 1 .. 4;
    is_deeply([map { $_->{program} } @after], [($before[0]{program}) x @after], 'after a reload, new clients use the same program');
    $after[0]->text('all generations');
    is_deeply([map { hear($_) } @before, @after], [('all: generations') x (@before + @after)], 'after a reload, old and new clients receive messages of the program');
    $_->close(1000) for @before;
    welcomed($_) for @after;
    isnt($after[0]{program}, $before[0]{program}, 'when the old child has ended, a new one starts the program again');
    is_deeply([map { $_->{program} } @after], [($after[0]{program}) x @after], 'all open connections use the program that was started again');
    is(ask($after[0], 'echo on'), 'on', 'the program that was started again answers');
    @all = @after;
}

# ---- The program ends ----
{
    Httpd::wait_for(sub {
        push @all, guest();
        my %of = map { $_->{process} => 1 } @all;
        keys %of >= 2;
    }, 'clients in two processes');
    $all[0]->text('exit 3');
    for my $c (@all) {
        $c->expect_close(1011, 'when the program ends, all connections of all processes are closed');
        is($c->{reason}, 'the program has ended with status 3', 'when the program ends, the close reason has its status');
    }
    my $again;
    Httpd::wait_for(sub { (Client->refused($httpd, '/hall'))[0] == 101 }, 'another start of the program');
    $again = guest();
    isnt($again->{program}, $all[0]{program}, 'after the program has ended, the next handshake starts it again');
    my $last = $again->{program};
    $httpd->stop;
    ok(!runs($last), 'the program ends with httpd');
}
is_deeply([$httpd->complaints], [], 'no child has crashed') if $httpd->can('complaints');
done_testing;
