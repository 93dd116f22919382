# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests ws_http with applications at URLs, over TCP, TLS and unix sockets: the data about the client that an application
# gets, the close codes and log lines after invalid answers, retries of the close event, the circuit breaker and the queue.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client qw(TEXT CLOSE);
use Upstream;

plan skip_all => 'the module was built without libcurl' if !-e "$Httpd::BUILD/websocket/ws_http.so";

my $dir = Httpd::folder();
chmod 0777, $dir;
my $certificates = Httpd::certificates();
# The children read the CA's certificate, and they may not be allowed to read the folder of the build.
Httpd::write_file("$dir/ca.crt", Httpd::read_file("$certificates/ca.crt"));
my $app  = Upstream->new;
my $tls  = Upstream->new(tls => $certificates);
my $unix = Upstream->new(unix => "$dir/app.sock");
my ($port, $tls_port, $gone) = ($app->port, $tls->port, Httpd::free_port());
my ($short, $patient) = (Patience::stretch('2s'), Patience::stretch('30s'));
Httpd::write_file("$dir/app.lua", <<'END');
function handle(r)
    local get, post = r:parseargs(), r:parsebody()
    r.content_type = 'text/plain'
    if post.event == 'message' then r:puts((r.subprocess_env['WEBSOCKET'] or 'no') .. ' ' .. (r.useragent_ip or '')) end
    return apache2.OK
end
END
my $httpd = Httpd->start(
    modules => ['headers', 'lua', 'proxy', 'proxy_http'],
    files => { passwords => 'alice:' . crypt('secret', 'ab') . "\n" },
    conf  => <<"END");
WebSocketOrigin any
<Location /app>
    WebSocketHandler ws_http.so to=http://127.0.0.1:$port/app?x=y longest=64K timeout=$patient
</Location>
<Location /short>
    WebSocketHandler ws_http.so to=http://127.0.0.1:$port/short timeout=$short
</Location>
<Location /user>
    WebSocketHandler ws_http.so to=http://127.0.0.1:$port/user
    AuthType Basic
    AuthName users
    AuthUserFile passwords
    Require valid-user
</Location>
<Location /unix>
    WebSocketHandler ws_http.so to=unix:$dir/app.sock|http://example.org/path
</Location>
<Location /tls>
    WebSocketHandler ws_http.so to=https://localhost:$tls_port/tls ca=$dir/ca.crt
</Location>
<Location /untrusted>
    WebSocketHandler ws_http.so to=https://localhost:$tls_port/untrusted
</Location>
<Location /down>
    WebSocketHandler ws_http.so to=http://127.0.0.1:$gone/ retry=500ms
</Location>
<Location /lua>
    WebSocketHandler ws_http.so to=/pages/app.lua
</Location>
<Location /proxied>
    WebSocketHandler ws_http.so to=/backend/page
</Location>
<Location /decoded>
    WebSocketHandler ws_http.so to=http://127.0.0.1:$port/decoded
    RequestHeader set X-Path "expr=%{REQUEST_URI}"
</Location>
<Location /decoded-page>
    WebSocketHandler ws_http.so to=/backend/page
    RequestHeader set X-Path "expr=%{REQUEST_URI}"
</Location>
ProxyPass /backend/ http://127.0.0.1:$port/
Alias /pages $dir
<Directory $dir>
    Require all granted
    AddHandler lua-script .lua
</Directory>
<Location /narrow>
    WebSocketHandler ws_http.so to=http://127.0.0.1:$port/narrow concurrency=1 queue=1
</Location>
END

