# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Runs a private httpd for one test, with its own ServerRoot and reserved loopback ports. httpd ends
# when the object is destroyed.
#
#   my $httpd = Httpd->start(conf => '<Location /echo> WebSocketHandler ws_echo.so </Location>');
#   $httpd->get('/index.html');   $httpd->wait_log(qr/refused with 403/);
#
# How to write a test that passes on any machine, however busy, and while other tests run:
#
#   Time. Wait for an event, never for a time.
#       Httpd::wait_for(sub { ... }, 'the child to end');                  waits until the sub returns a true value
#       Httpd::wait_for(sub { ... }, 'a queue', sub { "$n bytes" });       the last sub describes the state after a timeout
#       Httpd::wait_is(sub { subscribers() }, 3, 'subscribers');           waits until the value is 3 (or matches a qr//)
#     Never assert a speed, a duration, or a number of events per time. $Httpd::DEADLINE is the time limit for an
#     event in seconds, which is longer on a busy machine (Patience.pm). Programs that a test starts read the same
#     limit from WS_TEST_DEADLINE. If the test has to do something before a timer of the configuration fires,
#     stretch the timer:
#       WebSocketDrainTimeout @{[Patience::stretch('3s')]}
#   Processes. All processes that a test starts, including daemons, end with the test, however it ends (Reap.pm).
#     You can use fork, exec, Program->start or a shell.
#   Children. httpd starts and stops them at any time, so a sum over $httpd->children is meaningless. Check each one:
#       my $before = $httpd->each_child(sub { Httpd::descriptors($_[0], qr/^socket:/) });
#       $httpd->none_grows($before, sub { Httpd::descriptors($_[0], qr/^socket:/) }, 'no socket is left');
#     Httpd->start(children => 4, ...) has a constant number of children. The default is one child, and with
#     prefork 4 or more.
#   Files. Write files to Httpd::folder(), a new folder that httpd's user can read, below the TMPDIR of the run. Write
#     nothing to the build directory ($Httpd::BUILD), which other runs share. Httpd::compile() builds a handler, once
#     for each source.
#   Ports. Httpd::free_port() returns a port. The port stays reserved until the test ends, and refuses connections
#     until a server listens there.
#   MPMs. Call Httpd::once() first if the test does not depend on the MPM.
#
# When a test fails, Reap.pm keeps its folder, and Httpd.pm prints the end of each log.
#
# WS_TEST_MPM     event, worker or prefork
# WS_TEST_BUILD   the folder of mod_websocket.so
# WS_TEST_PRELOAD the runtime library of a sanitizer, for a module that was built with that sanitizer
# WS_TEST_KEEP    also keep the folders of tests that pass

package Httpd;

use strict;
use warnings;
use Reap;
use Patience;
use Carp qw(croak);
use Cwd qw(abs_path);
use Digest::SHA qw(sha1_hex);
use File::Basename qw(basename dirname);
use File::Copy qw(copy);
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempdir);
use IO::Select;
use IO::Socket::INET;
use Scalar::Util qw(weaken);
use Socket qw(SO_REUSEADDR);
use POSIX qw(WNOHANG);
use Test::More;
use Time::HiRes qw(sleep time);

our $TOP   = $Reap::TOP;
our $BUILD = $Reap::BUILD;
our $MPM   = $ENV{WS_TEST_MPM} || 'event';

# The time limit for an event, seconds. Patience.pm computes it anew at each use.
tie our $DEADLINE, 'Patience';

sub apxs_query {
    my ($name) = @_;
    chomp(my $value = `apxs -q $name`);
    return $value;
}

our $MODULES = apxs_query('LIBEXECDIR');
our $PROGRAM = join '/', map { apxs_query($_) } qw(SBINDIR PROGNAME);

my @MODULES = qw(authn_core authn_file authz_core authz_host authz_user authz_groupfile auth_basic
    alias dir env headers mime remoteip reqtimeout rewrite setenvif socache_shmcb ssl status);

