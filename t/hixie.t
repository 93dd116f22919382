# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests the bytes of versions 76 (hixie-76, hybi-00) and 75 (hixie-75): handshakes, texts and closing, on plain, TLS and
# relayed connections. t/matrix.t tests third-party clients.

use strict;
use warnings;
use lib 't/lib';
use Digest::MD5 qw(md5);
use Test::More;
use Httpd;
use Client qw(TEXT BINARY);

Httpd::once();

# A relayed connection occupies a thread, and a single child must have all connections.
my %mpm = (prefork => "StartServers 4\nServerLimit 64\nMaxRequestWorkers 64\nMaxSpareServers 64",
    map { $_->[0] => "StartServers 1\nServerLimit 4\nThreadsPerChild 60\nMaxRequestWorkers $_->[1]\nMinSpareThreads 1" }
        [event => 60], [worker => 240]);

my $api   = Httpd::compile('api');
my $httpd = Httpd->start(mpm_conf => $mpm{$Httpd::MPM}, conf => <<"END");
WebSocketHandler $api protocol=chat
WebSocketHandler $api
WebSocketVersions 13 76 75
WebSocketThreads 1
Header always set X-Always "there"
<Location /relay>
    WebSocketRelay on
</Location>
<Location /default>
    WebSocketVersions 13 8 7
</Location>
<Location /only75>
    WebSocketVersions 75
</Location>
<Location /small>
    WebSocketMaxMessageSize 1000
</Location>
<Location /hasty>
    WebSocketCloseTimeout 200ms
</Location>
<Location /hasty-relay>
    WebSocketCloseTimeout 200ms
    WebSocketRelay on
</Location>
END

# The example of hybi-00, section 1.3.
my ($KEY1, $KEY2, $KEY3, $ANSWER) = ('4 @1  46546xW%0l 1 5', '12998 5 Y3 1  .P00', '^n:ds[4U', '8jKS\'y:G*Co,Wxa-');

my $number = 0;

# Returns the request of a handshake. Options: tls, origin, protocol, headers => [...].
sub request {
    my ($version, $path, %o) = @_;
    my $host = 'localhost:' . ($o{tls} ? $httpd->ssl_port : $httpd->port);
    my $name = $version == 76 ? 'Sec-WebSocket-Protocol' : 'WebSocket-Protocol';
    return join "\r\n", "GET $path HTTP/1.1", 'Upgrade: WebSocket', 'Connection: Upgrade', "Host: $host",
        exists $o{origin} ? $o{origin} ? "Origin: $o{origin}" : () : "Origin: http" . ($o{tls} ? 's' : '') . "://$host",
        $o{protocol} ? "$name: $o{protocol}" : (),
        $version == 76 ? ("Sec-WebSocket-Key1: $KEY1", "Sec-WebSocket-Key2: $KEY2") : (),
        @{ $o{headers} || [] }, '', '';
}

# Read this many bytes from the server.
sub take {
    my ($c, $length) = @_;
    $c->fill while length $c->{in} < $length;
    return substr $c->{in}, 0, $length, '';
}

