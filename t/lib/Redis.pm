# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Runs a private redis-server on a free port and a Unix socket. The server ends when the object is
# destroyed.
#
#   my $redis = Redis->start(options => [...]);   $redis->stop;   $redis->again;   $redis->cli('PING');
#   my $sentinel = Redis->start(watches => $redis);   # calls the master "mymaster"; password => 'x' sets a password
#
# Also runs httpd with mod_websocket_redis.so:
#
#   my $httpd = bus_httpd("redis://127.0.0.1:$port");        my ($status, $answer) = publish($httpd, 'kept/a', 'text');
#   subscribed_in_redis('kept/a', 2, $redis);                stop_bus_httpds();

package Redis;

use strict;
use warnings;
use Exporter qw(import);
use IO::Socket::INET;
use JSON::PP;
use POSIX ();
use Socket;
use Test::More;
use Httpd;

our @EXPORT_OK = qw(bus_httpd channel_answer channel_http channel_request publish start_relay stop_bus_httpds subscribed_in_redis);

# The directive that loads mod_websocket_redis.
our $LOAD = "LoadModule websocket_redis_module $Httpd::BUILD/mod_websocket_redis.so";

# The configuration of each httpd that bus_httpd() starts. Publishers use /channels, subscribers use
# /ws and /members. The channels kept/* have a history.
our $CONF = <<'END';
WebSocketHistory kept/* 100000
WebSocketPing off
<Location "/ws">
    WebSocketHandler ws_channel.so channel=%{arg:channel} publish=on
</Location>
<Location "/members">
    WebSocketHandler ws_channel.so channel=%{arg:channel} presence=on
</Location>
<Location "/channels">
    WebSocketChannelHTTP publish
    WebSocketPublish all
</Location>
END

my @httpds;

# Start an httpd. The first argument is the argument of WebSocketBus. conf => more directives; other
# options are the same as those of Httpd->start.
sub bus_httpd {
    my ($bus, %arg) = @_;
    push @httpds, Httpd->start(load => $LOAD, %arg, conf => "WebSocketBus $bus\n$CONF" . ($arg{conf} // ''));
    return $httpds[-1];
}

sub stop_bus_httpds {
    $_->terminate for @httpds;
    $_->stop for @httpds;
    is_deeply([map { $_->complaints } @httpds], [], 'no child has crashed');
}

# Send a request to the HTTP interface of channels. Returns the socket.
sub channel_request {
    my ($httpd, $method, $channel, $body) = @_;
    my $socket = $httpd->connect or die $!;
    print $socket "$method /channels/$channel HTTP/1.0\r\nContent-Type: text/plain\r\nContent-Length: ",
        length $body, "\r\n\r\n$body";
    return $socket;
}

# Read the response. Returns (status, decoded JSON, 1 if there is a Retry-After).
sub channel_answer {
    my ($socket) = @_;
    my $answer = do { local $/; <$socket> } // '';
    my ($head, $json) = split /\r\n\r\n/, $answer, 2;
    my ($status) = ($head // '') =~ m{^HTTP/1.1 (\d+)};
    return ($status, eval { decode_json($json) }, ($head // '') =~ /^Retry-After:/mi ? 1 : 0);
}

sub channel_http { return channel_answer(channel_request(@_)) }

# Run a relay in a process of its own: $run gets its listening socket and its end of a pair. Returns the listening socket, the other
# end of the pair, and the process.
sub start_relay {
    my ($run) = @_;
    my $listener = IO::Socket::INET->new(Listen => 50, LocalAddr => '127.0.0.1') or die $!;
    socketpair my $control, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die $!;
    my $relay = fork // die $!;
    if (!$relay) {
        close $control;
        $run->($listener, $theirs);
        POSIX::_exit(0);
    }
    close $theirs;
    $control->autoflush(1);
    return ($listener, $control, $relay);
}

sub publish { my ($httpd, $channel, $text) = @_; return channel_http($httpd, 'POST', $channel, $text) }

# Wait until $n processes have subscribed to a channel, counted over all these Redis servers.
sub subscribed_in_redis {
    my ($channel, $n, @redis) = @_;
    my $sum;
    Httpd::wait_for(
        sub {
            $sum = 0;
            $sum += $_->cli('PUBSUB', 'NUMSUB', "websocket:c:$channel") =~ /^(\d+)$/m ? $1 : 0 for @redis;
            return $sum == $n;
        },
        "$n processes to subscribe to $channel",
        sub { "$sum have" });
}

sub start {
    my ($class, %arg) = @_;
    my $self = bless { dir => Httpd::folder(), port => Httpd::free_port(), owner => $$, %arg }, $class;
    return $self->again;
}

sub again {
    my ($self) = @_;
    my @options = $self->{watches} ? $self->sentinel_options : $self->server_options;
    my $pid = fork // die $!;
    if (!$pid) {
        open STDOUT, '>>', "$self->{dir}/log" or die $!;
        open STDERR, '>&', \*STDOUT;
        exec '/usr/bin/redis-server', @options;
    }
    $self->{pid} = $pid;
    my $answer;
    Httpd::wait_for(sub { ($answer = $self->cli('PING') // '') =~ /PONG|NOAUTH/ }, 'redis-server',
        sub { "$answer\n" . Httpd::read_file("$self->{dir}/log") });
    return $self;
}

# Redis writes all data to a file before it replies, so that a restart loses nothing.
sub server_options {
    my ($self) = @_;
    return ('--port', $self->{port}, '--bind', '127.0.0.1', '--dir', $self->{dir}, '--unixsocket', $self->socket,
        '--unixsocketperm', '777', '--appendonly', 'yes', '--appendfsync', 'always', '--save', '',
        '--repl-diskless-sync-delay', 0, @{ $self->{options} || [] });
}

# A sentinel stores its state in its configuration file.
sub sentinel_options {
    my ($self) = @_;
    my $file = "$self->{dir}/sentinel.conf";
    Httpd::write_file($file, <<"END") if !-e $file;
port $self->{port}
bind 127.0.0.1
dir $self->{dir}
sentinel monitor mymaster 127.0.0.1 @{[$self->{watches}->port]} @{[$self->{quorum} // 1]}
sentinel down-after-milliseconds mymaster 300
sentinel failover-timeout mymaster 3000
@{[$self->{password} ? "requirepass $self->{password}" : '']}
END
    return ($file, '--sentinel');
}

sub port   { $_[0]{port} }
sub socket { "$_[0]{dir}/socket" }

sub cli {
    my ($self, @command) = @_;
    my $at = $self->{watches} ? "-p $self->{port}" : '-s ' . $self->socket;    # the Unix socket works without TLS, even if the port requires TLS
    return scalar `redis-cli $at @command 2>&1`;
}

sub stop {
    my ($self, $signal) = @_;
    my $pid = delete $self->{pid} or return;
    kill $signal // 'TERM', $pid;
    waitpid $pid, 0;
}

sub DESTROY {
    my ($self) = @_;
    return if $self->{owner} != $$;
    local ($?, $@);
    $self->stop('KILL');
}

1;
