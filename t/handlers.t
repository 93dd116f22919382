# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests each call of the handlers' API, for a handler on the event loop and for a WS_BLOCKING handler.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client qw(frame_bytes TEXT BINARY CLOSE PING PONG);

my $api      = Httpd::compile('api');
my $blocking = Httpd::compile('api', Httpd::read_file("$Httpd::TOP/t/handlers/api.c"), '-DBLOCKING');

my $httpd = Httpd->start(
    conf => <<"END");
<Location /loop>
    WebSocketHandler $api greeting=hello
    WebSocketPing 20s
</Location>
<Location /blocking>
    WebSocketHandler $blocking greeting=hello
</Location>
<Location /failing>
    WebSocketHandler $api start=fail
</Location>
<Location /small-queue>
    WebSocketHandler $api
    WebSocketSendQueue 40000
    WebSocketCloseTimeout 60s
</Location>
END

sub ask {
    my ($c, $command) = @_;
    $c->text($command);
    return ($c->message)[1];
}

# On prefork each connection has its own process, so functions that concern other connections cannot be tested.
my $one_child = $Httpd::MPM ne 'prefork';

for my $path ('/loop', '/blocking') {
    my $open = sub { my ($name, %o) = @_; Client->new($httpd, "$path?name=$name", %o) };
    my $id = $path =~ s{/}{}r;

    # ---- Properties of a connection ----
    my $c = $open->("who$id", headers => ['X-Kept: a value', 'X-Third: not kept']);
    is(ask($c, 'who'), "uri=$path args=name=who$id user=none peer=127.0.0.1 vhost=localhost protocol=none version=13 "
            . 'secure=0 kept=a value/none greeting=hello state=1', "$id: the accessors of a connection return its values");
    like(ask(Client->new($httpd, "$path?name=tls$id", tls => 1, version => 8), 'who'),
        qr/version=8 secure=1/, "$id: the accessors of a connection over TLS return its values");
    is(ask($c, 'pool'), 'from the pool', "$id: ws_pool returns the connection's pool");

    # ---- Sending ----
    is(ask($c, "any text"), 'any text', "$id: ws_send sends a text");
    $c->text('ping me');
    is_deeply([($c->frame)[0, 1]], [PING, 'me'], "$id: ws_ping sends a ping");
    $c->send(PONG, 'me');
    is(($c->message)[1], 'pong me', "$id: on_pong gets the pong's data");
    is(ask($c, 'ping ' . 'x' x 126), 'too big', "$id: ws_ping of 126 bytes is refused");
    $c->text('parts');
    is(($c->message)[1], 'misplaced', "$id: ws_send_part of a middle part without a first is refused");
    my @frames = map { [($c->frame)[0, 1, 2]] } 1 .. 5;
    is_deeply([map { $_->[1] } grep { $_->[0] != PING } @frames], ['one ', 'two ', 'three', 'behind the parts'],
        "$id: ws_send_part sends its parts before messages sent meanwhile");
    is_deeply([map { sprintf '%02x', $_->[2] } grep { $_->[0] != PING } @frames], ['01', '00', '80', '81'],
        "$id: ws_send_part sends one fragmented message");
    is((grep { $_->[0] == PING } @frames), 1, "$id: ws_ping sends a ping between the parts of a message");

    # ---- Closing ----
    $c = $open->("closer$id");
    $c->text('close 4001 enough');
    $c->expect_close(4001, "$id: ws_close closes with its code");
    is($c->{reason}, 'enough', "$id: ws_close closes with its reason");
    ok($httpd->wait_log(qr/api: after close: gone, gone, state 2/), "$id: nothing can be sent after the Close frame")
        if $path eq '/loop';
    ok($httpd->wait_log(qr/api: closed closer$id 4001 "enough" state 3, gone/), "$id: on_close has the code and the reason of ws_close");
    ok($httpd->wait_log(qr/api: pool destroyed closer$id/), "$id: after on_close, the pool is destroyed");
    $c = $open->("badcode$id");
    $c->text('close 1006');
    $c->expect_close(1011, "$id: a code that may not be sent becomes 1011");
    $c = $open->("nocode$id");
    $c->text('close 1005');
    $c->expect_close(undef, "$id: WS_CLOSE_NO_STATUS sends a Close frame without a code");
    ok($httpd->wait_log(qr/api: closed nocode$id 1005 ""/), "$id: WS_CLOSE_NO_STATUS: on_close gets 1005");
    $c = $open->("longreason$id");
    $c->text('close 1000 ' . "\xc3\xa9" x 80);
    $c->expect_close(1000, "$id: ws_close with a reason that is too long still closes with the code");
    is($c->{reason}, "\xc3\xa9" x 61, "$id: a long reason is truncated after a whole character");

    # ---- Timers ----
    $c = $open->("timer$id");
    is(ask($c, 'timer 10 10 3'), 'tick', "$id: a timer with an interval calls its function");
    is_deeply([map { ($c->message)[1] } 1 .. 3], ['tick', 'tick', 'stopped'], "$id: a timer with an interval continues until it is stopped");
    is(ask($c, 'timer 10 0 5'), 'tick', "$id: a timer without an interval calls its function");
    is(ask($c, 'still there'), 'still there', "$id: a timer without an interval calls its function only once");
    $c = $open->("lefttimer$id");
    is(ask($c, 'timer 10 10 1000'), 'tick', "$id: a timer that is not stopped calls its function");
    $c->drop;
    ok($httpd->wait_log(qr/api: closed lefttimer$id 1006/), "$id: a timer that is not stopped ends with its connection, before on_close");

    # ---- Reading ----
    $c = $open->("pause$id");
    $c->raw(join '', map { frame_bytes(TEXT, $_) } 'pause 200', 'one', 'two');
    is_deeply([map { ($c->message)[1] } 1 .. 3], ['resumed', 'one', 'two'], "$id: ws_pause holds back messages of the same read")
        if $path eq '/loop';
    if ($path eq '/blocking') {    # messages that are already in the thread pool arrive, but the server does not read the socket
        my @all = map { ($c->message)[1] } 1 .. 3;
        is_deeply([sort @all], ['one', 'resumed', 'two'], "$id: ws_pause loses no message");
    }
    $c->text('pause 100');
    $c->raw_bytewise(frame_bytes(TEXT, 'cut'));
    is(join(' ', map { ($c->message)[1] } 1 .. 2), 'resumed cut', "$id: an incomplete message is completed after a pause");

    # ---- Slow readers ----
    $c = $open->("flood$id");
    $c->text('flood 3000');
    ok($httpd->wait_log(qr/api: flood waits flood$id/), "$id: a send that has to wait returns WS_QUEUED");
    my ($n, $type, $data) = (0);
    $n++ while (($type, $data) = $c->message) && $type == BINARY;
    is("$n $data", '3000 flood over', "$id: on_drain lets the handler continue, and nothing is lost");

    # ---- By id ----
    SKIP: {
        skip 'each child of prefork has one connection of this test', 9 if !$one_child;
        my ($a, $b) = ($open->("a$id"), $open->("b$id"));
        my ($a_id, $b_id) = map { ask($_, 'id') } $a, $b;
        isnt($a_id, $b_id, "$id: two connections have different ids");
        is(ask($a, "to $b_id hello b"), 'queued', "$id: ws_send_to returns WS_QUEUED");
        is(($b->message)[1], 'hello b', "$id: ws_send_to sends to another connection");
        is(ask($a, "run $b_id"), 'queued', "$id: ws_run returns WS_QUEUED");
        is(($b->message)[1], "ran a$id", "$id: ws_run runs a function on another connection");
        is(ask($a, "closeid $b_id"), 'queued', "$id: ws_close_id returns WS_QUEUED");
        $b->expect_close(4000, "$id: ws_close_id closes another connection");
        ok($httpd->wait_log(qr/api: pool destroyed b$id/), "$id: ws_close_id: the pool of the closed connection is destroyed");
        ask($a, "run $b_id");
        ok($httpd->wait_log(qr/api: ran without a$id/), "$id: ws_run of a closed connection returns WS_GONE");
        ask($a, "to $b_id nobody");
        is(ask($a, "to 123456789 nobody"), 'gone', "$id: ws_send_to with an id of another process returns WS_GONE");
    }

    # ---- Ends ----
    $c = $open->("peer$id");
    $c->close(3456, 'my reason');
    $c->expect_close(3456, "$id: a client's Close frame is answered with its code");
    ok($httpd->wait_log(qr/api: closed peer$id 3456 "my reason"/), "$id: a client's Close frame: on_close has its code and reason");
    $c = $open->("peerempty$id");
    $c->close;
    $c->expect_close(undef, "$id: a Close frame without a code is answered without a code");
    ok($httpd->wait_log(qr/api: closed peerempty$id 1005 ""/), "$id: a Close frame without a code: on_close gets 1005");
    $c = $open->("broken$id");
    $c->drop;
    ok($httpd->wait_log(qr/api: closed broken$id 1006 ""/), "$id: a connection that breaks: on_close gets 1006");
    $c = $open->("wrong$id");
    $c->send(TEXT, "\xff");
    $c->expect_close(1007, "$id: invalid data closes the connection with 1007");
    ok($httpd->wait_log(qr/api: closed wrong$id 1007/), "$id: invalid data: on_close gets 1007");
    $_ = $httpd->error_log;
    my (%opened, %closed);
    $opened{$1}++ while /api: open (\w+)/g;
    $closed{$1}++ while /api: closed (\w+)/g;
    is_deeply([grep { ($closed{$_} || 0) > 1 } keys %opened], [], "$id: on_close was called at most once for each connection");
}

