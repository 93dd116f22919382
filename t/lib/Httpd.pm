# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# A private httpd for one test: own ServerRoot, free loopback ports, ended when the object goes.
#
#   my $httpd = Httpd->start(conf => '<Location /echo> WebSocketHandler ws_echo.so </Location>');
#   $httpd->get('/index.html');   $httpd->wait_log(qr/refused with 403/);
#
# WS_TEST_MPM     event, worker or prefork
# WS_TEST_BUILD   where mod_websocket.so lies
# WS_TEST_PRELOAD a sanitizer's runtime, for a module that was built with it

package Httpd;

use strict;
use warnings;
use Carp qw(croak);
use Cwd qw(abs_path);
use Errno qw(EADDRINUSE);
use File::Basename qw(dirname);
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use POSIX qw(WNOHANG);
use Test::More;
use Time::HiRes qw(sleep time);

our $TOP   = abs_path(dirname(__FILE__) . '/../..');
our $BUILD = abs_path($ENV{WS_TEST_BUILD} || "$TOP/build");
our $MPM   = $ENV{WS_TEST_MPM} || 'event';

# How long an event is waited for. A machine may be slow; nothing here is expected to need this.
our $DEADLINE = 60;

sub apxs_query {
    my ($name) = @_;
    chomp(my $value = `apxs -q $name`);
    return $value;
}

our $MODULES = apxs_query('LIBEXECDIR');
our $PROGRAM = join '/', map { apxs_query($_) } qw(SBINDIR PROGNAME);

my @MODULES = qw(authn_core authn_file authz_core authz_host authz_user authz_groupfile auth_basic
    alias dir env headers mime remoteip reqtimeout rewrite setenvif socache_shmcb ssl status);

my %MPM_CONF = (
    event   => "StartServers 1\nServerLimit 8\nThreadsPerChild 25\nMaxRequestWorkers 200\n"
        . "MinSpareThreads 1\nMaxSpareThreads 200",
    prefork => "StartServers 4\nServerLimit 64\nMaxRequestWorkers 64\nMinSpareServers 4\n"
        . "MaxSpareServers 64",
);
$MPM_CONF{worker} = $MPM_CONF{event};

# A test that waits for what never comes ends, and its httpd with it.
if ($0 =~ /\.t$/) {
    $SIG{ALRM} = sub { croak 'the test takes too long' };
    alarm 10 * $DEADLINE;
}

# What a connection would meet on any of the ports given out so far.
my %given;

sub free_port {
    for (1 .. 1000) {
        my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or next;
        my $port = $socket->sockport;
        return $port if !$given{$port}++;
    }
    croak 'no free port';
}

# For a test in which httpd plays no part, or one that no MPM changes: it is run once, under event.
sub once {
    plan skip_all => 'the same under every MPM' if $MPM ne 'event';
}

# Wait until $what->() is true, and return that.
sub wait_for {
    my ($what, $name) = @_;
    my $until = time + $DEADLINE;
    while (1) {
        my $value = $what->();
        return $value if $value;
        croak "waited $DEADLINE s for $name" if time > $until;
        sleep 0.02;
    }
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

# Certificates, made once for a build: a CA, a server's and a client's.
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
    rename $new, $dir or remove_tree($new);    # another test was first
    return $dir;
}

# A handler or module of the tests: t/handlers/NAME.c, or a text. Returns the shared object.
sub compile {
    my ($name, $source, @flags) = @_;
    my $dir = "$BUILD/t/handlers";
    my $c   = "$TOP/t/handlers/$name.c";
    make_path($dir);
    if (defined $source) {
        $c = "$dir/$name.$$.c";
        write_file($c, $source);
    }
    my $so = "$dir/$name." . (defined $source ? $$ : $MPM) . ".so";
    my $command = join ' ', apxs_query('CC'), '-shared -fPIC -g -O1 -std=gnu11 -Wall -Wextra -Werror',
        apxs_query('EXTRA_CPPFLAGS'), "-I$TOP/include", '-isystem', apxs_query('INCLUDEDIR'),
        '-isystem', `apr-1-config --includedir`, @flags, $c, "-o $so.$$";
    $command =~ s/\n/ /g;
    my $output = `$command 2>&1`;
    croak "$name does not compile: $output" if $?;
    rename "$so.$$", $so or croak $!;
    return $so;
}

