# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# A server that behaves like Redis, but can answer each command as a test requires.
#
#   my $fake = FakeRedis->start;               # also acts as a sentinel, with itself as the master
#   $fake->answer(EVAL => "*1\r\n:1\r\n");     # replies to EVAL from now on; undef: the usual replies
#   $fake->push_all("*0\r\n");                 # sends this to all connections that have subscribed
#   $fake->seen('EVAL');                       # returns how many of these commands have arrived

package FakeRedis;

use strict;
use warnings;
use IO::Handle;
use IO::Select;
use IO::Socket::INET;
use Httpd;
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);

sub start {
    my ($class) = @_;
    my $listener = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1', ReuseAddr => 1) or die $!;
    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die $!;
    my $self = bless { port => $listener->sockport, control => $ours, owner => $$ }, $class;
    my $pid = fork // die $!;
    if (!$pid) {
        close $ours;
        $SIG{PIPE} = 'IGNORE';
        eval { serve($listener, $theirs, $self->{port}) };
        require POSIX;
        POSIX::_exit(0);
    }
    close $listener;
    close $theirs;
    $ours->autoflush(1);
    return bless { %$self, pid => $pid }, $class;
}

sub port { $_[0]{port} }

sub tell {
    my ($self, @words) = @_;
    print { $self->{control} } join(' ', @words), "\n";
    my $line = readline $self->{control};
    return $line =~ /(\d+)/ ? $1 : die 'the server has ended';
}

sub answer { my ($self, $command, $bytes) = @_; return $self->tell('answer', $command, defined $bytes ? unpack 'H*', $bytes : ()) }
sub push_all { my ($self, $bytes) = @_; return $self->tell('push', unpack 'H*', $bytes) }
sub seen   { my ($self, $command) = @_; return $self->tell('seen', $command) }

# ---- The server process ----

sub bulk { return '$' . length($_[0]) . "\r\n$_[0]\r\n" }

# Take the first command from the input, if it is complete.
sub take {
    my ($in) = @_;
    my ($rest, @words) = $$in;
    $rest =~ s/\A\*(\d+)\r\n// or return;
    for (1 .. $1) {
        $rest =~ s/\A\$(\d+)\r\n// or return;
        return if length $rest < $1 + 2;
        push @words, substr $rest, 0, $1;
        substr($rest, 0, $1 + 2) = '';
    }
    $$in = $rest;
    return @words;
}

my $offset = 0;

sub proper {
    my ($port, $c, $command, @arg) = @_;
    if ($command eq 'SUBSCRIBE' || $command eq 'UNSUBSCRIBE') {
        $c->{subscribed} = 1;
        return join '', map { "*3\r\n" . bulk(lc $command) . bulk($_) . ":1\r\n" } @arg;
    }
    return $c->{subscribed} ? "*2\r\n" . bulk('pong') . bulk('') : "+PONG\r\n" if $command eq 'PING';
    return ":1\r\n" if $command =~ /\A(?:PUBLISH|DEL|WAIT)\z/;
    return "*3\r\n" . bulk('master') . ":0\r\n*0\r\n" if $command eq 'ROLE';
    return "*2\r\n" . bulk('127.0.0.1') . bulk($port) if $command eq 'SENTINEL';
    return "*3\r\n" . bulk(7) . bulk($offset) . "*0\r\n" if $command eq 'READ';
    return "*3\r\n" . bulk(7) . ':' . ++$offset . "\r\n:0\r\n" if $command eq 'APPEND';
    return "+OK\r\n";
}

sub serve {
    my ($listener, $control, $port) = @_;
    my ($select, %connections, %answers, %seen) = IO::Select->new($listener, $control);
    $control->autoflush(1);
    while (1) {
        for my $h ($select->can_read) {
            if ($h == $listener) {
                my $new = $listener->accept or next;
                $connections{$new} = { socket => $new, in => '' };
                $select->add($new);
            }
            elsif ($h == $control) {
                my $line = '';
                while ($line !~ /\n/) {
                    sysread($control, $line, 65536, length $line) or return;
                }
                chomp $line;
                my ($what, $command, $hex) = split / /, $line;
                my $n = 0;
                if ($what eq 'answer') {
                    defined $hex ? ($answers{$command} = pack 'H*', $hex) : delete $answers{$command};
                }
                elsif ($what eq 'push') {
                    for my $c (grep { $_->{subscribed} } values %connections) {
                        $n++;
                        syswrite $c->{socket}, pack 'H*', $command;
                    }
                }
                else {
                    $n = $seen{$command} // 0;
                }
                syswrite $control, "$n\n";
            }
            else {
                my $c = $connections{$h};
                if (!sysread $h, $c->{in}, 65536, length $c->{in}) {
                    $select->remove($h);
                    delete $connections{$h};
                    next;
                }
                while (my ($command, @arg) = take(\$c->{in})) {
                    $command = $arg[0] =~ /XADD/ ? 'APPEND' : $arg[0] =~ /XRANGE/ ? 'READ' : 'ONCE'
                        if $command eq 'EVAL';
                    $seen{$command}++;
                    my $proper = proper($port, $c, $command, @arg);
                    syswrite $h, $answers{$command} // $proper;
                }
            }
        }
    }
}

sub DESTROY {
    my ($self) = @_;
    return if !$self->{pid} || $self->{owner} != $$;
    local ($?, $@);
    kill 'KILL', $self->{pid};
    waitpid $self->{pid}, 0;
}

1;