# With event, there is one child, however busy it is, and the scoreboard has slots for children of
# older generations. The worker MPM has such slots only if one generation may have that many
# children. Therefore it starts another child when all threads are busy.
my %MPM_CONF = (
    event   => "StartServers 1\nServerLimit 8\nThreadsPerChild 50\nMaxRequestWorkers 50\nMinSpareThreads 1\nMaxSpareThreads 50",
    worker  => "StartServers 1\nServerLimit 8\nThreadsPerChild 50\nMaxRequestWorkers 400\nMinSpareThreads 1\nMaxSpareThreads 400",
    prefork => "StartServers 4\nServerLimit 64\nMaxRequestWorkers 64\nMinSpareServers 4\nMaxSpareServers 64",
);

# Sections for event streams and polls, whose connections the module takes over from httpd. In the
# second section the module relays the connections instead.
our $STREAMS = <<'END';
<Location "/events">
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe all
</Location>
<Location "/relayed">
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe all
    WebSocketRelay on
</Location>
END

# Returns the configuration of the MPM for a constant number of children, which run until httpd ends.
# After a reload, event has slots for new children immediately. Worker and prefork have them only
# when the old children have ended.
sub mpm_conf {
    my ($children) = @_;
    my $places = 4 * $children;
    return "StartServers $children\nServerLimit $places\nMaxRequestWorkers $children\nMinSpareServers 1\nMaxSpareServers $children"
        if $MPM eq 'prefork';
    my $workers = 25 * $children;
    return "StartServers $children\nServerLimit $places\nThreadsPerChild 25\nMaxRequestWorkers $workers\n"
        . "MinSpareThreads 1\nMaxSpareThreads $workers";
}

# End a test that waits for an event that never happens. The time limit depends on the load of the
# machine.
if ($0 =~ /\.t$/) {
    my ($began, $most) = (time, 10 * $DEADLINE);
    $SIG{ALRM} = sub {
        $most = 10 * $DEADLINE if $most < 10 * $DEADLINE;
        my $left = $began + $most - time;
        give_up(sprintf 'the test takes too long: %d s', time - $began) if $left < 1;
        alarm $left;
    };
    alarm $most;
}

# Waits until a handle can be read, or with $write written. Returns 0 after this number of seconds.
sub ready {
    my ($handle, $write, $seconds) = @_;
    my $select = IO::Select->new($handle);
    my $until  = time + ($seconds // $DEADLINE);
    while (1) {
        my $left = $until - time;
        $left = 0 if $left < 0;
        $! = 0;
        return 1 if $write ? $select->can_write($left) : $select->can_read($left);
        return 0 if !$!{EINTR};
    }
}

# A socket that does not listen reserves each port: no other process gets it, connections are
# refused, and a server can listen there if it sets SO_REUSEADDR, as all servers do. Our socket sets
# that option only after bind(), so that no other test gets the port.
my @held;

sub free_port {
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'tcp') or croak "no free port: $!";
    $socket->sockopt(SO_REUSEADDR, 1) or croak "SO_REUSEADDR: $!";
    push @held, $socket;
    return $socket->sockport;
}

# Create a folder that httpd's user can read. Reap.pm removes it with the TMPDIR of the run.
sub folder {
    my $folder = tempdir('mod_websocket-XXXXXX', TMPDIR => 1);
    chmod 0755, $folder;
    return $folder;
}

# Skip the test if the MPM is not event. For tests that do not use httpd or do not depend on the MPM.
sub once {
    plan skip_all => 'the same under every MPM' if $MPM ne 'event';
}

# End the test: print the reason and the last lines of all logs.
my @started;

sub give_up {
    my ($why) = @_;
    croak join "\n", $why, map { $_->tails } grep {$_} @started;
}

sub shown {
    my ($value) = @_;
    return !defined $value ? 'undef' : ref $value eq 'ARRAY' ? join(' ', map { shown($_) } @$value) : "\"$value\"";
}