sub new {
    my ($class, %arg) = @_;
    make_path("$BUILD/t");
    # Where httpd's own user can look too: the build may lie in a directory that is closed to it.
    my $root = tempdir('mod_websocket-XXXXXX', TMPDIR => 1);
    chmod 0755, $root;
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
    my $mpm  = $self->{mpm_conf} || $MPM_CONF{$MPM};
    my $ssl  = $self->{ssl_conf} // '';
    my $websocket = $self->{no_module} ? '' : "LoadModule websocket_module $BUILD/mod_websocket.so";
    $websocket .= "\nWebSocketBackend $ENV{WS_TEST_BACKEND}" if $websocket && $ENV{WS_TEST_BACKEND};
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

# What `httpd -t` says of a configuration: whether it is right, and the text.
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

# Run httpd's program in the foreground; returns what it prints.
sub run {
    my ($self, @arg) = @_;
    my %env = $self->environment;
    local @ENV{ keys %env } = values %env;
    return scalar `$PROGRAM -f $self->{root}/httpd.conf @arg 2>&1`;
}

sub start {
    my ($class, %arg) = @_;
    my $self = $class->new(%arg);
    for my $try (1 .. 5) {
        my $output = $self->run('-k start');
        last if $? == 0;
        croak "httpd does not start: $output" . $self->error_log
            if $try == 5 || $output !~ /could not bind/;
        $self->{$_} = free_port() for qw(port ssl_port);
        $self->write_conf($self->{conf});
    }
    $self->{pid} = wait_for(
        sub { read_file("$self->{root}/httpd.pid") =~ /(\d+)/ ? $1 : 0 }, 'the pid file');
    wait_for(sub { $self->connect }, 'httpd to listen');
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

# Wait until the error log (or with $log the access log) has a match, and return it with its groups.
sub wait_log {
    my ($self, $match, $log) = @_;
    my @found;
    wait_for(sub { @found = (($log ? $self->access_log : $self->error_log) =~ /($match)/); @found },
        "the log to have $match");
    return wantarray ? @found : $found[0];
}

# How often a pattern stands in the error log.
sub count_log {
    my ($self, $match) = @_;
    my $n = () = $self->error_log =~ /$match/g;
    return $n;
}

# One HTTP/1.1 request on a connection of its own: (status, headers and all, body).
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

# A value of server-status?auto.
sub status_value {
    my ($self, $name) = @_;
    my (undef, undef, $body) = $self->get('/server-status?auto');
    return $body =~ /^\Q$name\E: (.*)$/m ? $1 : undef;
}

sub children {
    my ($self) = @_;
    return split ' ', read_file("/proc/$self->{pid}/task/$self->{pid}/children");
}

sub graceful {
    my ($self) = @_;
    my $before = $self->count_log(qr/resuming normal operations/);
    kill 'USR1', $self->{pid};
    wait_for(sub { $self->count_log(qr/resuming normal operations/) > $before }, 'the reload');
}

# The event MPM's close_worker_sockets() looks, when the child is told to stop, at sockets that a worker thread
# may be freeing at that moment: a child that crashes then is httpd's own. So threads that are about to end a
# connection may do so; those that wait for their client sleep, as do idle ones. A flood never sleeps: it is not waited for.
sub wait_asleep {
    my ($self) = @_;
    for (1 .. 100) {
        my @state = map { read_file($_) =~ /\) (\S)/ ? $1 : () }
            map { glob "/proc/$_/task/*/stat" } $self->children;
        return if !grep { $_ ne 'S' } @state;
        sleep 0.01;
    }
}

sub stop {
    my ($self) = @_;
    $self->wait_asleep if $self->{pid};
    my $pid = delete $self->{pid} or return;
    kill 'TERM', $pid;
    wait_for(sub { !kill(0, $pid) }, 'httpd to end');
}

# What no test may cause: a child that crashed, or a report of a sanitizer.
sub complaints {
    my ($self) = @_;
    my @bad = $self->error_log =~ /^(.*(?:exit signal (?!Killed)|Assertion|glibc detected).*)$/mg;
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
        fail('httpd ended without complaints');
        diag(join "\n", $@ || (), @bad, "kept: $self->{root}");
        $? = 1;
    }
    elsif (!$ENV{WS_TEST_KEEP}) {
        remove_tree($self->{root});
    }
}

1;
