# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests the bytes of SockJS protocol 0.3.3: URLs, headers, frames and errors.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client;
use Digest::MD5 qw(md5);
use JSON::PP;
use Redis;
use SockJS;

my $httpd = Httpd->start(
    modules => ['headers'],
    files   => { 'htdocs/sockjs.js' => "// the client\n", 'htdocs/page.html' => "a page\n" },
    conf    => SockJS::services(more => 'response=4096 delay=' . Patience::stretch('2s')) . <<"END"
LogLevel websocket:debug
<Location "/same">
    WebSocketHandler ws_echo.so
    WebSocketTransports websocket sockjs
    WebSocketSockJS client=/sockjs.js
    Header set X-Mark there
</Location>
<Location "/relayed">
    WebSocketHandler ws_echo.so
    WebSocketTransports websocket sockjs
    WebSocketRelay on
    Header set X-Mark there
</Location>
<Location "/stop/relayed">
    WebSocketRelay on
</Location>
<Location "/few">
    WebSocketHandler ws_echo.so
    WebSocketTransports sockjs
    WebSocketSockJS sessions=1
    WebSocketMaxMessageSize 1000
</Location>
<Location "/old">
    WebSocketHandler ws_echo.so
    WebSocketTransports websocket sockjs
    WebSocketVersions 13 76
</Location>
<Location "/beat">
    WebSocketHandler ws_echo.so
    WebSocketTransports sockjs
    WebSocketSockJS heartbeat=100ms
</Location>
END
);
my $port = $httpd->port;

