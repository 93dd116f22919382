# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# The module works together with other modules of httpd, in any order of LoadModule: mod_proxy and mod_rewrite, mod_cache,
# mod_include, and modules with output filters.

use strict;
use warnings;
use lib 't/lib';
use Socket qw(SOL_SOCKET SO_LINGER);
use File::Temp qw(tempdir);
use IO::Select;
use Test::More;
use Httpd;
use Client qw(frame_bytes TEXT);

# A folder for the files of other modules.
my $scratch = tempdir(TMPDIR => 1, CLEANUP => 1);
chmod 0777, $scratch;

my $events = "Accept: text/event-stream";

sub loads { return join "\n", map {"LoadModule ${_}_module $Httpd::MODULES/mod_$_.so"} @_ }

# Start a server. If $after is true, it loads mod_websocket after the other modules, otherwise before them.
sub server {
    my ($after, $modules, %o) = @_;
    return Httpd->start(($after ? (modules => $modules) : (load => loads(@$modules))), %o);
}

# Read from a connection until the text matches. Returns everything that was read.
sub read_until {
    my ($socket, $match) = @_;
    my $got = '';
    while ($got !~ $match) {
        IO::Select->new($socket)->can_read($Httpd::DEADLINE) or die "no $match in: $got";
        sysread $socket, $got, 65536, length $got or last;
    }
    return $got;
}

sub ask {
    my ($server, $path, @headers) = @_;
    my $socket = $server->connect;
    syswrite $socket, join "\r\n", "GET $path HTTP/1.1", 'Host: localhost', @headers, '', '';
    return $socket;
}

# ---- ProxyPass and RewriteRule ----

my $backend = Httpd->start(conf => <<'END', files => { 'htdocs/echo/index.html' => 'backend' });
RewriteEngine on
RewriteRule ^ /index.html
END
Httpd::write_file($backend->root . '/htdocs/index.html', "backend\n");
my $to = 'http://127.0.0.1:' . $backend->port;

my %proxied = (
    'ProxyPass of the server'              => ["ProxyPass / $to/",                                      ''],
    'ProxyPassMatch of the server'         => ["ProxyPassMatch ^/(.*)\$ $to/\$1",                       ''],
    'ProxyPass in the Location'            => ['',                                                      "ProxyPass $to/"],
    'RewriteRule [P] of the server'        => ["RewriteEngine on\nRewriteRule ^/(.*)\$ $to/\$1 [P]",     ''],
    'RewriteRule [P] in the Location'      => ['',                                   "RewriteEngine on\nRewriteRule .* $to/ [P]"],
    'RewriteRule [P] to a scheme that no module knows' => ["RewriteEngine on\nRewriteRule ^/(.*)\$ unknown://x/\$1 [P]", ''],
);
for my $name (sort keys %proxied) {
    my ($global, $local) = @{ $proxied{$name} };
    for my $after (1, 0) {
        my $test   = "$name, " . ($after ? 'mod_proxy is loaded first' : 'mod_websocket is loaded first');
        my $server = server($after, [qw(proxy proxy_http)], conf => <<"END");
<Location "/echo">
    WebSocketHandler ws_echo.so
    $local
</Location>
<Location "/events">
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe all
    $local
</Location>
<Location "/publish">
    WebSocketChannelHTTP publish
    WebSocketPublish all
    $local
</Location>
<Location "/page">
    $local
</Location>
$global
END
        Client->new($server, '/echo')->echoes('hello', "$test: a WebSocket echoes");
        my $stream = ask($server, '/events/news', $events);
        like(read_until($stream, qr/event: live/), qr{^HTTP/1.1 200 .*event: live}s, "$test: an event stream is served");
        like(($server->get('/events/news?wait=0'))[2], qr/"messages":\[\]/, "$test: a poll is answered");
        like(($server->request('POST', '/publish/news', 'Content-Length: 0'))[2], qr/"receivers":1/, "$test: a message is published");
        next if $name =~ /no module/;
        is(($server->get('/page'))[2], "backend\n", "$test: other pages come from the backend");
        is(($server->get('/echo'))[2], "backend\n", "$test: an ordinary request in a WebSocket Location comes from the backend") if $after;
    }
}

# ---- mod_cache ----

