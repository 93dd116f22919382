# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests tokens of the application (WebSocketTokenKey) in the handshake, over HTTP and for a subscription. PyJWT creates the
# tokens. Also tests refusals, expiry and key rotation, and that no log contains a token.

use strict;
use warnings;
use lib 't/lib';
use JSON::PP;
use MIME::Base64 qw(decode_base64url encode_base64url);
use Test::More;
use Client;
use Httpd;
use Program;

my $keys = Httpd::folder();
my $secret = join '', map { chr(33 + $_) } 0 .. 47;
Httpd::write_file("$keys/$_->[0]", "$_->[1]\n")
    for ['secret', $secret], ['newer', "newer-$secret"], ['short', 'much too short a secret'], ['open', $secret], ['empty', ''];
chmod 0600, map {"$keys/$_"} qw(secret newer short empty);
chmod 0644, "$keys/open";
for (
    ['rsa',  qw(-algorithm RSA -pkeyopt rsa_keygen_bits:2048)],
    ['weak', qw(-algorithm RSA -pkeyopt rsa_keygen_bits:1024)],
    ['ec',   qw(-algorithm EC -pkeyopt ec_paramgen_curve:P-256)],
    ['p384', qw(-algorithm EC -pkeyopt ec_paramgen_curve:P-384)],
    ['ed',   qw(-algorithm ED25519)],
    ['ec2',  qw(-algorithm EC -pkeyopt ec_paramgen_curve:P-256)],
    ['stranger', qw(-algorithm RSA -pkeyopt rsa_keygen_bits:2048)],
    )
{
    my ($name, @how) = @$_;
    system('openssl', 'genpkey', '-quiet', @how, '-out', "$keys/$name.pem") == 0
        or system("openssl genpkey @how -out $keys/$name.pem 2>/dev/null") == 0 or die 'openssl';
    system('openssl', 'pkey', '-in', "$keys/$name.pem", '-pubout', '-out', "$keys/$name.pub") == 0 or die 'openssl';
}

# Returns a public key as a JWK, which PyJWT makes from the PEM file. A coordinate needs its leading zeros (RFC 7518, section
# 6.2.1.2), which PyJWT omits.
sub jwk {
    my ($name, $kind, %more) = @_;
    my ($status, $json) = Program::run('/usr/bin/python3', '-c', <<"END");
import jwt.algorithms as a
from cryptography.hazmat.primitives.serialization import load_pem_public_key as load
print(a.$kind.to_jwk(load(open('$keys/$name.pub', 'rb').read())))
END
    my $jwk = decode_json($json);
    if ($kind eq 'ECAlgorithm') {
        $_ = encode_base64url(substr "\0" x 32 . decode_base64url($_), -32) for @{$jwk}{qw(x y)};
    }
    return { %$jwk, %more };
}

sub write_jwks { Httpd::write_file("$keys/jwks.json", encode_json({ keys => [@_] })) }
my $ec2 = jwk('ec2', 'ECAlgorithm', kid => 'ec2', alg => 'ES256', use => 'sig');
write_jwks(
    $ec2,
    jwk('ed', 'OKPAlgorithm', kid => 'ed'),
    jwk('rsa', 'RSAAlgorithm', kid => 'rsa', use => 'sig'),
    { kty => 'EC', crv => 'P-384', x => 'AA', y => 'AA', kid => 'other' },
    jwk('stranger', 'RSAAlgorithm', kid => 'encrypts', use => 'enc'),
);

my $python = Program->start('/usr/bin/python3', 't/clients/mint.py');

