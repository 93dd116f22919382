# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# WebSocketBackend: some kernels count the memory of io_uring as locked memory. If the limit for httpd's user does not
# allow that, WebSockets use epoll instead. On other kernels, nothing is logged.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client;
use List::Util qw(max);

my $refused = qr/using epoll instead of io_uring \(WebSocketBackend \w+\): .*ulimit -l/;

sub start {
    my ($backend, $locked) = @_;
    local $ENV{WS_TEST_BACKEND} = $backend;
    local $Httpd::PROGRAM = "ulimit -l $locked; $Httpd::PROGRAM" if defined $locked;
    return Httpd->start(log_level => 'info', conf => "WebSocketHandler ws_echo.so\nWebSocketThreads 2\n");
}

sub echoes {
    my ($httpd, $name) = @_;
    Client->new($httpd, '/')->echoes('short', "$name: a short message is echoed");
    Client->new($httpd, '/')->echoes('x' x 60000, "$name: a long message is echoed");
}

# Returns the number of log lines of a level about the limit on locked memory, and the largest number of such lines from
# one child process.
sub lines {
    my ($httpd, $level) = @_;
    my @lines = grep { /:$level\]/ && /$refused/ } split /\n/, $httpd->error_log;
    my %of;
    $of{$_}++ for map { /\[pid (\d+)/ } @lines;
    return (scalar @lines, max(0, values %of));
}

SKIP: {
    my $probe = Httpd->new(conf => "WebSocketHandler ws_echo.so\nWebSocketBackend io_uring\n");
    my $answer = $probe->run('-t');
    skip "no io_uring: $answer", 1 if $answer !~ /Syntax OK/;
    skip 'the test is not run as root: httpd -t would report the limit', 1 if $>;

    for my $locked (undef, 0) {
        my $name  = defined $locked ? 'without locked memory' : 'with locked memory';
        my $httpd = start('auto', $locked);
        echoes($httpd, "auto, $name");
        is((lines($httpd, 'warn'))[0], 0, "auto, $name: no warning is logged");
        my ($all, $most) = lines($httpd, 'info');
        ok($most <= 1, "auto, $name: each child logs at most one line ($all lines in total)");
    }
    my $httpd = start('io_uring', 0);
    echoes($httpd, 'io_uring without locked memory');
    is((lines($httpd, 'info'))[0], 0, 'WebSocketBackend io_uring without locked memory is logged as a warning, not as info');
}
done_testing();
