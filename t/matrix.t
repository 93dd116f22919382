# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests third-party clients. Each client uses every protocol version that it supports over every transport, except HTTP/2,
# which t/h2.t tests.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Program;

Httpd::once();

my $httpd = Httpd->start(files => { 'htdocs/page/index.html' => "<!doctype html><title>a page</title>\n" },
    conf => <<'END');
WebSocketHandler ws_echo.so protocol=echo
WebSocketHandler ws_echo.so
WebSocketVersions 13 8 7 76 75
<Location /relay>
    WebSocketRelay on
</Location>
<Location /compressed>
    WebSocketCompression on threshold=0
</Location>
<Location /compressed/takeover>
    WebSocketCompression on takeover=on
</Location>
<Location /compressed/relay>
    WebSocketCompression on takeover=on
    WebSocketRelay on
</Location>
<Location /page>
    WebSocketVersions 13
</Location>
END

my $ca  = Httpd::certificates() . '/ca.crt';
my $ws  = 'ws://127.0.0.1:' . $httpd->port;
my $wss = 'wss://127.0.0.1:' . $httpd->ssl_port;

# ---- The matrix ----
# A client has a name, a list of versions, and a command line. The test appends the version, the URL and the CA to the
# command line. A client without a list of versions uses version 13, and gets no version argument.

my @clients = (
    ['npm ws', [13, 8], 'node', 't/clients/echo.js', 'ws'],
    ['npm websocket', [13, 8], 'node', 't/clients/echo.js', 'websocket'],
    ['npm faye-websocket', [13], 'node', 't/clients/echo.js', 'faye-websocket'],
    ['python3-websockets', [], '/usr/bin/python3', 't/clients/echo.py'],
    ['libprotocol-websocket-perl', [13, 8, 76, 75], $^X, 't/clients/echo.pl'],
    ['ruby-websocket', [13, 8, 7, 76, 75], 'ruby', 't/clients/echo.rb'],
);
my %compresses = map { $_ => 1 } 'npm ws', 'npm faye-websocket', 'python3-websockets';
my @compressed = (
    ['ws, compressed', "$ws/compressed/echo"], ['wss, compressed with takeover', "$wss/compressed/takeover"],
    ['wss, compressed, relayed', "$wss/compressed/relay"],
);
my @ways = (['ws', "$ws/echo"], ['wss', "$wss/echo"], ['ws, relayed', "$ws/relay"], ['wss, relayed', "$wss/relay"]);

for my $client (@clients) {
    my ($name, $versions, @command) = @$client;
    for my $version (@$versions ? @$versions : '') {
        for my $way (@ways, $compresses{$name} ? @compressed : ()) {
            my ($way_name, $url) = @$way;
            Program::tap(join(', ', $name, $version ? "version $version" : (), $way_name),
                @command, $version ? $version : (), $url, $ca);
        }
    }
}

# Check in the log that the clients used these versions.
my %seen;
$seen{$_}++ for $httpd->error_log =~ /websocket: version (\d+), handler echo/g;
my %expected = (13 => 6, 8 => 4, 7 => 1, 76 => 2, 75 => 2);
ok(($seen{$_} || 0) >= @ways * $expected{$_}, "$expected{$_} clients used version $_ over each transport")
    for sort keys %expected;

# ---- A browser ----

SKIP: {
    skip 'the test with Chromium runs only with the event MPM', 9 if $Httpd::MPM ne 'event';
    my @pages = map { my $page = s/^ws/http/r; map { ("$page/page/", $_) } "$_/echo", "$_/relay", "$_/compressed/echo", "$_/compressed/takeover" } $ws, $wss;
    Program::tap('Chromium', 'node', 't/clients/chromium.js', @pages);
}

# ---- curl: ordinary requests, and refusals ----

my $http = 'http://127.0.0.1:' . $httpd->port . '/page';
my $curl = sub {
    my ($status, $output) = Program::run(qw(curl -sS -o /dev/null --max-time), $Httpd::DEADLINE, '-w', '%{http_code}', @_);
    return $output;
};
my @upgrade = ('-H', 'Connection: Upgrade', '-H', 'Upgrade: websocket');
is($curl->("$http/index.html"), 200, 'curl: an ordinary request is answered with 200');
is($curl->("$http/echo"), 404, 'curl: an ordinary request for a WebSocket Location without content is answered with 404');
is($curl->(@upgrade, "$http/echo"), 426, 'curl: a handshake without a version is answered with 426');
is($curl->(@upgrade, '-H', 'Sec-WebSocket-Version: 13', "$http/echo"), 400, 'curl: a handshake without a key is answered with 400');

done_testing;