# Connect and complete the handshake. Options: those of request(), and behind => bytes to send directly after the handshake.
sub client {
    my ($version, $path, %o) = @_;
    my $name = 'h' . ++$number;
    my $c = Client->new($httpd, $path, tls => $o{tls}, request => request($version, "$path?cookie&name=$name", %o),
        behind => ($version == 76 ? $KEY3 : '') . ($o{behind} // ''));
    $c->{name} = $name;
    is(take($c, 16), $ANSWER, "version 76, $path: the server answers the third key") if $version == 76;
    return $c;
}

sub refused {
    my ($version, $path, %o) = @_;
    return Client->refused($httpd, $path, request => request($version, $path, %o));
}

sub say_text { my ($c, $text) = @_; return $c->raw("\0$text\xff") }

# Read the next text from the server.
sub text {
    my ($c) = @_;
    $c->fill until $c->{in} =~ s/\A\0([^\xff]*)\xff//;
    return $1;
}

# Wait until the server has called on_close for a client's connection, and return the arguments: "CODE REASON".
sub told {
    my ($c) = @_;
    my (undef, $code, $reason) = $httpd->wait_log(qr/api: closed $c->{name} (\d+) "(.*?)"/);
    return "$code $reason";
}

# ---- Handshakes ----

for my $path (qw(/ /relay)) {
    for my $tls (0, 1) {
        my $way = "$path, " . ($tls ? 'wss' : 'ws');
        my $host = 'localhost:' . ($tls ? $httpd->ssl_port : $httpd->port);
        my ($http, $ws) = $tls ? qw(https wss) : qw(http ws);
        for my $version (76, 75) {
            my $sec = $version == 76 ? 'Sec-' : '';
            my $c = client($version, $path, tls => $tls, protocol => 'chat');
            my $first = $version == 76 ? 'WebSocket Protocol Handshake' : 'Web Socket Protocol Handshake';
            like($c->head, qr{\AHTTP/1\.1 101 $first\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n},
                "$way, $version: the answer begins as the draft requires");
            is($c->header("${sec}WebSocket-Origin"), "$http://$host", "$way, $version: the answer has the client's origin");
            is($c->header("${sec}WebSocket-Location"), "$ws://$host$path?cookie&name=$c->{name}",
                "$way, $version: the answer has the requested URL");
            is($c->header("${sec}WebSocket-Protocol"), 'chat', "$way, $version: the answer has the subprotocol");
            is(join('|', $c->header('Set-Cookie')), 'a=1|b=2; HttpOnly', "$way, $version: the answer has the handler's headers");
            is($c->header('Sec-WebSocket-Accept'), undef, "$way, $version: the answer has no header of RFC 6455");
            say_text($c, 'who');
            like(text($c), qr/ protocol=chat version=$version secure=$tls /, "$way, $version: the handler gets the right values");
        }

        # Act as a proxy that holds back the bytes after the headers until it receives the headers of the response.
        my $c = Client->new($httpd, $path, tls => $tls, request => request(76, "$path?name=proxy$number", tls => $tls));
        is($c->status, 101, "$way: the headers of the answer are sent before the third key arrives");
        is($c->{in}, '', "$way: nothing else is sent before the third key arrives");
        $c->raw_bytewise(substr $KEY3, 0, 7);
        ok(!IO::Select->new($c->socket)->can_read(0.1), "$way: nothing is sent after seven bytes of the third key");
        is($httpd->count_log(qr/api: open proxy$number\b/), 0, "$way: the handler is not called before the third key is complete");
        $c->raw(substr $KEY3, 7);
        is(take($c, 16), $ANSWER, "$way: when the third key is complete, the server answers it");
        say_text($c, 'hello');
        is(text($c), 'hello', "$way: after the third key, the connection echoes");

        for my $version (76, 75) {
            for my $count (5, 60_000) {
                my $behind = join '', map {"\0message $_\xff"} 1 .. $count;
                my $early = client($version, $path, tls => $tls, behind => $behind);
                my $right = grep { text($early) eq "message $_" } 1 .. $count;
                is($right, $count, "$way, $version: $count messages sent together with the handshake are echoed");
            }
        }
    }
}

{
    my $c = client(76, '/', origin => '');
    is($c->header('Sec-WebSocket-Origin'), undef, '76: without an origin, the answer has none');
    $c = client(76, '/', headers => ['Content-Length: 8']);
    say_text($c, 'x');
    is(text($c), 'x', '76: a client that counts its third key as a body is accepted');
    $c = client(76, '/', headers => ['WebSocket-Protocol: chat']);
    is($c->header('Sec-WebSocket-Protocol'), 'chat', '76: a subprotocol in the header of 75 is agreed on');
    $c = client(75, '/', protocol => 'unknown');
    is($c->header('WebSocket-Protocol'), undef, '75: an unknown subprotocol is not agreed on');
    my $port = $httpd->port;
    $c = Client->new($httpd, '/', request => request(75, "http://localhost:$port/a%20b?c=d"));
    is($c->header('WebSocket-Location'), "ws://localhost:$port/a%20b?c=d", '75: a request with an absolute URL is answered with this URL');
    $c = Client->new($httpd, '/', request => request(76, '/'), behind => 'any bytes');
    is(take($c, 16), md5(pack('NN', 829309203, 259970620) . 'any byte'), '76: another third key is answered');
}
{
    my $front = Httpd->start(conf => <<"END");
ServerName https://www.example.org
WebSocketHandler ws_echo.so
WebSocketVersions 75
END
    my $c = Client->new($front, '/', request => request(75, '/x', origin => ''));
    like($c->header('WebSocket-Location'), qr{^wss://localhost:\d+/x$}, '75: where a proxy terminates TLS, the URL in the answer is wss');
    $c->drop;
}

# ---- Refusals ----

for (
    ['76, off by default', 76, '/default', 426, qr/refused with 426: version 76 is not enabled/],
    ['75, off by default', 75, '/default', 426, qr/refused with 426: no Sec-WebSocket-Version and no key/],
    ['76, where only 75 is enabled', 76, '/only75', 426, qr/refused with 426: version 76 is not enabled/],
    ['hybi-02', 76, '/', 426, qr/refused with 426: the draft in Sec-WebSocket-Draft/, headers => ['Sec-WebSocket-Draft: 2']],
    ['version 76 from a page of another origin', 76, '/', 403, qr/refused with 403: origin "http:\/\/evil/, origin => 'http://evil.example'],
    ['version 75 from a page of another origin', 75, '/', 403, qr/refused with 403: origin "http:\/\/evil/, origin => 'http://evil.example'],
    ['a body with 76', 76, '/', 400, qr/refused with 400: the request has a body/, headers => ['Content-Length: 9']],
    ['a body with 75', 75, '/', 400, qr/refused with 400: the request has a body/, headers => ['Content-Length: 8']],
    ['a handler that refuses', 76, '/?refuse=404', 404, qr/handler api refuses with 404/],
    )
{
    my ($name, $version, $path, $expected, $log, %o) = @$_;
    my $before = $httpd->count_log($log);
    my ($status, $c) = refused($version, $path, %o);
    is($status, $expected, "$name is refused with $expected");
    is($c->header('Sec-WebSocket-Version'), $path eq '/default' ? '13, 8, 7' : $path eq '/only75' ? undef : '13',
        "$name: the 426 lists the versions that a header can name") if $expected == 426;
    Httpd::wait_for(sub { $httpd->count_log($log) > $before }, "a log line for $name");
    pass("$name: the log says why");
}
for my $key (1, 2) {
    (my $wrong = request(76, '/')) =~ s/^(Sec-WebSocket-Key$key: ).*?\r$/${1}1 2 3\r/m;
    is((Client->refused($httpd, '/', request => $wrong))[0], 400, "76: an invalid key $key is refused with 400");
    ok($httpd->wait_log(qr/refused with 400: Sec-WebSocket-Key$key does not encode a number/), '76: the log says which key is invalid');
}
for my $path (qw(/hasty /hasty-relay)) {
    my $c = Client->new($httpd, $path, request => request(76, "$path?name=never"), behind => 'seven..');
    ok($c->at_end, "$path: a client that does not complete its third key is dropped");
}
ok($httpd->wait_log(qr/the client did not complete the handshake of version 76 \(WebSocketCloseTimeout\)/), 'the log says that the client did not complete the handshake');
is($httpd->count_log(qr/api: (?:open|closed) never/), 0, 'no handler is called for an incomplete handshake');

# ---- Texts ----

for my $path (qw(/ /relay)) {
    for my $version (76, 75) {
        my $way = "$path, $version";
        my $c = client($version, $path, tls => 1);
        for my $size (0, 1, 125, 126, 65_535, 65_536, 1_000_000) {
            my $text = substr +("\xc3\xa4" . join '', 'a' .. 'z') x ($size / 28 + 1), 0, $size;
            $text =~ s/\xc3\z/x/;    # do not split a character
            say_text($c, $text);
            ok(text($c) eq $text, "$way: $size bytes are echoed");
        }
        $c->raw("\x80\x83\x74" . "\xff" x 500 . "\x05something else\xff\0next\xff");
        is(text($c), 'next', "$way: frames of other kinds are skipped");
        say_text($c, 'ping x');
        say_text($c, 'parts');
        is(text($c), 'unsupported', "$way: ws_ping returns WS_UNSUPPORTED");
        my @texts = map { text($c) } 1 .. 3;
        is("@texts", 'misplaced one two three behind the parts', "$way: a message in parts arrives as separate texts");
        say_text($c, 'timer 10 10 2');
        is(join(' ', map { text($c) } 1 .. 3), 'tick tick stopped', "$way: timers run");
        say_text($c, 'close 4002 enough');
        is(take($c, 2), "\xff\0", "$way: the handler closes, and the client gets the closing bytes") if $version == 76;
        $c->raw("\xff\0") if $version == 76;
        ok($c->at_end, "$way: the handler closes, and the connection ends");
        is(told($c), '4002 enough', "$way: the handler closes, and on_close gets its code and reason");
    }
}

SKIP: {
    skip 'each child of prefork has one connection of this test', 11 if $Httpd::MPM eq 'prefork';
    my %c = map { $_ => client($_, '/', $_ == 75 ? (tls => 1) : ()) } 76, 75;
    $c{13} = Client->new($httpd, '/');
    $c{relay} = client(76, '/relay');
    $c{13}->text('all to everybody');
    is(($c{13}->message)[1], 'to everybody', 'a broadcast reaches a client of version 13');
    is(text($c{$_}), 'to everybody', "a broadcast reaches a client of $_") for 76, 75, 'relay';
    say_text($c{75}, 'others back');
    is(($c{13}->message)[1], 'back', 'a broadcast by a client of version 75 reaches a client of version 13');
    is(text($c{$_}), 'back', "a broadcast by a client of version 75 reaches a client of $_") for 76, 'relay';
    say_text($c{76}, 'id');
    my $id = text($c{76});
    $c{13}->text("to $id by id");
    is(text($c{76}), 'by id', '76: a text sent by id arrives');
    $c{13}->text("closeid $id");
    is(take($c{76}, 2), "\xff\0", '76: a connection is closed by id');
}

# ---- Ends ----

for my $path (qw(/ /relay)) {
    for my $tls (0, 1) {
        my $way = "$path, " . ($tls ? 'wss' : 'ws');
        my $c = client(76, $path, tls => $tls);
        $c->raw("\0last words\xff\xff\0");
        is(text($c), 'last words', "$way, 76: messages before the client's close are answered");
        is(take($c, 2), "\xff\0", "$way, 76: the client's close is answered");
        ok($c->at_end, "$way, 76: after the close, the connection ends");
        is(told($c), '1005 ', "$way, 76: after the close, on_close gets 1005");

        $c = client(76, $path, tls => $tls);
        say_text($c, 'gone');
        $c->drop;
        is(told($c), '1006 ', "$way, 76: a client that disconnects without a close: on_close gets 1006");

        $c = client(75, $path, tls => $tls);
        say_text($c, 'one');
        is(text($c), 'one', "$way, 75: the connection echoes before the client disconnects");
        $tls ? $c->socket->close : $c->drop;
        is(told($c), '1005 ', "$way, 75: on_close gets 1005 when a client disconnects, because version 75 has no closing handshake");

        $c = client(75, $path, tls => $tls);
        $c->raw("\0half a text");
        $tls ? $c->socket->close : $c->drop;
        is(told($c), '1006 ', "$way, 75: a client that disconnects inside a text: on_close gets 1006");
    }
}

for (
    ['text that is not UTF-8', '/', "\0\xc3(\xff", 1007, 'text is not UTF-8'],
    ['a text beyond the limit', '/small', "\0" . 'x' x 1001, 1009, 'message is too big'],
    ['a frame beyond the limit', '/small', "\x80\x87\x69", 1009, 'frame is too big'],
    ['a length with too many bytes', '/', "\x80" x 11, 1002, 'frame length has too many bytes'],
    )
{
    my ($name, $path, $bytes, $code, $text) = @$_;
    for my $version (76, 75) {
        my $c = client($version, $path);
        $c->raw($bytes);
        is(take($c, 2), "\xff\0", "$name, 76: the server closes") if $version == 76;
        ok($c->at_end, "$name, $version: the connection ends");
        is(told($c), "$code $text", "$name, $version: on_close gets the reason");
    }
}
{
    my $c = client(76, '/small');
    say_text($c, 'x' x 1000);
    is(text($c), 'x' x 1000, 'a text as long as WebSocketMaxMessageSize is echoed');
}

{
    my %c = map { $_ => client($_, '/') } 76, 75;
    $httpd->graceful;
    for my $version (76, 75) {
        say_text($c{$version}, 'still there');
        is(text($c{$version}), 'still there', "after a reload, a connection of version $version echoes");
    }
    $httpd->terminate;
    is(take($c{76}, 2), "\xff\0", 'when httpd stops, a connection of version 76 is closed');
    $c{76}->raw("\xff\0");
    for my $version (76, 75) {
        ok($c{$version}->at_end, "when httpd stops, a connection of version $version ends");
        is(told($c{$version}), '1001 server stops', "when httpd stops, on_close gets 1001 in version $version");
    }
}

done_testing;
