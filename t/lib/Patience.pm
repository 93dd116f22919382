# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Sets how long tests wait. They wait longer on a machine that has more threads to run than processors.
#
#   Patience::seconds()         the time limit for an event. In Perl tests, $Httpd::DEADLINE calls it at each use.
#   WS_TEST_DEADLINE            the same limit, in the environment of each program that Program.pm or Reap.pm starts
#   Patience::stretch('3s')     a longer timer for a configuration, if a test has to do something before it fires

package Patience;

use strict;
use warnings;

our $SECONDS = 60;    # time limit on an idle machine, much longer than any event takes
our $MOST    = 10;    # maximum of factor()

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

# Returns by how much to extend a time limit. The load is an average over a minute. The fourth field of /proc/loadavg
# has the number of threads that run now.
sub factor {
    my ($load, $running) = read_line('/proc/loadavg') =~ m{^([\d.]+) \S+ \S+ (\d+)/} or return 1;
    my $factor = ($load > $running ? $load : $running) / $processors;
    $factor *= 2 if $ENV{WS_TEST_PRELOAD};    # a sanitizer makes the module slow
    return $factor < 1 ? 1 : $factor > $MOST ? $MOST : $factor;
}

sub seconds { return int($SECONDS * factor()) }

sub stretching { my $half = factor() / 2; return $half < 1 ? 1 : $half }

# Returns a longer time in milliseconds: "3s" becomes "3000ms" on an idle machine. Uses half of the
# factor, because a test has little to do before the timer fires, and waits until it fires.
sub stretch {
    my ($time) = @_;
    my ($n, $unit) = $time =~ /^(\d+)(ms|s)$/ or die "Patience: \"$time\" is neither N ms nor N s\n";
    return int($n * ($unit eq 's' ? 1000 : 1) * stretching()) . 'ms';
}

sub TIESCALAR { return bless [], $_[0] }
sub FETCH     { return seconds() }

1;
