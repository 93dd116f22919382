# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests ws_http, the handler for applications behind HTTP: the requests to the application and their user, valid and invalid
# answers, order, load, and the end of connections. Also tests that no client can forge the server's requests. The
# applications are CGI programs in Perl and Python, PHP with php-fpm, and the test's own servers.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(sleep);
use Httpd;
use Client qw(TEXT BINARY CLOSE);
use Program;

plan skip_all => 'the module was built without libcurl' if !-e "$Httpd::BUILD/websocket/ws_http.so";

my $cgi = $Httpd::MPM eq 'prefork' ? 'cgi' : 'cgid';
my $fpm_program = (grep {-x} glob '/usr/sbin/php-fpm*')[0];
my $dir = Httpd::folder();
chmod 0777, $dir;

sub script {
    my ($name, $text) = @_;
    Httpd::write_file("$dir/$name", $text);
    chmod 0755, "$dir/$name";
}
script($_, Httpd::read_file("$Httpd::TOP/docs/examples/$_")) for qw(chat.pl chat.py chat.php);

# The application obeys the text of the message, and records its requests.
script('app.pl', <<"END");
#!/usr/bin/perl
use strict; use warnings; \$| = 1;
read STDIN, my \$body, \$ENV{CONTENT_LENGTH} || 0;
my %f;
for (split /&/, \$body) { my (\$n, \$v) = map { s/%(..)/chr hex \$1/ger } split /=/, \$_, 2; push \@{\$f{\$n}}, \$v }
my \@data = \@{\$f{'data[]'} || []};
open my \$log, '>>', "$dir/log";
syswrite \$log, join(' ', \$f{id}[0], \$f{event}[0], \$f{code}[0] // '', \$f{reason}[0] // '', \@data) . "\\n";
my \$do = \$f{event}[0] eq 'open' ? (\$ENV{QUERY_STRING} =~ s/%(..)/chr hex \$1/ger) : \$data[0] // '';
if (\$do =~ /^answer (.*)/s) { print eval qq("\$1") }
elsif (\$do =~ /^env (\\w+)/) { print "Content-Type: text/plain\\n\\n\$1=", \$ENV{\$1} // 'none' }
elsif (\$do =~ /^connection/) { print "Content-Type: text/plain\\n\\n\$f{connection}[0]" }
elsif (\$do =~ /^state/)  { print "Content-Type: text/plain\\nWebSocket-State: \$f{state}[0]+\\n\\nstate \$f{state}[0]" }
elsif (\$do =~ /^hold (.*)/) { open my \$there, '>', "\$1.there"; sleep 1 until -e \$1; print "Content-Type: text/plain\\n\\nheld" }
elsif (\$do =~ /^endless/) { print "Content-Type: text/plain\\n\\n"; print 'x' x 4096 while !-e "$dir/over" }
elsif (\$do =~ /^slow/)   { print "X-A: b\\n"; sleep 1 until -e "$dir/over" }
elsif (\$f{event}[0] eq 'message') { print "Content-Type: text/plain\\n\\n", join '|', map { my \$t = \$f{'type[]'}[\$_]; "\$t " . (\$t eq 'binary' ? unpack 'H*', \$data[\$_] : \$data[\$_]) } 0 .. \$#data }
else { print "Status: 204\\n\\n" }
END
sub told { return Httpd::read_file("$dir/log") }

my $short = Patience::stretch('2s');
my $fpm_socket = "$dir/fpm.sock";
my $gone = Httpd::free_port();
my $httpd = Httpd->start(
    files   => { passwords => "alice:" . crypt('secret', 'ab') . "\n" },
    modules => [$cgi, 'proxy', 'proxy_fcgi'],
    conf    => <<"END");
@{[$cgi eq 'cgid' ? "ScriptSock $dir/cgid.sock" : '']}
WebSocketOrigin any
ScriptAlias /cgi/ $dir/
Alias /php/ $dir/
<Directory $dir>
    Require all granted
</Directory>
<Location /php>
    SetHandler "proxy:unix:$fpm_socket|fcgi://localhost"
</Location>
<Location /app>
    WebSocketHandler ws_http.so to=/cgi/app.pl longest=64K timeout=$short
</Location>
<Location /control>
    SetHandler websocket-control
    Require local
</Location>
<Location /patient>
    WebSocketHandler ws_http.so to=/cgi/app.pl
    SSLOptions +StdEnvVars
</Location>
<Location /narrow>
    WebSocketHandler ws_http.so to=/cgi/app.pl concurrency=1 queue=1
</Location>
<Location /secret>
    WebSocketHandler ws_http.so to=/cgi/app.pl
    AuthType Basic
    AuthName secret
    AuthUserFile passwords
    Require user alice
</Location>
<Location /guarded>
    WebSocketHandler ws_http.so to=/cgi/app.pl/guarded
</Location>
<Location /cgi/app.pl/guarded>
    Require env WEBSOCKET
</Location>
<Location /perl>
    WebSocketHandler ws_http.so to=/cgi/chat.pl
</Location>
<Location /python>
    WebSocketHandler ws_http.so to=/cgi/chat.py
</Location>
<Location /chat>
    WebSocketHandler ws_http.so to=/php/chat.php
</Location>
<Location /gone>
    WebSocketHandler ws_http.so to=http://127.0.0.1:$gone/ retry=10min
</Location>
END

sub asks {
    my ($c, $text) = @_;
    $c->text($text);
    return scalar(($c->frame)[1]);
}

# ---- The requests to the application, and their user ----

{
    my $c = Client->new($httpd, '/app?a=b', headers => ['Cookie: c=d']);
    is(asks($c, 'hello'), 'text hello', 'a message causes a request, and the body is the answer');
    is(asks($c, 'env QUERY_STRING'), 'QUERY_STRING=a=b', 'the application gets the query string');
    is(asks($c, 'env HTTP_COOKIE'), 'HTTP_COOKIE=c=d', 'the application gets cookies');
    is(asks($c, 'env WEBSOCKET'), 'WEBSOCKET=1', 'the application gets WEBSOCKET=1');
    is(asks($c, 'env HTTP_WEBSOCKET_LOOPBACK'), 'HTTP_WEBSOCKET_LOOPBACK=none', "the application does not get the server's credential");
    is(asks($c, 'env REMOTE_ADDR'), 'REMOTE_ADDR=127.0.0.1', "the application gets the client's address");
    is(asks($c, 'env REMOTE_USER'), 'REMOTE_USER=none', 'without authentication, the application gets no user');
    is(asks($c, 'state'), 'state ', 'the first request has no state');
    is(asks($c, 'state'), 'state +', 'the next request has the state of the last answer');
    my $bytes = join '', map {chr} 0 .. 255;
    $c->binary($bytes);
    is(($c->frame)[1], 'binary ' . unpack('H*', $bytes), 'all bytes of a binary message arrive');
    $c->close(4001, 'so long');
    Httpd::wait_for(sub { told() =~ /close 4001 so long/ }, 'the application gets the close event');
    pass("the close event has the client's code and reason");
}
{
    my $c = Client->new($httpd, '/app', from => '127.0.0.9');
    is(asks($c, 'env REMOTE_ADDR'), 'REMOTE_ADDR=127.0.0.9', 'the application gets the address of another client');
}
{
    my $c = Client->new($httpd, '/secret', headers => ['Authorization: Basic YWxpY2U6c2VjcmV0']);
    is(asks($c, 'env REMOTE_USER'), 'REMOTE_USER=alice', 'the application gets the authenticated user');
    is((Client->refused($httpd, '/secret'))[0], 401, 'a client that httpd refuses causes no request');
}
{
    my $c = Client->new($httpd, '/patient', tls => 1);
    is(asks($c, 'env HTTPS'), 'HTTPS=on', 'the application gets HTTPS=on');
    like(asks($c, 'env SSL_PROTOCOL'), qr/=TLSv1/, 'the application gets TLS variables');
}

{
    my $c  = Client->new($httpd, '/app');
    my $id = asks($c, 'connection');
    like($id, qr/\A[0-9a-f]{16}\z/, 'the application gets the id of the connection');
    my ($status) = $httpd->request('POST', "/control/connections/$id", 'Content-Type: text/plain', 'Content-Length: 5', '', 'later');
    is($status, 200, 'with this id, the application can send to the connection');
    is(($c->message)[1], 'later', 'the client receives the message that the application has sent with this id');
}

# ---- Forged requests ----

{
    my $c = Client->new($httpd, '/guarded');
    is(asks($c, 'hello'), 'text hello', 'Require env WEBSOCKET permits events');
    is(($httpd->get('/cgi/app.pl/guarded'))[0], 403, 'Require env WEBSOCKET refuses requests of clients');
    is(($httpd->request('GET', '/cgi/app.pl', "WebSocket-Loopback: $_"))[0], 403, 'a forged credential is refused')
        for '', 'x', '0' x 64, '0' x 64 . 'aXAAMTI3LjAuMC4xAA==', 'f' x 6000;
    like($httpd->wait_log(qr/refused with 403: the header WebSocket-Loopback/), qr/refused/, 'a forged credential is logged');
}

# ---- Answers ----

for (
    ['no body',        'answer Content-Type: text/plain\n\n',                      undef],
    ['204',            'answer Status: 204\n\n',                                   undef],
    ['binary',         'answer Content-Type: application/octet-stream\n\nab\0c',   undef, BINARY, "ab\0c"],
    ['500',            'answer Status: 500\n\n',                                   1011],
    ['404',            'answer Status: 404\n\n',                                   1008],
    ['503',            'answer Status: 503\n\n',                                   1013],
    ['a redirect',     'answer Status: 302\nLocation: http://localhost/\n\n',      1011],
    ['wrong type',     'answer Content-Type: image/png\n\nx',                      1011],
    ['no UTF-8',       'answer Content-Type: text/plain\n\n\xff',                  1011],
    ['a wrong code',   'answer Content-Type: text/plain\nWebSocket-Close: 1005\n\n', 1011],
    map({ ["the close code \"$_\"", "answer Content-Type: text/plain\\nWebSocket-Close: $_\\n\\n", 1011] }
        '+1000', '-1000', '0x3e8', '1000x', '1000;', '1000.0', '4294968296', '18446744073709552616', 'done'),
    ['no channel',     'answer Content-Type: text/plain\nWebSocket-Subscribe: a*b\n\n', 1011],
    ['no headers',     'answer nonsense',                                          1011],
    ['an endless body', 'endless',                                                 1011],
    ['slow headers',   'slow',                                                     1013],
    ['a close',        'answer Content-Type: text/plain\nWebSocket-Close: 4000 enough\n\n', 4000])
{
    my ($name, $text, $code, $type, $body) = @$_;
    my $c = Client->new($httpd, '/app');
    $c->text($text);
    if ($code) {
        my ($opcode, $payload) = $c->frame;
        is($opcode == CLOSE ? unpack('n', $payload) : "opcode $opcode", $code, "$name: closed with $code");
        next;
    }
    is_deeply([($c->frame)[0, 1]], [$type, $body], "$name: the client gets the message") if $type;
    is(asks($c, 'after'), 'text after', "$name: the connection stays open");
}

# ---- Channels ----

{
    my ($one, $two) = map { Client->new($httpd, '/app?answer%20WebSocket-Subscribe:%20room\nContent-Type:%20text/plain\n\nwelcome') } 1, 2;
    is(($_->frame)[1], 'welcome', 'the body of the answer to the open event is sent to the client') for $one, $two;
    $one->text('answer Content-Type: text/plain\nWebSocket-Publish: room\nWebSocket-Framing: line\n\none\ntwo\n');
    for my $c ($one, $two) {
        is(($c->frame)[1], $_, "a published line arrives: $_") for qw(one two);
    }
    is(asks($two, 'answer Content-Type: text/plain\nWebSocket-Unsubscribe: room\n\nout'), 'out', 'a connection unsubscribes');
    $one->text('answer Content-Type: text/plain\nWebSocket-Publish: room\n\nthree');
    is(($one->frame)[1], 'three', 'a message published later reaches the remaining subscriber');
    is(asks($two, 'x'), 'text x', 'a message published later does not reach the connection that unsubscribed');
}

# ---- The handshake ----

{
    my ($status, $c) = Client->refused($httpd, '/app?answer%20Status:%20451\nContent-Type:%20text/plain\n\nnot%20<here>');
    is($status, 451, 'the open event refuses with a status');
    Httpd::wait_for(sub { $c->{in} =~ /&lt;here&gt;/ || !$c->fill }, 'the body');
    like($c->{in}, qr/not &lt;here&gt;/, 'the open event refuses with a body');
    $c = Client->new($httpd, '/app?answer%20Status:%20204\nSet-Cookie:%20a=b\nSet-Cookie:%20c=d\nWebSocket-Protocol:%20two\n\n',
        protocol => 'one, two');
    is_deeply([$c->header('Set-Cookie')], ['a=b', 'c=d'], 'the answer to the open event sets cookies');
    is($c->header('Sec-WebSocket-Protocol'), 'two', 'the answer to the open event chooses the subprotocol');
    is((Client->refused($httpd, '/app?answer%20Status:%20500\n\n'))[0], 500, 'an open event that fails refuses the handshake with 500');
}

# ---- Order and load ----

{
    my $c = Client->new($httpd, '/patient');
    $c->text("hold $dir/held");
    Httpd::wait_for(sub { -e "$dir/held.there" }, 'the request');
    $c->text($_) for 'a' .. 'c';
    $c->send(9, 'read?');
    my ($opcode) = $c->frame;
    is($opcode, 10, 'a ping is answered while a request is in progress');
    Httpd::write_file("$dir/held", '');
    is(($c->frame)[1], 'held', 'the first request is answered');
    is(($c->frame)[1], 'text a|text b|text c', 'messages that arrived during the request are combined, in order');
}
SKIP: {
    skip 'each connection may be in another child', 3 if $Httpd::MPM eq 'prefork';
    my ($one, $two, $three) = map { Client->new($httpd, '/narrow') } 1 .. 3;
    $one->text("hold $dir/narrow");
    Httpd::wait_for(sub { -e "$dir/narrow.there" }, 'the request');
    $two->text('two');
    $two->send(9, 'read?');
    is(($two->frame)[0], 10, "a ping is answered while a connection's request waits");
    $three->text('three');
    my (undef, $payload) = $three->frame;
    is(unpack('n', $payload), 1013, 'when concurrency= and queue= are used up, another connection is closed with 1013');
    Httpd::write_file("$dir/narrow", '');
    is(($two->frame)[1], 'text two', 'the waiting request is sent when the first one has ended');
}
{
    my $c = Client->new($httpd, '/patient');
    $c->text("hold $dir/last");
    Httpd::wait_for(sub { -e "$dir/last.there" }, 'the request');
    $c->text('final words');
    $c->close(4002, 'off');
    is(($c->frame)[0], CLOSE, "the client's Close frame is answered while a request is in progress");
    unlike(told(), qr/ final words| close 4002/, 'the application gets no second request while the first is in progress');
    Httpd::write_file("$dir/last", '');
    Httpd::wait_for(sub { told() =~ /(\w+) message .*final words\n(?s:.*)\1 close 4002 off/ }, 'the last messages and the close event');
    pass('messages that arrived before the client closed are sent before the close event');
}

# ---- The application is down ----

SKIP: {
    my $status;
    Httpd::wait_for(sub { ($status) = Client->refused($httpd, '/gone'); $status == 503 }, 'the circuit breaker', sub {$status});
    pass('while the application is down, handshakes are refused with 503');
    my ($again, $c) = Client->refused($httpd, '/gone');
    skip 'another child', 1 if $again != 503;
    is($c->header('Retry-After'), 600, 'the 503 has Retry-After');
}

# ---- Reload ----

{
    my $c = Client->new($httpd, '/patient');
    $c->text("hold $dir/reload");
    Httpd::wait_for(sub { -e "$dir/reload.there" }, 'the request');
    $httpd->graceful;
    Httpd::write_file("$dir/reload", '');
    is(($c->frame)[1], 'held', 'a request in progress is answered after a reload');
    $c->text('x');
    my ($opcode, $payload) = $c->frame;
    ok($opcode == CLOSE || $payload eq 'text x', 'an old child can send requests to the new ones');
}

# ---- The documents' examples ----

for my $name (qw(chat.php chat.py chat.pl)) {
    my $chat = Httpd::read_file("$Httpd::TOP/docs/examples/$name");
    cmp_ok(index(Httpd::read_file("$Httpd::TOP/docs/applications.md"), $chat), '>', 0, "the listing $name of the page is the tested file");
    cmp_ok(scalar(() = $chat =~ /\n/g), '<=', 30, "$name has at most 30 lines");
}
for my $name (qw(perl python)) {
    my $one = Client->new($httpd, "/$name");
    like(($one->frame)[1], qr/^guest-\w{4} has come$/, "$name: the first client gets its own join message");
    my $two = Client->new($httpd, "/$name", headers => ['Authorization: x']);
    like(($_->frame)[1], qr/^guest-\w{4} has come$/, "$name: both clients are told that the second one has joined") for $one, $two;
    $one->text("\xc3\xa9 $_") for 1 .. 3;
    $one->binary('left out');
    for my $c ($one, $two) {
        like(join(' ', map { ($c->frame)[1] } 1 .. 3), qr/^(guest-\w{4}): \xc3\xa9 1 \1: \xc3\xa9 2 \1: \xc3\xa9 3$/, "$name: messages arrive in order");
    }
    $one->close(1000, '');
    like(($two->frame)[1], qr/has gone$/, "$name: the other client is told that one has left");
    is(($httpd->get('/cgi/chat.' . ($name eq 'perl' ? 'pl' : 'py')))[0], 403, "$name: a request of another client is refused");
    $two->close(1000, '');
    $two->frame;
    Httpd::wait_for(sub { !$httpd->status_value('BusyWorkers') || $httpd->status_value('BusyWorkers') == 1 }, 'the requests of both connections to end');
}

SKIP: {
    skip 'no php-fpm', 1 if !$fpm_program;
    Httpd::write_file("$dir/fpm.conf", <<"END");
[global]
error_log = $dir/fpm.log
daemonize = no
[www]
@{[$> == 0 ? "user = www-data\ngroup = www-data\nlisten.owner = www-data" : '']}
listen = $fpm_socket
pm = static
pm.max_children = 4
END
    my $fpm = Program->start($fpm_program, '-n', '-y', "$dir/fpm.conf");
    Httpd::wait_for(sub { -S $fpm_socket }, 'php-fpm');
    my $one = Client->new($httpd, '/chat');
    like(($one->frame)[1], qr/^guest-\w{4} has come$/, 'PHP: the first client gets its own join message');
    my $two = Client->new($httpd, '/chat');
    like(($_->frame)[1], qr/^guest-\w{4} has come$/, 'PHP: both clients are told that the second one has joined') for $one, $two;
    $one->text($_) for 'a' .. 'e';
    for my $c ($one, $two) {
        like(join(' ', map { ($c->frame)[1] } 1 .. 5), qr/: a .*: b .*: c .*: d .*: e$/, 'PHP: messages arrive in order');
    }
    $one->close(1000, '');
    like(($two->frame)[1], qr/has gone$/, 'PHP: the other client is told that one has left');

    Program::tap('npm ws', 'node', 't/clients/chat-crowd.js', Httpd::certificates() . '/ca.crt', 20, 5,
        'ws://localhost:' . $httpd->port . '/chat', 'wss://localhost:' . $httpd->ssl_port . '/chat')
        if !$ENV{WS_TEST_PRELOAD};
    # $two may still receive old events. Replace $two, so that the restarted application gets a client without them.
    $two = Client->new($httpd, '/chat');
    $two->frame;

    # Restart the application while a client is connected.
    kill 'TERM', $fpm->{pid};
    $fpm->finish;
    $two->text('now');
    my ($opcode, $payload);
    do { ($opcode, $payload) = $two->frame } until !defined $opcode || $opcode == CLOSE;
    is(unpack('n', $payload // ''), 1013, 'PHP: without php-fpm, a connection is closed with 1013');
    unlink $fpm_socket;
    $fpm = Program->start($fpm_program, '-n', '-y', "$dir/fpm.conf");
    Httpd::wait_for(sub { -S $fpm_socket }, 'php-fpm again');
    my $three;
    Httpd::wait_for(sub { $three = Client->new($httpd, '/chat', expect => 0); $three->read_answer; $three->status == 101 }, 'a handshake');
    like(($three->frame)[1], qr/has (?:come|gone)$/, 'PHP: when php-fpm runs again, handshakes are accepted');
    kill 'TERM', $fpm->{pid};
    $fpm->finish;
}

Httpd::write_file("$dir/over", ''); # the slow ones end
done_testing();