# ---- Broadcast, within one child ----
SKIP: {
    skip 'each child of prefork has one connection of this test', 3 if !$one_child;
    my @all = map { Client->new($httpd, "/loop?name=all$_") } 1 .. 20;
    ask($_, 'here') for @all;
    my ($sender, @others) = @all;
    $sender->text('others news');
    is_deeply([map { ($_->message)[1] } @others], [('news') x 19], 'ws_broadcast reaches all other connections');
    $sender->text('all more');
    is_deeply([map { ($_->message)[1] } @all], [('more') x 20], 'ws_broadcast reaches all connections, including the sender');
    is(ask($sender, 'only mine'), 'only mine', 'ws_broadcast to the others did not reach the sender');
}

# ---- The send queue's bound ----
{
    my $c = Client->new($httpd, '/small-queue?name=slow');
    $c->text('burst 100000');
    my (undef, $queued) = $httpd->wait_log(qr/api: burst ended full, (\d+) queued/);
    # The size of the queue includes an overhead for each frame, so fewer than 40,000 bytes of payload fit.
    cmp_ok($queued, '>', 39000, 'ws_send returns WS_FULL only after WebSocketSendQueue is full');
    cmp_ok($queued, '<', 40000 + 128 * 1024 + 11000, 'ws_send returns WS_FULL before the queue exceeds its limit by more than one callback may gather');
    ok($httpd->wait_log(qr/closing: the client reads too slowly.*WebSocketSendQueue/), 'a full send queue: the log says why the connection is closed');
    $c->expect_close(1008, 'a full send queue: the connection is closed with 1008');
    ok($httpd->wait_log(qr/api: closed slow 1008/), 'a full send queue: on_close is called');
}

