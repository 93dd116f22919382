# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# A private redis-server on a free port and a unix socket, ended when the object goes.
#
#   my $redis = Redis->start(password => 'secret');   $redis->stop;   $redis->again;   $redis->cli('PING');

package Redis;

use strict;
use warnings;
use File::Path qw(remove_tree);
use File::Temp qw(tempdir);
use Httpd;

sub start {
    my ($class, %arg) = @_;
    my $dir = tempdir('mod_websocket-redis-XXXXXX', TMPDIR => 1);
    chmod 0755, $dir;    # for httpd's user
    my $self = bless { dir => $dir, port => Httpd::free_port(), owner => $$, %arg }, $class;
    return $self->again;
}

# Everything is written to a file before it is answered, so that a restart finds it.
sub again {
    my ($self) = @_;
    my $pid = fork // die $!;
    if (!$pid) {
        open STDOUT, '>>', "$self->{dir}/log" or die $!;
        open STDERR, '>&', \*STDOUT;
        exec '/usr/bin/redis-server', '--port', $self->{port}, '--bind', '127.0.0.1', '--dir', $self->{dir},
            '--unixsocket', $self->socket, '--unixsocketperm', '777', '--appendonly', 'yes', '--appendfsync',
            'always', '--save', '', $self->{sentinel} ? ('--sentinel') : (), @{ $self->{options} || [] };
    }
    $self->{pid} = $pid;
    Httpd::wait_for(sub { ($self->cli('PING') // '') =~ /PONG|NOAUTH/ }, 'redis-server');
    return $self;
}

sub port   { $_[0]{port} }
sub socket { "$_[0]{dir}/socket" }

sub cli {
    my ($self, @command) = @_;
    return scalar `redis-cli -p $self->{port} @command 2>&1`;
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
    remove_tree($self->{dir});
}

1;