# Make a token with PyJWT. Omits claims whose value is undef.
sub mint {
    my ($claims, $algorithm, $key, $header) = @_;
    my %claims = (sub => 'alice', channels => ['news', 'team/*'], exp => time + 3600, %$claims);
    delete @claims{ grep { !defined $claims{$_} } keys %claims };
    $python->write(encode_json([$algorithm // 'HS256', "$keys/" . ($key // 'secret'), \%claims, $header // {}]) . "\n");
    return ($python->wait_output(qr/(.+)\n/))[1];
}

# Make a token that PyJWT refuses to create, with this header and an arbitrary signature.
sub forge {
    my ($header, $claims, $signature) = @_;
    my %claims = (sub => 'mallory', channels => ['*'], exp => time + 3600, %{ $claims // {} });
    return join '.', (map { encode_base64url(ref $_ ? encode_json($_) : $_) } $header, \%claims), $signature // '';
}

my $conf = <<"END";
LoadModule authn_core_module $Httpd::MODULES/mod_authn_core.so
LimitRequestFieldSize 20000
WebSocketHistory news 100
WebSocketLog logs/websocket_log
<Location /status>
    SetHandler websocket-status
    Require all granted
</Location>
<Location /live>
    WebSocketHandler ws_channel.so
    WebSocketTokenKey HS256 $keys/secret
    WebSocketTokenKey RS256 $keys/rsa.pub
    WebSocketTokenKey ES256 $keys/ec.pub
    WebSocketTokenKey EdDSA $keys/ed.pub
    WebSocketTokenLeeway 30s
</Location>
<Location /private>
    WebSocketHandler ws_channel.so channel=user:%{user} presence=on
    WebSocketTokenKey HS256 $keys/secret
    WebSocketTokenRequired on
    WebSocketLimit connections=1 key=%{REMOTE_USER}
</Location>
<Location /echo>
    WebSocketHandler ws_echo.so
    WebSocketTokenKey HS256 $keys/secret
    WebSocketTokenRequired on
    WebSocketTokenAudience live other
    WebSocketTokenIssuer https://app.example.org
</Location>
<Location /jwks>
    WebSocketHandler ws_echo.so
    WebSocketTokenKey JWKS $keys/jwks.json
    WebSocketTokenKey HS256 $keys/secret kid=named
    WebSocketTokenRequired on
</Location>
<Location /only-rsa>
    WebSocketHandler ws_echo.so
    WebSocketTokenKey RS256 $keys/rsa.pub
    WebSocketTokenRequired on
</Location>
<Location /quick>
    WebSocketHandler ws_channel.so
    WebSocketTokenKey HS256 $keys/secret
    WebSocketTokenLeeway 0
</Location>
<Location /none>
    WebSocketHandler ws_channel.so
    WebSocketTokenKey HS256 $keys/secret
    WebSocketSubscribe none
</Location>
<Location /http>
    WebSocketChannelHTTP publish subscribe
    WebSocketTokenKey HS256 $keys/secret
    WebSocketTokenLeeway 0
</Location>
<Location /open>
    WebSocketHandler ws_echo.so
</Location>
<Location /sockjs>
    WebSocketHandler ws_echo.so
    WebSocketTransports sockjs
    WebSocketTokenKey HS256 $keys/secret
    WebSocketTokenRequired on
    WebSocketTokenLeeway 0
    WebSocketSockJS delay=10min
</Location>
<Location /keyless>
    WebSocketHandler ws_echo.so
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe all
    WebSocketTokenRequired on
</Location>
<Location /private/off>
    WebSocketTokenKey off
</Location>
<Location /page>
    WebSocketTokenKey HS256 $keys/secret
    Require all denied
</Location>
END
my $httpd = Httpd->start(conf => $conf, log_level => 'trace4');
my @tokens; # the tokens that the test has sent in query strings

sub live {
    my ($path, $token, %o) = @_;
    push @tokens, $token if $token;
    return Client->new($httpd, $path . ($token ? "?token=$token" : ''), protocol => 'channel.v1.json', %o);
}

sub ask {
    my ($client, %request) = @_;
    $client->text(encode_json(\%request));
    return decode_json(($client->message)[1]);
}

# ---- The handshake ----

for (['HS256', 'secret'], ['RS256', 'rsa.pem'], ['ES256', 'ec.pem'], ['EdDSA', 'ed.pem']) {
    my ($algorithm, $key) = @$_;
    my $answer = ask(live('/live', mint({}, $algorithm, $key)), type => 'subscribe', channel => 'news', id => 1);
    is("@$answer{qw(type channel id)}", 'subscribed news 1', "$algorithm: a channel of the token can be subscribed to");
}

my %by = (
    'Authorization: Bearer' => sub { (headers => ["Authorization: Bearer $_[0]"]) },
    'subprotocol bearer.'   => sub { (protocol => "channel.v1.json, bearer.$_[0]") },
    'first subprotocol'     => sub { (protocol => "bearer.$_[0], channel.v1.json") },
);
for my $how (sort keys %by) {
    my $client = live('/live', undef, $by{$how}->(mint({})));
    is($client->header('Sec-WebSocket-Protocol'), 'channel.v1.json', "$how: the subprotocol channel.v1.json is agreed on");
    is(ask($client, type => 'subscribe', channel => 'team/a/b')->{type}, 'subscribed', "$how: the token permits its channels");
    is(ask($client, type => 'subscribe', channel => 'other')->{error}, 'not allowed', "$how: the token permits no other channels");
}

is(ask(live('/live'), type => 'subscribe', channel => 'news')->{error}, 'not allowed',
    'without a token, the subscription is refused');
is(ask(live('/none', mint({})), type => 'subscribe', channel => 'news')->{error}, 'not allowed',
    'WebSocketSubscribe none refuses a subscription in spite of the token');

# The claim publish is true, or has a separate list.
for ([{ publish => JSON::PP::true }, 'news'], [{ publish => ['out*'] }, 'out/1']) {
    my ($claims, $channel) = @$_;
    my $client = live('/live', mint($claims));
    is(ask($client, type => 'publish', channel => $channel, data => 'x', id => 7)->{type}, 'published',
        "the claim publish permits $channel");
    is(ask($client, type => 'publish', channel => 'elsewhere', data => 'x', id => 8)->{error}, 'not allowed',
        'the claim publish does not permit another channel');
}
is(ask(live('/live', mint({})), type => 'publish', channel => 'news', data => 'x', id => 7)->{error}, 'not allowed',
    'the claim channels does not permit publishing');
is(ask(live('/live', mint({ channels => 'news' })), type => 'subscribe', channel => 'news')->{type}, 'subscribed',
    'the claim channels can be one string');
is(ask(live('/live', mint({ channels => ['n?ws', 'n[e]ws'] })), type => 'subscribe', channel => 'news')->{error},
    'not allowed', 'in the claim channels, only * is a wildcard');

# ---- The user ----

{
    my $client = live('/private', mint({}));
    my $answer = ask($client, type => 'presence', channel => 'user:alice', id => 1);
    my $page = ($httpd->get('/status', 'Accept: application/json'))[2];
    like($page, qr/"user": ?"alice"/, "the status page shows the token's user");
    while ($answer->{type} ne 'presence') { $answer = decode_json(($client->message)[1]) }
    is($answer->{members}[0]{user}, 'alice', "presence and %{user} have the token's user");
    my ($status, $refused) = Client->refused($httpd, '/private', headers => ['Authorization: Bearer ' . mint({})]);
    is($status, 503, "WebSocketLimit counts by the token's user");
    my $other = live('/private', mint({ sub => 'bob' }));
    is(ask($other, type => 'presence', channel => 'user:bob')->{channel}, 'user:bob', "another token's user has a separate count");
    $client->close(1000);
    Httpd::wait_for(sub { Httpd::read_file($httpd->root . '/logs/websocket_log') =~ /alice/ }, "WebSocketLog to have the token's user");
    like($httpd->access_log, qr{ alice "GET /private HTTP}, "the access log has the token's user");
}

# ---- What is refused ----

my $rsa_public = Httpd::read_file("$keys/rsa.pub");
my @refused = (
    ['/live', 'no JWT', 'not a signed token (JWS in compact form)', 'abc'],
    ['/live', 'a JWE', 'not a signed token (JWS in compact form)', 'a.b.c.d.e'],
    ['/live', 'text that is not base64url', 'not a signed token (JWS in compact form)', 'a+b.c.d'],
    ['/live', 'no JSON', q(the token's header is not a JSON object), forge('nothing')],
    ['/live', 'no alg', q(the token's header has no alg), forge({ typ => 'JWT' })],
    ['/live', 'alg none', q(the token's alg is not HS256, RS256, ES256 or EdDSA), forge({ alg => 'none' })],
    ['/live', 'alg None', q(the token's alg is not HS256, RS256, ES256 or EdDSA), forge({ alg => 'None' })],
    ['/live', 'HS384', q(the token's alg is not HS256, RS256, ES256 or EdDSA), mint({}, 'HS384')],
    ['/live', 'crit', q(the token's header has crit, which is not supported), mint({}, undef, undef, { crit => ['b64'] })],
    ['/live', 'a kid that is a number', q(the token's kid is not a string), forge({ alg => 'HS256', kid => 1 })],
    ['/live', 'no signature', q(the token's signature does not match), forge({ alg => 'HS256' })],
    ['/live', 'a changed signature', q(the token's signature does not match), mint({}) =~ s/\.[^.]+\z/.AAAA/r],
    ['/live', 'changed claims', q(the token's signature does not match),
        do { my @p = split /\./, mint({}); join '.', $p[0], encode_base64url('{"sub":"root","exp":9999999999}'), $p[2] }],
    ['/live', q(another's RSA key), q(the token's signature does not match), mint({}, 'RS256', 'stranger.pem')],
    ['/live', 'HS256 with the text of the RSA key', q(the token's signature does not match), confused()],
    ['/only-rsa', 'HS256 where keys are RSA', q(no key is for the token's alg), confused()],
    ['/only-rsa', 'an Ed25519 signature where keys are RSA', q(no key is for the token's alg), mint({}, 'EdDSA', 'ed.pem')],
    ['/jwks', 'an unknown kid', q(no key has the token's kid), mint({}, 'ES256', 'ec2.pem', { kid => 'nobody' })],
    ['/jwks', 'the kid of another key', q(no key has the token's kid), mint({}, 'ES256', 'ec2.pem', { kid => 'rsa' })],
    ['/jwks', 'a key that is for encryption', q(no key has the token's kid),
        mint({}, 'RS256', 'stranger.pem', { kid => 'encrypts' })],
    ['/live', 'an expired token', 'the token has expired (exp)', mint({ exp => time - 60 })],
    ['/live', 'no exp', 'the token has no exp', mint({ exp => undef })],
    ['/live', 'exp in milliseconds', q(the token's exp or nbf is not a time in seconds), mint({ exp => 1000 * time })],
    ['/live', 'exp that is text', q(the token's exp or nbf is not a time in seconds),
        hs256({ alg => 'HS256' }, '{"exp":"tomorrow"}')],
    ['/live', 'a token of tomorrow', 'the token is not valid yet (nbf)', mint({ nbf => time + 600 })],
    ['/live', 'an aud where none is set', 'the token has an aud, but WebSocketTokenAudience is not set', mint({ aud => 'x' })],
    ['/echo', 'no aud', 'the token is not for this audience (aud)', mint({ iss => 'https://app.example.org' })],
    ['/echo', 'another aud', 'the token is not for this audience (aud)', mint({ aud => ['x', 'y'], iss => 'https://app.example.org' })],
    ['/echo', 'another iss', q(the token's issuer is not accepted (iss)), mint({ aud => 'live', iss => 'https://evil.example' })],
    ['/echo', 'no iss', q(the token's issuer is not accepted (iss)), mint({ aud => 'live' })],
    ['/live', 'a user with a line break', q(the token's sub is not a string of 1 to 255 bytes without control characters), mint({ sub => "a\nb" })],
    ['/live', 'a user that would end at a NUL', 'a string in the token contains U+0000', mint({ sub => "root\0x" })],
    ['/live', 'a channel that would end at a NUL', 'a string in the token contains U+0000', mint({ channels => ["*\0x"] })],
    ['/live', 'a user with an unescaped NUL', 'a string in the token contains U+0000', hs256({ alg => 'HS256' }, qq({"exp":9999999999,"sub":"root\0x"}))],
    ['/live', 'a user that is a number', q(the token's sub is not a string of 1 to 255 bytes without control characters), hs256({ alg => 'HS256' }, '{"exp":9999999999,"sub":1}')],
    ['/live', 'a user of 256 bytes', q(the token's sub is not a string of 1 to 255 bytes without control characters), mint({ sub => 'x' x 256 })],
    ['/live', 'channels that are a number', q(the token's channels and publish must be lists of patterns), mint({ channels => 1 })],
    ['/live', 'channels with a number', q(the token's channels and publish must be lists of patterns), mint({ channels => ['a', 1] })],
    ['/live', 'publish that is an object', q(the token's channels and publish must be lists of patterns), mint({ publish => {} })],
    ['/live', 'claims that are a list', q(the token's claims are not a JSON object), hs256({ alg => 'HS256' }, '[1]')],
    ['/live', 'more than 8 KiB', 'the token is larger than 8 KiB', mint({ pad => 'x' x 8192 })],
);

# Make a token with HMAC. PyJWT would refuse a public key as the secret.
sub hs256 {
    my ($header, $claims, $key) = @_;
    require Digest::SHA;
    my $signed = join '.', encode_base64url(encode_json($header)), encode_base64url($claims);
    return "$signed." . encode_base64url(Digest::SHA::hmac_sha256($signed, $key // $secret));
}
sub confused { return hs256({ alg => 'HS256' }, encode_json({ exp => time + 3600, channels => ['*'] }), Httpd::read_file("$keys/rsa.pub")) }

for (@refused) {
    my ($path, $what, $why, $token) = @$_;
    my ($status, $client) = Client->refused($httpd, $path, headers => ["Authorization: Bearer $token"]);
    is($status, 401, "a token is refused: $what");
    is($client->header('WWW-Authenticate'), qq(Bearer error="invalid_token", error_description="$why"), $why);
}
$httpd->wait_log(qr/refused with 401: not a signed token \(JWS in compact form\) \(WebSocketTokenKey\)/);
{
    my ($status, $client) = Client->refused($httpd, '/only-rsa');
    is($status, 401, 'WebSocketTokenRequired refuses a request without a token');
    is($client->header('WWW-Authenticate'), 'Bearer', 'the refusal of a request without a token asks for a Bearer token');
}
for my $path ('/keyless', '/private/off') {
    for my $token ([], [mint({})]) {
        my ($status) = Client->refused($httpd, $path, headers => [map {"Authorization: Bearer $_"} @$token]);
        is($status, 401, "WebSocketTokenRequired without a key refuses $path " . (@$token ? 'with' : 'without') . ' a token');
    }
}
is(($httpd->get('/keyless/news'))[0], 401, 'WebSocketTokenRequired without a key refuses subscriptions over HTTP');
$httpd->wait_log(qr/refused with 401: a token is required, but the server has no key to check it \(WebSocketTokenRequired\)/);
like($httpd->error_log, qr/httpd\.conf:\d+: <Location "\/keyless"> refuses all clients of WebSocketHandler, since WebSocketTokenRequired is on/,
    'httpd warns about WebSocketTokenRequired without a key when it starts');
live('/live', mint({ exp => time - 1 }))->close;
pass('a token that expired within WebSocketTokenLeeway is accepted');
ok(Client->new($httpd, '/echo?token=' . mint({ aud => ['x', 'live'], iss => 'https://app.example.org' }))->echoes('a'),
    'a token with one of several audiences is accepted');

# ---- Keys of a JWKS, and rotation ----

for (['ES256', 'ec2'], ['EdDSA', 'ed'], ['RS256', 'rsa']) {
    my ($algorithm, $key) = @$_;
    for my $header ({ kid => $key }, {}) {
        my $client = Client->new($httpd, '/jwks', headers => ['Authorization: Bearer ' . mint({}, $algorithm, "$key.pem", $header)]);
        ok($client->echoes('x'), "a JWKS has a key for $algorithm, " . ($header->{kid} ? 'with its kid' : 'without'));
    }
}
{
    my ($status) = Client->refused($httpd, '/jwks', headers => ['Authorization: Bearer ' . mint({}, undef, 'newer', { kid => 'new' })]);
    is($status, 401, 'a token with a key that is not in the JWKS is refused');
    write_jwks($ec2, { kty => 'oct', kid => 'new', k => encode_base64url("newer-$secret") });
    $httpd->graceful;
    Httpd::wait_for(
        sub {
            (Client->refused($httpd, '/jwks', headers => ['Authorization: Bearer ' . mint({}, undef, 'newer', { kid => 'new' })]))[0] == 101;
        },
        'the new key to be accepted after a reload');
    pass('after a reload, a token with a new key is accepted');
    Client->new($httpd, '/jwks', headers => ['Authorization: Bearer ' . mint({}, 'ES256', 'ec2.pem', { kid => 'ec2' })])->close;
    pass('after a reload, a token with an old key is accepted');
    ($status) = Client->refused($httpd, '/jwks', headers => ['Authorization: Bearer ' . mint({}, 'RS256', 'rsa.pem', { kid => 'rsa' })]);
    is($status, 401, 'after a reload, a token with a removed key is refused');
}

# ---- A token for one channel ----

{
    my $client = live('/quick');
    my $answer = ask($client, type => 'subscribe', channel => 'news', token => 'x.y.z', id => 'a');
    is("@$answer{qw(type channel id error)}", q(error news a the token's header is not a JSON object), 'a subscription with an invalid token is answered with the reason');
    $answer = ask($client, type => 'subscribe', channel => 'other', token => mint({}), id => 'b');
    is($answer->{error}, 'the token does not name this channel', 'a subscription with a token for other channels is answered with the reason');
    is(ask($client, type => 'subscribe', channel => 'news', token => mint({ publish => JSON::PP::true }), id => 'c')->{type},
        'subscribed', 'the token of a subscription permits its channel');
    $client->text(encode_json({ type => 'publish', channel => 'news', data => 'x', id => 'd' }));
    is(until_type($client, 'published')->{id}, 'd', 'the token of a subscription permits publishing to its channel');
    is(ask($client, type => 'subscribe', channel => 'team/1', id => 'e')->{error}, 'not allowed', 'the token of a subscription permits no other channel');
    my (undef, undef, $page) = $httpd->get('/status', 'Accept: application/json');
    like($page, qr/"user": ?"alice"/, 'the token of a subscription sets the user of a connection without one');
    is(ask($client, type => 'subscribe', channel => 'team/1', token => mint({ sub => 'bob' }), id => 'f')->{error},
        'the token belongs to another user (sub)', 'the token of a subscription cannot change the user');
    is(ask($client, type => 'subscribe', channel => 'team/1', token => mint({ sub => undef }), id => 'f')->{type},
        'subscribed', 'the token of a subscription may have no user');
    is(ask($client, type => 'refresh', id => 'g')->{error}, 'refresh needs a member token', 'refresh without a token is an error');
    is(ask($client, type => 'refresh', channel => 'no name', token => mint({}), id => 'h')->{error}, 'no such channel', 'refresh with an invalid channel is an error');
}

# ---- Sessions of SockJS ----

{
    my $at   = '/sockjs/000/alices';
    my $poll = sub {
        my ($what, $token, $body) = @_;
        push @tokens, $token if $token;
        my ($status, undef, $text) = $httpd->request('POST', "$at/$what" . ($token ? "?token=$token" : ''), 'Connection: close',
            'Content-Length: ' . length($body // ''), '', $body // '');
        return "$status $text";
    };
    my $alice = mint({});
    is($poll->('xhr', $alice), "200 o\n", 'SockJS: a session is opened with a token');
    is($poll->('xhr_send', $alice, '["hers"]'), '204 ', 'SockJS: a message with the token is accepted');
    like($poll->('xhr_send', undef, '["x"]'), qr/^401 /, 'SockJS: a message without a token is refused with 401');
    like($poll->('xhr_send', mint({}, undef, 'newer'), '["x"]'), qr/^401 /, 'SockJS: a message with a forged token is refused with 401');
    like($poll->('xhr_send', mint({ sub => 'bob' }), '["x"]'), qr/^404 /, "SockJS: a message with another user's token does not find the session");
    like($poll->('xhr'), qr/^401 /, 'SockJS: a poll without a token is refused with 401');
    is($poll->('xhr', mint({ sub => 'bob' })), "200 o\n", 'SockJS: another user can open a session with the same id');
    like($poll->('xhr', mint({ sub => 'carol', exp => time - 9 })), qr/^401 /, 'SockJS: an expired token cannot open a session');
    is($poll->('xhr', mint({ exp => time - 9 })), "200 a[\"hers\"]\n", 'SockJS: an expired token reaches a session that a newer token has extended');
}

# ---- Expiry ----

# The test of js/channel.js also waits until tokens expire, so it runs meanwhile, in a separate channel.
my $node = Program->start('node', 't/clients/channel-token.mjs', 'http://127.0.0.1:' . $httpd->port, $secret, 3 * Patience::stretching());

sub until_type {
    my ($client, $type) = @_;
    my $o = {};
    $o = decode_json(($client->message)[1]) while ($o->{type} // '') ne $type;
    return $o;
}
sub short { return mint({ exp => time + Patience::stretching() * 3, %{ $_[0] // {} } }) }

# The test reads the messages to these two clients later.
my $told   = live('/quick', short());
my $untold = live('/quick', short(), protocol => undef);
{
    my $client = live('/quick');
    ask($client, type => 'subscribe', channel => 'news', token => short(), id => 1);
    is(until_type($client, 'expiring')->{channel}, 'news', 'a client is notified before the token of a subscription expires');
    is(until_type($client, 'expired')->{channel}, 'news', 'the subscription ends when its token expires');
    is(ask($client, type => 'subscribe', channel => 'news', id => 2)->{error}, 'not allowed', 'when the token has expired, its channel can no longer be subscribed to');
    ask($client, type => 'subscribe', channel => 'news', token => short(), id => 3);
    until_type($client, 'expiring');
    is(ask($client, type => 'refresh', channel => 'news', token => mint({}), id => 4)->{type}, 'refreshed', 'a subscription is refreshed with a newer token');
    ask($client, type => 'subscribe', channel => 'team/1', token => short(), id => 5);
    is(until_type($client, 'expired')->{channel}, 'team/1', 'another subscription, which was not refreshed, expires');
}
is(until_type($told, 'expiring')->{channel}, undef, 'a client is notified before the token of its connection expires');
is(until_type($told, 'expired')->{channel}, undef, 'a client is notified when the token of its connection has expired');
$told->expect_close(1008, 'when the token of its connection has expired, a client is closed with 1008');
{
    my $client = live('/quick', short());
    ask($client, type => 'subscribe', channel => 'news', id => 1);
    ask($client, type => 'subscribe', channel => 'team/1', id => 2);
    until_type($client, 'expiring');
    is(ask($client, type => 'refresh', token => mint({ sub => 'bob' }), id => 3)->{error}, 'the token belongs to another user (sub)',
        "a refresh with another user's token is refused");
    $client->text(encode_json({ type => 'refresh', id => 4, token => mint({ channels => ['news'] }) }));
    is(until_type($client, 'expired')->{channel}, 'team/1', 'after a refresh, a subscription that the newer token does not permit expires');
    is(until_type($client, 'refreshed')->{id}, 4, 'after that, the refresh is confirmed');
    is(ask($client, type => 'subscribe', channel => 'team/1', id => 5)->{error}, 'not allowed', "after a refresh, only the newer token's channels can be subscribed to");
    ask($client, type => 'subscribe', channel => 'team/2', token => short({ channels => ['team/2'] }), id => 6);
    is(until_type($client, 'expired')->{channel}, 'team/2', 'after a refresh, the connection stays open until the newer token expires');
}
$untold->expect_close(1008, 'when the token has expired, a client without the subprotocol is closed with 1008');
pass('a client without the subprotocol is closed, too');

# ---- HTTP ----

sub curl {
    my ($path, @arg) = @_;
    my ($status, $output) = Program::run('curl', '-sS', '-i', '-m', $Httpd::DEADLINE, @arg, 'http://127.0.0.1:' . $httpd->port . $path);
    return $output =~ s/\r//gr;
}
my $publisher = mint({ publish => ['news'] });
push @tokens, $publisher;
like(curl('/http/news'), qr/^HTTP\/1.1 403.*"error":"WebSocketPublish does not allow it, nor does a token"/s, 'an HTTP request without a token is refused');
like(curl('/http/news', '-d', 'x'), qr/^HTTP\/1.1 403/, 'publishing over HTTP without a token is refused');
like(curl("/http/news?token=$publisher", '-d', 'hello', '-H', 'Content-Type: text/plain'), qr/"receivers":/, 'a token in the query string permits publishing');
like(curl('/http/news', '-d', 'more', '-H', 'Content-Type: text/plain', '-H', "Authorization: Bearer $publisher"), qr/"receivers":/, 'a token in the header permits publishing');
like(curl('/http/team/a', '-d', 'x', '-H', "Authorization: Bearer $publisher"), qr/403.*nor does a token/s, 'the token does not permit publishing to another channel');
like(curl("/http/news?token=$publisher"), qr/"channel":"news","subscribers":/, 'the token permits counting subscribers');
like(curl('/http/news', '-X', 'DELETE', '-H', "Authorization: Bearer $publisher"), qr/^HTTP\/1.1 403/, 'the token does not permit clearing the history');
like(curl("/http/news?token=x.y.z", '-d', 'x'), qr/^HTTP\/1.1 401.*"error":"the token's header is not a JSON object"/s, 'an invalid token is refused with the reason');
{
    my $reader = mint({});
    push @tokens, $reader;
    like(curl("/http/news?after=all&token=$reader"), qr/"data":"hello".*"data":"more"/, 'a poll with a token returns the history');
    like(curl("/http/news?token=$reader", '-d', 'x'), qr/403/, 'a token for subscribing does not permit publishing');
    my $short = short();
    push @tokens, $short;
    like(curl("/http/news?token=$short", '-H', 'Accept: text/event-stream', '-N'), qr/event: live\n.*event: expired\ndata:\n\n\z/s,
        'an event stream ends when its token expires');
    like(curl("/http/news?token=$short", '-H', 'Accept: text/event-stream', '-N'), qr/^HTTP\/1.1 401.*the token has expired/s, 'a new event stream with the expired token is refused');
    $short = short();
    push @tokens, $short;
    my $all = curl("/http/news?token=$reader&after=all&wait=0");
    my ($position) = $all =~ /"position":"([^"]+)"\}\s*\z/ or die "no position in $all";
    like(curl("/http/news?token=$short&wait=2min&after=$position"), qr/"messages":\[\]/, 'a waiting poll is answered when its token expires');
}

# ---- js/channel.js ----

{
    while (1) {
        my (undef, $word, $rest) = $node->wait_output(qr{^(ok|not ok|done)\b ?(.*)\n}m);
        last if $word eq 'done';
        ok($word eq 'ok', $rest);
    }
    is($node->finish, 0, 'the program that uses js/channel.js exits with 0');
}

# ---- Logs ----

{
    my $hidden = mint({});
    push @tokens, $hidden;
    like(curl("/page/x?a=1&token=$hidden&b=2"), qr/403/, 'a client that access control refuses has its token removed from the log');
    $httpd->wait_log(qr{GET /page/x\?a=1&b=2 HTTP}, 1);
    like(curl("/live?%74oken=$hidden", '-H', 'Upgrade: websocket'), qr/HTTP/, 'a token in an encoded argument name is removed from the log');
    like(curl("/open?token=$hidden"), qr/HTTP/, 'sections without keys ignore a token');
    $httpd->wait_log(qr{GET /open\?token=\Q$hidden\E HTTP}, 1);
    my $client = live('/private', mint({ sub => 'carol' }));
    my $pages = join '', map { ($httpd->get($_))[2] } '/server-status', '/status';
    $client->close;
    my $logs = join '', map { Httpd::read_file($_) =~ s{GET /open\S+}{}gr } glob $httpd->root . '/logs/*_log';
    my @found = grep { index($logs, $_) >= 0 || index($pages, $_) >= 0 } @tokens;
    is(scalar @found, 0, scalar(@tokens) . ' tokens of query strings are in no log and on no status page');
}

# ---- httpd -t ----

for (
    ['HS256 nowhere', qr/nowhere cannot be read: /, 'a file that does not exist'],
    ["HS256 $keys", qr/must be a file of at most 256 KiB/, 'a directory'],
    ["HS256 $keys/short", qr/fewer than 32 bytes: .*openssl rand/, 'a short secret'],
    ["HS256 $keys/empty", qr/fewer than 32 bytes/, 'no secret'],
    ["HS256 $keys/rsa.pub", qr/is a PEM file/, 'a public key as a secret'],
    ["RS256 $keys/rsa.pem", qr/openssl pkey -in private.pem -pubout/, 'a private key'],
    ["RS256 $keys/weak.pub", qr/RSA key of fewer than 2048 bits/, 'a short RSA key'],
    ["RS256 $keys/ec.pub", qr/is not for RS256, which takes an RSA key/, 'a key for another algorithm'],
    ["ES256 $keys/p384.pub", qr/takes a key on the curve P-256/, 'another curve'],
    ["EdDSA $keys/rsa.pub", qr/takes an Ed25519 key/, 'RSA as EdDSA'],
    ["RS256 $keys/secret", qr/has no public key or certificate in PEM/, 'a secret as a public key'],
    ["none $keys/secret", qr/invalid value "none": expected HS256, RS256, ES256, EdDSA or JWKS/, 'alg none'],
    ["JWKS $keys/secret", qr/is not a JWKS/, 'a JWKS that is not JSON'],
    ["JWKS $keys/jwks.json kid=a", qr/remove kid=/, 'a kid together with a JWKS'],
    ["HS256 $keys/secret id=a", qr/expected kid=ID/, 'an unknown key'],
    ['HS256', qr/takes HS256, RS256, ES256, EdDSA or JWKS, then a file/, 'no file'],
    )
{
    my ($words, $says, $what) = @$_;
    my ($right, $output) = Httpd->check("<Location /x>\nWebSocketHandler ws_echo.so\nWebSocketTokenKey $words\n</Location>\n");
    ok(!$right, "httpd -t refuses $what");
    like($output, $says, "httpd -t says what to do about $what");
}
for (["WebSocketTokenLeeway 1h", qr/WebSocketTokenLeeway: invalid value "1h"/], ["WebSocketTokenAudience", qr/WebSocketTokenAudience takes/],
    ["WebSocketTokenAudience live \xff", qr/WebSocketTokenAudience: invalid value "\\xff": expected UTF-8/],
    ["WebSocketTokenKey off\nWebSocketTokenKey HS256 $keys/secret", qr/off and a key are in the same section/],
    ["WebSocketTokenKey HS256 $keys/secret\n" x 2, qr/WebSocketTokenKey: line \d+ of \S+ is the same: remove one of the two/])
{
    my ($right, $output) = Httpd->check($_->[0] . "\n");
    ok(!$right && $output =~ $_->[1], "httpd -t refuses $_->[0]");
}
{
    my ($right, $output) = Httpd->check("WebSocketTokenKey HS256 $keys/open\n");
    ok($right, 'httpd -t accepts a secret that all users can read');
    like($output, qr/every user of this machine can read the secret in .*open.*chmod 600/, 'httpd -t warns about a secret that all users can read');
    is(scalar(() = $output =~ /chmod/g), 1, 'httpd -t warns about that secret once');
    ($right, $output) = Httpd->check("WebSocketTokenKey HS256 $keys/secret\nWebSocketTokenKey RS256 $keys/rsa.pub\n");
    is($output, "Syntax OK\n", 'httpd -t does not warn about other files');
    my @required = ("<Location /r>\nWebSocketHandler ws_echo.so\nWebSocketTokenRequired on\n", "</Location>\n");
    ($right, $output) = Httpd->check(join '', @required);
    ok($right, 'httpd -t accepts WebSocketTokenRequired without a key, since another section could add one');
    like($output, qr/"\/r"> refuses all clients of WebSocketHandler, .*: add WebSocketTokenKey, or set WebSocketTokenRequired off/,
        'httpd -t warns about WebSocketTokenRequired without a key');
    ($right, $output) = Httpd->check(join "WebSocketTokenKey HS256 $keys/secret\n", @required);
    is($output, "Syntax OK\n", 'httpd -t does not warn about WebSocketTokenRequired with a key');
    ($right, $output) = Httpd->check("<Location /c>\nWebSocketChannelHTTP publish\nWebSocketTokenKey HS256 $keys/secret\n</Location>\n");
    ok($right, 'httpd -t accepts a token key as the rule for publishing over HTTP');
}

$httpd->stop;
done_testing;
