# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# A private redis-server on a free port and a unix socket, ended when the object goes.
#
#   my $redis = Redis->start(options => [...]);   $redis->stop;   $redis->again;   $redis->cli('PING');
#   my $sentinel = Redis->start(watches => $redis);   # under the name "mymaster"; password => 'x'

package Redis;

use strict;
use warnings;
use Httpd;

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

# Everything is written to a file before it is answered, so that a restart finds it.
sub server_options {
    my ($self) = @_;
    return ('--port', $self->{port}, '--bind', '127.0.0.1', '--dir', $self->{dir}, '--unixsocket', $self->socket,
        '--unixsocketperm', '777', '--appendonly', 'yes', '--appendfsync', 'always', '--save', '',
        '--repl-diskless-sync-delay', 0, @{ $self->{options} || [] });
}

# A sentinel writes into its configuration what it has learned.
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
    my $at = $self->{watches} ? "-p $self->{port}" : '-s ' . $self->socket;    # where TLS or not does not matter
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
