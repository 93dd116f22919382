# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# httpd's mechanisms apply to WebSockets as to any URL: access control, authentication, rewriting, virtual hosts.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client;

Httpd::once();

my $api   = Httpd::compile('api');
my $certs = Httpd::certificates();

# The password of each user is "sesame", hashed by htpasswd -s.
my $hash = '{SHA}CEo1Ae3vaEXy8eQZjsOiuBz1xrw=';

my $httpd = Httpd->start(
    files => {
        users => "alice:$hash\nbob:$hash\n",
        map { $_ => 'a page for who is refused' } 'htdocs/errors/403.html', 'htdocs/denied-below/page/403.html',
    },
    conf => <<"END",
<Directory />
    Require all denied
</Directory>
<Location />
    Require all granted
</Location>
<Location /open>
    WebSocketHandler $api
</Location>
<Location /denied>
    WebSocketHandler $api
    Require all denied
    ErrorDocument 403 /errors/403.html
</Location>
<Location /denied-below>
    WebSocketHandler $api
    Require all denied
    ErrorDocument 403 /denied-below/page/403.html
</Location>
<Location /denied-below/page>
    Require all granted
</Location>
<Location /password>
    WebSocketHandler $api
    AuthType Basic
    AuthName test
    AuthUserFile users
    Require valid-user
</Location>
<Location /password/alice>
    Require user alice
</Location>
<Location /expr>
    WebSocketHandler $api
    Require expr %{HTTP:X-Ticket} == 'valid'
</Location>
<Location /address>
    WebSocketHandler $api
    Require ip 203.0.113.0/24
</Location>
RewriteEngine on
RewriteRule ^/rewritten/(.*) /open/\$1?name=rewritten [PT]
RewriteRule ^/forbidden /open [F]
RewriteRule ^/moved /open [R=302,L]
RewriteCond %{HTTP:Upgrade} websocket [NC]
RewriteRule ^/by-header /open [PT]
SetEnvIf X-Ticket valid ticket
<Location /env>
    WebSocketHandler $api
    Require env ticket
</Location>
RemoteIPHeader X-Forwarded-For
RemoteIPInternalProxy 127.0.0.1
<VirtualHost *>
    ServerName localhost
    RewriteEngine on
    RewriteOptions Inherit
</VirtualHost>
<VirtualHost *>
    ServerName chat.example
    <Location /chat>
        WebSocketHandler $api
    </Location>
</VirtualHost>
<VirtualHost *>
    ServerName other.example
</VirtualHost>
END
    ssl_conf => <<"END",
SSLCACertificateFile $certs/ca.crt
SSLVerifyClient optional
<Location /certificate>
    WebSocketHandler $api
    Require ssl-verify-client
    SSLUserName SSL_CLIENT_S_DN_CN
</Location>
<Location /certificate/name>
    Require expr %{SSL_CLIENT_S_DN_CN} == 'somebody else'
</Location>
<Location /only-tls>
    WebSocketHandler $api
    Require ssl
</Location>
END
);

sub status { return (Client->refused($httpd, @_))[0] }

sub who {
    my $c = Client->new($httpd, @_);
    $c->text('who');
    return ($c->message)[1];
}

sub basic {
    my ($name, $password) = @_;
    require MIME::Base64;
    return (headers => ['Authorization: Basic ' . MIME::Base64::encode("$name:$password", '')]);
}

# Returns the body of the response to a refused handshake.
sub body {
    my ($client) = @_;
    my $length = $client->header('Content-Length');
    $client->fill while length $client->{in} < $length;
    return substr $client->{in}, 0, $length;
}

# ---- Access control ----
like(who('/open'), qr/user=none/, 'Require in a Location overrides the denial for Directory /');
my ($status, $refused) = Client->refused($httpd, '/denied');
is($status, 403, 'Require all denied refuses a handshake');
is(body($refused), 'a page for who is refused', 'the ErrorDocument is sent with the refusal');
($status, $refused) = Client->refused($httpd, '/denied-below');
is($status, 403, 'an ErrorDocument below the denied Location does not permit access');
is(body($refused), 'a page for who is refused', 'an ErrorDocument below the denied Location is sent with the refusal');
is(status('/expr'), 403, 'Require expr refuses a client if the expression is false');
like(who('/expr', headers => ['X-Ticket: valid']), qr/state=1/, 'Require expr admits a client if the expression is true');
is(status('/env'), 403, 'Require env refuses a client without the variable');
like(who('/env', headers => ['X-Ticket: valid']), qr/state=1/, 'Require env admits a client with the variable');

