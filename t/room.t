# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests channels and tickers, which a handler uses without a connection. t/handlers/room.c keeps the state of a room in each
# process.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client;

my $room  = Httpd::compile('room');
my $httpd = Httpd->start(children => 1, log_level => 'info', conf => <<"END");
WebSocketHistory kept/* 10
WebSocketDrainTimeout 1s
<Location /room>
    WebSocketHandler $room
</Location>
<Location /other>
    WebSocketHandler ws_channel.so channel=room publish=on
</Location>
END

sub counts {
    my ($c, $match) = @_;
    Httpd::wait_for(sub { (($c->message)[1] // '') =~ $match }, $match);
    pass($match);
}

my $ann = Client->new($httpd, '/room?as=Ann%20B');
like($ann->head, qr/X-As: Ann B/, 'an argument of the handshake is decoded');
counts($ann, qr/members=1 /);
my $bob = Client->new($httpd, '/room?as=Bob');
counts($bob, qr/members=2 snapshots=1 kept=1\/0/);
my $other = Client->new($httpd, '/other');
$other->text('hello');
counts($bob, qr/messages=1 /);
$ann->close;
counts($bob, qr/messages=1 members=1 /);
$bob->text('once');
Httpd::wait_for(sub { ($bob->message)[1] eq 'once=11' }, 'a ticker without an interval to call its function once, and then a last time');
$bob->text('mute');
ok($httpd->wait_log(qr/room: the listener has ended$/m), 'a listener without a connection ends');
$other->text('unheard');
counts($bob, qr/messages=1 members=1 /) for 1 .. 2;
$_->close for $bob, $other;

my ($pid) = $httpd->children;
$httpd->stop;
my $log = $httpd->error_log;
like($log, qr/websocket:info.*room: the ticker has ended\n(?:.*\n)*?.*room: stop\n/, 'the last call of a ticker comes before stop, and ws_log() writes as the module');
unlike($log, qr/after stop/, 'no function of the handler is called after stop');

done_testing;
