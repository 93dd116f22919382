# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# ws_exec runs a program for each WebSocket. Tests messages in both directions, the environment of a program, all ways in
# which a program ends, back-pressure and limits, and that no process remains.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Digest::SHA qw(sha1_hex);
use MIME::Base64 ();
use POSIX ();
use Time::HiRes qw(sleep time);
use Httpd;
use Client qw(frame_bytes TEXT BINARY CLOSE);

my $dir = Httpd::folder();
chmod 0777, $dir;

# Write a program with this text. Returns its path.
sub program {
    my ($name, $text) = @_;
    $text = "#!/usr/bin/perl\n\$| = 1; use strict; use warnings;\n$text" if $text !~ /^#!/;
    Httpd::write_file("$dir/$name", $text);
    chmod 0755, "$dir/$name";
    return "$dir/$name";
}

# Copies of the examples in a directory that httpd's user can read, because it may have no access to the source tree.
my %example = map { $_ => program($_, Httpd::read_file("$Httpd::TOP/docs/examples/$_")) } qw(greet.sh tally.py room.pl);

my %program = (
    echo    => program('echo', 'binmode STDIN; binmode STDOUT; print while <STDIN>; '),
    nul     => program('nul', '$/ = "\0"; while (<STDIN>) { chomp; print "<$_>\0"; }'),
    length  => program('length', 'while (read STDIN, my $n, 4) { read STDIN, my $d, unpack "N", $n; print $n, scalar reverse $d }'),
    say     => program('say', <<'END'),
while (<STDIN>) {
    chomp;
    if (/^env (\w+)/)      { print exists $ENV{$1} ? "$1=$ENV{$1}\n" : "$1 is not set\n" }
    elsif (/^pid/)         { print "$$ ", getpgrp, "\n" }
    elsif (/^cwd/)         { print readlink("/proc/self/cwd"), "\n" }
    elsif (/^fds/)         { opendir my $d, '/proc/self/fd'; my $own = fileno $d; print join(' ', sort grep { /\d/ && $_ != $own } readdir $d), "\n" }
    elsif (/^limits (.*)/) { open my $f, '<', '/proc/self/limits'; print grep /^$1/, <$f> }
    elsif (/^signals/)     { open my $f, '<', '/proc/self/status'; print join ' ', map { /^Sig(?:Blk|Ign):\s+0*(\w+)/ ? $1 : () } <$f>; print "\n" }
    elsif (/^args/)        { print join('|', @ARGV), "\n" }
    elsif (/^exit (\d+)/)  { print "last words"; exit $1 }
    elsif (/^kill (\d+)/)  { kill $1, $$; sleep 60 }
    elsif (/^raw (.*)/)    { print eval qq("$1"), "\n" }
    elsif (/^err (.*)/)    { print STDERR "$1\n"; print "said\n" }
    elsif (/^errs (\d+)/)  { print STDERR "complaint $_\n" for 1 .. $1; print "said\n" }
    elsif (/^leave/)       { if (!fork) { sleep 600 } print "left\n"; exit 0 }
    elsif (/^shut/)        { close STDIN; print "shut\n"; sleep 60 }
    elsif (/^quiet/)       { close STDOUT; sleep 60 }
    elsif (/^much (\d+)/)  { print 'x' x 99, "\n" for 1 .. $1; print "over\n" }
    elsif (/^long (\d+)/)  { print 'x' x $1, "\n" }
    elsif (/^deaf/)        { print "deaf\n"; kill 'STOP', $$ }
}
print STDERR "input has ended\n";
END
    # The program writes the requests to stop to the file $ARGV[0]. $ARGV[1] lists the requests at which it ends.
    stubborn => program('stubborn', <<'END'),
open my $log, '>>', $ARGV[0]; $log->autoflush(1) if $log->can('autoflush'); select((select($log), $| = 1)[0]);
my %ends = map { $_ => 1 } split /,/, $ARGV[1];
for my $s (qw(INT TERM)) { $SIG{$s} = sub { print $log "$s "; exit 3 if $ends{$s} } }
print "ready\n";
1 while <STDIN>;
print $log 'EOF ';
exit 0 if $ends{EOF};
sleep 1 while 1;
END
);

