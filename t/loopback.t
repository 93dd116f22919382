# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# The server adds a header to its requests to itself, which authenticates them. An attacker who has captured such a header
# cannot use it a second time, for any page, host or method. The server also refuses a header that was modified or has
# expired, and one from another address. In this test, mod_dumpio captures the header.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client;

plan skip_all => 'the module was built without libcurl' if !-e "$Httpd::BUILD/websocket/ws_http.so";

my $cgi = $Httpd::MPM eq 'prefork' ? 'cgi' : 'cgid';
my $dir = Httpd::folder();
chmod 0777, $dir;
Httpd::write_file("$dir/app.pl", <<"END");
#!/usr/bin/perl
read STDIN, my \$body, \$ENV{CONTENT_LENGTH} || 0;
if (\$body =~ /data%5B%5D=hold/) { open my \$f, '>', "$dir/holds"; close \$f; sleep 1 until -e "$dir/over" }
print "Content-Type: text/plain\\n\\n", \$ENV{WEBSOCKET} ? 'trusted' : 'not trusted';
END
chmod 0755, "$dir/app.pl";
my $httpd = Httpd->start(
    modules => [$cgi, 'dumpio'],
    files   => { passwords => 'alice:' . crypt('secret', 'ab') . "\n" },
    conf    => <<"END");
@{[$cgi eq 'cgid' ? "ScriptSock $dir/cgid.sock" : '']}
WebSocketOrigin any
LogLevel dumpio:trace7
DumpIOInput On
ScriptAlias /cgi/ $dir/
<Directory $dir>
    Require all granted
</Directory>
<Location /app>
    WebSocketHandler ws_http.so to=/cgi/app.pl
</Location>
<Location /short>
    WebSocketHandler ws_http.so to=/cgi/app.pl timeout=200ms
</Location>
<Location /user>
    WebSocketHandler ws_http.so to=/cgi/app.pl/user
    AuthType Basic
    AuthName users
    AuthUserFile passwords
    Require valid-user
</Location>
END

# Returns the headers captured so far.
sub seen { return $httpd->error_log =~ /WebSocket-Loopback: (\w{64}[\w+\/=]+)/g }

sub ask {
    my ($path, $value, %o) = @_;
    my $socket = $httpd->connect or die "connect: $!";
    print $socket join "\r\n", ($o{method} // 'POST') . " $path HTTP/1.1", 'Host: ' . ($o{host} // 'localhost:' . $httpd->port),
        'Connection: close', "WebSocket-Loopback: $value", 'Content-Length: 0', '', '';
    my $answer = do { local $/; <$socket> } // '';
    return $answer =~ m{^HTTP/1.1 (\d+)} ? $1 : 0;
}

my $c = Client->new($httpd, '/app');
is(($c->frame)[1], 'trusted', 'the server trusts its own request');
my ($value) = Httpd::wait_for(sub { (seen())[0] }, 'a header');
is(ask('/cgi/app.pl', $value), 403, 'a captured header cannot be used again');
ok($httpd->wait_log(qr/cannot be trusted: it was used before/), 'the log says that the header was used before');

# The server checks page and host before it checks whether the header was used before, so the log shows the check.
for (['another page', '/cgi/app.pl/other', undef, 'POST'], ['another host', '/cgi/app.pl', 'example.org', 'POST'],
    ['another method', '/cgi/app.pl', undef, 'GET'])
{
    my ($name, $path, $of, $method) = @$_;
    my $before = () = $httpd->error_log =~ /it was signed for another page/g;
    is(ask($path, $value, host => $of, method => $method), 403, "a captured header cannot be used for $name");
    Httpd::wait_for(sub { (() = $httpd->error_log =~ /it was signed for another page/g) > $before }, "a log line about $name");
}
for my $at (0, 63, 64, 79, 80, 88, 96, 120, length($value) - 1) {
    my $changed = $value;
    substr($changed, $at, 1) = substr($changed, $at, 1) eq '0' ? '1' : '0';
    is(ask('/cgi/app.pl', $changed), 403, "a captured header that was changed at byte $at is refused");
}
ok($httpd->wait_log(qr/cannot be trusted: it was not signed by this server/), 'the log says that a changed header was not signed by this server');
is(ask('/cgi/app.pl', $_), 403, 'a truncated header is refused') for substr($value, 0, 64), substr($value, 0, 96), substr $value, 0, 97;

# ---- A header that has expired ----

{
    my $d = Client->new($httpd, '/short', expect => 0);
    $d->read_answer;
    my @values;
    Httpd::wait_for(sub { (@values = seen()) >= 2 }, 'a header from the Location with a short timeout');
    Httpd::wait_for(
        sub {
            my $before = () = $httpd->error_log =~ /it has expired/g;
            ask('/cgi/app.pl', $values[1]);
            return (() = $httpd->error_log =~ /it has expired/g) > $before;
        },
        'the header to expire');
    pass('a header that has expired is refused');
}

# ---- The header of a user's request ----

{
    my $d = Client->new($httpd, '/user', headers => ['Authorization: Basic YWxpY2U6c2VjcmV0']);
    is(($d->frame)[1], 'trusted', 'the server trusts its own request for an authenticated user');
    my @values = seen();
    is(ask('/cgi/app.pl/user', $values[-1]), 403, "the captured header of a user's request cannot be used by other clients");
}
is(($httpd->get('/cgi/app.pl'))[2], 'not trusted', 'a request without the header is not trusted');

done_testing();
