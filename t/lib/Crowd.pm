# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# bench/crowd, which listens and publishes on a channel, and says whether everybody has got everything.
#
#   my $crowd = Crowd->start([$httpd, ...], '/path', $subscribers);   # all are subscribed
#   $crowd->go_on(100);   my ($left, $lost, $messages, $faults) = $crowd->result;

package Crowd;

use strict;
use warnings;
use Httpd;
use IPC::Open2;

our $PUBLISHERS = 8;

# How many subscribers: fewer where a sanitizer makes everything slow.
sub size { return $ENV{WS_TEST_SUBSCRIBERS} || ($ENV{WS_TEST_PRELOAD} ? 300 : 1000) }

sub start {
    my ($class, $httpds, $path, $subscribers) = @_;
    my $pid = open2(my $out, my $in, "$ENV{WS_TEST_BUILD}/bench/crowd", join(',', map { $_->port } @$httpds), $path,
        $subscribers, $PUBLISHERS);
    my $self = bless { pid => $pid, out => $out, in => $in, at => 0 }, $class;
    my $line = $self->line;
    die "the crowd says $line" if $line ne "ready\n";
    return $self;
}

sub line {
    my ($self) = @_;
    local $SIG{ALRM} = sub { die "the crowd says nothing\n" };
    alarm $Httpd::DEADLINE * 6;
    my $line = readline $self->{out};
    alarm 0;
    return $line // die "the crowd has ended\n";
}

# Wait until so many more messages have been published and have come back.
sub go_on {
    my ($self, $messages) = @_;
    my $until = $self->{at} + $messages;
    while ($self->{at} < $until) {
        $self->{at} = $1 if $self->line =~ /^at (\d+)/;
    }
}

sub result {
    my ($self) = @_;
    print { $self->{in} } "stop\n";
    close $self->{in};
    my $line;
    do { $line = $self->line } until $line =~ /left=/;
    waitpid $self->{pid}, 0;
    return $line =~ /left=(\d+) lost=(\d+) messages=(\d+) (.*)/;
}

1;