# The intervals between the steps of stopping. They are longer on a busy machine, where the program is slower.
my $stop = join ',', map { Patience::stretch($_) } qw(200ms 400ms 600ms);
my $conf = join '', map { "<Location /$_>\n    WebSocketHandler ws_exec.so command=$program{$_} type=text max=300\n</Location>\n" } qw(echo say);
my $httpd = Httpd->start(
    children => $Httpd::MPM eq 'prefork' ? 8 : 1,
    modules  => ['authn_anon'],
    conf => <<"END",
WebSocketSendQueue 1M
$conf
<Location /nul>
    WebSocketHandler ws_exec.so command=$program{nul} framing=nul
</Location>
<Location /length>
    WebSocketHandler ws_exec.so command=$program{length} framing=length type=binary
</Location>
<Location /args>
    WebSocketHandler ws_exec.so "command=$program{say} one 'two words' three" directory=/usr protocol=chat
    SetEnv SET_BY httpd
    RLimitCPU 100 200
    RLimitMEM 1000000000
    RLimitNPROC 5000
    AuthType Basic
    AuthName test
    AuthBasicProvider anon
    Anonymous *
    Require valid-user
</Location>
<Location /tls>
    WebSocketHandler ws_exec.so command=$program{say}
    SSLOptions +StdEnvVars
</Location>
<Location /short>
    WebSocketHandler ws_exec.so command=$program{say} longest=1K stderr=3
</Location>
<Location /off>
    WebSocketHandler ws_exec.so command=$program{say} stderr=off
</Location>
<Location /two>
    WebSocketHandler ws_exec.so command=$program{say} max=2
</Location>
@{[map { "<Location /stop-$_>\n    WebSocketHandler ws_exec.so \"command=$program{stubborn} $dir/$_ $_\" stop=$stop\n</Location>\n" } qw(EOF INT TERM KILL)]}
<Location /gone>
    WebSocketHandler ws_exec.so command=$dir/gone
</Location>
<Location /greet>
    WebSocketHandler ws_exec.so command=$example{'greet.sh'}
</Location>
<Location /tally>
    WebSocketHandler ws_exec.so command=$example{'tally.py'} framing=length type=binary
</Location>
<Location /room>
    WebSocketHandler ws_exec.so command=$example{'room.pl'} shared=on
</Location>
<Location /shared>
    WebSocketHandler ws_exec.so command=$program{shared} shared=on
</Location>
END
) if program('gone', '') && ($program{shared} = program('shared', <<'END'));
while (<STDIN>) {
    chomp;
    my ($id, $kind, $text) = split /\t/, $_, 3;
    if ($kind eq 'open')             { my @f = split /\t/, $text, -1; print "$id\tmessage\t", join('|', @f), " $$\n" }
    elsif ($kind eq 'close')         { print STDERR "$id closed $text\n" }
    elsif ($text =~ /^exit (\d+)/)   { exit $1 }
    elsif ($text =~ /^close (.*)/)   { print "$id\tclose\t$1\n" }
    elsif ($text eq 'rubbish')       { print "what is this\n"; print "$id\tmessage\tstill here\n" }
    elsif ($text eq 'wait')          { sleep 2 }
    elsif ($text eq 'other')         { print "ffffffffffffffff\tmessage\tnobody\n"; print "$id\tmessage\tsent\n" }
    elsif ($text =~ /^x/)            { $main::n += length $text }
    elsif ($text eq 'sum')           { print "$id\tmessage\t$main::n\n" }
    else                             { print "$id\tmessage\t$text\n" }
}
END
unlink "$dir/gone";

sub open_at { my ($path, @o) = @_; return Client->new($httpd, $path, @o) }
sub ask { my ($c, $text) = @_; $c->text($text); return ($c->message)[1] }

# ---- Messages ----

