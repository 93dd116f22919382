# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# WebSocketPolicyFile: clients that request the policy file get it. Other clients are not affected.

use strict;
use warnings;
use lib 't/lib';
use Client qw(TEXT);
use Httpd;
use Test::More;

my $REQUEST = "<policy-file-request/>\0";
my $HEAD    = qq{<?xml version="1.0"?>\n<!DOCTYPE cross-domain-policy SYSTEM "http://www.adobe.com/xml/dtds/cross-domain-policy.dtd">\n};

sub policy {
    my (@allowed) = @_;
    return "$HEAD<cross-domain-policy>\n" . join('', map {"  <allow-access-from $_/>\n"} @allowed) . "</cross-domain-policy>\n";
}

# Send these pieces to the server. Returns the bytes that the server sends until it closes the connection.
sub answer {
    my ($httpd, $o, @pieces) = @_;
    my $c = Client->new($httpd, '/', %$o, request => shift @pieces, expect => 0);
    $c->raw($_) for @pieces;
    1 while eval { $c->fill };
    return ($c->{eof} ? '' : "not closed: $@") . $c->{in};
}

# ---- Errors of the configuration ----

my $many = join ' ', map {"host$_:80"} 1 .. 1300;
my %files = (
    'policy.xml'  => policy('domain="a&amp;b"'),
    'broken.xml'  => '<cross-domain-policy>',
    'other.xml'   => '<html/>',
    'empty.xml'   => '',
    'nul.xml'     => "<cross-domain-policy/>\0",
    'huge.xml'    => '<cross-domain-policy>' . ' ' x 65536 . '</cross-domain-policy>',
);
for (
    ['',                        qr/takes domains with ports/],
    ['*.example.org',           qr/"\*\.example\.org" is neither a readable file \(.*\) nor a domain with ports/],
    ['no/such.xml',             qr{"no/such.xml" is neither a readable file}],
    ['logs',                    qr/"logs" must be a file of at most 65536 bytes/],
    ['huge.xml',                qr/"huge.xml" must be a file of at most 65536 bytes/],
    ['broken.xml',              qr/"broken.xml" is not valid XML/],
    ['empty.xml',               qr/"empty.xml" is not valid XML/],
    ['nul.xml',                 qr/"nul.xml" contains a NUL/],
    ['other.xml',               qr/"other.xml" is not a policy: its root element is not <cross-domain-policy>/],
    ['a:80 policy.xml',         qr/invalid value "policy.xml": expected a domain with ports, such as "\*\.example\.org:80,443"/],
    [$many,                     qr/the domains make a policy of more than 65536 bytes: remove domains/],
    ['a:*' . '*' x 700,         qr/expected a domain/],
    ['a:80' . ',80' x 200,      qr/expected a domain/],
    ['x' x 8000 . ':80',        qr/expected a domain/],
    ["a:80\nWebSocketPolicyFile b:80",                            qr/is set twice: name all domains in one line/],
    ["off\nWebSocketPolicyFile b:80",                             qr/is set twice/],
    map { [$_, qr/invalid value "\Q$_\E": expected a domain/] } 'a:', ':80', 'a:0', 'a:65536', 'a:80,', 'a:,80', 'a:80,,81',
    'a:8-', 'a:-8', 'a:9-8', 'a:x', 'a:*,80', 'a*:80', '*a:80', '*.:80', 'a"b:80', 'a<b:80', 'a&b:80', "a'b:80", '[::1]:80')
{
    my ($line, $error) = @$_;
    my ($ok, $output) = Httpd->check("WebSocketPolicyFile " . ($line =~ /["']/ ? "'" . $line =~ s/'/\\'/r . "'" : $line), files => \%files);
    ok(!$ok && $output =~ /WebSocketPolicyFile:? .*$error/, 'httpd -t refuses: WebSocketPolicyFile ' . substr $line, 0, 40) or diag($output);
}
{
    my ($ok, $output) = Httpd->check("<Location /x>\nWebSocketPolicyFile a:80\n</Location>");
    ok(!$ok && $output =~ /WebSocketPolicyFile not allowed/, 'httpd -t refuses WebSocketPolicyFile in a section') or diag($output);
}

# ---- Hooks ----

sub hooks {
    my ($conf) = @_;
    my $httpd  = Httpd->new(conf => $conf, env => { SHOW_HOOKS => 1 });
    my $output = $httpd->run('-t');
    return scalar(() = $output =~ /Hooked process_connection/g);
}
{
    my $without = hooks('');
    ok($without, 'httpd -t can show hooks');
    is(hooks('WebSocketPolicyFile off'),  $without,     'WebSocketPolicyFile off adds no hook');
    is(hooks('WebSocketPolicyFile a:80'), $without + 1, 'WebSocketPolicyFile adds one hook');
}

# ---- Answers ----

my $h2    = -e "$Httpd::MODULES/mod_http2.so" && $Httpd::MPM ne 'prefork';
my @ports = map { Httpd::free_port() } 1 .. 3;
my $httpd = Httpd->start(
    files   => \%files,
    modules => $h2 ? ['http2'] : [],
    conf    => <<"END", ssl_conf => 'WebSocketPolicyFile "secure.example.org:443"');
WebSocketPolicyFile "*.example.org:80,443" "*:8000-8999,1" example.com:*
@{[$h2 ? "Protocols h2c http/1.1\nH2Direct on" : '']}
Listen 127.0.0.1:$ports[0]
Listen 127.0.0.1:$ports[1]
Listen 127.0.0.1:$ports[2]
<VirtualHost 127.0.0.1:$ports[0]>
    WebSocketPolicyFile policy.xml
</VirtualHost>
<VirtualHost 127.0.0.1:$ports[1]>
    WebSocketPolicyFile off
</VirtualHost>
<VirtualHost 127.0.0.1:$ports[2]>
    RemoteIPProxyProtocol on
</VirtualHost>
<Location /echo>
    WebSocketHandler ws_echo.so
</Location>
END

my $main = policy('domain="*.example.org" to-ports="80,443"', 'domain="*" to-ports="8000-8999,1"',
    'domain="example.com" to-ports="*"');
is(answer($httpd, {}, $REQUEST), $main, 'a request is answered with the policy, and the connection ends');
is(answer($httpd, {}, split //, $REQUEST), $main, 'a request that arrives byte by byte is answered with the policy');
is(answer($httpd, {}, $REQUEST . 'and more'), $main, 'bytes after the request are ignored');
is(answer($httpd, { tls => 1 }, $REQUEST), policy('domain="secure.example.org" to-ports="443"'), 'over TLS, a request is answered with the policy of the virtual host');
is(answer($httpd, { tls => 1 }, split //, $REQUEST), policy('domain="secure.example.org" to-ports="443"'), 'over TLS, a request that arrives byte by byte is answered');
is(answer($httpd, { port => $ports[0] }, $REQUEST), $files{'policy.xml'}, 'a request is answered with a policy from a file');
is(answer($httpd, { port => $ports[2] }, "PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\n$REQUEST"), $main,
    'a request behind a PROXY header is answered with the policy of the main server');
like(answer($httpd, { port => $ports[1] }, $REQUEST . "\r\n\r\n"), qr{\AHTTP/1.1 400 }, 'with WebSocketPolicyFile off, httpd answers the request with 400');

# ---- Connections that ask for something else ----

is(answer($httpd, {}, '<policy', '-filth'), '', 'a connection that continues the request differently is closed without a policy');
like(answer($httpd, {}, "<other>\r\n\r\n"), qr{\AHTTP/1.1 400 }, 'httpd answers another first line');
like(answer($httpd, {}, "<policy-file-request/> \r\n\r\n"), qr{\AHTTP/1.1 400 }, 'httpd answers a request without the NUL');
like(answer($httpd, {}, "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /index.html HTTP/1.1\r\nHost: a\r\n\r\n$REQUEST\r\n\r\n"),
    qr{\AHTTP/1.1 200 .*ordinary content\nHTTP/1.1 200 .*ordinary content\nHTTP/1.1 400 }s,
    'a policy request after HTTP requests is not answered with the policy');
is(($httpd->get('/index.html'))[2], "ordinary content\n", 'an HTTP request is answered');
for my $tls (0, 1) {
    my $c = Client->new($httpd, '/echo', tls => $tls, behind => Client::frame_bytes(TEXT, 'hello'));
    is(($c->message)[1], 'hello', 'a WebSocket echoes' . ($tls ? ' over TLS' : ''));
    $c->close(1000);
    $c->expect_close(1000, 'the WebSocket closes cleanly');
}
SKIP: {
    skip 'HTTP/2 is not for prefork', 1 if !$h2;
    like(`curl -s --http2-prior-knowledge http://127.0.0.1:@{[$httpd->port]}/index.html -w '%{http_version}'`,
        qr/\Aordinary content\n2\z/, 'HTTP/2 from the first byte is answered');
}

# ---- A client that does not finish its request ----

{
    my $c = Client->new($httpd, '/', request => '<policy-file', expect => 0);
    is(answer($httpd, {}, $REQUEST), $main, 'a client that stops inside a request does not delay others');
    $c->drop;
    is(($httpd->get('/index.html'))[0], 200, 'when that client has disconnected, httpd still answers');
}
{
    my $impatient = Httpd->start(modules => [], conf => <<'END');
Timeout 1
WebSocketPolicyFile *:80
END
    is(answer($impatient, {}, '<policy-file'), '', 'a request that does not end is closed after Timeout');
}

done_testing();