# Wait until $what->() returns a true value, and return this value. After a timeout, print what
# $seen->() returns, by default the last result of $what->(), and end the test.
sub wait_for {
    my ($what, $name, $seen) = @_;
    my $began = time;
    while (1) {
        my $value = $what->();
        return $value if $value;
        my $deadline = $DEADLINE;
        give_up("waited $deadline s for $name; last seen: " . ($seen ? $seen->() : shown($value)))
            if time - $began > $deadline;
        sleep 0.02;
    }
}

# Wait until $get->() returns this value, or matches it if it is a pattern. Counts as a test.
sub wait_is {
    my ($get, $expected, $name) = @_;
    my $got;
    wait_for(
        sub {
            $got = $get->();
            return defined $got && (ref $expected eq 'Regexp' ? $got =~ $expected : $got eq $expected);
        },
        "$name (" . shown($expected) . ')',
        sub { shown($got) });
    pass($name);
    return $got;
}

sub write_file {
    my ($file, $text) = @_;
    make_path(dirname($file));
    open my $f, '>', $file or croak "$file: $!";
    print $f $text;
    close $f or croak "$file: $!";
}

sub read_file {
    my ($file) = @_;
    open my $f, '<', $file or return '';
    local $/;
    return scalar(<$f>) // '';
}