# ---- WS_BLOCKING: a handler that sleeps delays only its own connection ----
SKIP: {
    skip 'each child of prefork has one connection of this test', 3 if !$one_child;
    my ($sleeper, $other) = map { Client->new($httpd, "/blocking?name=$_") } qw(sleeper other);
    $sleeper->raw(join '', map { frame_bytes(TEXT, $_) } 'sleep 1500', 'first', 'second');
    is(ask($other, 'awake'), 'awake', 'while one connection of a blocking handler sleeps, another continues');
    ok(!length $sleeper->{in}, 'meanwhile, the sleeping connection has answered nothing');
    is_deeply([map { ($sleeper->message)[1] } 1 .. 3], ['slept', 'first', 'second'], 'the sleeping connection answers its messages in order');
}

# ---- on_request ----
is((Client->refused($httpd, '/loop?refuse=403'))[0], 403, 'on_request refuses with its status');
ok($httpd->wait_log(qr/handler api refuses with 403/), 'the log has the handler that refused');
is((Client->refused($httpd, '/loop?refuse=429'))[0], 429, 'on_request can refuse with any status of 400 to 599');
is((Client->refused($httpd, '/loop?refuse=200'))[0], 500, 'on_request that refuses with an invalid status: 500');
is(join('|', (Client->refused($httpd, '/loop?cookie&refuse=401'))[1]->header('Set-Cookie')), 'a=1|b=2; HttpOnly',
    'on_request sets headers of a refusal');
is(join('|', Client->new($httpd, '/loop?cookie')->header('Set-Cookie')), 'a=1|b=2; HttpOnly', 'on_request sets headers of the 101');
is(Client->new($httpd, '/loop?badheader')->header('X-Results'), 'refused', 'on_request cannot set headers of the handshake');
{
    my $c = Client->new($httpd, '/loop?protocol=b', protocol => 'a, b');
    is($c->header('Sec-WebSocket-Protocol') . ' ' . $c->header('X-Choice') . ' ' . $c->header('X-Chosen'), 'b ok b', 'on_request chooses a subprotocol');
    like(ask($c, 'who'), qr/protocol=b/, 'ws_protocol returns the subprotocol that on_request chose');
    $c = Client->new($httpd, '/loop?protocol=c', protocol => 'a, b');
    is($c->header('X-Choice') . ' ' . $c->header('X-Chosen'), 'no none', 'on_request cannot choose a subprotocol that was not offered');
}
is((Client->refused($httpd, '/failing'))[0], 503, 'a handshake for a handler that could not start is refused with 503');
ok($httpd->wait_log(qr/handler api could not start/), 'the log says that the handler could not start');

$httpd->stop;
like($httpd->error_log, qr/api: stop/, "the handler's stop function is called when httpd stops");
done_testing;
