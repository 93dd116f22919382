# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# What becomes of connections when httpd tells their child process to go.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client;

my $conf = "<Location /echo>\n    WebSocketHandler ws_echo.so\n</Location>\n";

{
    my $httpd = Httpd->start(conf => "WebSocketDrainTimeout 500ms\n$conf");
    my @c = map { Client->new($httpd, '/echo', tls => $_ % 2) } 1 .. 20;
    $httpd->graceful;
    my $new = Client->new($httpd, '/echo');
    my $closed = grep { my ($opcode, $payload) = $_->frame; $opcode == 8 && unpack('n', $payload) == 1012 } @c;
    is($closed, 20, 'at the end of WebSocketDrainTimeout all are closed with 1012');
    $new->echoes('here', 'a connection of the new configuration is not');
}

SKIP: {
    # Threaded MPMs end whole children, with many connections; prefork ends one child for each.
    my %spare = (
        prefork => "StartServers 8\nMinSpareServers 1\nMaxSpareServers 2\nServerLimit 64\nMaxRequestWorkers 64",
        map { $_ => "StartServers 4\nServerLimit 16\nThreadsPerChild 5\nMaxRequestWorkers 40\n"
                . "MinSpareThreads 1\nMaxSpareThreads 6" } qw(event worker),
    );
    my $httpd = Httpd->start(conf => $conf, mpm_conf => $spare{$Httpd::MPM});
    my @c = map { Client->new($httpd, '/echo') } 1 .. 12;
    my ($all) = $httpd->wait_log(qr/this child has to go; its \d+ connections live on, for 300 s/);
    ok($all, 'httpd ends a spare child that has connections');
    is((grep { $_->text('x'); ($_->frame)[0] == Client::TEXT } @c), 12, 'connections outlive that their child is spare');
}

{
    my $max = $Httpd::MPM eq 'prefork' ? 3 : 10;
    my $httpd = Httpd->start(
        conf     => $conf,
        mpm_conf => ($Httpd::MPM eq 'prefork'
            ? "StartServers 2\nServerLimit 64\nMaxRequestWorkers 64\n"
            : "StartServers 1\nServerLimit 16\nThreadsPerChild 25\nMaxRequestWorkers 400\n")
            . "MaxConnectionsPerChild $max"
    );
    my @c = map { Client->new($httpd, '/echo') } 1 .. 8;
    Httpd::wait_for(sub { $httpd->get('/'); $httpd->count_log(qr/this child has to go; its \d+ conn/) }, 'a child to go');
    is((grep { $_->text('x'); ($_->frame)[0] == Client::TEXT } @c), 8,
        'connections outlive the MaxConnectionsPerChild of their child');
}

done_testing;