for my $after (1, 0) {
    for my $quick (qw(on off)) {
        my $test   = "CacheQuickHandler $quick, " . ($after ? 'mod_cache is loaded first' : 'mod_websocket is loaded first');
        my $server = server($after, [qw(cache cache_disk)], conf => <<"END", files => { 'htdocs/echo' => "a page\n" });
CacheQuickHandler $quick
CacheRoot $scratch
CacheEnable disk /echo
CacheDefaultExpire 3600
<Location "/echo">
    WebSocketHandler ws_echo.so
    Header set X-Kept "%{msec}t"
</Location>
END
        my $mark = sub {
            my ($status, $head) = $server->get('/echo');
            return ($head // '') =~ /^X-Kept: (.*)$/m ? $1 : die "$test: no X-Kept in the answer $status: ", $head // '', "\n";
        };
        my $first = $mark->();
        ok(Httpd::wait_for(sub { $mark->() eq $mark->() }, 'the cache'), "$test: the page is cached");
        Client->new($server, '/echo')->echoes('hello', "$test: a handshake is not answered with the cached page");
        is($mark->(), $mark->(), "$test: the page is still cached");
        Client->new($server, '/e%63ho')->echoes('hello', "$test: a handshake with an encoded path is not answered with the cached page");
    }
}

# ---- mod_include ----

for my $after (1, 0) {
    my $server = server($after, ['include'],
        files => { map { ("htdocs/$_.shtml" => "begin\n<!--#include virtual=\"/$_/news\" -->\nend\n") } qw(events both echo) },
        conf  => <<'END');
Options +Includes
AddOutputFilter INCLUDES .shtml
<Location "/events/">
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe all
</Location>
<Location "/both/">
    WebSocketChannelHTTP publish subscribe
    WebSocketSubscribe all
    WebSocketPublish all
</Location>
<Location "/echo/">
    WebSocketHandler ws_echo.so
</Location>
END
    my $name = $after ? 'mod_include is loaded first' : 'mod_websocket is loaded first';
    my @handshake = ('Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==');
    for (['events', $events], ['events', 'Accept: */*'], ['both', $events], ['echo', @handshake]) {
        my ($what, @headers) = @$_;
        my $socket = ask($server, "/$what.shtml", @headers);
        my $page   = read_until($socket, qr/end\n/);
        like($page, qr{\AHTTP/1.1 200 .*begin\n.*an error occurred.*\nend\n}s,
            "$name: a page that includes $what is sent completely, with an error in that place");
        syswrite $socket, "GET /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n";
        like(read_until($socket, qr/ordinary content/), qr/ordinary content/, "$name: after a page that includes $what, the connection is still open");
    }
    ok($server->count_log(qr/refused with 403: a page includes \/events\/news \(SSI\)/) == 2, "$name: the log says why an event stream is not included");
}

# ---- Output filters ----

my $session = <<'END';
Session On
SessionCookieName session path=/
SessionMaxAge 600
END
my $locations = <<'END';
<Location "/events">
    WebSocketChannelHTTP publish subscribe
    WebSocketSubscribe all
    WebSocketPublish all
</Location>
<Location "/echo">
    WebSocketHandler ws_echo.so
</Location>
END

{
    my $server = Httpd->start(
        modules => [qw(session session_cookie expires filter deflate brotli usertrack cache cache_disk)],
        conf    => <<"END");
$session
$locations
ExpiresActive on
ExpiresDefault "access plus 1 hour"
AddOutputFilterByType DEFLATE application/json text/event-stream
AddOutputFilterByType BROTLI_COMPRESS application/json
AddOutputFilterByType DEFLATE;BROTLI_COMPRESS text/html
SetOutputFilter DEFLATE
CookieTracking on
CacheRoot $scratch
CacheEnable disk /events
END
    my $cookie = qr/^Set-Cookie: session=expiry=\d/m;
    like(($server->get('/index.html'))[1], $cookie, 'mod_session gives an ordinary page a cookie');
    for my $encoding ('identity', 'gzip, br') {
        my @accept = ("Accept-Encoding: $encoding");
        my ($status, $head, $body) = $server->get('/events/news?after=all&wait=0', @accept);
        like($head, $cookie, "$encoding: a poll has the cookie of mod_session");
        like($head, qr/^Set-Cookie: Apache=/m, "$encoding: a poll has the cookie of mod_usertrack");
        like($body, qr/"messages":\[\]/, "$encoding: the answer to a poll is not compressed");
        my $stream = read_until(ask($server, '/events/news', $events, @accept), qr/event: live/);
        like($stream, $cookie, "$encoding: an event stream has the cookie of mod_session");
        my $c = Client->new($server, '/echo', headers => \@accept);
        like($c->head, $cookie, "$encoding: the 101 has the cookie of mod_session");
        like($c->head, qr/^Set-Cookie: Apache=/m, "$encoding: the 101 has the cookie of mod_usertrack");
        unlike($c->head, qr/^(?:Content-Encoding|Expires)/m, "$encoding: the 101 has no headers of filters for bodies");
        $c->echoes('hello', "$encoding: the WebSocket echoes");
    }
    is($server->count_log(qr/which occupies a worker thread|is relayed/), 0, 'none of these connections occupies a thread');
}
{
    # If the session is renewed, the returned cookie expires later than the previous one.
    my $server = Httpd->start(modules => [qw(session session_cookie)], conf => $session . $locations);
    my $given = sub { my ($head) = @_; $head =~ /^Set-Cookie: (session=expiry=(\d+))/m ? ($1, $2) : die $head };
    my ($cookie, $end) = $given->(($server->get('/index.html'))[1]);
    my $later = sub {
        my ($head) = @_;
        my (undef, $new) = $given->($head);
        return $new > $end;
    };
    ok($later->(($server->get('/events/news?after=all&wait=1', "Cookie: $cookie"))[1]), 'a poll renews the session');
    ok($later->(Client->new($server, '/echo', headers => ["Cookie: $cookie"])->head), 'a handshake renews the session');
}

my %filters = (
    substitute => ['SUBSTITUTE', "Substitute s/secret/******/\n"],
    ratelimit  => ['RATE_LIMIT', "SetEnv rate-limit 400\n"],
    include    => ['INCLUDES',   "Options +Includes\n"],
);
for my $module (sort keys %filters) {
    my ($filter, $conf) = @{ $filters{$module} };
    for my $how ("SetOutputFilter $filter", "AddOutputFilterByType $filter application/json text/event-stream") {
        my $server = Httpd->start(modules => [$module, 'filter'], conf => <<"END");
$conf
WebSocketHistory secret/* 5
$locations
<Location "/">
    $how
</Location>
END
        $server->request('POST', '/events/secret/news', 'Content-Type: text/plain', 'Content-Length: 0');
        my $poll   = ($server->get('/events/secret/news?after=all&wait=1'))[2];
        my $socket = ask($server, '/events/secret/news?after=all', $events);
        my $stream = read_until($socket, qr/event: live/);
        like($poll, $module eq 'substitute' ? qr/"\*\*\*\*\*\*\/news"/ : qr/"secret\/news"/, "$how: the filter sees the answer to a poll");
        like($stream, qr/event: live/, "$how: the filter sees an event stream");
        my $name = $how =~ /ByType/ ? "BYTYPE:$filter" : $filter;
        is($server->count_log(qr/which occupies a worker thread: filter \Q$name\E must see its response/i), 2, "$how: the log says which filter must see the response");
        is($server->count_log(qr/\[websocket:warn\].*the connection is relayed: filter .* MaxRequestWorkers/) >= 1, 1, "$how: the log warns that the connection is relayed");
        Client->new($server, '/echo')->echoes('hello', "$how: a WebSocket echoes");
        is($server->count_log(qr/must see its bytes/), 0, "$how: a WebSocket is taken over, because its messages are not a response");
    }
}

# If mod_security 2 is installed, test that it can process answers in its phases 3 and 4.
SKIP: {
    my $security = "$Httpd::MODULES/mod_security2.so";
    skip 'libapache2-mod-security2 is not installed', 3 if !-e $security;
    skip 'mod_security does not work with a sanitizer', 3 if $ENV{WS_TEST_PRELOAD};
    my $server = Httpd->start(modules => ['unique_id'], load => "LoadModule security2_module $security", conf => <<"END");
$locations
SecRuleEngine On
SecDataDir $scratch
SecTmpDir $scratch
SecResponseBodyAccess On
SecResponseBodyMimeType application/json
SecRule RESPONSE_BODY "forbidden" "phase:4,deny,status:500,id:1"
SecRule ARGS "attack" "phase:2,deny,status:403,id:2"
END
    is(($server->get('/events/forbidden?after=all&wait=0'))[0], 500, "mod_security's phase 4 can refuse the answer to a poll");
    is(($server->get('/events/allowed?after=all&wait=0'))[0], 200, "mod_security's phase 4 can permit the answer to a poll");
    is((Client->refused($server, '/echo?x=attack'))[0], 403, "mod_security's phase 2 can refuse a handshake");
}

# ---- Clients of relayed connections that leave ----

{
    my $server = Httpd->start(modules => ['dumpio'], conf => <<"END");
DumpIOInput On
DumpIOOutput On
LogLevel dumpio:trace7
LogFormat "%U %B %>s" bytes
CustomLog logs/bytes_log bytes
WebSocketPing off
$locations
<Location "/api">
    WebSocketHandler @{[Httpd::compile('api')]}
</Location>
END
    my $log = sub { Httpd::read_file($server->root . '/logs/bytes_log') };
    for my $reset (0, 1) {
        my $socket = ask($server, "/events/left$reset", $events);
        my $stream = read_until($socket, qr/event: live\ndata:\n\n/) =~ s/\A.*?\r\n\r\n//sr;
        setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'II', 1, 0 if $reset;
        close $socket;
        my ($bytes) = Httpd::wait_for(sub { $log->() =~ m{^/events/left$reset (\d+)}m ? $1 : 0 }, 'the request to end');
        is($bytes, 19, 'the thread of an event stream is free as soon as the client ' . ($reset ? 'resets' : 'closes') . ', before anything more is sent');
    }
    {
        my $socket = ask($server, '/events/pipelined', $events);
        read_until($socket, qr/event: live/);
        syswrite $socket, "GET /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n";
        $server->request('POST', '/events/pipelined', 'Content-Length: 0');
        like(read_until($socket, qr/event: binary/), qr/event: binary/, 'a pipelined request does not end a stream');
    }
    my $c = Client->new($server, '/api?name=paused');
    $c->text('pause 600000');
    $c->raw(frame_bytes(TEXT, 'x' x 100_000)) for 1 .. 5;
    setsockopt $c->socket, SOL_SOCKET, SO_LINGER, pack 'II', 1, 0;
    $c->drop;
    ok(Httpd::wait_for(sub { $log->() =~ m{^/api 0 101$}m }, 'the request to end'),
        'the thread of a WebSocket whose handler does not read is free as soon as the client resets');
}

done_testing;