{
    my $c = open_at('/echo');
    $c->echoes($_, 'a line there and back') for 'hello', '', "gr\xc3\xbc\xc3\x9fe";
    $c->text("one\ntwo");
    is(($c->message)[1] . '|' . ($c->message)[1], 'one|two', 'a message of two lines becomes two lines');
    my $long = 'x' x 1_000_000;
    $c->text($long);
    is(sha1_hex(($c->message)[1]), sha1_hex($long), 'a line of 1 MB is echoed');
    $c->binary('x');
    $c->expect_close(1003, 'binary messages are refused where type=text');

    $c = open_at('/nul');
    is(ask($c, "a\nb"), "<a\nb>", 'framing=nul: messages may contain newlines');
    $c = open_at('/length');
    $c->binary($_), is(($c->message)[1], scalar reverse($_), 'framing=length: ' . length($_) . ' bytes of any kind')
        for "\0\n\xff", '', 'x' x 300, join '', map { chr(rand 256) } 1 .. 70000;
    $c->text('x');
    $c->expect_close(1003, 'text is refused where type=binary');
}
{
    my $c = open_at('/say');
    is(ask($c, 'raw \xff\xe2\x82\xac\xc3'), "\xef\xbf\xbd\xe2\x82\xac\xef\xbf\xbd", 'invalid UTF-8 from the program becomes U+FFFD');
    is(ask($c, 'raw \xed\xa0\x80 \xf5 \xc0\x80 \xf0\x9f\x98\x80'),
        join(' ', "\xef\xbf\xbd" x 3, "\xef\xbf\xbd", "\xef\xbf\xbd" x 2, "\xf0\x9f\x98\x80"), 'each invalid byte from the program becomes U+FFFD');
    is(ask($c, 'raw a\nb'), 'a', 'the first of two lines is a message');
    is(($c->message)[1], 'b', 'the second of two lines is another message');
}

# ---- The environment of a program ----

{
    my $c = open_at('/say?a=b%20c', headers => ['X-Thing: 42', 'Cookie: x=y']);
    is(ask($c, "env $_->[0]"), $_->[1], "the program's environment has the right $_->[0]")
        for ['QUERY_STRING', 'QUERY_STRING=a=b%20c'], ['REQUEST_METHOD', 'REQUEST_METHOD=GET'],
        ['SCRIPT_NAME', 'SCRIPT_NAME=/say'], ['REMOTE_ADDR', 'REMOTE_ADDR=127.0.0.1'],
        ['HTTP_X_THING', 'HTTP_X_THING=42'], ['HTTP_COOKIE', 'HTTP_COOKIE=x=y'], ['GATEWAY_INTERFACE', 'GATEWAY_INTERFACE=CGI/1.1'],
        ['SERVER_PORT', 'SERVER_PORT=' . $httpd->port], ['REMOTE_USER', 'REMOTE_USER is not set'],
        ['WEBSOCKET_PROTOCOL', 'WEBSOCKET_PROTOCOL is not set'], ['HTTPS', 'HTTPS is not set'];
    my ($pid, $group) = split ' ', ask($c, 'pid');
    is($pid, $group, 'a program leads its own process group');
    is(ask($c, 'fds'), '0 1 2', 'a program has only three descriptors');
    # Perl ignores SIGFPE. The two signals below SIGRTMIN belong to the C library, which does not allow changing them.
    no warnings 'portable';    # hex() warns about numbers of 64 bits
    my ($blocked, $ignored) = map { hex } split ' ', ask($c, 'signals');
    is($blocked | ($ignored & ~0x180000080), 0, 'no signal is blocked or ignored in a program');
    like(ask($c, 'limits Max open files'), qr/^Max open files\s+1024\s/, 'a program has the usual limit of descriptors');
    is(ask($c, 'cwd'), $dir, 'a program runs in its own directory');

    $c = open_at('/args', protocol => 'chat', headers => ['Authorization: Basic ' . MIME::Base64::encode_base64('ann:x', '')]);
    is(ask($c, 'args'), 'one|two words|three', 'a program gets the arguments of command=');
    is(ask($c, 'cwd'), '/usr', 'directory= sets the directory of a program');
    is(ask($c, "env $_->[0]"), "$_->[0]=$_->[1]", $_->[0])
        for ['REMOTE_USER', 'ann'], ['AUTH_TYPE', 'Basic'], ['WEBSOCKET_PROTOCOL', 'chat'], ['SET_BY', 'httpd'];
    like(ask($c, 'env HTTP_AUTHORIZATION'), qr/not set/, "the environment does not have the client's password");
    like(ask($c, 'limits Max cpu time'), qr/^Max cpu time\s+100\s+200\s/, 'RLimitCPU limits a program');
    like(ask($c, 'limits Max address space'), qr/^Max address space\s+1000000000\s/, 'RLimitMEM limits a program');
    like(ask($c, 'limits Max processes'), qr/^Max processes\s+5000\s/, 'RLimitNPROC limits a program');

    $c = open_at('/tls', tls => 'TLSv1_3');
    is(ask($c, "env $_->[0]"), "$_->[0]=$_->[1]", "a program gets $_->[0] over TLS") for ['HTTPS', 'on'], ['SSL_PROTOCOL', 'TLSv1.3'];
}