sub ask {
    my ($method, $path, %arg) = @_;
    return SockJS->new(port => $port)->ask($method, $path, %arg);
}
sub post    { return ask('POST', $_[0], body => $_[1] // '', @_[2 .. $#_]) }
sub type_of { return ($_[0]->header('Content-Type') // '') =~ s/\s//gr }

sub is_not_cached {
    my ($r, $what) = @_;
    is $r->header('Cache-Control'), 'no-store, no-cache, must-revalidate, max-age=0', "$what must not be cached";
    is $r->header('Expires'), undef, "$what has no Expires";
    is $r->header('Last-Modified'), undef, "$what has no Last-Modified";
    return;
}

sub is_cors {
    my ($r, $origin, $what) = @_;
    is $r->header('Access-Control-Allow-Origin'), $origin eq 'null' ? '*' : $origin, "$what allows $origin";
    is $r->header('Access-Control-Allow-Credentials'), $origin =~ /^(?:null|\*)$/ ? undef : 'true', "$what allows credentials only for a certain origin";
    return;
}

sub is_wrong_method {
    my ($r, $what) = @_;
    is $r->status, 405, "$what is answered with 405";
    ok $r->header('Allow'), "$what: the 405 has Allow";
    is $r->header('Content-Type'), undef, "$what: the 405 has no Content-Type";
    is $r->body, '', "$what: the 405 has no body";
    return;
}

subtest 'The base URL is answered with a greeting' => sub {
    for my $path ('/echo', '/echo/') {
        my $r = ask('GET', $path);
        is $r->status, 200;
        is type_of($r), 'text/plain;charset=UTF-8';
        is $r->body, "Welcome to SockJS!\n";
        is $r->header('Set-Cookie'), undef;
    }
    is ask('GET', "/echo$_")->status, 404, "$_ is not found" for qw(/a /a.html // /// //?a=b /a/a /a/a/ /a/);
};

subtest 'The connection stays open after an answer with a length, in HTTP/1.0 if the client requests it' => sub {
    for my $http ('1.0', '1.1') {
        my $c = SockJS->new(port => $port);
        for (1, 2) {
            $c->ask('GET', '/echo', http => $http, headers => { Connection => 'Keep-Alive' });
            is $c->header('Content-Length'), 19;
            is $c->read_bytes(19), "Welcome to SockJS!\n";
        }
    }
};

subtest 'The page for iframes loads the client library, and can be cached' => sub {
    for my $path (qw(/iframe.html /iframe-a.html /iframe-.html /iframe-0.1.2abc-dirty.2144.html /iframe-a.html?t=1)) {
        my $r = ask('GET', "/echo$path");
        is $r->status, 200, $path;
        is type_of($r), 'text/html;charset=UTF-8';
        like $r->header('Cache-Control'), qr/public.*max-age=[1-9][0-9]{6}/;
        ok $r->header('Expires');
        ok $r->header('ETag');
        is $r->header('Last-Modified'), undef;
        like $r->body, qr{_sockjs_onload = function\(\)\{SockJS\.bootstrap_iframe\(\);\};\n  </script>\n  <script src="/sockjs\.js"></script>};
        my $again = ask('GET', "/echo$path", headers => { 'If-None-Match' => $r->header('ETag') });
        is $again->status, 304;
        is $again->header('Content-Type'), undef;
    }
    is ask('GET', "/echo$_")->status, 404, $_ for qw(/iframe.htm /iframe /IFRAME.HTML /iframe.HTML /iframe.xml /iframe-/.html);
    is ask('GET', '/relayed/iframe.html')->status, 404, 'without client=, there is no page for iframes';
    is ask('GET', '/echo/iframe.html')->header('Content-Security-Policy'), undef, 'where any origin may connect, any page may embed the iframe';
    is ask('GET', '/same/iframe.html')->header('Content-Security-Policy'), q(frame-ancestors 'self'), 'where only some origins may connect, only their pages may embed the iframe';
};

subtest '/info' => sub {
    my $r = ask('GET', '/echo/info', headers => { Origin => 'http://test' });
    is $r->status, 200;
    is type_of($r), 'application/json;charset=UTF-8';
    is_not_cached($r, '/info');
    is_cors($r, 'http://test', '/info');
    my $info = decode_json($r->body);
    ok $info->{websocket};
    ok !$info->{cookie_needed};
    is_deeply $info->{origins}, ['*:*'];
    like $info->{entropy}, qr/^\d+$/;
    isnt decode_json(ask('GET', '/echo/info')->body)->{entropy}, $info->{entropy}, 'entropy differs in each answer';
    ok !decode_json(ask('GET', '/disabled_websocket_echo/info')->body)->{websocket};
    ok decode_json(ask('GET', '/cookie_needed_echo/info')->body)->{cookie_needed};
    is_wrong_method(ask('PUT', '/echo/info', body => ''), 'PUT');
};

subtest 'Preflights' => sub {
    for (['/info', 'OPTIONS, GET'], map { ["/abc/abc/$_", 'OPTIONS, POST'] } qw(xhr xhr_send xhr_streaming)) {
        my ($path, $methods) = @$_;
        for my $origin ('http://test', 'null') {
            my $r = ask('OPTIONS', "/echo$path",
                headers => { Origin => $origin, 'Access-Control-Request-Method' => $methods, 'Access-Control-Request-Headers' => 'a, b, c' });
            is $r->status, 204, $path;
            like $r->header('Cache-Control'), qr/public.*max-age=[1-9][0-9]{6}/;
            ok $r->header('Expires');
            cmp_ok $r->header('Access-Control-Max-Age'), '>', 1000000;
            is $r->header('Access-Control-Allow-Methods'), $methods;
            is $r->header('Access-Control-Allow-Headers'), 'a, b, c';
            is_cors($r, $origin, $path);
        }
    }
    is ask('OPTIONS', '/echo/a/a/xhr', headers => { Origin => 'http://a', 'Access-Control-Request-Headers' => '' })
        ->header('Access-Control-Allow-Headers'), undef;
};

subtest 'The server and session parts of a URL may have any characters except dots' => sub {
    for my $part ('/a/a', '/_/_', '/1/1', '/abcdefgh_i-j%20/abcdefg_i-j%20') {
        my $r = post("/echo$part/xhr");
        is $r->status, 200, $part;
        is $r->body, "o\n";
    }
    for my $part ('//', '/a./a', '/a/a.', '/./.', '/', '///') {
        is ask('GET', "/echo$part/xhr")->status, 404, "GET $part";
        is post("/echo$part/xhr")->status, 404, "POST $part";
    }
};

subtest 'xhr: a session uses polling, and its requests may have different server parts' => sub {
    my $s = SockJS::session();
    my $r = post("/echo$s/xhr", '', headers => { Origin => 'http://test' });
    is $r->body, "o\n";
    is type_of($r), 'application/javascript;charset=UTF-8';
    is_cors($r, 'http://test', 'a poll');
    is_not_cached($r, 'a poll');
    $r = post("/echo$s/xhr_send", '["x"]', headers => { Origin => 'http://test' });
    is $r->status, 204;
    is $r->body, '';
    is type_of($r), 'text/plain;charset=UTF-8';
    is_cors($r, 'http://test', 'a send');
    is_not_cached($r, 'a send');
    is post('/echo' . $s =~ s/000/999/r . '/xhr')->body, qq(a["x"]\n);
    is post('/echo' . SockJS::session() . '/xhr_send', '["x"]')->status, 404, 'a send to an unknown session is not found';
    is_wrong_method(ask('GET', "/echo$s/xhr"), 'GET of a poll');
    is_wrong_method(ask('GET', "/echo$s/xhr_send"), 'GET of a send');
};

subtest 'A send is refused if its body is invalid, and accepted with any Content-Type' => sub {
    my $s = SockJS::session();
    is post("/echo$s/xhr")->body, "o\n";
    for (['["x', 'Broken JSON encoding.'], ['', 'Payload expected.'], ['[1]', 'Broken JSON encoding.'], ['["a"]x', 'Broken JSON encoding.'],
        [qq(["a\nb"]), 'Broken JSON encoding.'], ['["\\x"]', 'Broken JSON encoding.'], ['{"a":"b"}', 'Broken JSON encoding.']) {
        my $r = post("/echo$s/xhr_send", $_->[0]);
        is $r->status, 500, $_->[0];
        like $r->body, qr/\Q$_->[1]/;
    }
    my @types = ('text/plain', 'T', 'application/json', 'application/xml', '', 'application/json; charset=utf-8', 'text/xml');
    for (@types) {
        is post("/echo$s/xhr_send", '["a"]', headers => { 'Content-Type' => $_ })->status, 204, "type \"$_\"";
    }
    is post("/echo$s/xhr_send", '[]')->status, 204, 'a send of an empty array is accepted';
    is post("/echo$s/xhr_send", ' [ "b" , "c" ] ')->status, 204, 'a send with spaces between the strings is accepted';
    my $got = '';
    while ((() = $got =~ /"/g) < 2 * @types + 4) {
        $got .= post("/echo$s/xhr")->body;
    }
    is $got =~ s/\]\na\[/,/gr, 'a[' . join(',', ('"a"') x @types, '"b"', '"c"') . "]\n";
};

subtest 'A second request for frames is refused, and the first one continues' => sub {
    my $s = SockJS::session();
    is post("/echo$s/xhr")->body, "o\n";
    my $stream = ask('POST', "/echo$s/xhr_streaming", body => '');
    is length $stream->chunk, 2049;
    my $second = ask('POST', "/echo$s/xhr_streaming", body => '');
    is length $second->chunk, 2049;
    is $second->chunk, qq(c[2010,"Another connection still open"]\n);
    is $second->chunk, '';
    is post("/echo$s/xhr")->body, qq(c[2010,"Another connection still open"]\n);
    is post("/echo$s/xhr_send", '["still"]')->status, 204;
    is $stream->chunk, qq(a["still"]\n);
    $stream->close;
    $httpd->wait_log(qr{/echo, connection \w+: end, code 1006});
    is post("/echo$s/xhr")->body, qq(c[1002,"Connection interrupted"]\n), 'a client that disconnects ends its session';
};

subtest 'When a handler has closed a session, requests get the code and the reason for a while' => sub {
    my $s = SockJS::session();
    is post("/close$s/xhr")->body, "o\n";
    is post("/close$s/xhr")->body, qq(c[3000,"Go away!"]\n) for 1, 2;
    is post("/close$s/xhr_send", '["x"]')->status, 404, 'a send after the close is not found';
    $httpd->wait_log(qr/service close: closed with 3000 "Go away!"/);
    $s = SockJS::session();
    for (0, 1) {
        my $r = ask('POST', "/close$s/xhr_streaming", body => '');
        $r->chunk;
        is $r->chunk, "o\n" if !$_;
        is $r->chunk, qq(c[3000,"Go away!"]\n);
        is $r->chunk, '';
    }
};

subtest 'Streaming sends a prelude, then frames in chunks, up to the limit' => sub {
    my $s = SockJS::session();
    my $r = ask('POST', "/echo$s/xhr_streaming", body => '', headers => { Origin => 'http://test' });
    is type_of($r), 'application/javascript;charset=UTF-8';
    is_cors($r, 'http://test', 'a stream');
    is_not_cached($r, 'a stream');
    is $r->header('Content-Length'), undef;
    is $r->chunk, 'h' x 2048 . "\n";
    is $r->chunk, "o\n";
    my $message = '"' . 'x' x 128 . '"';
    for (1 .. 31) {
        is post("/echo$s/xhr_send", "[$message]")->status, 204;
        is $r->chunk, "a[$message]\n";
    }
    is $r->chunk, '', 'the response ends when it has the size that response= sets';
    is $r->rest, '', 'the connection ends with the response';
    is post("/echo$s/xhr_send", '["on"]')->status, 204, 'the session continues after the response';
    is post("/echo$s/xhr")->body, qq(a["on"]\n);
};

subtest 'Streaming to HTTP/1.0 has no chunks' => sub {
    my $r = ask('POST', '/close' . SockJS::session() . '/xhr_streaming', body => '', http => '1.0');
    is $r->header('Transfer-Encoding'), undef;
    is $r->header('Content-Length'), undef;
    is $r->rest, 'h' x 2048 . qq(\no\nc[3000,"Go away!"]\n);
};

subtest 'eventsource' => sub {
    my $s = SockJS::session();
    my $r = ask('GET', "/echo$s/eventsource");
    is type_of($r), 'text/event-stream;charset=UTF-8';
    is_not_cached($r, 'an event stream');
    is $r->chunk, "\r\n";
    is $r->chunk, "data: o\r\n\r\n";
    is post("/echo$s/xhr_send", '["  \\u0000\\n\\r "]')->status, 204;
    is $r->chunk, qq(data: a["  \\u0000\\n\\r "]\r\n\r\n);
    my $long = 'x' x 4096;
    is post("/echo$s/xhr_send", qq(["$long"]))->status, 204;
    is $r->chunk, qq(data: a["$long"]\r\n\r\n);
    is $r->chunk, '';
    is_wrong_method(post("/echo$s/eventsource"), 'POST');
};

subtest 'htmlfile' => sub {
    my $s = SockJS::session();
    my $r = ask('GET', "/echo$s/htmlfile?c=%63allback");
    is type_of($r), 'text/html;charset=UTF-8';
    is_not_cached($r, 'a page');
    my $head = $r->chunk;
    cmp_ok length $head, '>', 1024;
    like $head, qr/var c = parent\.callback;\n    c\.start\(\);\n    function p\(d\) \{c\.message\(d\);\};/;
    is $r->chunk, qq(<script>\np("o");\n</script>\r\n);
    is post("/echo$s/xhr_send", '["x"]')->status, 204;
    is $r->chunk, qq(<script>\np("a[\\"x\\"]");\n</script>\r\n);
    is post("/echo$s/xhr_send", '["</script><b>"]')->status, 204;
    is $r->chunk, qq(<script>\np("a[\\"\\u003c/script>\\u003cb>\\"]");\n</script>\r\n), 'a message cannot end the script element';
};

subtest 'Callbacks are checked' => sub {
    for my $transport (qw(htmlfile jsonp)) {
        my $r = ask('GET', "/echo/a/a/$transport");
        is $r->status, 500;
        like $r->body, qr/"callback" parameter required/;
        for ('%20', '*', 'abc(', 'abc%28', 'a' x 200, '%3Cscript%3E', 'a%00b') {
            $r = ask('GET', "/echo/a/a/$transport?c=$_");
            is $r->status, 500, "$transport: $_";
            like $r->body, qr/invalid "callback" parameter/;
        }
    }
};

subtest 'jsonp' => sub {
    my %form = (headers => { 'Content-Type' => 'application/x-www-form-urlencoded' });
    my $s = SockJS::session();
    my $r = ask('GET', "/echo$s/jsonp?c=%63allback");
    is type_of($r), 'application/javascript;charset=UTF-8';
    is_not_cached($r, 'a poll');
    is $r->body, qq(callback("o");\r\n);
    $r = post("/echo$s/jsonp_send", 'd=%5B%22x%22%5D', %form);
    is $r->status, 200;
    is $r->body, 'ok';
    is type_of($r), 'text/plain;charset=UTF-8';
    is ask('GET', "/echo$s/jsonp?c=x")->body, qq(x("a[\\"x\\"]");\r\n);
    is post("/echo$s/jsonp_send", '["%61bc"]', headers => { 'Content-Type' => 'text/plain' })->body, 'ok';
    is ask('GET', "/echo$s/jsonp?c=x")->body, qq(x("a[\\"%61bc\\"]");\r\n);
    $r = post("/echo$s/jsonp_send", 'd=%5B%22x', %form);
    is $r->status, 500;
    like $r->body, qr/Broken JSON encoding\./;
    for ('', 'd=', 'p=p') {
        $r = post("/echo$s/jsonp_send", $_, %form);
        is $r->status, 500, "body \"$_\"";
        like $r->body, qr/Payload expected\./;
    }
    is post("/echo$s/jsonp_send", 'd=%5B%5D', %form)->body, 'ok';
    $s = SockJS::session();
    is ask('GET', "/close$s/jsonp?c=x")->body, qq(x("o");\r\n);
    is ask('GET', "/close$s/jsonp?c=x")->body, qq(x("c[3000,\\"Go away!\\"]");\r\n) for 1, 2;
};

subtest 'With cookie=on, answers set JSESSIONID' => sub {
    my $is_cookie = sub {
        my ($r, $value, $what) = @_;
        like $r->header('Set-Cookie'), qr{^JSESSIONID=\Q$value\E; [Pp]ath=/}, $what;
        $r->close;
    };
    is ask('GET', '/cookie_needed_echo/info')->header('Set-Cookie'), undef;
    my $at = sub { '/cookie_needed_echo' . SockJS::session() . "/$_[0]" };
    $is_cookie->(post($at->('xhr')), 'dummy', 'xhr');
    $is_cookie->(post($at->('xhr'), '', headers => { Cookie => 'a=b; JSESSIONID=abcdef' }), 'abcdef', 'the value that the client sent is kept');
    $is_cookie->(post($at->('xhr'), '', headers => { Cookie => 'JSESSIONID=a,b' }), 'dummy', 'a value with a comma is replaced');
    $is_cookie->(post($at->('xhr_streaming')), 'dummy', 'xhr_streaming');
    $is_cookie->(ask('GET', $at->('eventsource')), 'dummy', 'eventsource');
    $is_cookie->(ask('GET', $at->('htmlfile?c=x')), 'dummy', 'htmlfile');
    $is_cookie->(ask('GET', $at->('jsonp?c=x')), 'dummy', 'jsonp');
    is post('/echo' . SockJS::session() . '/xhr')->header('Set-Cookie'), undef;
};

subtest 'Characters that browsers change are escaped, and all escapes are read' => sub {
    my $s = SockJS::session();
    is post("/echo$s/xhr")->body, "o\n";
    my @codes = (0x200c .. 0x200f, 0x2028 .. 0x202f, 0x2060 .. 0x206f, 0xfff0 .. 0xffff);
    my $text = join '', map { chr } @codes;
    utf8::encode(my $bytes = $text);
    is post("/echo$s/xhr_send", qq(["$bytes"]))->status, 204;
    is post("/echo$s/xhr")->body, 'a["' . join('', map { sprintf '\\u%04x', $_ } @codes) . qq("]\n);
    utf8::encode(my $plain = join '', map { chr } 0x80, 0xff, 0x7ff, 0x800, 0x200b, 0x2010, 0x2027, 0x2030, 0x205f, 0x2070, 0xffef, 0x10000, 0x10ffff);
    is post("/echo$s/xhr_send", qq(["$plain"]))->status, 204;
    is post("/echo$s/xhr")->body, qq(a["$plain"]\n), 'characters next to these ranges are not escaped';
    is post("/echo$s/xhr_send", '["\\u0041\\ud83d\\ude00\\/\\b\\f\\t\\\\\\"\\u0000"]')->status, 204;
    is post("/echo$s/xhr")->body, qq(a["A\xf0\x9f\x98\x80/\\b\\f\\t\\\\\\"\\u0000"]\n);
    is post("/echo$s/xhr_send", '["\\ud800","\\udc00x","\\ud800\\u0041"]')->status, 204;
    is post("/echo$s/xhr")->body, 'a["\\ufffd","\\ufffdx","\\ufffdA"]' . "\n", 'half of a surrogate pair becomes U+FFFD';
};

subtest 'Text that is not UTF-8 ends the session' => sub {
    my $s = SockJS::session();
    is post("/echo$s/xhr")->body, "o\n";
    is post("/echo$s/xhr_send", qq(["\xff"]))->status, 204;
    like post("/echo$s/xhr")->body, qr/^c\[1007,/;
};

subtest 'A long message arrives in one frame' => sub {
    my $s = SockJS::session();
    is post("/amplify$s/xhr")->body, "o\n";
    is post("/amplify$s/xhr_send", '["18"]')->status, 204;
    is post("/amplify$s/xhr")->body, 'a["' . 'x' x (1 << 18) . qq("]\n);
    my $long = "\xe2\x80\xa8" x 100_000;    # reads may end inside of a character
    $s = SockJS::session();
    is post("/echo$s/xhr")->body, "o\n";
    is post("/echo$s/xhr_send", qq(["$long"]))->status, 204;
    is post("/echo$s/xhr")->body, 'a["' . '\\u2028' x 100_000 . qq("]\n);
};

subtest 'Binary messages are closed with 1003' => sub {
    my $s = SockJS::session();
    is post("/binary$s/xhr")->body, "o\n";
    is post("/binary$s/xhr")->body, qq(c[1003,"SockJS has no binary messages"]\n);
    $httpd->wait_log(qr/service binary: closed with 1003/);
};

subtest 'When a handler pauses, the answers to further sends wait' => sub {
    my $s = SockJS::session();
    my $r = ask('POST', "/pause$s/xhr_streaming", body => '');
    $r->chunk;
    is $r->chunk, "o\n";
    my $long = 'y' x 200_000;
    my $got  = '';
    for (1 .. 3) {
        is post("/pause$s/xhr_send", qq(["$long"]))->status, 204;
        if ($_ == 1) {
            $got .= $r->chunk while $got !~ /\]\n\z/;
        }
    }
    ok $got eq qq(a["$long"]\n), 'no data of the paused handler is lost';
    $s = SockJS::session();
    is post("/pause$s/xhr")->body, "o\n";
    $r = post("/pause$s/jsonp_send", qq(["$long"]));
    is $r->status . $r->body, '200ok', 'jsonp_send';
    is type_of($r), 'text/plain;charset=UTF-8';
    ok post("/pause$s/xhr")->body eq qq(a["$long"]\n), 'no data of jsonp_send is lost';
};

subtest 'When a handler reads nothing, sends do not occupy threads for long' => sub {
    my $body = '["' . 'y' x 400_000 . '"]';
    my $send = "jsonp_send HTTP/1.1\r\nHost: localhost\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
    for my $path ('/stop', '/stop/relayed') {
        my $s = SockJS::session();
        is post("$path$s/xhr")->body, "o\n";
        my @sends = map { SockJS->new(port => $port) } 1, 2;
        $_->{socket}->syswrite("POST $path$s/$send") for @sends;
        # One of them waits, and the other one is then answered at once.
        ok(IO::Select->new(map { $_->{socket} } @sends)->can_read($Httpd::DEADLINE), "$path: the second send is answered");
        ok(Httpd::wait_for(sub { ($httpd->busy_workers // 99) <= 1 }, 'the thread to be free again'), "$path: no thread waits for the handler any more");
        next if $path !~ /relayed/;
        like($_->read_until(qr/\r\n\r\nok/), qr{^HTTP/1\.1 200 }, "$path: the send is answered, because its message was accepted") for @sends;
    }
};

subtest 'Heartbeats' => sub {
    my $s = SockJS::session();
    my $r = ask('POST', "/beat$s/xhr_streaming", body => '');
    $r->chunk;
    is $r->chunk, "o\n";
    is $r->chunk, "h\n" for 1, 2;
    $r->close;
    $s = SockJS::session();
    is post("/beat$s/xhr")->body, "o\n";
    is post("/beat$s/xhr")->body, "h\n", 'a poll is answered with a heartbeat, too';
};

subtest 'Sessions and bodies are bounded' => sub {
    my $s = SockJS::session();
    is post("/few$s/xhr")->body, "o\n";
    my $full = 0;
    $full += post('/few' . SockJS::session() . '/xhr')->status == 503 for 1 .. 40;
    ok $full, 'a session above the limit of a Location is refused with 503' if $Httpd::MPM ne 'prefork' || $full;
    is post("/few$s/xhr_send", '["' . 'x' x 2000 . '"]')->status, 413, 'a body above the message limit is refused with 413';
};

subtest 'Requests from pages of other origins are refused' => sub {
    my $s = SockJS::session();
    my %from = (headers => { Origin => 'http://evil.example' });
    is ask('GET', '/same/info', %from)->status, 403, '/info';
    is post("/same$s/$_", '', %from)->status, 403, $_ for qw(xhr xhr_streaming xhr_send);
    is ask('GET', "/same$s/eventsource", %from)->status, 403, 'eventsource';
    for my $t (qw(jsonp htmlfile)) {
        is ask('GET', "/same$s/$t?c=x")->status, 403, "$t without Origin and Referer is refused";
        is ask('GET', "/same$s/$t?c=x", headers => { Referer => 'http://evil.example/x' })->status, 403, "$t from a page of another site is refused";
        is ask('GET', '/same' . SockJS::session() . "/$t?c=x", headers => { Referer => "http://127.0.0.1:$port/page.html" })->status, 200,
            "$t from a page of this server is accepted";
    }
    is post("/same$s/xhr", '', headers => { Origin => "http://127.0.0.1:$port" })->body, "o\n", 'a poll from a page of this server is accepted';
};

subtest 'Headers of other modules are sent' => sub {
    is post("/$_" . SockJS::session() . '/xhr')->header('X-Mark'), 'there', $_ for qw(same relayed);
};

subtest 'Relayed requests are answered, too' => sub {
    my $s = SockJS::session();
    is post("/relayed$s/xhr")->body, "o\n";
    is post("/relayed$s/xhr_send", '["x","y"]')->status, 204;
    is post("/relayed$s/xhr")->body, qq(a["x","y"]\n);
    my $r = ask('GET', "/relayed$s/eventsource");
    is $r->chunk, "\r\n";
    is post("/relayed$s/xhr_send", '["z"]')->status, 204;
    is $r->chunk, qq(data: a["z"]\r\n\r\n);
};

subtest 'A WebSocket carries SockJS frames' => sub {
    my $c = Client->new($httpd, '/echo' . SockJS::session() . '/websocket');
    is(($c->message)[1], 'o');
    $c->text($_) for '', '[]', '["a"]';
    is(($c->message)[1], 'a["a"]', 'an empty message and an empty array are ignored');
    $c->text('["b","c"]');
    my $got = ($c->message)[1];
    $got .= ($c->message)[1] if $got !~ /c/;
    is $got =~ s/\]a\[/,/r, 'a["b","c"]', 'two messages in one frame are echoed';
    $c->text('"d"');
    is(($c->message)[1], 'a["d"]', 'a message without an array is echoed');
    my $long = 'x' x 300_000;
    $c->text(qq(["$long"]));
    ok(($c->message)[1] eq qq(a["$long"]), 'a long message is echoed');
    $c->close(4321, 'enough');
    $c->expect_close(4321);
    $httpd->wait_log(qr{/echo, connection \w+: end, code 4321});

    $c = Client->new($httpd, '/close' . SockJS::session() . '/websocket');
    is(($c->message)[1], 'o');
    is(($c->message)[1], 'c[3000,"Go away!"]', "the handler's close is sent as a frame");
    $c->expect_close(3000);

    for (['["a', 1007], ['{}', 1007]) {
        $c = Client->new($httpd, '/echo' . SockJS::session() . '/websocket');
        $c->message;
        $c->text($_->[0]);
        $c->expect_close($_->[1]);
    }
    $c = Client->new($httpd, '/echo' . SockJS::session() . '/websocket');
    $c->message;
    $c->binary('["a"]');
    $c->expect_close(1003);

    $c = Client->new($httpd, '/binary' . SockJS::session() . '/websocket');
    is(($c->message)[1], 'o');
    is(($c->message)[1], 'c[1003,"SockJS has no binary messages"]');
    $c->expect_close(1003);

    $c = Client->new($httpd, '/transport' . SockJS::session() . '/websocket');
    is(($c->message)[1], 'o');
    is(($c->message)[1], 'a["sockjs-websocket"]');
    my $two = Client->new($httpd, '/echo/000/same/websocket');
    my $one = Client->new($httpd, '/echo/000/same/websocket');
    is(($_->message)[1], 'o', 'a second WebSocket with the same session id is a new session') for $one, $two;
};

subtest 'A WebSocket of version 76 works, whose 101 precedes the last bytes of the handshake' => sub {
    my $path = '/old' . SockJS::session() . '/websocket';
    my $host = "127.0.0.1:$port";
    my $r    = ask('GET', $path, headers => {
        Connection => 'Upgrade', Upgrade => 'WebSocket', Origin => "http://$host",
        'Sec-WebSocket-Key1' => '1 2345 6 78', 'Sec-WebSocket-Key2' => '9 8 7654320',
    });
    is $r->status, 101;
    is $r->header('Sec-WebSocket-Location'), "ws://$host$path";
    is $r->header('Sec-WebSocket-Origin'), "http://$host";
    is $r->header('Content-Length'), undef;
    $r->{socket}->syswrite('abcdefgh');
    is $r->read_bytes(16), md5(pack('NN', 12345678 / 3, 987654320 / 2) . 'abcdefgh'), 'the server answers both keys';
    is $r->read_until(qr/\xff/), "\0o\xff", 'the session opens';
    $r->{socket}->syswrite("\0[\"a\"]\xff");
    is $r->read_until(qr/\xff/), qq(\0a["a"]\xff), 'a message is echoed';
};

subtest 'A raw WebSocket has no SockJS frames' => sub {
    my $c = Client->new($httpd, '/echo/websocket');
    $c->echoes('Hello!', 'a raw WebSocket echoes');
    $c = Client->new($httpd, '/transport/websocket');
    is(($c->message)[1], 'websocket', 'the transport of a raw WebSocket is websocket');
    $c = Client->new($httpd, '/close/websocket');
    $c->expect_close(3000, 'Go away!');
};

subtest 'A WebSocket URL refuses requests without a handshake' => sub {
    my $r = ask('GET', '/echo/0/0/websocket');
    is $r->status, 400;
    like $r->body, qr/Can "Upgrade" only to "WebSocket"\./;
    is ask('GET', '/echo/0/0/websocket', headers => { Upgrade => 'WebSocket', Connection => 'close' })->status, 400;
    is_wrong_method(post('/echo/0/0/websocket'), 'POST');
    is_wrong_method(post('/echo/0/0/websocket', '', headers => { Upgrade => 'WebSocket', Connection => 'Upgrade' }), 'POST with the headers');
    is ask('GET', '/disabled_websocket_echo/0/0/websocket')->status, 404;
    is ask('GET', '/disabled_websocket_echo/websocket')->status, 404;
};

subtest 'The handler and the status page get the transport' => sub {
    my %carrier = (xhr => 'xhr', xhr_streaming => 'xhr-streaming', eventsource => 'eventsource', 'htmlfile?c=x' => 'htmlfile', 'jsonp?c=x' => 'jsonp');
    for my $t (sort keys %carrier) {
        my $s = SockJS::session();
        my $r = ask($t =~ /^xhr/ ? 'POST' : 'GET', "/transport$s/$t", body => '');
        if ($t =~ /^(?:xhr|jsonp.*)$/) {
            $r->body;
            $r = ask($t =~ /^xhr/ ? 'POST' : 'GET', "/transport$s/$t", body => '');
        }
        like $r->read_until(qr/\Q$carrier{$t}\E\\?"\]/) // '', qr/a\[/, $t;
        $r->close;
    }
};

subtest 'With a bus, a session belongs to one machine, and others answer 404' => sub {
    plan skip_all => 'the module was built without hiredis' if !-e "$Httpd::BUILD/mod_websocket_redis.so";
    my $redis = Redis->start;
    my $bus   = "LoadModule websocket_redis_module $Httpd::BUILD/mod_websocket_redis.so\nWebSocketBus redis://127.0.0.1:" . $redis->port . "\n";
    my ($here, $there) = map { Httpd->start(conf => $bus . SockJS::services()) } 1, 2;
    my $s     = SockJS::session();
    my $send  = sub { SockJS->new(port => $_[0]->port)->ask('POST', "/echo$s/$_[1]", body => $_[2] // '') };
    is $send->($here, 'xhr')->body, "o\n", 'a session is opened on the first machine';
    is $send->($there, $_, '["x"]')->status, 404, "$_ on the second machine is not found" for qw(xhr_send jsonp_send);
    is $send->($here, 'xhr_send', '["x"]')->status, 204, 'the session continues on the first machine';
};

done_testing;
