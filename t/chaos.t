# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Runs bench/chaos for a few seconds: httpd reloads, and child processes and Redis are killed, while clients of all kinds are
# connected. Only connections of killed children may be lost.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Program;

Httpd::once();
plan skip_all => 'redis-server is not installed' if !-x '/usr/bin/redis-server';
plan skip_all => 'mod_websocket_redis was not built' if !-e "$Httpd::BUILD/mod_websocket_redis.so";

my $chaos  = Program->start($^X, "$Httpd::TOP/bench/chaos", 20, 40, 200);
my $status = $chaos->finish(10 * $Httpd::DEADLINE);
my $output = $chaos->output;
is(join("\n", $output =~ /^ *[\d.]+ (FAULT: .*)$/mg), '', 'bench/chaos reports no fault');
like($output, qr/^[1-9]\d* reloads, [1-9]\d* children killed, Redis killed [1-9]\d* times/m,
    'bench/chaos reloads httpd, kills children, and kills Redis');
like($output, qr/^[1-9]\d* connections, [1-9]\d* echoes/m, 'bench/chaos reports echoes');
like($output, qr/^[1-9]\d* crowds of \d+ subscribers, [1-9]\d* messages; [1-9]\d* event streams, [1-9]\d* events$/m,
    'bench/chaos reports messages of a channel and events');
is($status, 0, 'bench/chaos exits with 0') or diag($output);

done_testing;
