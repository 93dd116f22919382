# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# WebSocketPing detects clients that have gone, and does not affect other clients.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client qw(frame_bytes TEXT BINARY PING PONG);

Httpd::once();

my $api   = Httpd::compile('api');
my $httpd = Httpd->start(conf => <<"END");
WebSocketHandler ws_echo.so
WebSocketPing 100ms 1h
<Location /off>
    WebSocketPing off
</Location>
<Location /forgiving>
    WebSocketPing 100ms off
</Location>
<Location /impatient>
    WebSocketHandler $api
    WebSocketPing 100ms 100ms
    <If "%{QUERY_STRING} =~ /other/">
        WebSocketPing 200ms
    </If>
</Location>
END

sub client {
    my ($path, $name, %o) = @_;
    return Client->new($httpd, "$path?name=$name", %o);
}

# Returns whether the next frame is a ping, and answers the ping with @answer, by default with a pong.
sub pinged {
    my ($c, @answer) = @_;
    my ($opcode, $payload) = $c->frame;
    return 0 if !defined $opcode || $opcode != PING;
    $c->send(@answer ? @answer : (PONG, $payload));
    return 1;
}

sub told { my ($name) = @_; return ($httpd->wait_log(qr/api: closed $name (\d+)/))[1] }

for my $tls (0, 1) {
    my ($over, $name) = $tls ? ('over TLS: ', 'tls') : ('', 'plain');
    my $c = client('/impatient', "silent$name", tls => $tls);
    is(($c->frame)[0], PING, "${over}a silent client is pinged");
    ok($c->at_end, "${over}a silent client that does not answer is disconnected without a Close frame");
    is(told("silent$name"), 1006, "${over}a silent client that does not answer: on_close gets 1006");

    $c = client('/', '', tls => $tls);
    is((grep { pinged($c) } 1 .. 5), 5, "${over}a client that answers is pinged again and again");
}
ok($httpd->wait_log(qr/no answer to a ping \(WebSocketPing\)/), 'the log says that the connection ended because of a missing answer');
{
    my $c = client('/', '');
    is((grep { pinged($c, PONG, 'something else') } 1 .. 3), 3, 'an unsolicited pong counts as an answer, too');
    is((grep { pinged($c, PING, '') && ($c->frame)[0] == PONG } 1 .. 3), 3, 'a ping from the client counts as an answer, too');
    is((grep { pinged($c, TEXT, "m$_") && ($c->frame)[1] eq "m$_" } 1 .. 3), 3, 'a message from the client counts as an answer, too');
}
{
    my ($off, $on) = (client('/off', ''), client('/', ''));
    is((grep { pinged($on) } 1 .. 5), 5, 'a client in a section with WebSocketPing is pinged');
    $off->text('nothing came before this');
    is(($off->frame)[1], 'nothing came before this', 'a client in a section with WebSocketPing off is not pinged');
}
{
    my $c = client('/forgiving', '');
    is_deeply([map { ($c->frame)[0] } 1 .. 3], [(PING) x 3], 'with "off" as the second argument, a client that does not answer is pinged again');
    $c->text('still here');
    my $text;
    while (!defined $text) {
        my ($opcode, $payload) = $c->frame;
        $text = $payload if $opcode == TEXT;
    }
    is($text, 'still here', 'with "off" as the second argument, a client that does not answer stays connected');
}
{
    my ($patient, $impatient) = (client('/', ''), client('/impatient', 'other'));
    is(($patient->frame)[0],   PING, 'a client with a long time to answer is pinged');
    is(($impatient->frame)[0], PING, 'a client with a short time to answer is pinged');
    ok($impatient->at_end, 'a client with a short time to answer is disconnected');
    $patient->text('late');
    is(($patient->frame)[1], 'late', 'a client with a long time to answer stays connected');
}
{
    # The handler pauses for several times the interval in which a client must answer a ping.
    my $c = client('/impatient', 'paused', behind => frame_bytes(TEXT, 'pause 2000') . frame_bytes(TEXT, 'and then'));
    is_deeply([map { ($c->message)[1] } 1 .. 2], ['resumed', 'and then'],
        'a client that the server does not read from is not disconnected');
}
{
    my $c = client('/impatient', 'deaf', rcvbuf => 65536);
    my $data = frame_bytes(BINARY, 'x' x 60000);
    1 while $c->raw($data);
    is(told('deaf'), 1006, 'a client that only sends and never reads is disconnected');
    ok($httpd->wait_log(qr/the client reads nothing \(WebSocketPing\)/), 'the log says that the client reads nothing');
}

done_testing;
