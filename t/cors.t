# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests CORS (the Fetch standard, section 3.2): pages of other origins publish and subscribe over HTTP.

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
    is($status, 204, "$origin: a preflight is answered with 204");
    is($h->{'access-control-allow-origin'},      $origin, "$origin: the preflight allows the origin");
    is($h->{'access-control-allow-credentials'}, 'true',  "$origin: the preflight allows credentials");
    is($h->{'access-control-allow-methods'}, 'GET, HEAD, POST, DELETE, OPTIONS', "$origin: the preflight lists the methods");
    is($h->{'access-control-allow-headers'}, 'content-type, x-own', "$origin: the preflight allows the requested headers");
    is($h->{'access-control-max-age'}, 600, "$origin: the preflight is valid for ten minutes");
    like($h->{vary}, qr/\bOrigin\b/, "$origin: the preflight has Vary: Origin");
    for (['POST', @body], ['GET']) {
        my ($method, @more) = @$_;
        ($status, $h) = ask($method, '/listed', $origin, @more);
        is($status, 200, "$origin: $method is answered with 200");
        is($h->{'access-control-allow-origin'},      $origin, "$origin: $method allows the origin");
        is($h->{'access-control-allow-credentials'}, 'true',  "$origin: $method allows credentials");
    }
    ($status, $h) = ask('POST', '/listed', $origin, @body, 'Content-Type: text/plain; charset=latin1');
    is($status, 415, "$origin: an invalid POST is answered with 415");
    is($h->{'access-control-allow-origin'}, $origin, "$origin: a page can read the error");
}
for my $origin ('https://evil.example', 'https://example.com', 'https://evilexample.com', 'http://a.example.com', 'null') {
    for (['OPTIONS', @want], ['POST', @body], ['GET']) {
        my ($status, $h) = ask($_->[0], '/listed', $origin, @$_[1 .. $#$_]);
        is($status, 403, "$origin: $_->[0] is refused");
        ok(!grep({/^access-control/} keys %$h), "$origin: $_->[0] is refused without CORS headers");
    }
}
my ($status, $h) = ask('OPTIONS', '/any', 'https://evil.example', @want);
is("$status $h->{'access-control-allow-origin'}", '204 https://evil.example', 'WebSocketOrigin any allows every origin');
ok(!$h->{'access-control-allow-credentials'}, 'with WebSocketOrigin any, pages may not send credentials');
is($h->{'access-control-allow-methods'}, 'GET, HEAD, OPTIONS', 'the preflight lists only the methods that the Location supports');
($status, $h) = ask('OPTIONS', '/same', undef);
is("$status $h->{allow}", '204 GET, HEAD, POST, DELETE, OPTIONS', 'OPTIONS without an origin is answered with the methods');
like($h->{vary}, qr/\bOrigin\b/, 'OPTIONS without an origin is answered with Vary: Origin');
($status, $h) = ask('POST', '/same', 'http://localhost:' . $httpd->port, @body);
is($status, 200, 'a POST from the same origin is accepted');
($status, $h) = ask('OPTIONS', '/user', 'https://www.example.org', @want);
is($status, 204, 'a preflight needs no password');
is((ask('POST', '/user', 'https://www.example.org', @body))[0], 401, 'a POST needs a password');
is((ask('POST', '/user', 'https://www.example.org', @body, 'Authorization: Basic YWxpY2U6c2VzYW1l'))[0], 200, 'a POST with a password succeeds');

is((Client->refused($httpd, '/ws', origin => 'https://example.com'))[0], 403, 'a wildcard for subdomains does not allow a WebSocket from a page of the domain itself');
Client->new($httpd, '/ws', origin => 'https://a.example.com')->echoes('from below a listed domain', 'a wildcard for subdomains allows a WebSocket from a page of a subdomain');
$httpd->stop;
done_testing;