# Make the certificates of a CA, a server and a client, once for each build. Returns their folder.
sub certificates {
    my $dir = "$BUILD/t/certificates";
    return $dir if -e "$dir/done";
    make_path("$BUILD/t");
    my $new = tempdir("$BUILD/t/new-XXXXXX");
    my $run = sub { system("@_ >>$new/log 2>&1") == 0 or croak "openssl: " . read_file("$new/log") };
    my $key = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes';
    $run->("openssl req -x509 $key -keyout $new/ca.key -out $new/ca.crt -days 3650 -subj /CN=test-ca");
    for my $name (qw(server client)) {
        write_file("$new/$name.ext", "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
        $run->("openssl req $key -keyout $new/$name.key -out $new/$name.csr -subj /CN=$name");
        $run->("openssl x509 -req -in $new/$name.csr -CA $new/ca.crt -CAkey $new/ca.key"
                . " -CAcreateserial -days 3650 -extfile $new/$name.ext -out $new/$name.crt");
    }
    write_file("$new/done", '');
    chmod 0755, $new;
    rename $new, $dir or remove_tree($new);    # another test has made them meanwhile
    return $dir;
}

# Copy the screenshots of this run to the build directory, where you can look at them.
sub publish_screenshots {
    my ($from) = @_;
    my $to = "$BUILD/t/screenshots";
    make_path($to);
    for my $file (glob "$from/*.png") {
        my $name = basename($file);
        copy($file, "$to/.$name.$$") && rename "$to/.$name.$$", "$to/$name" or diag("$to/$name: $!");
    }
}

# Build a handler or module of the tests from t/handlers/NAME.c or from a source text. Returns the
# path of the shared object. Builds again only if the source or a header has changed.
sub compile {
    my ($name, $source, @flags) = @_;
    $source //= read_file("$TOP/t/handlers/$name.c");
    my $command = join ' ', apxs_query('CC'), '-shared -fPIC -g -O1 -std=gnu11 -Wall -Wextra -Werror',
        apxs_query('EXTRA_CPPFLAGS'), "-I$TOP/include", '-isystem', apxs_query('INCLUDEDIR'),
        '-isystem', `apr-1-config --includedir`, @flags;
    $command =~ s/\n/ /g;
    my $digest = sha1_hex(join "\0", $command, $source, map { read_file($_) } sort glob "$TOP/include/*.h");
    my $to = "$BUILD/t/handlers/$name-" . substr $digest, 0, 12;
    return "$to.so" if -e "$to.so";
    write_file("$to.$$.c", $source);
    my $output = `$command $to.$$.c -o $to.$$.so 2>&1`;
    unlink "$to.$$.c";
    croak "$name does not compile: $output" if $?;
    rename "$to.$$.so", "$to.so" or croak $!;
    return "$to.so";
}

sub new {
    my ($class, %arg) = @_;
    # httpd's user may have no access to the build directory.
    my $root = folder();
    make_path("$root/logs", "$root/htdocs");
    chmod 0777, "$root/logs";
    my $self = bless {
        root     => $root,
        port     => free_port(),
        ssl_port => free_port(),
        owner    => $$,
        %arg,
    }, $class;
    write_file("$root/htdocs/index.html", "ordinary content\n");
    write_file("$root/$_", $self->{files}{$_}) for keys %{ $self->{files} || {} };
    write_file("$root/mime.types", "text/html html\ntext/plain txt\n");
    $self->write_conf($self->{conf});
    return $self;
}

sub write_conf {
    my ($self, $conf) = @_;
    my ($root, $certs) = ($self->{root}, certificates());
    my @load = map {"LoadModule ${_}_module $MODULES/mod_$_.so"}
        grep { !/^mpm_/ } @MODULES, @{ $self->{modules} || [] };
    my $user = $> == 0 ? "User www-data\nGroup www-data" : '';
    my $mpm  = $self->{mpm_conf} || ($self->{children} ? mpm_conf($self->{children}) : $MPM_CONF{$MPM});
    my $ssl  = $self->{ssl_conf} // '';
    my $websocket = $self->{no_module} ? '' : "LoadModule websocket_module $BUILD/mod_websocket.so";
    $websocket .= "\nWebSocketBackend $ENV{WS_TEST_BACKEND}" if $websocket && $ENV{WS_TEST_BACKEND};
    # On a slow machine, a client may need minutes for a request or between messages: httpd must not time out the
    # request, nor send a ping that the test does not expect.
    my $patient = "<IfModule reqtimeout_module>\nRequestReadTimeout header=0 body=0\n</IfModule>";
    $patient .= "\n<IfModule websocket_module>\nWebSocketPing 10min\n</IfModule>" if !$self->{no_module};
    my $level = $websocket || ($self->{load} // '') =~ /mod_websocket\.so/ ? ' websocket:' . ($self->{log_level} || 'debug') : '';
    write_file("$root/httpd.conf", <<"END");
ServerRoot $root
ServerName localhost
PidFile $root/httpd.pid
DefaultRuntimeDir $root/logs
LoadModule mpm_${MPM}_module $MODULES/mod_mpm_$MPM.so
@{[join "\n", @load]}
$websocket
@{[$self->{load} // '']}
$user
$mpm
Listen 127.0.0.1:$self->{port}
Listen 127.0.0.1:$self->{ssl_port}
DocumentRoot $root/htdocs
TypesConfig $root/mime.types
Mutex pthread
SSLSessionCache shmcb:$root/logs/ssl(512000)
ErrorLog $root/logs/error_log
LogLevel info$level
LogFormat "%h %u \\"%r\\" %>s %X" test
CustomLog $root/logs/access_log test
GracefulShutdownTimeout 10
<Location /server-status>
    SetHandler server-status
</Location>
$patient
$conf
<VirtualHost 127.0.0.1:$self->{ssl_port}>
    ServerName localhost
    SSLEngine on
    SSLCertificateFile $certs/server.crt
    SSLCertificateKeyFile $certs/server.key
    $ssl
</VirtualHost>
END
}

# Run `httpd -t` on a configuration. Returns whether it is valid, and the output.
sub check {
    my ($class, $conf, %arg) = @_;
    my $self   = $class->new(conf => $conf, %arg);
    my $output = $self->run('-t');
    return ($? == 0, $output);
}

sub environment {
    my ($self) = @_;
    my %env = %{ $self->{env} || {} };
    if ($ENV{WS_TEST_PRELOAD}) {
        $env{LD_PRELOAD}   = $ENV{WS_TEST_PRELOAD};
        $env{ASAN_OPTIONS} = "detect_leaks=0:log_path=$self->{root}/logs/sanitizer";
        $env{UBSAN_OPTIONS} = "print_stacktrace=1:log_path=$self->{root}/logs/sanitizer";
        $env{TSAN_OPTIONS} = "log_path=$self->{root}/logs/sanitizer";
    }
    return %env;
}

# Run httpd's program in the foreground and return its output.
sub run {
    my ($self, @arg) = @_;
    my %env = $self->environment;
    local @ENV{ keys %env } = values %env;
    return scalar `$PROGRAM -f $self->{root}/httpd.conf @arg 2>&1`;
}

sub start {
    my ($class, %arg) = @_;
    my $self = $class->new(%arg);
    my $output = $self->run('-k start');
    croak "httpd does not start: $output" . $self->error_log if $?;
    push @started, $self;
    weaken $started[-1];
    $self->{pid} = wait_for(
        sub { read_file("$self->{root}/httpd.pid") =~ /(\d+)/ ? $1 : 0 }, 'the pid file');
    wait_for(sub { $self->connect }, 'httpd to listen');
    wait_for(sub { $self->children }, 'the first child');    # the kernel accepts connections before a child runs
    wait_is(sub { scalar(() = $self->children) }, $self->{children}, 'children') if $self->{children};
    return $self;
}

sub connect {
    my ($self) = @_;
    return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}, Timeout => $DEADLINE);
}

sub port     { $_[0]{port} }
sub ssl_port { $_[0]{ssl_port} }
sub root     { $_[0]{root} }
sub pid      { $_[0]{pid} }

sub error_log  { read_file("$_[0]{root}/logs/error_log") }
sub access_log { read_file("$_[0]{root}/logs/access_log") }

# Wait until the error log (with $log: the access log) matches. Returns the match and its groups.
sub wait_log {
    my ($self, $match, $log) = @_;
    my @found;
    wait_for(sub { @found = (($log ? $self->access_log : $self->error_log) =~ /($match)/); @found },
        "the log to have $match", sub {'the log below'});
    return wantarray ? @found : $found[0];
}

# Returns the number of matches of a pattern in the error log.
sub count_log {
    my ($self, $match) = @_;
    my $n = () = $self->error_log =~ /$match/g;
    return $n;
}

# Send an HTTP/1.1 request on a new connection. Returns (status, head, body).
sub request {
    my ($self, $method, $path, @headers) = @_;
    my $socket = $self->connect or croak "connect: $!";
    print $socket join "\r\n", "$method $path HTTP/1.1", 'Host: localhost:' . $self->{port},
        'Connection: close', @headers, '', '';
    my $answer = do { local $/; <$socket> } // '';
    my ($head, $body) = split /\r\n\r\n/, $answer, 2;
    my ($status) = ($head // '') =~ m{^HTTP/1.1 (\d+)};
    if (($head // '') =~ /^Transfer-Encoding: chunked\r?$/mi) {
        my ($chunks, $at) = ($body, 0);
        $body = '';
        while (substr($chunks, $at) =~ /\A([0-9a-fA-F]+)[^\n]*\n/) {
            $body .= substr $chunks, $at + length $&, hex $1;
            $at += length($&) + hex($1) + 2;
        }
    }
    return ($status // 0, $head, $body);
}

sub get { my ($self, @arg) = @_; return $self->request('GET', @arg) }

# Returns a value of server-status?auto.
sub status_value {
    my ($self, $name) = @_;
    my (undef, undef, $body) = $self->get('/server-status?auto');
    return $body =~ /^\Q$name\E: (.*)$/m ? $1 : undef;
}

sub children {
    my ($self) = @_;
    return split ' ', read_file("/proc/$self->{pid}/task/$self->{pid}/children");
}

# Returns { PID => $get->(PID) } for all children. Omits children that end meanwhile.
sub each_child {
    my ($self, $get) = @_;
    my %of = map { $_ => $get->($_) } $self->children;
    my %alive = map { $_ => 1 } $self->children;
    return { map { $_ => $of{$_} } grep { $alive{$_} && defined $of{$_} } keys %of };
}

# Wait until no child has a larger value than in $before, a result of each_child(), apart from an
# allowed increase. Children that httpd has started since then are not compared. With
# start(children => N), httpd starts none.
sub none_grows {
    my ($self, $before, $get, $name, $slack) = @_;
    my %more;
    wait_for(
        sub {
            my $now = $self->each_child($get);
            %more = map { $_ => "$before->{$_} -> $now->{$_}" }
                grep { defined $before->{$_} && $now->{$_} > $before->{$_} + ($slack // 0) } keys %$now;
            return !%more;
        },
        $name,
        sub { join ', ', map {"child $_: $more{$_}"} sort keys %more });
    pass($name);
}

# Returns the number of descriptors of a process whose link in /proc/PID/fd matches.
sub descriptors {
    my ($pid, $match) = @_;
    opendir my $dir, "/proc/$pid/fd" or return;
    return scalar grep { (readlink("/proc/$pid/fd/$_") // '') =~ $match } readdir $dir;
}

# Returns the value Vm$what of /proc/PID/status in KiB, see proc(5): RSS, HWM (the peak of RSS) and
# others.
sub memory {
    my ($pid, $what) = @_;
    return read_file("/proc/$pid/status") =~ /^Vm$what:\s+(\d+) kB$/m ? $1 : undef;
}

sub graceful {
    my ($self) = @_;
    my $before = $self->count_log(qr/resuming normal operations/);
    my @old = $self->children;
    kill 'USR1', $self->{pid};
    wait_for(sub { $self->count_log(qr/resuming normal operations/) > $before }, 'the reload');
    $self->wait_deaf(@old) if $MPM ne 'prefork';    # in prefork, a busy child keeps its listening sockets, but accepts nothing
}

# Wait until the old children have closed their listening sockets: until then, they may accept
# connections and serve them with the old configuration. A child that a test has frozen never closes
# its sockets, so the wait has a time limit.
sub wait_deaf {
    my ($self, @old) = @_;
    my $until = time + $DEADLINE / 6;
    my %port  = map { $_ => 1 } grep {$_} $self->{port}, $self->{ssl_port};
    my %listening;
    for (split /\n/, read_file('/proc/net/tcp') . read_file('/proc/net/tcp6')) {
        my (undef, $local, undef, $state, $inode) = (split)[0 .. 3, 9];
        $listening{"socket:[$inode]"} = 1 if ($state // '') eq '0A' && $port{ hex((split /:/, $local)[1]) };
    }
    while (time < $until && grep { $listening{ readlink($_) // '' } } map { glob "/proc/$_/fd/*" } @old) {
        sleep 0.01;
    }
}

# When a child stops, close_worker_sockets() of the event MPM reads sockets that a worker thread may
# be freeing at that moment. This bug of httpd can crash the child. Therefore wait until all threads
# sleep: then no thread is ending a connection. Threads that are idle or wait for a client sleep
# anyway. A thread that serves a flood of messages never sleeps, so the wait has a time limit.
sub wait_asleep {
    my ($self) = @_;
    for (1 .. 100) {
        return if $self->asleep;
        sleep 0.01;
    }
}

# Returns whether all threads of all children sleep.
sub asleep {
    my ($self) = @_;
    my @state = map { read_file($_) =~ /\) (\S)/ ? $1 : () } map { glob "/proc/$_/task/*/stat" } $self->children;
    return !grep { $_ ne 'S' } @state;
}

# Returns the number of workers that serve requests, including this one. undef: there is no answer within a second.
sub busy_workers {
    my ($self) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->port, Timeout => 1) or return undef;
    my ($answer, $select) = ('', IO::Select->new($socket));
    syswrite $socket, "GET /server-status?auto HTTP/1.0\r\nHost: localhost\r\n\r\n";
    while ($select->can_read(1)) {
        sysread $socket, $answer, 65536, length $answer or last;
    }
    return $answer =~ /^BusyWorkers: (\d+)/m ? $1 : undef;
}

# A worker that waits for a CGI program sleeps, but may end its connection at the moment at which httpd stops (see
# wait_asleep()). Therefore also wait until no worker serves a request. Relayed connections occupy workers, so the wait
# has a time limit.
sub wait_idle {
    my ($self) = @_;
    return if $MPM eq 'prefork' || ${^GLOBAL_PHASE} eq 'DESTRUCT';
    for (1 .. 20) {
        return if ($self->busy_workers // 0) <= 1;
        sleep 0.1;
    }
}

# Send httpd a signal that ends all its children: TERM, or HUP for a restart. Tests must use this function instead of
# kill(), because the MPMs can crash at that moment (see wait_idle(), wait_asleep() and httpd_s_own_crash()). Such a
# crash would count as a crash of the module.
sub terminate {
    my ($self, $signal) = @_;
    $self->wait_idle;
    $self->wait_asleep;
    $self->{ends_at} //= length $self->error_log;
    kill $signal // 'TERM', $self->{pid};
}

sub stop {
    my ($self) = @_;
    return if !$self->{pid};
    $self->terminate;
    my $pid = delete $self->{pid};
    wait_for(sub { !kill(0, $pid) }, 'httpd to end');
}

# Stop a process (SIGSTOP), and wait until all its threads have stopped.
sub freeze {
    my ($pid) = @_;
    kill 'STOP', $pid;
    wait_for(sub { !grep { read_file($_) !~ /\) [Tt]/ } glob "/proc/$pid/task/*/stat" }, "process $pid to stop");
}

# Returns the last 30 lines of the error log, with a heading.
sub tails {
    my ($self) = @_;
    my @lines = split /\n/, $self->error_log;
    splice @lines, 0, -30 if @lines > 30;
    return ("$self->{root}/logs/error_log ends with:", map {"    $_"} @lines);
}

END {
    if ($? || !Test::More->builder->is_passing) {
        diag($_) for map { $_->tails } grep {$_} @started;
    }
    $_->wait_idle for grep { $_ && $_->{pid} && $_->{owner} == $$ } @started;
}

# A prefork child that gets SIGTERM before the modules have initialized may crash: the signal
# handler of the MPM calls exit() even if it has interrupted malloc(). A child that has crashed for
# this reason has logged nothing.
sub httpd_s_own_crash {
    my ($self, $log, $line) = @_;
    return $line =~ /child pid (\d+) exit signal (?:Abort|Segmentation)/ && $log !~ /\[pid $1:/
        && index($log, $line) >= $self->{ends_at};
}

# Returns the errors that no test may cause: crashes of children, and reports of a sanitizer.
sub complaints {
    my ($self) = @_;
    my $log = $self->error_log;
    my @bad = $log =~ /^(.*(?:exit signal (?!Killed)|Assertion|glibc detected).*)$/mg;
    @bad = grep { !$self->httpd_s_own_crash($log, $_) } @bad if $MPM eq 'prefork' && defined $self->{ends_at};
    push @bad, map { read_file($_) } glob "$self->{root}/logs/sanitizer*";
    return @bad;
}

sub DESTROY {
    my ($self) = @_;
    return if $self->{owner} != $$;
    local ($?, $@);
    eval { $self->stop };
    my @bad = $self->complaints;
    if ($self->{pid} || @bad) {
        fail('httpd ends, without crashes or reports of a sanitizer');
        diag(join "\n", $@ || (), @bad);
        $? = 1;
    }
}

1;
