# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Runs bench/crowd, which subscribes and publishes to a channel, and reports whether all messages
# have arrived.
#
#   my $crowd = Crowd->start([$httpd, ...], '/path', $subscribers);   # returns when all are subscribed
#   $crowd->go_on(100);   my ($left, $lost, $messages, $faults) = $crowd->result;

package Crowd;

use strict;
use warnings;
use Httpd;
use Program;

our $PUBLISHERS = 8;

# Returns the number of subscribers. It is smaller with a sanitizer, which makes everything slow.
sub size { return $ENV{WS_TEST_SUBSCRIBERS} || ($ENV{WS_TEST_PRELOAD} ? 300 : 1000) }

sub start {
    my ($class, $httpds, $path, $subscribers) = @_;
    my $program = Program->start("$Httpd::BUILD/bench/crowd", join(',', map { $_->port } @$httpds), $path, $subscribers,
        $PUBLISHERS);
    my $self = bless { program => $program, at => 0 }, $class;
    $program->wait_output(qr/^ready\n/, 6 * $Httpd::DEADLINE);
    return $self;
}

# Wait until this many more messages have been published and received.
sub go_on {
    my ($self, $messages) = @_;
    my $until = $self->{at} + $messages;
    while ($self->{at} < $until) {
        (undef, $self->{at}) = $self->{program}->wait_output(qr/^at (\d+)\n/m);
    }
}

sub result {
    my ($self) = @_;
    $self->{program}->write("stop\n");
    $self->{program}->end_input;
    my (undef, @result) = $self->{program}->wait_output(qr/left=(\d+) lost=(\d+) messages=(\d+) (.*)\n/, 6 * $Httpd::DEADLINE);
    $self->{program}->finish;
    return @result;
}

1;
