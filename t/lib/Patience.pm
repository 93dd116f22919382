# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Sets how long tests wait: longer on a machine that has more to run than it has processors.
#
#   Patience::seconds()         for an event; Perl tests use $Httpd::DEADLINE, which is this, always fresh
#   WS_TEST_DEADLINE            the same, in the environment of every program that a test starts
#   Patience::stretch('3s')     for a timer in a configuration within which a test has something to do

package Patience;

use strict;
use warnings;

our $SECONDS = 60;    # on an idle machine; nothing is expected to need them
our $MOST    = 10;    # times as long

sub read_line {
    my ($file) = @_;
    open my $f, '<', $file or return '';
    return scalar(<$f>) // '';
}

my $processors = do {
    open my $f, '<', '/proc/cpuinfo';
    my $n = $f ? grep {/^processor\s*:/} <$f> : 0;
    $n || 1;
};

# The load is an average over a minute. The fourth field has the number of threads that run now.
sub factor {
    my ($load, $running) = read_line('/proc/loadavg') =~ m{^([\d.]+) \S+ \S+ (\d+)/} or return 1;
    my $factor = ($load > $running ? $load : $running) / $processors;
    $factor *= 2 if $ENV{WS_TEST_PRELOAD};    # a sanitizer
    return $factor < 1 ? 1 : $factor > $MOST ? $MOST : $factor;
}

sub seconds { return int($SECONDS * factor()) }

sub stretching { my $half = factor() / 2; return $half < 1 ? 1 : $half }

# The result is always in milliseconds: "3s" is 3000ms on an idle machine. Uses half of the factor,
# because little has to be done in that time, and the test waits until it has passed.
sub stretch {
    my ($time) = @_;
    my ($n, $unit) = $time =~ /^(\d+)(ms|s)$/ or die "Patience: \"$time\" is neither N ms nor N s\n";
    return int($n * ($unit eq 's' ? 1000 : 1) * stretching()) . 'ms';
}

sub TIESCALAR { return bless [], $_[0] }
sub FETCH     { return seconds() }

1;