# ---- A directory of programs ----

{
    my $programs = "$dir/programs";
    mkdir $programs or die "$programs: $!";
    my $write = sub {
        my ($name, $mode) = @_;
        Httpd::write_file("$programs/$name", "#!/bin/sh\necho \"\$0|\$*|\$SCRIPT_NAME|\$SCRIPT_FILENAME|\${PATH_INFO-unset}|"
                . "\${PATH_TRANSLATED-unset}|\${HTTPS-unset}|\$PWD\"\nexec cat\n");
        chmod $mode, "$programs/$name" or die $!;
    };
    $write->($_, 0755) for qw(one.sh two _default), '.hidden', 'two~';
    $write->('notes.txt', 0644);
    mkdir "$programs/folder" or die $!;
    my $chooser = Httpd->start(tls => 1, conf => <<"END");
<Location /programs>
    WebSocketHandler ws_exec.so "command=$programs/* first 'and second'"
</Location>
<Location "/pre fix/">
    WebSocketHandler ws_exec.so command=$programs/*
</Location>
<LocationMatch "^/match">
    WebSocketHandler ws_exec.so command=$programs/*
</LocationMatch>
END
    my $root = $chooser->root . '/htdocs';
    my $says = sub { my $c = Client->new($chooser, @_); my (undef, $text) = $c->message; $c->echoes('x', "$_[0] runs"); $text };
    is($says->('/programs/one.sh'), "$programs/one.sh|first and second|/programs/one.sh|$programs/one.sh|unset|unset|unset|$programs",
        'the path names a program, which gets the arguments of command=');
    like($says->('/programs/two/a/b%20c?q'), qr{\|/programs/two\|\Q$programs\E/two\|/a/b c\|[^|]+/a/b c\|}, 'the rest of the path is PATH_INFO');
    like($says->('/programs/two/'), qr{\|/programs/two\|[^|]+\|/\|}, 'PATH_INFO is a slash if the path ends with it');
    like($says->('/programs'),  qr{^\Q$programs\E/_default\|[^|]*\|/programs\|[^|]+\|unset\|}, '_default runs for the Location itself');
    like($says->('/programs/'), qr{^\Q$programs\E/_default\|[^|]*\|/programs\|[^|]+\|/\|}, '_default runs for the Location with a slash');
    like($says->('/pre%20fix/two/x'), qr{\|/pre fix/two\|[^|]+\|/x\|}, 'a Location with a slash at its end has a directory of programs');
    like($says->('/programs/one.sh', tls => 'TLSv1_3'), qr{\|on\|}, 'HTTPS is on with TLS');
    my $status = sub { (Client->refused($chooser, @_))[0] };
    for my $path (qw(three one ONE.SH one.sh%2F .hidden two~ notes.txt folder folder/x _default _default/x .. ../say ..%2Fsay
        %2e%2e/one.sh one.sh%00 one.sh%20 *))
    {
        isnt($status->("/programs/$path"), 101, "/programs/$path is refused");
    }
    $write->('three', 0755);
    isnt($status->('/programs/three'), 101, 'a program that was added later is not found');
    unlink "$programs/two";
    $chooser->graceful;
    like($says->('/programs/three'), qr{^\Q$programs\E/three\|}, 'after a reload, the added program is found');
    is($status->('/programs/two'), 404, 'after a reload, a deleted program is not found');
    is($status->('/match/three'), 500, 'a LocationMatch cannot have a directory of programs');
    ok($chooser->wait_log(qr/a directory of programs is allowed outside of sections/), 'the log says why a LocationMatch cannot have a directory of programs');
    $chooser->stop;
    for (["command=$dir/programs/folder/*", 'no program in'], ["command=$dir/none/*", 'cannot read the directory'],
        ["command=$programs/* shared=on", 'shared= is for one program'])
    {
        my ($right, $said) = Httpd->check("<Location /x>\nWebSocketHandler ws_exec.so $_->[0]\n</Location>");
        ok(!$right && $said =~ /\Q$_->[1]\E/, "httpd -t refuses: ws_exec.so $_->[0]") or diag($said);
    }
    $write->('a b', 0755);
    my ($right, $said) = Httpd->check("<Location /x>\nWebSocketHandler ws_exec.so command=$programs/*\n</Location>");
    ok(!$right && $said =~ m{\Q$programs\E/a b: the name of a program must be}, 'httpd -t refuses a program whose file name is invalid') or diag($said);
}

# ---- Ends ----

for (['exit 0', 1000, 'the program has ended with status 0'], ['exit 3', 1011, 'the program has ended with status 3'],
    ['kill 9', 1011, 'the program was killed by signal 9'])
{
    my ($command, $code, $reason) = @$_;
    my $c = open_at('/say');
    $c->text($command);
    is(($c->message)[1], 'last words', 'the last line needs no newline') if $command =~ /exit/;
    $c->expect_close($code, "$command: the connection is closed with $code");
    is($c->{reason}, $reason, "$command: the reason says how the program ended");
    ok($httpd->wait_log(qr/\Q$reason\E/), "$command: the log says how the program ended");
}
{
    my $c = open_at('/say');
    is(ask($c, 'leave'), 'left', 'a program ends while its background process continues');
    $c->expect_close(1000, 'the connection of that program is closed with 1000');
    $c = open_at('/say');
    my ($pid) = split ' ', ask($c, 'pid');
    is(ask($c, 'shut'), 'shut', 'a program closes its standard input');
    $c->text('x' x 100) for 1 .. 10;
    ok($httpd->wait_log(qr/the program has closed its standard input/), 'the log says that the program has closed its standard input');
    kill 'KILL', $pid;
    $c->expect_close(1011, 'the connection of that program is closed when the program ends');
    $c = open_at('/short');
    is(length ask($c, 'long 1024'), 1024, 'a message of exactly longest= bytes is sent');
    $c->text('long 1025');
    $c->expect_close(1011, 'a message of more than longest= bytes ends the connection');
    ok($httpd->wait_log(qr/wrote a message of more than 1024 bytes/), 'the log says that the message is longer than longest=');
    $c = open_at('/short');
    $c->text('raw ' . 'x' x 900);
    is(length(($c->message)[1]), 900, 'a line that arrives in pieces is one message');
}
for (['EOF', 'EOF '], ['INT', 'EOF INT '], ['TERM', 'EOF INT TERM '], ['KILL', 'EOF INT TERM ']) {
    my ($end, $log) = @$_;
    my $c = open_at("/stop-$end");
    is(($c->message)[1], 'ready', "the program that ends after $end has started");
    $c->close(1000);
    $c->expect_close(1000, "the client of the program that ends after $end closes the connection");
    is(Httpd::wait_for(sub { my $t = Httpd::read_file("$dir/$end"); length $t >= length $log ? $t : '' }, 'the program to write the last step'), $log,
        "the program that ends after $end receives: $log");
    ok($httpd->wait_log(qr{/stop-KILL: the program was killed by signal 9: it had not stopped when asked to}), 'the log says that the program that did not stop was killed') if $end eq 'KILL';
}
{
    my $c = open_at('/say');
    ask($c, 'pid');
    $c->drop;
    ok($httpd->wait_log(qr{\[client 127.0.0.1\] /say: input has ended}), "when a client's connection breaks, the program reads the end of its input");
}

# ---- Standard error ----

{
    my $c = open_at('/say');
    is(ask($c, 'err trouble ahead'), 'said', 'a program writes to standard error');
    ok($httpd->wait_log(qr{websocket: exec: \[client 127.0.0.1\] /say: trouble ahead}), 'a line on standard error is logged');
    $c = open_at('/short');
    is(ask($c, 'errs 100'), 'said', 'a program writes 100 lines to standard error');
    $c->close(1000);
    $c->expect_close(1000, "the program's client closes the connection");
    my (undef, $n) = $httpd->wait_log(qr{/short: (\d+) lines of standard error were dropped});
    my $said = $httpd->count_log(qr{/short: complaint});
    cmp_ok($said, '<=', 9, "stderr=3: $said lines are logged");
    cmp_ok($said + $n, '>=', 100, 'stderr=3: lines that are not logged are counted');
    $c = open_at('/off');
    is(ask($c, 'err unheard'), 'said', 'with stderr=off, a program writes to standard error');
    ask($c, 'pid');
    is($httpd->count_log(qr/unheard/), 0, 'with stderr=off, standard error is not logged');
}

# ---- Back-pressure ----

sub fill_up {
    my ($socket, $bytes) = @_;
    my ($done, $last) = (0, time);
    while ($done < length $bytes && time - $last < 0.5) {
        my $n = syswrite $socket, $bytes, 65536, $done;
        $n ? ($done += $n, $last = time) : sleep 0.02;
    }
    return $done;
}
{
    my $c = open_at('/say');
    my ($pid) = split ' ', ask($c, 'pid');
    is(ask($c, 'deaf'), 'deaf', 'a program stops reading');
    my $frames = frame_bytes(TEXT, 'args' . 'x' x 900) x 20_000;
    my $done = fill_up($c->socket, $frames);
    cmp_ok($done, '<', length $frames, "when a program does not read, its client has to wait ($done bytes)");
    kill 'CONT', $pid;
    my $child = fork // die "fork: $!";
    if (!$child) {
        $c->raw(substr $frames, $done);
        $c->raw(frame_bytes(TEXT, 'args'));
        $c->raw(frame_bytes(TEXT, 'env PATH'));
        POSIX::_exit(0);
    }
    my ($n, $text) = (0);
    $n++ while ($text = ($c->message)[1]) !~ /^PATH/;
    waitpid $child, 0;
    is($n, 20_001, 'when the program reads again, all messages arrive');

    $c = open_at('/say', rcvbuf => 32768);
    ($pid) = split ' ', ask($c, 'pid');
    $c->text('much 200000');
    my $written = sub { Httpd::read_file("/proc/$pid/io") =~ /^wchar: (\d+)/m ? $1 : 0 };
    my ($before, $now) = (-1, 0);
    ($before, $now) = ($now, sleep(0.3) && $written->()) while $now != $before;
    cmp_ok($now, '<', 15_000_000, "when a client does not read, the program has to wait ($now bytes)");
    my $lines = 0;
    $lines++ while ($text = ($c->message)[1]) ne 'over';
    is($lines, 200_000, 'when the client reads again, all lines arrive');
}

# ---- Limits ----

{
    my @c = map { open_at('/two') } 1, 2;
    my ($status) = Client->refused($httpd, '/two');
    is($status, 503, 'max=2: a third program is refused with 503');
    ok($httpd->wait_log(qr/refused with 503: 2 programs are running already/), 'max=2: the log says why the third program is refused');
    $c[0]->text('exit 0');
    $c[0]->message;
    $c[0]->expect_close(1000, 'max=2: the connection of the first program ends');
    my $c;
    ok(Httpd::wait_for(sub { $c = eval { open_at('/two') } }, 'a place'), 'max=2: after one has ended, another program can start');
    unlink "$dir/gone";
    is((Client->refused($httpd, '/gone'))[0], 500, 'if the program file was deleted, the handshake is refused with 500');
    ok($httpd->wait_log(qr{No such file or directory: .*cannot be started: \Q$dir\E/gone}), 'the log has the name of the deleted program file');
}

# ---- Shared ----

{
    my ($ann, $bob) = (open_at('/shared?name=ann'), undef);
    my ($who, $pid) = split ' ', ($ann->message)[1];
    is($who, '127.0.0.1||/shared|name=ann', 'a shared program gets a line for each new connection');
    is(ask($ann, "tab\there"), "tab\there", 'a shared program gets messages tagged with the connection');
    is(ask($ann, 'other'), 'sent', "a shared program's message to an unknown id reaches no client");
    is(ask($ann, 'rubbish'), 'still here', "a shared program's line without a tag reaches no client");
    ok($httpd->wait_log(qr/the program wrote a line that is neither ID TAB message.*what is this/), "a shared program's line without a tag is logged");
    $ann->text("two\nlines");
    $ann->expect_close(1003, 'a client cannot forge a line to a shared program');
    ok($httpd->wait_log(qr/\b[0-9a-f]{16} closed 1003/), 'a shared program gets a line for each closed connection');
    $ann = open_at('/shared');
    $ann->message;
    $ann->text('close 4001 enough of you');
    $ann->expect_close(4001, 'a shared program closes a connection with a code');
    is($ann->{reason}, 'enough of you', 'a shared program closes a connection with a reason');
    $ann = open_at('/shared');
    $ann->message;
    $ann->text('wait');
    my $frames = frame_bytes(TEXT, 'x' x 1000) x 3000;
    $ann->raw($frames);
    is(ask($ann, 'sum'), 3_000_000, 'messages wait while a shared program is busy');
    SKIP: {
        skip 'each child of prefork has its own program', 3 if $Httpd::MPM eq 'prefork';
        my @all = map { open_at('/shared') } 1 .. 5;
        my @pids = map { (split ' ', ($_->message)[1])[1] } @all;
        is_deeply(\@pids, [($pid) x 5], 'all connections of a child share one program');
        $all[0]->text('exit 7');
        $_->expect_close(1011, 'when a shared program ends, its connections are closed') for @all[0 .. 1];
    }
    $ann = open_at('/room?name=ann');
    is(($ann->message)[1], 'ann comes in', 'docs/examples/room.pl tells a client that it has joined');
    SKIP: {
        skip 'each child of prefork has its own room', 5 if $Httpd::MPM eq 'prefork';
        $bob = open_at('/room?name=bob');
        is(($ann->message)[1], 'bob comes in', 'docs/examples/room.pl tells the others that a client has joined');
        is(ask($bob, 'hello'), 'bob comes in', 'docs/examples/room.pl tells the new client, too');
        is(($ann->message)[1], 'bob: hello', 'docs/examples/room.pl passes on a message');
        $bob->text('/quit');
        $bob->expect_close(1000, 'docs/examples/room.pl closes a client on request');
        is(($ann->message)[1], 'bob has left', 'docs/examples/room.pl tells the others that a client has left');
    }
}

# ---- The other examples ----

{
    my $c = open_at('/greet');
    is(($c->message)[1], 'Welcome, stranger from 127.0.0.1. Who is it to be?', 'docs/examples/greet.sh asks for a name');
    is(ask($c, 'world'), 'Hello, world.', 'docs/examples/greet.sh greets');
    is(ask($c, 'bye'), 'Good bye.', 'docs/examples/greet.sh answers bye');
    $c->expect_close(1000, 'docs/examples/greet.sh ends after it has answered bye');
    $c = open_at('/tally');
    $c->binary('12345');
    is(($c->message)[1], '5 bytes, 5 in all', 'docs/examples/tally.py counts the first message');
    $c->binary("\n" x 70000);
    is(($c->message)[1], '70000 bytes, 70005 in all', 'docs/examples/tally.py counts the bytes of all messages');
}

# ---- A hundred at once ----

# Returns the processes that httpd's children have started and that still exist, including zombies.
sub programs {
    return map { Httpd::read_file($_) =~ /(\d+)/g } map { glob "/proc/$_/task/*/children" } $httpd->children;
}
sub to_programs { return Httpd::descriptors($_[0], qr/pipe:|pidfd/) }
{
    my $most = $Httpd::MPM eq 'prefork' ? 40 : 100;
    for my $round (1 .. 2) {
        my @c = map { open_at('/echo') } 1 .. $most;
        $_->text("round $round") for @c;
        is(scalar(grep { ($_->message)[1] eq "round $round" } @c), $most, "$most programs run at the same time, and all answer");
        my $i = 0;
        $i++ % 2 ? $_->drop : $_->close(1000) for @c;
    }
    my @left;
    ok(Httpd::wait_for(sub {
        @left = grep { !m{/(?:shared|room\.pl)\b} } map { Httpd::read_file("/proc/$_/cmdline") =~ tr/\0/ /r || "process $_" } programs();
        !@left;
    }, 'the programs to end', sub { join ', ', @left }), 'all programs end with their clients, and no zombie is left');
    my $before = $httpd->each_child(\&to_programs);
    {
        my @c = map { open_at('/echo') } 1 .. 10;
        $_->echoes('x', 'once again') for @c;
    }
    $httpd->none_grows($before, \&to_programs, 'ended programs leave no descriptor open');
}

