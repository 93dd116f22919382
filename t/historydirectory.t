# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests WebSocketHistoryDirectory, and its default on systems where a reboot empties the runtime directory.

use strict;
use warnings;
use lib 't/lib';
use File::Path qw(remove_tree);
use Test::More;
use Httpd;
use Program;

Httpd::once();
my $conf = <<'END';
WebSocketHistory kept/* 100
<Location "/channels">
    WebSocketChannelHTTP publish subscribe
    WebSocketSubscribe all
    WebSocketPublish all
</Location>
END

sub publish {
    my ($httpd) = @_;
    my ($status, $output) = Program::run('curl', '-sS', '-d', 'x', 'http://127.0.0.1:' . $httpd->port . '/channels/kept/a');
    return $output;
}

{
    my $httpd = Httpd->start(conf => "WebSocketHistoryDirectory elsewhere\n$conf");
    like(publish($httpd), qr/-1"/, 'with WebSocketHistoryDirectory, a message is kept');
    ok(-s $httpd->root . '/elsewhere/data.mdb', 'the history is in WebSocketHistoryDirectory, relative to ServerRoot');
    ok(!-e $httpd->root . '/logs/websocket-history', 'with WebSocketHistoryDirectory, no history is in the runtime directory');
    $httpd->graceful;
    like(publish($httpd), qr/-2"/, 'after a reload, the history continues');
}
{
    my $httpd = Httpd->start(conf => $conf);
    publish($httpd);
    ok(-s $httpd->root . '/logs/websocket-history/data.mdb', 'by default, the history is in the runtime directory');
}
SKIP: {
    skip 'only root can write to /run and /var/lib', 2 if $>;
    my $name = "mod_websocket-test-$$";
    mkdir "/run/$name" or skip '/run cannot be written to', 2;
    my $httpd = Httpd->start(conf => "DefaultRuntimeDir /run/$name\n$conf");
    like(publish($httpd), qr/-1"/, 'with a runtime directory below /run, a message is kept');
    ok(-s "/var/lib/$name/websocket-history/data.mdb", 'with a runtime directory below /run, the history is in the folder of the same name below /var/lib');
    $httpd->stop;
    remove_tree("/run/$name", "/var/lib/$name");
}
{
    my ($right, $output) = Httpd->check("<Location /x>\nWebSocketHistoryDirectory /x\n</Location>\n");
    ok(!$right, 'WebSocketHistoryDirectory is refused inside of a section');
    ($right, $output) = Httpd->check("WebSocketHistoryDirectory /nowhere/at/all\n$conf");
    ok(!$right, 'WebSocketHistoryDirectory is refused if the folder cannot be created');
    like($output, qr{"/nowhere/at/all" cannot be created: there is no folder /nowhere/at/}, 'the error says which folder cannot be created');
}
done_testing();
