# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# The WebSocket-over-HTTP protocol (style=grip). Tests an application that uses npm's @fanoutio/grip, the bytes of each
# event according to the published document, and answers that violate the document.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use MIME::Base64 qw(decode_base64url);
use Httpd;
use Client qw(TEXT BINARY CLOSE);
use Program;
use Upstream;

plan skip_all => 'the module was built without libcurl' if !-e "$Httpd::BUILD/websocket/ws_http.so";

my $dir = Httpd::folder();
chmod 0777, $dir;
my $raw = Upstream->new;
my ($url, $port) = ('http://localhost/app', $raw->port);
my $httpd = Httpd->start(conf => <<"END");
WebSocketOrigin any
<Location /lib>
    WebSocketHandler ws_http.so style=grip to=unix:$dir/app.sock|$url key=changeme iss=test
</Location>
<Location /raw>
    WebSocketHandler ws_http.so style=grip to=http://127.0.0.1:$port/target
</Location>
<Location /signed>
    WebSocketHandler ws_http.so style=grip to=http://127.0.0.1:$port/target key=base64:Y2hhbmdlbWU= iss=me
</Location>
END

# ---- With the library ----

SKIP: {
    skip 'no node', 1 if system('node -e "import(\'@fanoutio/grip\')" >/dev/null 2>&1') && !-d 't/node_modules/@fanoutio';
    my $app = Program->start('node', 't/clients/grip-app.mjs', "$dir/app.sock", "$dir/log", 'http://localhost:1/?iss=test&key=changeme');
    $app->wait_output(qr/ready/);
    my $noted = sub { -e "$dir/log" ? Httpd::read_file("$dir/log") : '' };
    my $c = Client->new($httpd, '/lib', headers => ['Cookie: e=f', 'Meta-user: root', 'Meta_user: root', 'Grip-Sig: x']);
    is(($c->frame)[1], 'welcome', 'the library accepts a connection and sends a message');
    is_deeply([$c->header('Set-Cookie')], ['a=b', 'c=d'], 'the library sets cookies');
    is($c->header('X-Of-The-Application'), 'yes', 'the library sets headers other than cookies');
    like($noted->(), qr/^\w{32} signed OPEN e=f$/m, 'the library has checked Grip-Sig');
    my $does = sub {
        my ($who, $what) = @_;
        $who->text($what);
        my $said;
        do { $said = ($who->frame)[1] // die "gone at $what" } until $said eq "did $what" || $said =~ /^[{]/;
        return $said;
    };
    is($does->($c, 'meta'), '{}', 'the library gets no Meta- field of the client');
    $c->frame;
    $c->text('set user=alice');
    is($does->($c, 'meta'), '{"user":"alice"}', 'a field that the library set with Set-Meta- is sent back as Meta-');
    $c->frame;
    $c->text('set user=bob');
    is($does->($c, 'meta'), '{"user":"bob"}', 'the library changes a field');
    $c->frame;
    $c->text('forget user');
    is($does->($c, 'meta'), '{}', 'the library removes a field');
    $c->frame;
    $c->text('binary');
    is_deeply([($c->frame)[0, 1]], [BINARY, "\0\r\n\xff"], 'the library sends a binary message');
    $c->frame;
    $does->($c, 'subscribe news');
    $does->($c, 'unsubscribe everyone');
    $does->($c, 'control {"type":"subscribe","channel":"a*b"}');
    $does->($c, 'control nonsense');
    ok($httpd->wait_log(qr/ignored a control message of unknown type: none/), 'an unknown control message is logged');
    $does->($c, 'control {"type":"subscribe","channel":"news\u0000x"}');
    Httpd::wait_for(sub { $httpd->count_log(qr/of unknown type: none/) == 2 }, 'the log');
    pass('a channel with U+0000 is not truncated');
    $c->close(4005, '');
    is(unpack('n', ($c->frame)[1]), 4005, "the client's Close frame is answered");
    Httpd::wait_for(sub { $noted->() =~ /closed 4005/ }, 'the event CLOSE');
    pass("the library gets the client's close code");

    $c = Client->new($httpd, '/lib', protocol => 'one, two');
    is($c->header('Sec-WebSocket-Protocol'), 'two', 'the library chooses a subprotocol');
    $c->drop;
    Httpd::wait_for(sub { $noted->() =~ /disconnected/ }, 'the event DISCONNECT');
    pass('the library is notified when a client disconnects without closing');

    $c = Client->new($httpd, '/lib');
    $c->frame;
    $c->text('close 4321');
    $c->frame;
    is(unpack('n', ($c->frame)[1]), 4321, 'the library closes with a code');
    $c = Client->new($httpd, '/lib');
    $c->frame;
    $c->text('close 0');
    $c->frame;
    is(unpack('n', ($c->frame)[1]), 1000, 'the library closes without a code, and the client gets 1000');
    $c = Client->new($httpd, '/lib');
    $c->frame;
    $c->text('disconnect');
    my $end = eval { do { } while defined(($c->frame)[0]); 'end' };
    ok(1, 'DISCONNECT breaks the connection');

    my ($status, $refused) = Client->refused($httpd, '/lib?refuse');
    is($status, 402, 'the library refuses a handshake with a status');
    Httpd::wait_for(sub { $refused->{in} =~ /pay first/ || !$refused->fill }, 'the body');

    $c = Client->new($httpd, '/lib?alive');
    Httpd::wait_for(sub { $noted->() =~ /signed nothing/ }, 'an empty request');
    pass('Keep-Alive-Interval causes an empty request');

    $c = Client->new($httpd, '/lib');
    $c->frame;
    $does->($c, 'detach');
    my $before = () = $noted->() =~ /\n/g;
    $c->text('nobody hears this');
    $c->close(1000, '');
    is(($c->frame)[0], CLOSE, 'a detached connection stays open, and its Close frame is answered');
    my $other = Client->new($httpd, '/lib');
    $other->frame;
    my $after = () = $noted->() =~ /TEXT|CLOSE/g;
    is($noted->() =~ /hears/ ? 1 : 0, 0, 'a detached connection causes no further requests');
    kill 'TERM', $app->{pid};
    $app->finish;
}

# ---- Bytes ----

sub next_request { return $raw->next_request }
sub answer {
    my ($s, $body, $headers, $status) = @_;
    Upstream::answer($s, $body, "Content-Type: application/websocket-events\r\n" . ($headers // ''), $status);
}
sub opened {
    my ($headers, $body, %o) = @_;
    my $c = Client->new($httpd, $o{path} // '/raw?q', expect => 0, %o);
    my ($s, $head, $sent) = next_request();
    answer($s, $body // "OPEN\r\n", $headers);
    $c->read_answer;
    return ($c, $head, $sent);
}

{
    my ($c, $head, $body) = opened("Sec-WebSocket-Extensions: grip; message-prefix=\"\"\r\n", "OPEN 0\r\n\r\nTEXT 3\r\nabc\r\n",
        headers => ['Cookie: a=b']);
    is($body, "OPEN\r\n", 'the open event is OPEN');
    like($head, qr{^POST /target\?q HTTP/1\.1\r\n}, 'the open event is a POST to the target');
    like($head, qr/^$_\r?$/m, $_) for 'Content-Type: application/websocket-events', 'Connection-Id: \w{32}', 'Cookie: a=b',
        'Sec-WebSocket-Extensions: grip', 'Accept: application/websocket-events';
    is(($c->frame)[1], 'abc', 'an OPEN with content, and an empty message-prefix, are accepted');
    my @steps = (
        ['TEXT', sub { $c->text('hello world') }, "TEXT B\r\nhello world\r\n"],
        ['BINARY', sub { $c->binary("\r\n\0") }, "BINARY 3\r\n\r\n\0\r\n"],
        ['PONG', sub { $c->send(10, '') }, "PONG\r\n"]);
    for (@steps) {
        my ($name, $do, $bytes) = @$_;
        $do->();
        my ($s, $again, $sent) = next_request();
        is($sent, $bytes, $name);
        like($again, qr/^Cookie: a=b\r?$/m, "$name: the event has the headers of the handshake");
        is(($again =~ /^Connection-Id: (\w+)/m)[0], ($head =~ /^Connection-Id: (\w+)/m)[0], "$name: the event has the Connection-Id of the open event");
        answer($s, $name eq 'PONG' ? "PING\r\n" : "TEXT 1b\r\n" . 'x' x 27 . "\r\nBINARY 0\r\n\r\n");
        if ($name eq 'PONG') {
            is(($c->frame)[0], 9, 'PING in an answer is sent as a Ping frame');
            next;
        }
        is(($c->frame)[1], 'x' x 27, "$name: an answer whose length has small letters is sent");
        is_deeply([($c->frame)[0, 1]], [BINARY, ''], "$name: an empty message in an answer is sent");
    }
    $c->send(9, 'p');
    is(($c->frame)[0], 10, "the server answers the client's Ping frame");
    my ($asked, undef, $pinged) = next_request();
    is($pinged, "PING\r\n", "the client's Ping is sent as the event PING");
    answer($asked, "PONG\r\n");
    $c->close(1001, 'off');
    my ($s, undef, $sent) = next_request();
    is($sent, "CLOSE 5\r\n\x03\xe9off\r\n", "the client's Close frame is sent as the event CLOSE");
    answer($s, '');
    ($c) = opened();
    $c->drop;
    ($s, undef, $sent) = next_request();
    is($sent, "DISCONNECT\r\n", 'a connection that breaks is sent as the event DISCONNECT');
    answer($s, '');
}
{
    my ($c) = opened('', "OPEN\r\nTEXT 7\r\nc:plain\r\nTEXT 3\r\nm:x\r\nCLOSE 6\r\n\x0f\xa0done\r\nTEXT 1\r\nx\r\n");
    is(($c->frame)[1], 'c:plain', 'without the extension grip, c: at the beginning is part of the message');
    is(($c->frame)[1], 'm:x', 'without the extension grip, m: at the beginning is part of the message');
    is(($c->frame)[1], "\x0f\xa0done", 'CLOSE in an answer has code and reason, and later events are ignored');
    $c->close(4000, '');
    my ($s) = next_request();
    answer($s, '');
}
{
    my ($c, $head) = opened('', undef, path => '/signed');
    my ($sig) = $head =~ /^Grip-Sig: (\S+)/m;
    my @parts = split /\./, $sig // '';
    is(@parts, 3, 'Grip-Sig is a JSON Web Token');
    like(decode_base64url($parts[1] // ''), qr/^{"iss":"me","exp":\d+}$/, 'Grip-Sig has iss and exp');
    require Digest::SHA;
    is($parts[2], Digest::SHA::hmac_sha256_base64("$parts[0].$parts[1]", 'changeme') =~ tr{+/}{-_}r, 'Grip-Sig is signed with the key');
    $c->drop;
    answer((next_request())[0], '');
}

# ---- Answers that violate the protocol ----

for (['no events', ''], ['TEXT before OPEN', "TEXT 1\r\nx\r\nOPEN\r\n"], ['half an event', 'OPE'],
    ['an unknown event', "OPEN\r\nHELLO\r\n"]) {
    my ($name, $body) = @$_;
    my ($c) = opened('', $body);
    is($c->status, 502, "$name: the handshake is refused with 502");
}
{
    my $c = Client->new($httpd, '/raw', expect => 0);
    my ($s) = next_request();
    $s->print("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\nOPEN\r\n");
    close $s;
    $c->read_answer;
    is($c->status, 502, 'if the answer has another Content-Type, the handshake is refused with 502');
}
for (
    ['truncated in a length', 'TEXT 5', 1011], ['truncated in the content', "TEXT 5\r\nabc", 1011],
    ['no end of the content', "TEXT 3\r\nabcd\r\n", 1011], ['no length', "TEXT \r\n", 1011],
    ['a length above 2^63', "TEXT ffffffffffffffff\r\nabc\r\n", 1011], ['a negative length', "TEXT -1\r\n\r\n", 1011],
    ['no UTF-8', "TEXT 1\r\n\xff\r\n", 1011], ['a code that cannot be sent', "CLOSE 2\r\n\x03\xed\r\n", 1011],
    ['half a code', "CLOSE 1\r\n\x03\r\n", 1011], ['a valid event before a truncated one', "TEXT 2\r\nok\r\nTEXT", 1011],
    ['500', '', 1011, '500 Sorry'], ['404', '', 1008, '404 Gone'], ['503', '', 1013, '503 Later'],
    ['Set-Meta without a name', '', 1011, undef, "Set-Meta-: x\r\n"],
    ['Set-Meta that is too long', '', 1011, undef, 'Set-Meta-A: ' . 'x' x 3000 . "\r\n"],
    map({ ["Keep-Alive-Interval \"$_\"", '', 1011, undef, "Keep-Alive-Interval: $_\r\n"] } '5foo', '-1', '+5', '1.5', 'soon'),
    ['too many Set-Meta', '', 1011, undef, join '', map {"Set-Meta-A$_: x\r\n"} 1 .. 65])
{
    my ($name, $body, $code, $status, $headers) = @$_;
    my ($c) = opened();
    $c->text('x');
    my ($s) = next_request();
    answer($s, $body, $headers, $status);
    my ($opcode, $payload) = $c->frame;
    is($opcode == CLOSE ? unpack('n', $payload) : $payload, $code, "$name: the connection is closed with $code, and nothing is sent");
    $c->close($code, '');
    ($s) = next_request();
    answer($s, '');
}
like($httpd->error_log, qr/answer to a message: its events are malformed or truncated/, 'the log says that the events are malformed or truncated');

# ---- The close event is retried ----

{
    my ($c) = opened();
    $c->drop;
    for my $try (1 .. 4) {
        my ($s, undef, $sent) = next_request();
        is($sent, "DISCONNECT\r\n", "DISCONNECT is sent again until it is answered: request $try");
        $try < 4 ? close $s : answer($s, '');
    }
    ($c) = opened();
    $c->drop;
    close((next_request())[0]) for 1 .. 4;
    ok($httpd->wait_log(qr/not notified of the end of connection \w{32}/), 'DISCONNECT that failed four times is logged');
}

done_testing();
