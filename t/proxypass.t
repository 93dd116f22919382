# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# A reverse proxy has the line "WebSocketHandler ws_proxy.so to=proxypass" in its configuration. Tests all directives that
# give mod_proxy a target, with npm's ws as the server and fewer workers than clients.

use strict;
use warnings;
use lib 't/lib';
use Client;
use File::Temp qw(tempdir);
use Httpd;
use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use Program;
use Server qw(accepted);
use Test::More;

my $dir = tempdir('mod_websocket-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
my $ca = "$dir/ca.crt";
Httpd::write_file($ca, Httpd::read_file(Httpd::certificates() . '/ca.crt'));
my ($one, $two, $tls, $closed) = map { Httpd::free_port() } 1 .. 4;
my @upstreams = map { Program->start('node', 't/clients/upstream.js', @$_) } ['one', $one], ['two', $two],
    ['unix', "$dir/socket"], ['tls', $tls, map { Httpd::certificates() . "/server.$_" } qw(crt key)];
$_->wait_output(qr/^ready$/m) for @upstreams;
my $raw = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1') or die "listen: $!";
my @modules = (modules => [qw(proxy proxy_http proxy_wstunnel slotmem_shm proxy_balancer lbmethod_byrequests)]);

sub configuration {
    my ($line) = @_;
    return <<"END";
$line
WebSocketOrigin any
RequestHeader set X-Added "by mod_headers"
RewriteEngine on
RewriteCond %{HTTP:Upgrade} =websocket
RewriteRule ^/rewritten/(.*)\$ ws://127.0.0.1:$one/base/\$1 [P,L]
RewriteRule ^/rewritten/(.*)\$ http://127.0.0.1:$one/base/\$1 [P,L]
ProxyPass        /pass/  ws://127.0.0.1:$one/base/
ProxyPassMatch   ^/match/(.*)\$ ws://127.0.0.1:$one/base/\$1
ProxyPass        /http/  http://127.0.0.1:$one/base/ upgrade=websocket
ProxyPass        /unix/  "unix:$dir/socket|ws://localhost/base/"
ProxyPass        /plain/ http://127.0.0.1:$two/base/
ProxyPass        /down/  ws://127.0.0.1:$closed/
ProxyPass        /raw/   ws://127.0.0.1:@{[$raw->sockport]}/
ProxyPass        /silent/ ws://127.0.0.1:@{[$raw->sockport]}/ timeout=1
ProxyPass        /pool/  balancer://pool/base/ stickysession=route
ProxyPass        /over/  balancer://over/base/
<Proxy balancer://pool>
    BalancerMember ws://127.0.0.1:$one route=one
    BalancerMember ws://127.0.0.1:$two route=two
</Proxy>
<Proxy balancer://over>
    BalancerMember ws://127.0.0.1:$closed loadfactor=100
    BalancerMember http://127.0.0.1:$two upgrade=websocket
</Proxy>
<Location /section/>
    ProxyPass ws://127.0.0.1:$one/base/
    ProxyPreserveHost on
</Location>
<Location /handled>
    SetHandler "proxy:ws://127.0.0.1:$one"
</Location>
<Proxy ws://127.0.0.1:$one/base/private>
    Require all denied
</Proxy>
<Location /ordinary>
    SetHandler server-status
</Location>
<Location /balancers>
    SetHandler balancer-manager
</Location>
END
}

my $secure = <<"END";
<Location /slash>
    WebSocketHandler ws_proxy.so to=ws://127.0.0.1:$one/base/
</Location>
<Location /whole>
    WebSocketHandler ws_proxy.so to=ws://127.0.0.1:$one/base
</Location>
<Location /socket>
    WebSocketHandler ws_proxy.so "to=unix:$dir/socket|ws://localhost/base/"
</Location>
<LocationMatch "^/match1/(?<rest>.*)">
    WebSocketHandler ws_proxy.so to=ws://127.0.0.1:$one/base/%{env:MATCH_REST}
</LocationMatch>
SSLProxyEngine on
ProxyPass /tls/ wss://localhost:$tls/base/
<Location /tls/>
    WebSocketHandler ws_proxy.so to=proxypass ca=$ca
</Location>
END

# worker and prefork count old children when they limit the children to MaxRequestWorkers, so a reload needs more.
my $workers = $Httpd::MPM eq 'event' ? 12 : 36;
my $mpm     = $Httpd::MPM eq 'prefork'
    ? "StartServers 12\nServerLimit 48\nMaxRequestWorkers $workers\nMinSpareServers 1\nMaxSpareServers 12"
    : "StartServers 1\nServerLimit 8\nThreadsPerChild 12\nMaxRequestWorkers $workers\nMinSpareThreads 1\nMaxSpareThreads $workers";
my $httpd = Httpd->start(@modules, mpm_conf => $mpm,
    conf => configuration('WebSocketHandler ws_proxy.so to=proxypass') . $secure);

sub asked {
    my ($c) = @_;
    $c->text('request');
    return decode_json(($c->message)[1]);
}

# ---- Every way to give a target ----

for (['/pass/', 'one'], ['/match/', 'one'], ['/section/', 'one'], ['/rewritten/', 'one'], ['/http/', 'one'],
    ['/unix/', 'unix'], ['/tls/', 'tls'], ['/handled/', 'one'])
{
    my ($path, $name) = @$_;
    my $c = Client->new($httpd, "${path}a%20b/c?token=x%2Fy&z",
        headers => ['Cookie: a=1; b=2', 'Authorization: Bearer abc', 'X-Forwarded-For: 192.0.2.1', 'Connection: X-Hop',
            'X-Hop: 1', 'Sec-WebSocket-Protocol: first, second']);
    my $r = asked($c);
    is($r->{name}, $name, "$path: the right server is connected") or next;
    $path eq '/handled/' ? like($r->{url}, qr{/htdocs/handled\?token=x%2Fy&z$}, "$path: the server gets the same path and query as with mod_proxy")
        : is($r->{url}, '/base/a%20b/c?token=x%2Fy&z', "$path: the server gets the path and the query");
    my $h = $r->{headers};
    is("$h->{cookie} $h->{authorization}", 'a=1; b=2 Bearer abc', "$path: the server gets Cookie and Authorization");
    is($h->{'x-added'}, 'by mod_headers', "$path: the server gets headers added by RequestHeader");
    is($h->{'x-forwarded-for'}, '192.0.2.1, 127.0.0.1', "$path: the server gets X-Forwarded-For");
    ok($h->{'x-forwarded-host'} && $h->{'x-forwarded-server'}, "$path: the server gets X-Forwarded-Host and X-Forwarded-Server");
    ok(!exists $h->{'x-hop'}, "$path: the server gets no hop-by-hop headers");
    $path eq '/section/' ? is($h->{host}, $h->{'x-forwarded-host'}, "$path: ProxyPreserveHost passes on the client's Host")
        : isnt($h->{host}, $h->{'x-forwarded-host'}, "$path: the server gets its own Host");
    like($c->head, qr/^Sec-WebSocket-Protocol: second\r$/m, "$path: the client gets the subprotocol that the server has chosen");
    is(() = $c->head =~ /^Set-Cookie: /mg, 2, "$path: the client gets the server's cookies");
    $c->close(4000, 'enough');
    is(unpack('n', ($c->frame)[1]), 4000, "$path: the client's close code is answered");
}

# ---- Requests left to mod_proxy ----

for my $path ('/rewritten/', '/http/') {
    like(($httpd->get("${path}page"))[2], qr{page of one at /base/page}, "$path: mod_proxy answers a plain request");
}
is((Client->refused($httpd, '/ordinary?auto'))[0], 200, 'a handshake in a Location without proxy is an ordinary request');
is((Client->refused($httpd, '/plain/x'))[0], 200, 'a handshake for http without upgrade= is left to mod_proxy');
is((Client->refused($httpd, '/pass/private'))[0], 403, 'a <Proxy> section refuses a handshake');

# ---- Refusals and failures ----

for my $status (401, 404, 302, 500) {
    my ($got, $c) = Client->refused($httpd, "/pass/refuse/$status");
    is($got, $status, "a server's refusal reaches the client: $status");
    like($c->head, qr/^X-Why: told\r?$/m, "the headers of a refusal reach the client: $status");
}
is((Client->refused($httpd, '/down/'))[0], 502, 'a server that cannot be reached is answered with 502');
$httpd->wait_log(qr{websocket: proxy: no connection to ws://127.0.0.1:$closed/: connect: });

sub answered {
    my ($what, $answer, $expected, $path) = @_;
    my $c = Client->new($httpd, $path // '/raw/', expect => 0);
    my ($s) = accepted($raw);
    local $SIG{PIPE} = 'IGNORE';
    print $s $answer;
    $c->read_answer;
    is($c->status, $expected, $what);
}
my $accept = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
answered('garbage instead of an answer is answered with 502', "garbage\r\n\r\n", 502);
answered('a wrong accept key is answered with 502', $accept . "AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n", 502);
answered('headers that do not end are answered with 502', $accept . 'A' x 40_000, 502);
answered('a missing answer is answered with 504', '', 504, '/silent/');

# ---- to=URL ----

for (
    ['/slash/a%20b/c?q', 'one',  '/base/a%20b/c?q'],
    ['/slash/',          'one',  '/base/'],
    ['/slash/%23%3fx',   'one',  '/base/%23%3fx'],
    ['/whole/x?q',       'one',  '/base?q'],
    ['/socket/x',        'unix', '/base/x'],
    ['/match1/a%20b?q',  'one',  '/base/a%20b?q'],
    ['/match1/@127.0.0.1:9/', 'one', '/base/@127.0.0.1:9/'],
    )
{
    my ($path, $name, $url) = @$_;
    my $r = asked(Client->new($httpd, $path));
    is("$r->{name} $r->{url}", "$name $url", "to=URL: $path reaches the right server and URL");
}

# ---- Balancers ----

for my $route ('one', 'two') {
    for (1 .. 3) {
        my $c = Client->new($httpd, "/pool/x?route=s.$route");
        is(asked($c)->{name}, $route, "a sticky session of $route reaches its member");
    }
}

# Returns the sum of the busy counts that mod_proxy shows for both members.
sub busy {
    my $page = ($httpd->get('/balancers'))[2];
    my ($pool) = $page =~ m{balancer://pool.*?(<table.*?</table>).*?(?:balancer://over|$)}s ? $& : $page;
    my ($members) = $page =~ m{(<h3>[^<]*<a[^>]*>balancer://pool.*?)(?=<h3>|\z)}s;
    my $sum = 0;
    $sum += $1 while ($members // $pool) =~ m{<td>[^<]*</td><td>\d+</td><td>(\d+)</td><td>-?\d+</td>}g;
    return $sum;
}
Httpd::wait_is(\&busy, 0, 'no member is busy at first');
my @held = map { Client->new($httpd, '/pool/') } 1 .. 4;
Httpd::wait_is(\&busy, 4, 'members are busy while connections are open');
@held = ();
Httpd::wait_is(\&busy, 0, 'members are not busy after their connections have ended');
is(asked(Client->new($httpd, '/over/x'))->{name}, 'two', 'a member that is down is replaced by another one') for 1 .. 3;

# ---- More clients than workers, through a reload ----

my $base   = 'ws://127.0.0.1:' . $httpd->port;
my $crowd  = Program->start('node', 't/clients/steady.js', 500, $ca,
    map {"$base$_"} qw(/pass/ /rewritten/ /http/ /unix/ /pool/ /section/ /match/ /tls/));
$crowd->write("open 200\n");
$crowd->wait_output(qr/^opened 200$/m);
like(($httpd->get('/http/page'))[2], qr/page of one/, 'with 200 clients and 12 workers, an ordinary request is answered');
Httpd::wait_for(sub { $httpd->status_value('BusyWorkers') <= 2 }, 'at most 2 workers are busy');
$httpd->graceful;
like(($httpd->get('/http/page'))[2], qr/page of one/, 'after a reload with 200 clients, an ordinary request is answered');
$crowd->write("open 20\n");
$crowd->wait_output(qr/^opened 220$/m);
$crowd->write("end\n");
$crowd->wait_output(qr/^ended \d+$/m);
unlike($crowd->output, qr/wrong/, 'after the reload, no connection and no message is lost');
$crowd->end_input;
$httpd->stop;

# ---- mod_proxy alone ----

my $stock = Httpd->start(@modules, mpm_conf => $mpm, conf => configuration(''));
is(asked(Client->new($stock, '/pass/x'))->{url}, '/base/x', 'mod_proxy alone connects a WebSocket');
{
    # Each connection occupies a worker. Therefore only as many of the 200 clients are connected as there are workers, and
    # no worker is free.
    my @forms = qw(/pass/ /rewritten/ /http/ /unix/ /pool/ /section/ /match/);
    my @crowd = map { Client->new($stock, $forms[$_ % @forms], expect => 0) } 1 .. 200;
    my %open;
    my $count = sub {
        for my $c (grep { !$open{$_} } @crowd) {
            next if !IO::Select->new($c->socket)->can_read(0);
            $c->read_answer;
            $open{$c} = $c if $c->status == 101;
        }
        return scalar keys %open;
    };
    Httpd::wait_is($count, $workers, 'mod_proxy alone connects as many of 200 clients as there are workers');
    my $get = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $stock->port) or die "connect: $!";
    print $get "GET /http/page HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    ok(!IO::Select->new($get)->can_read(1), 'with mod_proxy alone, an ordinary request gets no answer while the workers are occupied');
    is($count->(), $workers, 'with mod_proxy alone, no other client is connected while the workers are occupied');
    $_->drop for @crowd;
    ok(Httpd::ready($get), 'with mod_proxy alone, the ordinary request is answered when the clients have gone');
    like(join('', <$get>), qr/page of one/, 'with mod_proxy alone, the ordinary request gets the page');
}
$stock->stop;

# ---- Configuration ----

my ($right, $text) = Httpd->check("WebSocketHandler ws_proxy.so to=proxypass\n");
ok(!$right && $text =~ /mod_proxy, which is not loaded/, 'httpd -t without mod_proxy refuses to=proxypass, and suggests mod_proxy') or diag($text);
($right, $text) = Httpd->check("WebSocketHandler ws_proxy.so to=proxypass headers=Cookie\n", @modules);
ok(!$right && $text =~ /RequestHeader/, 'httpd -t refuses headers=, and suggests RequestHeader') or diag($text);
for (['ws://%{HTTP_HOST}/', 'do not depend'], ['ws://a%{HTTP:X}/', 'do not depend'], ['ws://a:%{env:P}/x', 'do not depend'],
    ['%{env:URL}', 'takes ws://'], ['ws://a/%{wrong', 'can be parsed'], ['unix:socket|ws://a/', 'unix:/path'], ['ws:///x', 'takes ws://'])
{
    my ($to, $remedy) = @$_;
    ($right, $text) = Httpd->check(qq(WebSocketHandler ws_proxy.so "to=$to"\n));
    ok(!$right && $text =~ /\Q$remedy\E/, "httpd -t refuses to=$to, and says what is accepted") or diag($text);
}
done_testing;
