# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Pages of other origins that publish and subscribe over HTTP: CORS (the Fetch standard, section 3.2).

use strict;
use warnings;
use lib 't/lib';
use Client;
use Httpd;
use Test::More;

my $httpd = Httpd->start(
    files => { users => "alice:{SHA}CEo1Ae3vaEXy8eQZjsOiuBz1xrw=\n" },
    conf  => <<'END');
<Location "/listed">
    WebSocketChannelHTTP publish subscribe
    WebSocketPublish all
    WebSocketSubscribe all
    WebSocketOrigin https://www.example.org https://*.example.com
</Location>
<Location "/any">
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe all
    WebSocketOrigin any
</Location>
<Location "/same">
    WebSocketChannelHTTP publish
    WebSocketPublish all
</Location>
<Location "/user">
    WebSocketChannelHTTP publish
    WebSocketOrigin https://www.example.org
    AuthType Basic
    AuthName publishers
    AuthUserFile users
    <LimitExcept OPTIONS>
        Require valid-user
    </LimitExcept>
</Location>
<Location "/ws">
    WebSocketHandler ws_echo.so
    WebSocketOrigin https://*.example.com
</Location>
END

sub ask {
    my ($method, $path, $origin, @headers) = @_;
    my ($status, $head) = $httpd->request($method, "$path/news?wait=0", $origin ? "Origin: $origin" : (), @headers);
    my %h;
    push @{ $h{ lc $1 } }, $2 while $head =~ /^([\w-]+): (.*?)\r?$/mg;
    return ($status, { map { $_ => join ', ', @{ $h{$_} } } keys %h });
}

my @want = ('Access-Control-Request-Method: POST', 'Access-Control-Request-Headers: content-type, x-own');
my @body = ('Content-Length: 0');
for my $origin ('https://www.example.org', 'https://a.b.example.com') {
    my ($status, $h) = ask('OPTIONS', '/listed', $origin, @want);
    is($status, 204, "$origin: a preflight");
    is($h->{'access-control-allow-origin'},      $origin, 'allowed');
    is($h->{'access-control-allow-credentials'}, 'true',  'with credentials');
    is($h->{'access-control-allow-methods'}, 'GET, HEAD, POST, DELETE, OPTIONS', 'methods');
    is($h->{'access-control-allow-headers'}, 'content-type, x-own', 'headers');
    is($h->{'access-control-max-age'}, 600, 'for ten minutes');
    like($h->{vary}, qr/\bOrigin\b/, 'and has Vary');
    for (['POST', @body], ['GET']) {
        my ($method, @more) = @$_;
        ($status, $h) = ask($method, '/listed', $origin, @more);
        is($status, 200, "$method");
        is($h->{'access-control-allow-origin'},      $origin, 'allowed');
        is($h->{'access-control-allow-credentials'}, 'true',  'with credentials');
    }
    ($status, $h) = ask('POST', '/listed', $origin, @body, 'Content-Type: text/plain; charset=latin1');
    is($status, 415, 'an error');
    is($h->{'access-control-allow-origin'}, $origin, 'can be read by the page');
}
for my $origin ('https://evil.example', 'https://example.com', 'https://evilexample.com', 'http://a.example.com', 'null') {
    for (['OPTIONS', @want], ['POST', @body], ['GET']) {
        my ($status, $h) = ask($_->[0], '/listed', $origin, @$_[1 .. $#$_]);
        is($status, 403, "$origin: $_->[0] is refused");
        ok(!grep({/^access-control/} keys %$h), 'without CORS headers');
    }
}
my ($status, $h) = ask('OPTIONS', '/any', 'https://evil.example', @want);
is("$status $h->{'access-control-allow-origin'}", '204 https://evil.example', 'any: allowed');
ok(!$h->{'access-control-allow-credentials'}, 'without credentials');
is($h->{'access-control-allow-methods'}, 'GET, HEAD, OPTIONS', 'lists only the methods that are available there');
($status, $h) = ask('OPTIONS', '/same', undef);
is("$status $h->{allow}", '204 GET, HEAD, POST, DELETE, OPTIONS', 'OPTIONS without an origin');
like($h->{vary}, qr/\bOrigin\b/, 'also has Vary');
($status, $h) = ask('POST', '/same', 'http://localhost:' . $httpd->port, @body);
is($status, 200, 'the same origin');
($status, $h) = ask('OPTIONS', '/user', 'https://www.example.org', @want);
is($status, 204, 'a preflight has no password');
is((ask('POST', '/user', 'https://www.example.org', @body))[0], 401, 'a POST needs one');
is((ask('POST', '/user', 'https://www.example.org', @body, 'Authorization: Basic YWxpY2U6c2VzYW1l'))[0], 200, 'and succeeds with it');

is((Client->refused($httpd, '/ws', origin => 'https://example.com'))[0], 403, 'a WebSocket: not the domain itself');
Client->new($httpd, '/ws', origin => 'https://a.example.com')->echoes('from below a listed domain');
$httpd->stop;
done_testing;
