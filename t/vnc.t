# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests ws_tcp as noVNC uses it: a third-party client connects through the bridge to a VNC server.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use File::Temp qw(tempdir);
use Httpd;
use Program;

Httpd::once();

my $dir = tempdir('mod_websocket-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
my $port = Httpd::free_port();
my $vnc = Program->start('Xtigervnc', '-displayfd', '1', '-geometry', '320x200', '-depth', '24', '-SecurityTypes', 'None',
    '-interface', '127.0.0.1', '-rfbport', $port, '-rfbunixpath', "$dir/vnc", '-rfbunixmode', oct 666, '-nolisten', 'tcp');
$vnc->wait_output(qr/^\d+$/m);
Httpd::write_file("$dir/tokens", "desk: unix:$dir/vnc\n");

my $httpd = Httpd->start(conf => <<"END");
<Location /vnc>
    WebSocketHandler ws_tcp.so to=127.0.0.1:$port
</Location>
<Location /desktops>
    WebSocketHandler ws_tcp.so tokens=$dir/tokens
</Location>
END
my $url = 'ws://127.0.0.1:' . $httpd->port;
for (['/vnc', 'binary'], ['/vnc', 'base64'], ['/desktops?token=desk', 'binary']) {
    my ($path, $protocol) = @$_;
    Program::tap("VNC, $path", '/usr/bin/python3', 't/clients/vnc.py', "$url$path", $protocol);
}
$httpd->stop;
done_testing;