# Connects a client, and accepts the handshake as the application. Returns the client, and the head of the application's first request.
sub opened {
    my ($path, $upstream, %o) = @_;
    my $c = Client->new($httpd, $path, expect => 0, %o);
    my ($s, $head) = ($upstream // $app)->next_request;
    Upstream::answer($s, '');
    $c->read_answer;
    return ($c, $head);
}

# Closes the connection, and answers the close event as the application. Returns the body of the request.
sub leave {
    my ($c, $upstream) = @_;
    $c->close(1000, '');
    my ($s, undef, $body) = ($upstream // $app)->next_request;
    Upstream::answer($s, '');
    return $body;
}

# ---- URLs ----

{
    my ($c, $head) = opened('/app?a=b', undef, from => '127.0.0.9', headers => ['X-Forwarded-For: 192.0.2.1', 'X-Remote-User: root',
        'X_Remote_User: root', 'WebSocket-State: x']);
    like($head, qr{^POST /app\?x=y&a=b HTTP/1\.1\r\nHost: 127\.0\.0\.1:$port\r\n}, 'an application at a URL over TCP gets the path of to=, and the query strings of to= and of the client');
    like($head, qr/^X-Forwarded-For: 192\.0\.2\.1, 127\.0\.0\.9\r?$/m, "the application gets the client's address in X-Forwarded-For");
    unlike($head, qr/root|WebSocket/i, 'the application gets none of the headers that the client has forged');
    is($c->status, 101, 'an application at a URL can accept the handshake');
    like(leave($c), qr/^event=close&id=\w{32}&connection=\w{16}&code=1000&reason=&state=$/, 'the application gets the close event');
    ($c, $head) = opened('/user', undef, headers => ['Authorization: Basic YWxpY2U6c2VjcmV0']);
    like($head, qr/^X-Remote-User: alice\r?$/m, 'the application gets the authenticated user in X-Remote-User');
    leave($c);
    for my $path ('/decoded', '/decoded-page') {
        ($c, $head) = opened("$path/a%20b");
        like($head, qr{^X-Path: $path/a b\r?$}m, "$path: the application gets a header that a directive has computed");
        leave($c);
        for my $bytes ('%0d%0aX-Remote-User:%20root', '%0d%0a%0d%0aDELETE%20/%20HTTP/1.1', '%0a', '%0d', '%01', '%7f') {
            $c = Client->new($httpd, "$path/a$bytes", expect => 0);
            $c->read_answer;
            is($c->status, 400, "$path: the handshake is refused if a computed header would contain $bytes");
        }
    }
    ($c, $head) = opened('/unix', $unix);
    like($head, qr{^POST /path HTTP/1\.1\r\nHost: example\.org\r\n}, 'an application at a unix socket gets the path and host of its URL');
    leave($c, $unix);
    ($c, $head) = opened('/tls', $tls);
    like($head, qr{^POST /tls HTTP/1\.1\r\n}, 'an application at a URL over TLS gets the request');
    leave($c, $tls);
    ($c, $head) = opened('/proxied');
    like($head, qr{^POST /page HTTP/1\.1\r\n}, 'an application behind mod_proxy gets the request');
    unlike($head, qr/WebSocket-Loopback/i, 'an application behind mod_proxy does not get the header WebSocket-Loopback');
    leave($c);
    $c = Client->new($httpd, '/lua', from => '127.0.0.9');
    $c->text('x');
    is(($c->frame)[1], '1 127.0.0.9', 'an application in mod_lua can answer');
    $c = Client->new($httpd, '/untrusted', expect => 0);
    ok(!$tls->next_request, 'a server whose certificate is not trusted gets no request');
    $c->read_answer;
    is($c->status, 502, 'if the certificate of a server is not trusted, the handshake is refused with 502');
    ok($httpd->wait_log(qr/application's answer to the handshake: [^\n]*certificate/i), 'the log says that the certificate is not trusted');
}

# ---- Invalid answers ----

my $descriptors = sub { Httpd::descriptors($_[0], qr/^socket:/) };
my $before;
for my $round (1 .. 2) {
    for (
        ['the end of the stream without an answer', '', 1013],
        ['an answer that is not HTTP', "hello\r\n\r\n", 1013],
        ['an answer that ends inside a header', "HTTP/1.1 200 OK\r\nContent-Ty", 1013],
        ['an answer that ends inside the body', "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nabc", 1013],
        ['an answer that ends inside a chunk', "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", 1013],
        ['a chunk without a valid length', "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab", 1013],
        ['status 500', "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", 1011],
        ['status 404', "HTTP/1.1 404 Oh\r\nContent-Length: 0\r\n\r\n", 1008],
        ['status 503', "HTTP/1.1 503 Oh\r\nContent-Length: 0\r\n\r\n", 1013],
        ['a redirect', "HTTP/1.1 302 There\r\nLocation: http://127.0.0.1:$port/\r\nContent-Length: 0\r\n\r\n", 1011],
        ['a body of a wrong type', "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 1\r\n\r\nx", 1011],
        ['text that is not UTF-8', "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\n\xff", 1011],
        ['a Content-Length that is too large', "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" . 'x' x 70000, 1011],
        ['too many headers', "HTTP/1.1 200 OK\r\n" . "X-Long: " . ('x' x 1000) . "\r\n", 1011, 'again'],
        ['an endless body', "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" . 'x' x 1000, 1011, 'again'],
        ['an endless line', 'HTTP/1.1 200 OK', 1013, 'again'],
        ['headers that arrive too slowly', "HTTP/1.1 200 OK\r\nX-A:", 1013, 'wait'],
        ['a body that arrives too slowly', "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", 1013, 'wait'])
    {
        my ($name, $bytes, $code, $how) = @$_;
        my ($c) = opened($how && $how eq 'wait' ? '/short' : '/app');
        my $logged = length $httpd->error_log;
        $c->text('x');
        my ($s) = $app->next_request;
        local $SIG{PIPE} = 'IGNORE';
        syswrite $s, $bytes;
        if ($how && $how eq 'again') {
            $s->blocking(1);
            my ($more) = $bytes =~ /(X-Long.*)/s;
            1 while defined syswrite $s, $more // 'x' x 4096;
        }
        close $s if !$how;
        my ($opcode, $payload) = $c->frame;
        is($opcode == CLOSE ? unpack('n', $payload) : "opcode $opcode", $code, "after $name, the server closes the WebSocket with $code") if $round == 1 || $opcode != CLOSE;
        Httpd::wait_for(sub { substr($httpd->error_log, $logged) =~ /http: the application's answer to a message: \S/ }, "the log line about $name");
        leave($c);
    }
    Httpd::wait_for(sub { $httpd->status_value('BusyWorkers') == 1 }, 'all requests to end');
    $before = $httpd->each_child($descriptors) if $round == 1;
}
$httpd->none_grows($before, $descriptors, 'invalid answers leave no socket open');

{
    my $c = Client->new($httpd, '/app', expect => 0);
    Upstream::answer(($app->next_request)[0], 'short and stout', undef, '418 Teapot');
    $c->read_answer;
    is($c->status, 418, 'the answer to an open event can refuse the handshake with a status for which httpd has no text');
    $c = Client->new($httpd, '/app', expect => 0);
    my ($s) = $app->next_request;
    close $s;
    ($s, undef, my $body) = $app->next_request;
    like($body, qr/event=close.*code=1006/, 'after an open event without an answer, the application gets a close event');
    Upstream::answer($s, '');
    $c->read_answer;
    is($c->status, 502, 'if an open event gets no answer, the server refuses the handshake with 502');
}

# ---- The close event is retried ----

{
    my ($c) = opened('/app');
    $c->close(4001, 'bye');
    for my $try (1 .. 4) {
        my ($s, undef, $body) = $app->next_request;
        like($body, qr/event=close.*code=4001&reason=bye/, "a close event that failed is sent again: request $try");
        $try == 1 ? close $s : Upstream::answer($s, '', undef, $try < 4 ? '500 Oh' : '200 OK');
    }
    ($c) = opened('/app');
    $c->drop;
    Upstream::answer(($app->next_request)[0], '', undef, '404 Gone');
    ok($httpd->error_log !~ /not notified of the end of/, 'if the answer to a close event has a status of 400 to 499, no failure is logged');
    ($c) = opened('/app?token=secret-token');
    $c->drop;
    close((($app->next_request)[0])) for 1 .. 4;
    ok($httpd->wait_log(qr{not notified of the end of connection \w{32}, http://127\.0\.0\.1:$port/app: }),
        'a close event that failed four times is logged without query strings');
    unlike($httpd->error_log, qr/secret-token|x=y/, 'no log line contains a query string');
}

# ---- The circuit breaker ----

SKIP: {
    skip 'with prefork, each connection may be in another child', 3 if $Httpd::MPM eq 'prefork';
    my ($status, $refused);
    Httpd::wait_for(sub { ($status, $refused) = Client->refused($httpd, '/down'); $status == 503 }, 'the circuit breaker', sub {$status});
    is($refused->header('Retry-After'), 1, 'while the application is down, handshakes are refused with 503');
    my $up = Upstream->new(port => $gone);
    my $c;
    Httpd::wait_for(
        sub {
            $c = Client->new($httpd, '/down', expect => 0);
            until (Httpd::ready($c->socket, 0, 0.05)) {
                Upstream::answer(($up->next_request)[0], '') if Httpd::ready($up->{listener}, 0, 0.05);
            }
            $c->read_answer;
            return $c->status == 101;
        },
        'another request to the application');
    pass('when the application works again, handshakes are accepted');
    $c->close(1000, '');
    my ($s, undef, $body);
    do { ($s, undef, $body) = $up->next_request; Upstream::answer($s, '') } until $body =~ /code=1000/;
    pass("when the application works again, it gets the connection's events");
}

# ---- The queue ----

SKIP: {
    skip 'with prefork, each connection may be in another child', 3 if $Httpd::MPM eq 'prefork';
    my ($one, $two, $three) = map { (opened('/narrow'))[0] } 1 .. 3;
    $one->text('one');
    my ($held) = $app->next_request;
    my ($other) = opened('/app');
    $other->text('x');
    Upstream::answer(($app->next_request)[0], 'at once');
    is(($other->frame)[1], 'at once', 'a slow application delays only the Location that uses it');
    leave($other);
    $two->text('two');
    $two->send(9, 'read?');
    is(($two->frame)[0], 10, 'a ping is answered while a connection waits for the application');
    $three->text('three');
    is(unpack('n', ($three->frame)[1]), 1013, 'when the number of waiting connections has reached queue=, another connection that sends a message is closed with 1013');
    ok($httpd->wait_log(qr/too many connections wait for the application \(queue=\)/), 'the log says that queue= is reached');
    $three->close(1013, '');
    Upstream::answer($held, 'first');
    is(($one->frame)[1], 'first', 'the first request is answered');
    my %answered;
    for (1 .. 3) {
        my ($s, undef, $body) = $app->next_request;
        $answered{ $body =~ /event=(\w+)/ ? $1 : '' }++;
        Upstream::answer($s, '');
    }
    is_deeply(\%answered, { message => 2, close => 1 }, 'after the answer to the first request, the requests of the other connections are sent');
    leave($_) for $one, $two;
}

done_testing();