# ---- Basic authentication ----
($status, $refused) = Client->refused($httpd, '/password');
is($status, 401, 'AuthType Basic refuses a handshake without a password');
like($refused->header('WWW-Authenticate') // '', qr/^Basic realm="test"/, 'with AuthType Basic, the response asks for a password');
is(status('/password', basic('alice', 'wrong')), 401, 'AuthType Basic refuses a wrong password');
is(status('/password', basic('carol', 'sesame')), 401, 'AuthType Basic refuses an unknown user');
like(who('/password', basic('alice', 'sesame')), qr/user=alice /, 'AuthType Basic admits a user, and the handler gets the name');
like(who('/password', basic('bob', 'sesame')), qr/user=bob /, 'AuthType Basic admits another user');
is(status('/password/alice', basic('bob', 'sesame')), 401, 'Require user refuses a user that it does not name');
like(who('/password/alice', basic('alice', 'sesame')), qr/user=alice /, 'Require user admits the user that it names');
Httpd::wait_for(sub { $httpd->access_log =~ m{^127\.0\.0\.1 alice "GET /password HTTP/1\.1" 101 }m },
    'the access log to name the user');
pass('the access log has the user of a handshake');

# ---- mod_rewrite ----
like(who('/rewritten/deep'), qr{uri=/open/deep args=name=rewritten }, 'RewriteRule [PT] sends a handshake to another Location');
is(status('/forbidden'), 403, 'RewriteRule [F] refuses a handshake with 403');
($status, $refused) = Client->refused($httpd, '/moved');
is($status, 302, 'RewriteRule [R] redirects a handshake with 302');
like($refused->header('Location') // '', qr{/open$}, 'RewriteRule [R]: the Location header is the target');
like(who('/by-header'), qr{uri=/open }, 'RewriteCond on Upgrade matches a handshake');
is(($httpd->get('/by-header'))[0], 404, 'RewriteCond on Upgrade does not match an ordinary request');

# ---- mod_remoteip ----
like(who('/open', headers => ['X-Forwarded-For: 203.0.113.7']), qr/peer=203\.0\.113\.7 /, 'mod_remoteip: the handler gets the address of the client behind the proxy');
is(status('/address'), 403, 'Require ip refuses another address');
like(who('/address', headers => ['X-Forwarded-For: 203.0.113.7']), qr/peer=203\.0\.113\.7 /,
    'Require ip admits the address of the client behind the proxy');

# ---- TLS ----
for my $tls (qw(TLSv1_2 TLSv1_3)) {
    is(status('/certificate', tls => $tls), 403, "$tls: Require ssl-verify-client refuses a client without a certificate");
    like(who('/certificate', tls => $tls, cert => 1), qr/user=client peer=127\.0\.0\.1 .* secure=1/,
        "$tls: a client with a certificate is admitted, and the handler gets its name");
    is(status('/certificate/name', tls => $tls, cert => 1), 403, "$tls: a client whose certificate has another name is refused");
}
like(who('/only-tls', tls => 1), qr/secure=1/, 'Require ssl admits a client with TLS');

# ---- Virtual hosts ----
my $host = sub { (request => join "\r\n", "GET $_[1] HTTP/1.1", "Host: $_[0]", 'Upgrade: websocket',
    'Connection: Upgrade', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', '', '') };
like(who('', $host->('chat.example', '/chat')), qr/vhost=chat\.example/, 'a Location of a virtual host has its handler');
is(status('', $host->('other.example', '/chat')), 404, 'a Location of a virtual host does not apply to another host');
is(status('/chat'), 404, 'a Location of a virtual host does not apply to the first host');
is(status('/only-tls'), 404, 'a Location of the TLS host does not apply to the plain host');
like(who('', $host->('other.example', '/open')), qr/vhost=other\.example/, 'a Location in the server configuration applies to all virtual hosts');

done_testing;