{
    my @c = (open_at('/echo'), open_at('/shared'), open_at('/say', tls => 1));
    my @open;
    for my $pid ($httpd->children) {
        for my $file (glob "/proc/$pid/fdinfo/*") {
            my ($flags) = Httpd::read_file($file) =~ /^flags:\s+(\d+)/m or next;
            my ($fd) = $file =~ /(\d+)$/;
            my ($what, $ours) = map { readlink("/proc/$_/fd/$fd") // '' } $pid, $$;
            next if $fd <= 2 || $what eq $ours;    # skip descriptors that the test itself has inherited
            push @open, "$fd: $what" if !(oct($flags) & 02000000);
        }
    }
    is("@open", '', 'every descriptor of a child, except the standard ones, is close-on-exec');
}

# ---- A reload, and the end of httpd ----

{
    my $c = open_at('/echo');
    my $d = open_at('/stop-KILL');
    is(($d->message)[1], 'ready', 'a program is running before the reload');
    program('gone', '');
    $httpd->graceful;
    $c->echoes('still', 'a program continues after the reload');
    $httpd->stop;
    like(Httpd::read_file("$dir/KILL"), qr/EOF .*TERM/, 'a program that does not exit is stopped with httpd');
}

# ---- Configuration ----

for (['', 'command= is missing'], ['command=perl', 'absolute path'], ["command=$dir/none", 'No such file'],
    ["command=$dir", 'not an executable file'], ['command=/etc/passwd', 'not an executable file'],
    ['command=/bin/cat framing=word', 'line, nul or length'], ['command=/bin/cat type=json', 'text or binary'],
    ['command=/bin/cat shared=yes', 'takes on, server or off'], (map { ["command=/bin/cat max=$_", 'takes a whole number from 1 to 100000'] } qw(0 1K 100001 1x)),
    (map { ["command=/bin/cat longest=$_", 'takes a size from 1 to 1G'] } qw(2G 0 1KB 1.5M)), ['command=/bin/cat stop=1s,2s,3sec', 'three times'], ['command=/bin/cat stderr=none', 'lines to log per second'],
    ['command=/bin/cat stop=1s,2s', 'three times'], ['command=/bin/cat stop=1s,2s,3s,', 'three times'], ['command=/bin/cat stop=1s,,2s,3s', 'three times'], ['command=/bin/cat stop=3s,2s,1s', 'three times'],
    ['command=/bin/cat directory=tmp', 'absolute path'],
    ['command=/bin/cat directory=/no/such/folder', 'No such file'], ['command=/bin/cat directory=/etc/passwd', 'is no folder'], ['command=/bin/cat colour=red', 'unknown key'])
{
    my ($keys, $text) = @$_;
    my ($right, $said) = Httpd->check("<Location /x>\nWebSocketHandler ws_exec.so $keys\n</Location>");
    like($said, qr/Syntax error on line \d+ of .*httpd\.conf:\s.*\Q$text\E/s, "httpd -t refuses: ws_exec.so $keys");
}
done_testing;
