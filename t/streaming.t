# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# A handler with on_frame and WS_ANY_SIZE receives one message of 500 MiB, and sends one with ws_send_part. The memory of the
# child must not grow.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;

Httpd::once();

my $stream = Httpd::compile('stream');
my $client = Httpd::folder() . '/stream';
my $said   = `@{[Httpd::apxs_query('CC')]} -O2 -std=gnu11 -Wall -Wextra -Werror $Httpd::TOP/t/clients/stream.c -o $client -lssl -lcrypto 2>&1`;
is($said, '', 'the client compiles');

# With AddressSanitizer, which is slow and keeps freed memory, send less.
my $sanitized = $ENV{WS_TEST_PRELOAD};
my $mib       = $sanitized ? 30 : 500;
my $allowed   = 2048;    # KiB

my $httpd = Httpd->start(
    # Run a single child, so that its memory can be measured.
    mpm_conf => $Httpd::MPM eq 'prefork'
    ? "StartServers 1\nServerLimit 1\nMaxRequestWorkers 1\nMinSpareServers 1\nMaxSpareServers 1"
    : "StartServers 1\nServerLimit 1\nThreadsPerChild 5\nMaxRequestWorkers 5\nMinSpareThreads 1\nMaxSpareThreads 5",
    conf => <<"END",
WebSocketThreads 1
<Location /stream>
    WebSocketHandler $stream
    WebSocketMaxMessageSize 1K
    WebSocketPing off
</Location>
END
);
my @children = $httpd->children;
is(scalar @children, 1, 'there is one child');

# Returns the child's memory in KiB: the resident set size (RSS), or its peak since forget_peak() (HWM).
sub memory { return Httpd::memory($children[0], $_[0]) }

# Reset the peak, see /proc/PID/clear_refs in proc(5).
sub forget_peak {
    open my $file, '>', "/proc/$children[0]/clear_refs" or die "clear_refs: $!";
    syswrite $file, "5\n" or die "clear_refs: $!";
}

# Run t/clients/stream.c, and return its output.
sub run {
    my ($tls, $what, $size) = @_;
    open my $out, '-|', $client, $tls ? $httpd->ssl_port : $httpd->port,
        $tls ? Httpd::certificates() . '/ca.crt' : '-', '/stream', $what, $size
        or die "$client: $!";
    my $said = <$out> // '';
    close $out;
    chomp $said;
    return $said;
}

my %name = (frames => 'in many frames', one => 'in a single frame', receive => 'sent in parts to a client that pauses');
for my $tls (0, 1) {
    my $way = $tls ? 'wss' : 'ws';
    run($tls, $_, 2) for sort keys %name;    # allocates the memory that later messages reuse
    for my $what (sort keys %name) {
        forget_peak();
        my $before = memory('HWM');
        my $said = run($tls, $what, $mib);
        my ($peak, $after) = (memory('HWM'), memory('RSS'));
        is($said, $mib * 1024 * 1024 . ' bytes, right', "$way: $mib MiB $name{$what}");
        SKIP: {
            skip 'a sanitizer keeps freed memory', 2 if $sanitized;
            note "$before KiB before, at most $peak, $after after";
            cmp_ok($peak - $before,  '<', $allowed, "$way, $name{$what}: the child does not grow during the transfer");
            cmp_ok($after - $before, '<', $allowed, "$way, $name{$what}: the child has not grown after the transfer");
        }
    }
}
is_deeply([$httpd->children], \@children, 'the child did not change during the test');

done_testing;
