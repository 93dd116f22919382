# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0
#
# Functions that compute and format the figures (measured values) of bench/compare and bench/tables.

package Figures;

use strict;
use warnings;
use List::Util qw(min);
use Exporter qw(import);
our @EXPORT = qw(median number ratio ratio_text last_columns);

sub median { return quantile(0.5, @_) }

sub quantile {
    my ($part, @values) = @_;
    return undef if !@values;
    @values = sort { $a <=> $b } @values;
    my $place = $part * $#values;
    my $next  = $values[ min($#values, int($place) + 1) ];
    return $values[$place] + ($next - $values[$place]) * ($place - int $place);
}

sub number {
    my ($value) = @_;
    return '-' if !defined $value;
    return abs($value) >= 100 ? sprintf('%.0f', $value) : sprintf('%.3g', $value);
}

# Returns the median and the quartiles of the ratios of two servers' figures. Each round measures both
# servers one after the other, so the function divides the two figures of each round. Returns undef if there
# is no such round.
sub ratio {
    my ($of, $to) = @_;
    my $n = min(scalar @{ $of || [] }, scalar @{ $to || [] }) or return undef;
    my @ratios = map { $of->[$_] / $to->[$_] } grep { $to->[$_] } 0 .. $n - 1;
    return @ratios ? { median => median(@ratios), low => quantile(0.25, @ratios), high => quantile(0.75, @ratios), n => scalar @ratios } : undef;
}

# Formats a result of ratio(): the median and, after more than two rounds, the quartiles.
sub ratio_text {
    my ($r) = @_;
    return '-' if !$r;
    my $text = sprintf '%.2f', $r->{median};
    return $r->{n} > 2 ? sprintf('%s (%.2f to %.2f)', $text, @{$r}{qw(low high)}) : $text;
}

# Returns the texts of a table's last two columns: the ratio of this module to raw, and to the fastest other
# server.
#
# @param $of  {server => [its figure in each round]}
sub last_columns {
    my ($of) = @_;
    my ($best) = sort { median(@{ $of->{$a} }) <=> median(@{ $of->{$b} }) } grep { !/^(?:ours|raw|io_uring)$/ && @{ $of->{$_} || [] } } sort keys %$of;
    return map { ratio_text($_) } ratio($of->{ours}, $of->{raw}), $best ? ratio($of->{ours}, $of->{$best}) : undef;
}

1;
