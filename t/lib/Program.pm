# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Runs a program for a test, and handles its input, its output and its exit status. The program ends when
# the object is destroyed. Processes that the program has started end with the test (Reap.pm).
#
#   my $p = Program->start(qw(openssl s_client -connect), "127.0.0.1:$port");
#   $p->write("K\n");   $p->wait_output(qr/KEYUPDATE/);   my $status = $p->finish;
#   Program::tap('npm ws', 'node', 't/clients/echo.js', 'ws', ...);   # lines "ok NAME" and "not ok NAME" become tests

package Program;

use strict;
use warnings;
use Carp qw(croak);
use POSIX qw(dup2 _exit WNOHANG);
use Socket;
use Test::More;
use Time::HiRes qw(time);
use Httpd;

# Start a program. Standard input, output and error are one socket.
sub start {
    my ($class, @command) = @_;
    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or croak "socketpair: $!";
    my $pid = fork // croak "fork: $!";
    if (!$pid) {
        dup2(fileno $theirs, $_) for 0 .. 2;
        $ENV{WS_TEST_DEADLINE} = $Httpd::DEADLINE;
        exec { $command[0] } @command or _exit(127);
    }
    close $theirs;
    $ours->autoflush(1);
    return bless { pid => $pid, stream => $ours, output => '', owner => $$, name => $command[0] }, $class;
}

sub write {
    my ($self, $bytes) = @_;
    local $SIG{PIPE} = 'IGNORE';
    return print { $self->{stream} } $bytes;
}

# End the program's input.
sub end_input { shutdown $_[0]{stream}, 1 }

# Read once. Returns 0 at the end of the output. The time limit counts from the last output, so a
# program that makes progress under load may take a long time.
sub read_on {
    my ($self, $deadline) = @_;
    Httpd::ready($self->{stream}, 0, $deadline || $Httpd::DEADLINE)
        or Httpd::give_up("no more output from $self->{name}; its output so far: $self->{output}");
    return sysread $self->{stream}, $self->{output}, 65536, length $self->{output};
}

# Wait until the output matches, and return the match with its groups. Drops the output up to the
# end of the match.
sub wait_output {
    my ($self, $match, $deadline) = @_;
    while (1) {
        if (my @found = $self->{output} =~ /($match)/) {
            $self->{output} = substr $self->{output}, $+[0];
            return wantarray ? @found : $found[0];
        }
        $self->read_on($deadline) or Httpd::give_up("$self->{name} ended before $match: $self->{output}");
    }
}

# Wait until the program has ended. Returns the exit status, or $? if a signal has ended the program.
sub finish {
    my ($self, $deadline) = @_;
    1 while $self->read_on($deadline);
    waitpid delete $self->{pid}, 0;
    return $? & 127 ? $? : $? >> 8;
}

sub output { $_[0]{output} }

sub DESTROY {
    my ($self) = @_;
    return if !$self->{pid} || $self->{owner} != $$;
    local ($?, $!);
    kill 'KILL', $self->{pid};
    waitpid $self->{pid}, 0;
}

# Run a program without input until it ends. Returns (status, output).
sub run {
    my (@command) = @_;
    my $self = Program->start(@command);
    $self->end_input;
    return ($self->finish, $self->output);
}

# Run make in the build directory that other tests use at the same time. A lock prevents two tests from running make
# together. Because of -o, make does not rebuild everything if the compiler or the flags have changed, as other tests
# use the files. Returns (status, output).
sub make {
    my (@arguments) = @_;
    my ($build) = map { /^BUILD=(.*)/ ? $1 : () } @arguments;
    unshift @arguments, '-o', "$build/flags" if defined $build && -e "$build/flags";
    delete local @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS SANITIZE)};
    return run('flock', "$Httpd::BUILD/t/make.lock", 'make', '--no-print-directory', '-f', 'Makefile.apxs', @arguments);
}

# Run a program that prints TAP without a plan, and then a line "done". Each of its results becomes a
# test here.
sub tap {
    my ($name, @command) = @_;
    my ($status, $output) = run(@command);
    my @other;
    for (split /\n/, $output) {
        if    (/^ok (.*)/)     { pass("$name: $1") }
        elsif (/^not ok (.*)/) { fail("$name: $1"); diag(splice @other) }
        elsif ($_ ne 'done')   { push @other, "$_\n" }
    }
    is($status, 0, "$name ends with status 0") && $output =~ /^done$/m
        or diag("$name ended with $status: ", @other);
}

1;
