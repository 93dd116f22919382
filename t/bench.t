# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Runs each script of bench/ for a moment, to test that it works. The test ignores the measured values.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use JSON::PP qw(decode_json);
use Httpd;
use Program;

Httpd::once();
plan skip_all => 'measurements need the plain build' if $ENV{WS_TEST_PRELOAD};

my $results = Httpd::folder() . '/results.json';

# Run bench/NAME, test that it succeeds, and return its output.
sub bench {
    my ($name, $environment, @arguments) = @_;
    local @ENV{ keys %$environment } = values %$environment;
    my ($status, $output) = Program::run($^X, "$Httpd::TOP/bench/$name", @arguments);
    is($status, 0, "bench/$name exits with 0") or diag($output);
    return $output;
}

like(bench('many', { CHILDREN => 2, MANY_SECONDS => 2 }, 100),
    qr/^100 connections .*^\d+ messages of 100 bytes to all.*connections lost: 0, messages wrong: 0$/ms,
    'bench/many reports connections, messages and losses');

my %short = (ROUNDS => 1, DURATION => 0.05, SERVERS => 'ours,raw', PEER => '', JSON => $results);
like(bench('compare', { %short, BENCH => 'echo', CELLS => '20 B' }), qr/20 B.*\d/, 'bench/compare prints a table');
ok(eval { decode_json(Httpd::read_file($results)) }, 'bench/compare writes its results as JSON');

SKIP: {
    skip 'valgrind is not installed', 2 if system('which valgrind >/dev/null 2>&1') != 0;
    like(bench('instructions', {}, qw(-c 4 -t 1)), qr/\d/, 'bench/instructions prints a count');
}

my $page = Httpd::folder() . '/performance.md';
Httpd::write_file($page, "before\n\n<!-- table echo -->\n\nold\n<!-- end -->\n\nafter\n");
bench('tables', { PAGE => $page }, $results);
like(Httpd::read_file($page), qr/^before\n(?!.*^old).*20 B.*<!-- end -->\n\nafter\n\z/ms, 'bench/tables replaces the table in the page');

done_testing;
