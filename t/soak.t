# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Runs bench/soak for a few seconds: clients send messages, read slowly, abort, or send garbage, while httpd reloads. Memory
# and descriptors must not grow, and every echo must be correct.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Program;

my ($seconds, $connections, $rate) = $ENV{WS_TEST_PRELOAD} ? (6, 40, 200) : (6, 100, 1000);
my $soak = Program->start($^X, "$Httpd::TOP/bench/soak", $seconds, $connections, $rate);
my $status = $soak->finish(8 * $Httpd::DEADLINE);
my $output = $soak->output;
my @echoes = $output =~ /echoes (\d+)/g;
is(scalar(grep { $_ > 0 } @echoes), 6, 'bench/soak reports echoes in each of six rounds');
is(join("\n", $output =~ /^(.*(?:wrong: |GROWS|httpd: ).*)$/mg), '', 'bench/soak reports no error and no growth');
for my $half ('without reloads', 'with reloads') {
    for my $process ('the parent', 'a child') {
        like($output, qr/^$half: descriptors of $process [^\n]*: flat$/m, "$half: the number of descriptors of $process does not grow");
    }
}
is($status, 0, 'bench/soak exits with 0') or diag($output);

done_testing;
