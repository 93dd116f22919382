# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# libwsclient, with all its options, connects to third-party servers and to this module. It also connects to faulty
# servers, and must report a different error for each fault.

use strict;
use warnings;
use Digest::SHA qw(sha1_base64);
use IO::Socket::INET;
use IO::Socket::IP;
use IO::Socket::SSL;
use IO::Socket::SSL::Utils;
use IO::Socket::UNIX;
use MIME::Base64;
use Test::More;
use lib 't/lib';
use Httpd;
use Program;

Httpd::once();
$SIG{PIPE} = 'IGNORE';

my $certs = Httpd::certificates();
my $dir   = Httpd::folder();

# ---- The program under test, built like an application ----

sub build {
    my ($out, @how) = @_;
    my $sanitizer = $ENV{WS_TEST_PRELOAD} ? '-fsanitize=address,undefined' : '';
    my $flags = `apr-1-config --includes --cppflags --link-ld --libs` =~ tr/\n/ /r;
    my $command = "gcc -std=gnu11 -g -Wall -Wextra -Werror $sanitizer -I$Httpd::TOP/include -o $out @how"
        . " $flags " . `apu-1-config --link-ld` =~ tr/\n/ /r . '-lssl -lcrypto -lz -lpthread' . (-e '/usr/include/idn2.h' ? ' -lidn2' : '');
    my $output = `$command 2>&1`;
    is($?, 0, "$out is built") or BAIL_OUT($output);
}
build("$dir/connect", "$Httpd::TOP/t/clients/connect.c", "$Httpd::BUILD/libwsclient.a");
my $p = Program->start("$dir/connect");

my $number = 0;

# Make the program connect. Returns the name of the connection.
sub connect_to {
    my ($url, @options) = @_;
    my $name = 'n' . ++$number;
    my $most = int 1000 * $Httpd::DEADLINE; # a busy machine may need longer than the client's own time limits
    $p->write(join(' ', 'connect', $name, $url, (map {"${_}_timeout=$most"} qw(lookup connect handshake)), @options) . "\n");
    return $name;
}

# Wait for the next line of output about a connection, and return it.
sub told {
    my ($name) = @_;
    return ($p->wait_output(qr/^$name (.*)\n/m))[1];
}

sub opened {
    my ($what, $url, @options) = @_;
    my $name = connect_to($url, @options);
    my $told = told($name);
    like($told, qr/^open /, "$what: the connection opens") or return (undef, $told);
    return ($name, $told);
}

sub failed {
    my ($what, $match, $url, @options) = @_;
    like(told(connect_to($url, @options)), qr/^failed \d+ $match$/, $what);
}

sub ended {
    my ($what, $name) = @_;
    $p->write("close $name 4321 enough\n");
    is(told($name), 'close 4321 enough', "$what: the server answers with the close code");
}

sub echoes {
    my ($what, $name) = @_;
    my @wrong;
    for my $text ('hello', "h\x{c3}\x{a9} \x{e2}\x{82}\x{ac}", 'long ' x 5000) {
        $p->write("send $name $text\n");
        my $told = told($name);
        push @wrong, substr $told, 0, 100 if $told ne "text $text";
    }
    for my $size (0, 1, 125, 126, 16384, 16385, 65535, 65536, 131072, 1000000) {
        $p->write("bytes $name $size\n");
        my $told = told($name);
        push @wrong, $told if $told ne "binary $size, 0 wrong";
    }
    $p->write("parts $name 5 abc\n");
    my $told = told($name);
    push @wrong, $told if $told ne 'text abcabcabcabcabc';
    $p->write("ping $name\n");
    $told = told($name);
    push @wrong, $told if $told ne 'pong ping';
    is_deeply(\@wrong, [], "$what: messages of all sizes, messages in parts and pings come back");
}

# ---- Servers ----

my $tunnel_port = Httpd::free_port();
my $tls_tunnel_port = Httpd::free_port();
my $httpd       = Httpd->start(
    modules => [qw(proxy proxy_connect)],
    files   => { passwords => "user:" . crypt('secret', 'ab') . "\n" },
    ssl_conf => "SSLCACertificateFile $certs/ca.crt\n<Location /certified>\nSSLVerifyClient require\n</Location>",
    conf    => <<"END");
WebSocketMaxMessageSize 100M
<Location /echo>
    WebSocketHandler ws_echo.so protocol=echo
    WebSocketHandler ws_echo.so
    WebSocketVersions 13 8
    Header always set X-Kept "%{HTTP_X_GIVEN}e"
    SetEnvIf X-Given (.*) HTTP_X_GIVEN=\$1
</Location>
<Location /certified>
    WebSocketHandler ws_echo.so
</Location>
<Location /compressed>
    WebSocketHandler ws_echo.so
    WebSocketCompression on takeover=on
</Location>
<Location /small>
    WebSocketHandler ws_echo.so
    WebSocketCompression on takeover=off
</Location>
<Location /private>
    WebSocketHandler ws_echo.so
    AuthType Basic
    AuthName test
    AuthUserFile passwords
    Require valid-user
</Location>
Redirect 307 /moved /echo?moved
Redirect 302 /round /round
Redirect 308 /down ws://127.0.0.1:1/
Listen 127.0.0.1:$tunnel_port
<VirtualHost 127.0.0.1:$tunnel_port>
    ProxyRequests On
    AllowCONNECT 1-65535
    <Proxy "*">
        AuthType Basic
        AuthName tunnel
        AuthUserFile passwords
        Require valid-user
    </Proxy>
</VirtualHost>
Listen 127.0.0.1:$tls_tunnel_port
<VirtualHost 127.0.0.1:$tls_tunnel_port>
    SSLEngine on
    SSLCertificateFile $certs/server.crt
    SSLCertificateKeyFile $certs/server.key
    ProxyRequests On
    AllowCONNECT 1-65535
    <Proxy "*">
        AuthType Basic
        AuthName tunnel
        AuthUserFile passwords
        Require valid-user
    </Proxy>
</VirtualHost>
END
my ($plain, $tls) = ($httpd->port, $httpd->ssl_port);
my $ca = "ca_file=$certs/ca.crt";
my $big = 'max_message=100000000';

my %port;
my @others = (Program->start('node', 't/clients/servers.js', "$certs/server.crt", "$certs/server.key"),
    Program->start('/usr/bin/python3', 't/clients/server.py', "$certs/server.crt", "$certs/server.key"));
for my $other (@others) {
    my ($all) = $other->wait_output(qr/\A(?s:.*)ready\n/);
    $port{$1} = $2 while $all =~ /^(\S+) (\d+)$/mg;
}

for my $case (
    ['httpd, version 13', "ws://127.0.0.1:$plain/echo"],
    ['httpd, version 8', "ws://127.0.0.1:$plain/echo", 'version=8'],
    ['httpd, TLS', "wss://localhost:$tls/echo", $ca],
    ['httpd, TLS, version 8', "wss://127.0.0.1:$tls/echo", $ca, 'version=8'],
    ['httpd, compression', "ws://127.0.0.1:$plain/compressed", 'deflate=1'],
    ['httpd, TLS, compression', "wss://localhost:$tls/compressed", $ca, 'deflate=1'],
    ['httpd, compression without takeover', "ws://127.0.0.1:$plain/compressed", 'deflate=2'],
    ['httpd, which does not agree on takeover', "ws://127.0.0.1:$plain/small", 'deflate=1'],
    ['npm ws', "ws://127.0.0.1:$port{ws}/"],
    ['npm ws, TLS, compression', "wss://localhost:$port{'ws-tls'}/", $ca, 'deflate=1'],
    ['npm ws, compression without takeover', "ws://127.0.0.1:$port{ws}/", 'deflate=2'],
    ['npm websocket, version 13', "ws://127.0.0.1:$port{websocket}/"],
    ['npm websocket, version 8', "ws://127.0.0.1:$port{websocket}/", 'version=8'],
    ['npm websocket, TLS', "wss://localhost:$port{'websocket-tls'}/", $ca],
    ['npm websocket, TLS, version 8', "wss://localhost:$port{'websocket-tls'}/", $ca, 'version=8'],
    ['python3-websockets', "ws://127.0.0.1:$port{python}/"],
    ['python3-websockets, TLS, compression', "wss://localhost:$port{'python-tls'}/", $ca, 'deflate=1'],
    ['a blocking handler', "ws://127.0.0.1:$plain/echo", 'blocking=1'],
    ['fragments', "ws://127.0.0.1:$port{ws}/", 'fragment=1000'],
    ['fragments, compression', "ws://127.0.0.1:$port{ws}/", 'fragment=1000', 'deflate=1'])
{
    my ($what, $url, @options) = @$case;
    my ($name, $told) = opened($what, $url, $big, 'protocols=other,echo', @options);
    $name or do { diag($told); next };
    my $version = $what =~ /version 8/ ? 8 : 13;
    my $secure  = $url =~ /^wss/ ? 1 : 0;
    like($told, qr/version=$version secure=$secure/, "$what: ws_version() and ws_secure() are right");
    like($told, qr/ protocol=echo /, "$what: the server's subprotocol is agreed on") if $url !~ m{/(compressed|small)};
    echoes($what, $name);
    ended($what, $name);
}

# ---- What the client sends, and what it reports about the server ----

{
    my (undef, $told) = opened('URL', "ws://127.0.0.1:$plain/echo?a=b&c", 'header=X-Given:this');
    like($told, qr{ peer=127\.0\.0\.1 uri=/echo args=a=b&c host=127\.0\.0\.1 }, "the client reports the server's address and its own URL");
    like($told, qr/ server=this$/, 'the server gets an additional header, and the client keeps a header of the answer');
}
opened("the server's own origin", "ws://127.0.0.1:$plain/echo", "origin=http://127.0.0.1:$plain");
failed('a wrong origin in version 13', 'handshake: server answered 403', "ws://127.0.0.1:$plain/echo",
    'origin=http://evil.example');
failed('a wrong origin in version 8', 'handshake: server answered 403', "ws://127.0.0.1:$plain/echo",
    'version=8', 'origin=http://evil.example');
failed('without credentials', 'handshake: server answered 401', "ws://127.0.0.1:$plain/private");
failed('wrong credentials', 'handshake: server answered 401', "ws://user:wrong\@127.0.0.1:$plain/private");
opened('credentials', "ws://user:secr%65t\@127.0.0.1:$plain/private");
failed('a URL without a WebSocket', 'handshake: server answered 404', "ws://127.0.0.1:$plain/nothing");
failed('a redirect without redirects=', 'handshake: server answered 307', "ws://127.0.0.1:$plain/moved");
{
    my (undef, $told) = opened('a redirect', "ws://127.0.0.1:$plain/moved", 'redirects=1');
    like($told, qr{uri=/echo args=moved }, 'redirects=1: a redirect is followed');
}
failed('an endless redirect', 'redirect: more than 3 redirects', "ws://127.0.0.1:$plain/round", 'redirects=3');
failed('a redirect from wss to ws', 'redirect: from wss to ws',
    "wss://127.0.0.1:$tls/down", $ca, 'redirects=3');
opened('a source address', "ws://127.0.0.1:$plain/echo", 'source=127.0.0.5');
failed('a source address that the machine does not have', 'connect: Cannot assign requested address', "ws://127.0.0.1:$plain/echo",
    'source=192.0.2.1');

# ---- Certificates ----

opened('a certificate for a host name', "wss://localhost:$tls/echo", $ca);
opened('a certificate for an address', "wss://127.0.0.1:$tls/echo", $ca);
opened('server_name= for a certificate with another name', "wss://127.0.0.2:$port{'ws-tls'}/", $ca, 'server_name=localhost')
    if IO::Socket::INET->new(PeerAddr => '127.0.0.2', PeerPort => $port{'ws-tls'});
failed('a CA that the system does not know', 'certificate: unknown CA', "wss://localhost:$tls/echo");
failed('a CA file that does not exist', qr/certificate: no trusted certificates in \S+: .+/, "wss://localhost:$tls/echo",
    'ca_file=/nonexistent');
failed('a certificate for another host', 'certificate: host name mismatch', "wss://localhost:$tls/echo", $ca,
    'server_name=example.org');
failed('a certificate for another address', 'certificate: host name mismatch', "wss://localhost:$tls/echo", $ca,
    'server_name=127.0.0.9');
opened('insecure', "wss://localhost:$tls/echo", 'insecure=1');
failed('no client certificate, though the server requires one', qr/(?:tls|handshake): .+/, "wss://localhost:$tls/certified", $ca);
opened('a client certificate', "wss://localhost:$tls/certified", $ca, "certificate=$certs/client.crt",
    "key=$certs/client.key");
failed('a key that does not belong to the certificate', qr/certificate: no key of the certificate in \S+: .+/,
    "wss://localhost:$tls/echo", "certificate=$certs/client.crt", "key=$certs/server.key");
failed('wss to a port without TLS', qr/tls: .+/, "wss://localhost:$plain/echo", $ca);
failed('ws to a port with TLS', qr/handshake: server answered 400/, "ws://localhost:$tls/echo");

# ---- Proxies ----

for my $case (["ws://127.0.0.1:$plain/echo"], ["wss://localhost:$tls/echo", $ca],
    ["wss://localhost:$port{'ws-tls'}/", $ca, 'deflate=1'])
{
    my ($url, @options) = @$case;
    my ($name) = opened("$url by a proxy", $url, $big, "proxy=http://user:secret\@127.0.0.1:$tunnel_port",
        @options);
    $name and echoes("$url by a proxy", $name);
}
failed('a proxy that refuses', 'proxy: it answered 407', "ws://127.0.0.1:$plain/echo",
    "proxy=http://127.0.0.1:$tunnel_port");
failed('a proxy that cannot reach the server', 'proxy: it answered 503', 'ws://127.0.0.1:1/',
    "proxy=http://user:secret\@127.0.0.1:$tunnel_port");
failed('a proxy URL with an unknown scheme', 'proxy: its URL is not an http://host:port, https or socks5 URL', 'ws://127.0.0.1:1/', 'proxy=ftp://x');
{
    my $by = "proxy=https://user:secret\@localhost:$tls_tunnel_port";
    for my $case (["ws://127.0.0.1:$plain/echo"], ["wss://localhost:$tls/echo"], ["wss://localhost:$port{'ws-tls'}/"]) {
        my ($name, $told) = opened("$case->[0] by a TLS proxy", $case->[0], $big, $by, $ca);
        $name or next;
        like($told, qr/ secure=@{[$case->[0] =~ m{^wss} ? 1 : 0]} /, 'ws_secure() reports whether the URL is wss, even with a TLS proxy');
        echoes("$case->[0] by a TLS proxy", $name);
        ended("$case->[0] by a TLS proxy", $name);
    }
    failed('a TLS proxy of an unknown CA', 'proxy: certificate: unknown CA', "ws://127.0.0.1:$plain/echo", $by);
    failed('a TLS proxy without TLS', 'proxy: tls: .+', "ws://127.0.0.1:$plain/echo",
        "proxy=https://127.0.0.1:$tunnel_port", $ca);
}
{
    my $socks = Httpd::free_port();
    my $open  = Httpd::free_port();
    my @proxies = map { Program->start('microsocks', '-i', '127.0.0.1', @$_) } ['-p', $socks, '-u', 'user', '-P', 'secret'],
        ['-p', $open];
    for my $p ($socks, $open) {
        Httpd::wait_for(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $p) }, 'the SOCKS proxy');
    }
    for my $case (["ws://127.0.0.1:$plain/echo"], ["wss://localhost:$tls/echo", $ca]) {
        my ($url, @options) = @$case;
        my ($name) = opened("$url by SOCKS", $url, $big, "proxy=socks5://user:secret\@127.0.0.1:$socks", @options);
        $name and echoes("$url by SOCKS", $name);
        opened("$url by SOCKS without password", $url, "proxy=socks5h://127.0.0.1:$open", @options);
    }
    failed('a wrong password for SOCKS', 'proxy: it refuses user and password', "ws://127.0.0.1:$plain/echo",
        "proxy=socks5://user:wrong\@127.0.0.1:$socks");
    failed('no password for SOCKS', 'proxy: it requires other credentials', "ws://127.0.0.1:$plain/echo",
        "proxy=socks5://127.0.0.1:$socks");
    failed('a SOCKS proxy to a closed port', 'proxy: connection refused', 'ws://127.0.0.1:1/', "proxy=socks5://127.0.0.1:$open");
    failed('a SOCKS proxy URL for a port of httpd', 'proxy: .+', "ws://127.0.0.1:$plain/echo", "proxy=socks5://127.0.0.1:$plain", "handshake_timeout=1000");
    kill 'TERM', $_->{pid} for @proxies;
    $_->finish for @proxies;
}
failed('a proxy that is not there', 'connect: Connection refused', "ws://127.0.0.1:$plain/echo",
    'proxy=http://127.0.0.1:1');

# ---- Faulty servers ----

my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die $!;
my $bad      = 'ws://127.0.0.1:' . $listener->sockport . '/';

sub accepted {
    my $s    = ($_[0] || $listener)->accept;
    my $head = '';
    1 while $head !~ /\r\n\r\n\z/ && sysread $s, $head, 4096, length $head;
    return ($s, $head);
}

sub right_answer {
    my ($head, @more) = @_;
    my ($key) = $head =~ /^Sec-WebSocket-Key: (\S+)\r$/m;
    my $accept = sha1_base64($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11') . '=';
    return join "\r\n", 'HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade',
        "Sec-WebSocket-Accept: $accept", @more, '', '';
}

# Connect to a server that sends this response. Returns the connection's name, the server's socket, and the handshake.
sub answered {
    my ($answer, @options) = @_;
    my $name = connect_to($bad, @options);
    my ($s, $head) = accepted();
    $answer = $answer->($head) if ref $answer;
    local $SIG{PIPE} = 'IGNORE';
    syswrite $s, $answer;
    return ($name, $s, $head);
}

sub badly_answered {
    my ($what, $error, $answer, @options) = @_;
    my ($name) = answered($answer, @options);
    is(told($name), "failed $error", "invalid answer: $what");
}

badly_answered('a wrong Sec-WebSocket-Accept', '101 handshake: Sec-WebSocket-Accept does not match the key',
    sub { right_answer($_[0] =~ s/Key: ./Key: _/r) });
badly_answered('no Sec-WebSocket-Accept', '101 handshake: the response does not have exactly one Sec-WebSocket-Accept',
    sub { right_answer(@_) =~ s/Sec-WebSocket-Accept.*\r\n//r });
badly_answered('an upgrade to another protocol', "101 handshake: the response's Upgrade is not \"websocket\"",
    sub { right_answer(@_) =~ s/: websocket/: h2c/r });
badly_answered('Connection without "upgrade"', "101 handshake: the response's Connection does not contain \"upgrade\"",
    sub { right_answer(@_) =~ s/: Upgrade/: close/r });
badly_answered('a subprotocol that was not offered', '101 handshake: the server chose a subprotocol that was not offered',
    sub { right_answer(@_, 'Sec-WebSocket-Protocol: b') }, 'protocols=a,c');
badly_answered('permessage-deflate, which was not offered', '101 handshake: the server chose an extension that was not offered',
    sub { right_answer(@_, 'Sec-WebSocket-Extensions: permessage-deflate') });
badly_answered('an extension that was not offered', '101 handshake: the server chose an extension that was not offered',
    sub { right_answer(@_, 'Sec-WebSocket-Extensions: x-other') }, 'deflate=1');
badly_answered('unknown parameters of permessage-deflate',
    '101 handshake: the server chose unknown parameters of permessage-deflate',
    sub { right_answer(@_, 'Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7') }, 'deflate=1');
badly_answered('no server_no_context_takeover', '101 handshake: the server did not accept server_no_context_takeover',
    sub { right_answer(@_, 'Sec-WebSocket-Extensions: permessage-deflate') }, 'deflate=2');
badly_answered('a protocol other than HTTP', '0 handshake: the response is not HTTP/1.1', "SSH-2.0-OpenSSH_9.2\r\n");
badly_answered('HTTP/2', '0 handshake: the response is not HTTP/1.1', "HTTP/2 101\r\n\r\n");
badly_answered('a header line without a colon', '0 handshake: a header line of the response has no name or no colon',
    "HTTP/1.1 101 Yes\r\nwhat is this\r\n\r\n");
badly_answered('a head larger than 16384 bytes', "0 handshake: the answer's head is longer than 16384 bytes",
    "HTTP/1.1 101 Yes\r\n" . "X-Long: and so on\r\n" x 1000);
badly_answered('a head larger than max_answer', "0 handshake: the answer's head is longer than 100 bytes",
    "HTTP/1.1 101 Yes\r\n" . "X-Long: and so on\r\n" x 10, 'max_answer=100');
{
    my $name = connect_to($bad);
    my ($s) = accepted();
    close $s;
    is(told($name), 'failed 0 handshake: the connection was closed before an answer', 'a server that closes the connection without an answer');
}
{
    my ($name, $s) = answered("HTTP/1.1 101 Yes\r\n", 'handshake_timeout=1000');
    my $endless = 0;
    until ($p->output =~ /^$name failed/m) {    # send single bytes until the client gives up
        local $SIG{PIPE} = 'IGNORE';
        syswrite $s, $endless++ ? 'x' : 'X: ';
        IO::Select->new($p->{stream})->can_read(0.05) and $p->read_on;
    }
    is(told($name), 'failed 0 handshake: no answer in 1000 ms', 'a server whose answer does not end');
}
is(told((answered('', 'handshake_timeout=200'))[0]), 'failed 0 handshake: no answer in 200 ms', 'a server that sends nothing');
{
    my ($name, $s, $head) = answered(
        sub { "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" . right_answer(@_) . "\x81\x05early" });
    like(told($name), qr/^open /, 'an interim answer (103) is skipped');
    is(told($name), 'text early', 'a message sent together with the answer arrives');
    syswrite $s, "\x81\x85\1\2\3\4abcde";
    like(told($name), qr/^close 1002 frame is masked$/, 'a masked frame from the server closes the connection with 1002');
    my $bytes = '';
    1 while length $bytes < 6 && sysread $s, $bytes, 4096, length $bytes;
    is(ord(substr $bytes, 1, 1) & 0x80, 0x80, 'the client masks its frames');
    is(unpack('n', substr($bytes, 2, 4) ^ substr($bytes, 6, 2) . "\0\0"), 1002, 'the server gets the close code 1002');
}
badly_answered('too many interim answers', '0 handshake: more than 32 interim (1xx) answers',
    "HTTP/1.1 103 Early Hints\r\n\r\n" x 40);
{
    my $name = connect_to("ws://far.test/", 'answers=1', 'proxy=' . ($bad =~ s/^ws/http/r));
    my ($s, $head) = accepted();
    like($head, qr/^CONNECT far\.test:80 /, 'the proxy gets a CONNECT request');
    syswrite $s, "HTTP/1.1 100 Wait\r\n\r\nHTTP/1.1 102 Still\r\n\r\nHTTP/1.1 200 Go\r\n\r\n";
    is(told($name), "answered $_ kept=- body=", "the application gets the proxy's answer $_") for '100 proxy Wait', '102 proxy Still', '200 proxy Go';
    $head = '';
    1 while $head !~ /\r\n\r\n\z/ && sysread $s, $head, 4096, length $head;
    syswrite $s, right_answer($head);
    is(told($name), 'answered 101 Switching Protocols kept=- body=', "the application gets the server's answer after those of the proxy");
    like(told($name), qr/^open /, 'the connection through the proxy opens');
}

# Test refusals whose body the application gets.
for my $case (
    ['a length', "Content-Length: 4\r\n\r\nbody and more", 'body'],
    ['chunks', "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nbod\r\n1\r\ny\r\n0\r\nX: y\r\n\r\n", 'body'],
    ['broken chunks', "Transfer-Encoding: chunked\r\n\r\n3\r\nbod\r\nzz\r\n", 'bod...'],
    ['a huge chunk', "Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\nbod" . 'y' x 100, 'bod' . 'y' x 61 . '...'],
    ['spaces behind the size of a chunk', "Transfer-Encoding: chunked\r\n\r\n4 ;x\r\nbody\r\n0 \r\n\r\n", 'body'],
    map({ ["the size \"$_\" of a chunk", "Transfer-Encoding: chunked\r\n\r\n3\r\nbod\r\n$_\r\n" . 'y' x 100, 'bod...'] }
        '-1', '+1', '5x', '0x5', ' 5', '', '8000000000000000', 'ffffffffffffffff', 'ffffffffffffffffff'),
    ['a chunk longer than its size', "Transfer-Encoding: chunked\r\n\r\n3\r\nbody\r\n0\r\n\r\n", 'bod...'],
    map({ ["Content-Length \"$_\"", "Content-Length: $_\r\n\r\nbody and more", '...'] }
        '-1', '+4', '4x', '0x4', 'four', '4,4', '', '9223372036854775808', '99999999999999999999'),
    ['no length, and the end of the connection', "\r\nbody", 'body', 1],
    ['fewer bytes than Content-Length', "Content-Length: 9\r\n\r\nbody", 'body...', 1],
    ['more bytes than max_body', "Content-Length: 100\r\n\r\n" . 'b' x 100, 'b' x 64 . '...'],
    ['no length, and no end of the connection', "\r\nbody", 'body...', 0, 'handshake_timeout=' . int(1000 * Patience::stretching())],
    ['nothing', "Content-Length: 0\r\n\r\n", ''])
{
    my ($what, $rest, $body, $close, @options) = @$case;
    my ($name, $s) = answered("HTTP/1.1 403 Not you\r\nX-Kept: this\r\n$rest", 'answers=1', 'max_body=64', @options);
    close $s if $close;
    is(told($name), "answered 403 Not you kept=this body=$body", "a refusal whose body has $what: the application gets the body");
    is(told($name), 'failed 403 handshake: server answered 403', 'a refusal: on_failure follows the body');
}

# Redirect the client to another server.
{
    my $other = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die $!;
    my $name = connect_to($bad =~ s{//}{//me:secret\@}r, 'redirects=2', 'header=Cookie:a=b', 'header=X-Api-Key:k',
        'header=User-Agent:ours', 'header=Proxy-Authorization:p');
    my ($s, $head) = accepted();
    like($head, qr/^$_\r$/m, "the server gets $_") for 'Authorization: Basic bWU6c2VjcmV0', 'Cookie: a=b', 'X-Api-Key: k';
    syswrite $s, 'HTTP/1.1 307 Elsewhere' . "\r\nLocation: ws://127.0.0.1:" . $other->sockport . "/there\r\n\r\n";
    ($s, $head) = accepted($other);
    unlike($head, qr/^$_:/mi, "after a redirect, another server does not get $_") for qw(Authorization Cookie X-Api-Key Proxy-Authorization);
    like($head, qr{^GET /there .*^User-Agent: ours\r$}ms, 'after a redirect, another server gets harmless headers');
    syswrite $s, "HTTP/1.1 307 Back\r\nLocation: $bad\r\n\r\n";
    ($s, $head) = accepted();
    unlike($head, qr/^(?:Authorization|Cookie|X-Api-Key):/mi, 'after a redirect back, the first server does not get credentials, either');
    close $s;
    told($name);
}
{
    my $name = connect_to($bad =~ s/^ws:/wss:/r =~ s/127.0.0.1/localhost/r, $ca, 'redirects=1', 'server_name=localhost',
        "certificate=$certs/client.crt", "key=$certs/client.key");
    my $tls_to = sub {
        my $s = IO::Socket::SSL->start_SSL(scalar $listener->accept, SSL_server => 1, SSL_cert_file => "$certs/server.crt",
            SSL_key_file => "$certs/server.key", SSL_verify_mode => SSL_VERIFY_PEER, SSL_ca_file => "$certs/ca.crt",
            SSL_verify_callback => sub { 1 });
        sysread $s, my $head, 4096;
        return $s;
    };
    my $s = $tls_to->();
    ok($s->peer_certificate, "the server gets the client's certificate");
    syswrite $s, 'HTTP/1.1 302 Elsewhere' . "\r\nLocation: " . ($bad =~ s/^ws:/wss:/r) . "\r\n\r\n";
    $s = $tls_to->();
    ok(!$s->peer_certificate, "after a redirect, another server does not get the client's certificate");
    ok(!$s->get_servername, "after a redirect to another server, the client does not use the server name that was set for the first server");
    syswrite $s, "no HTTP\r\n\r\n";
    told($name);
}
{
    my $path = "$dir/socket";
    unlink $path;
    my $unix = IO::Socket::UNIX->new(Listen => 1, Local => $path) or die $!;
    my $name = connect_to('ws://any.test/x', "unix_socket=$path");
    my ($s, $head) = accepted($unix);
    like($head, qr/^Host: any\.test\r$/m, "a handshake over a unix socket has the URL's host");
    syswrite $s, right_answer($head);
    like(told($name), qr/^open .* peer=\Q$path\E /, 'the peer is the path of the unix socket');
    failed('a unix socket that does not exist', 'connect: No such file or directory', 'ws://any.test/', 'unix_socket=/nonexistent');
    failed('a path that is too long', "request: the unix socket's path is too long", 'ws://any.test/',
        'unix_socket=/' . 'x' x 200);
}
{
    unlink "$dir/keys";
    opened('a key log', "wss://localhost:$tls/echo", $ca, "key_log=$dir/keys");
    like(Httpd::read_file("$dir/keys"), qr/^CLIENT_TRAFFIC_SECRET_0 [0-9a-f]{64} [0-9a-f]+$/m, 'the key log has the TLS secrets');
    is((stat "$dir/keys")[2] & 0777, 0600, "only the owner of the key log can read the file");
}
opened('connect_to= another port', "ws://nowhere.test:81/echo", "connect_to=nowhere.test:81:127.0.0.1:$plain");
opened('connect_to= several addresses, of which one answers', "ws://nowhere.test:$plain/echo",
    "connect_to=nowhere.test::127.0.0.9,[::1],127.0.0.1:");
failed('an invalid connect_to=', 'request: "a:b:c:d" is not HOST:PORT:HOST:PORT', 'ws://x.test/', 'connect_to=a:b:c:d');
{
    my ($name, $s, $head) = answered(sub { right_answer(@_) }, 'max_message=1000');
    like(told($name), qr/^open /, 'max_message: the connection opens');
    syswrite $s, "\x82\x7e\x03\xe9";
    is(told($name), 'close 1009 frame is too big', 'max_message: a larger message closes the connection with 1009');
}
{
    my ($name, $s, $head) = answered(sub { right_answer(@_) }, 'ping_interval=200', 'ping_grace=200');
    like(told($name), qr/^open /, 'ping_interval: the connection opens');
    is(told($name), 'close 1006 ', 'ping_interval: a server that does not answer pings is dropped');
}
{
    my ($name, $s, $head) = answered(sub { right_answer(@_) }, 'close_timeout=200');
    like(told($name), qr/^open /, 'close_timeout: the connection opens');
    $p->write("close $name 1000 bye\n");
    is(told($name), 'close 1000 bye', "close_timeout: the client does not wait longer for the server's Close frame");
}
{
    my $full = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die $!;
    my @filling;
    for (1 .. 8) {
        push @filling, IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $full->sockport, Blocking => 0);
    }
    failed('a server that accepts no connections', 'connect: no answer in 300 ms',
        'ws://127.0.0.1:' . $full->sockport . '/', 'connect_timeout=300');
}

# Test a valid certificate, and certificates with different faults.
{
    my @ca = CERT_create(CA => 1, subject => { commonName => 'another CA' });
    PEM_cert2file($ca[0], "$dir/ca.crt");
    my $day = 86400;
    my %names = (subject => { commonName => 'localhost' }, subjectAltNames => [[DNS => 'localhost']]);
    for my $case (
        ['right', '', 'handshake: the response is not HTTP/1.1'],
        ['expired', 'expired', '', not_before => time - 9 * $day, not_after => time - 2 * $day],
        ['not valid yet', 'not valid yet', '', not_before => time + 2 * $day, not_after => time + 9 * $day],
        ['for another host', 'host name mismatch', '', subjectAltNames => [[DNS => 'other.example']]],
        ['self-signed', 'unknown CA', '', issuer => undef])
    {
        my ($what, $certificate, $error, %how) = @$case;
        my ($cert, $key) = CERT_create(%names, issuer => \@ca, %how);
        my $name = connect_to($bad =~ s/^ws:/wss:/r =~ s/127.0.0.1/localhost/r, "ca_file=$dir/ca.crt");
        my $s    = $listener->accept;
        my $ok   = IO::Socket::SSL->start_SSL($s, SSL_server => 1, SSL_cert => $cert, SSL_key => $key);
        if ($ok) {
            is($s->get_servername, 'localhost', 'the client sends the server name (SNI)');
            sysread $s, my $head, 4096;
            syswrite $s, "no HTTP\r\n\r\n";
        }
        is(told($name), 'failed 0 ' . ($error || "certificate: $certificate"), "the server's certificate is $what");
    }
    my ($cert, $key) = CERT_create(%names, issuer => \@ca);
    my $name = connect_to($bad =~ s/^ws:/wss:/r =~ s/127.0.0.1/localhost./r, "ca_file=$dir/ca.crt", 'connect_to=localhost.::127.0.0.1:');
    my $s    = IO::Socket::SSL->start_SSL(scalar $listener->accept, SSL_server => 1, SSL_cert => $cert, SSL_key => $key);
    is($s && $s->get_servername, 'localhost', 'a dot at the end of the host is not sent in the SNI');
    $s and syswrite $s, "no HTTP\r\n\r\n";
    is(told($name), 'failed 0 handshake: the response is not HTTP/1.1', 'a dot at the end of the host is not compared with the certificate');
}

# Connect to an IPv6 address in brackets.
SKIP: {
    my $six = IO::Socket::IP->new(Listen => 1, LocalHost => '::1') or skip 'the machine has no IPv6', 2;
    my $name = connect_to('ws://[::1]:' . $six->sockport . '/');
    my ($s, $head) = accepted($six);
    like($head, qr/^Host: \[::1\]:\d+\r$/m, 'the Host header has an IPv6 address in brackets');
    syswrite $s, right_answer($head);
    like(told($name), qr/^open .* peer=::1 .* host=::1 /, 'the client connects to an IPv6 address');
}

# ---- Invalid arguments ----

for my $case (
    ['http://127.0.0.1/', 'url: the URL does not start with ws:// or wss://'],
    ['ws://127.0.0.1/#there', 'url: the URL has a fragment (#), which RFC 6455, section 3, does not allow'],
    ['ws://127.0.0.1:0/', "url: the URL's port is not 1 to 65535"],
    ['ws://name.invalid/', qr/lookup: .+/],
    ['ws://127.0.0.1/', 'request: version 76 is neither 13 nor 8', 'version=76'],
    ['ws://127.0.0.1/', 'request: the subprotocols are not a list of tokens without duplicates', 'protocols=a,a'],
    ['ws://127.0.0.1/', "request: an additional header is reserved for the handshake", 'header=Upgrade:h2c'],
    ['ws://127.0.0.1/', "request: the name of an additional header is not a token", 'header=X(Y:z'],
    ['ws://127.0.0.1:1/', 'connect: Connection refused'])
{
    my ($url, $error, @options) = @$case;
    failed("@$case[0, 2 .. $#$case]", ref $error ? $error : quotemeta $error, $url, @options);
}

# ---- Timeouts, retries, and closing ----

{
    my $name = connect_to('ws://127.0.0.1:1/', 'retry=2');
    is(told($name), 'failed 0 connect: Connection refused', "time $_: on_failure may connect again") for 1 .. 3;
}
{
    my $name = connect_to($bad);
    my ($s) = accepted();
    $p->write("cancel $name\n");
    is(told($name), 'cancelled', 'a connection attempt is cancelled');
    is(sysread($s, my $none, 1), 0, 'the socket of the cancelled attempt is closed');
}
# ---- The listings of docs/client.md ----

my %file;
my $text = Httpd::read_file("$Httpd::TOP/docs/client.md");
$file{$1} = $2 while $text =~ /^```c file=(\S+)\n(.*?)^```$/msg;
is_deeply([sort keys %file], ['talk.c', 'ws_feed.c'], 'docs/client.md has its listings');
{
    # Build against the installed library, which pkg-config finds. Use the plain build, because a library with a sanitizer
    # would also need the sanitizer's runtime.
    (my $build = $Httpd::BUILD) =~ s{/address-undefined$}{};
    delete local @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS SANITIZE)};
    my ($status, $output) = Program::make("BUILD=$build",
        "DESTDIR=$dir/installed", 'install');
    is($status, 0, 'make install succeeds') or diag($output);
    my $lib = "$dir/installed/usr/local/lib";
    Httpd::write_file("$dir/talk.c", $file{'talk.c'});
    local $ENV{PKG_CONFIG_PATH} = "$lib/pkgconfig";
    my $flags = `pkg-config --define-prefix --cflags --libs libwsclient` =~ tr/\n/ /r;
    ($status, $output) = Program::run('sh', '-c', "gcc -Wall -Wextra -Werror $dir/talk.c -o $dir/talk $flags");
    is($status, 0, 'talk.c builds with the documented command') or diag($output);
    my @exported = map { /^\S+ T (\S+)$/ ? $1 : () } `nm -D --defined-only $lib/libwsclient.so`;
    my %public;
    for my $header (qw(mod_websocket.h websocket_client.h websocket_extension.h websocket_parse.h)) {
        $public{$_} = 1 for Httpd::read_file("$Httpd::TOP/include/$header") =~ /^WS_API\b[^;(]*?\b(ws_\w+)\(/mg;
    }
    is(join(' ', grep { !$public{$_} } @exported), '', 'the shared library exports only the public API');
    my @archived = map { /^\S+ [TDBR] (\S+)$/ ? $1 : () } `nm -g --defined-only $lib/libwsclient.a`;
    is(join(' ', grep { !$public{$_} } @archived), '', 'the static library defines only the public API');

    local $ENV{LD_LIBRARY_PATH} = $lib;
    local $ENV{CA} = "$certs/ca.crt";
    my $talk = Program->start("$dir/talk", "wss://localhost:$tls/echo");
    $talk->wait_output(qr/^connected to 127\.0\.0\.1$/m);
    $talk->write("one\ntwo\n");
    $talk->wait_output(qr/^one\r?\ntwo\r?$/m);
    $talk->end_input;
    is($talk->finish, 0, "talk.c exchanges messages, and exits with 0") or diag($talk->output);
    like($talk->output, qr/^closed with 1000 no more lines$/m, 'talk.c closes cleanly');
    delete local $ENV{CA};
    $talk = Program->start("$dir/talk", "wss://localhost:$tls/echo");
    $talk->wait_output(qr/^certificate: unknown CA$/m);
    is($talk->finish, 1, 'talk.c exits with 1 if it cannot connect');
}
{
    my $so = Httpd::compile('feed', $file{'ws_feed.c'});
    my $feeder = Httpd->start(conf => <<"END");
<Location /feed>
    WebSocketHandler $so from=$bad
</Location>
END
    for my $time (1, 2) {
        my ($s, $head) = accepted();
        syswrite $s, right_answer($head);
        my ($client, undef) = opened("a client of the feed, time $time", 'ws://127.0.0.1:' . $feeder->port . '/feed');
        $p->write("ping $client\n");    # the connection joins its loop after the 101, and misses broadcasts before that
        is(told($client), 'pong ping', 'a client of ws_feed.c is connected');
        syswrite $s, "\x81\x04news";
        is(told($client), 'text news', 'a client of ws_feed.c receives a message of the server that the handler connects to');
        ended('a client of the feed', $client);
    }
    my ($old) = $feeder->children;
    $feeder->graceful;
    Httpd::wait_for(sub { !grep { $_ == $old } $feeder->children }, 'the old child to end');
    pass('outgoing connections do not keep a child process running');
}

# ---- The end ----

my ($open) = opened('open at the end', "wss://localhost:$tls/echo", $ca, 'deflate=1');
my ($late, $silent) = answered('');
$p->end_input;
is($p->finish, 0, "the program under test exits with 0") or diag($p->output);
like($p->output, qr/^$open close 1006 $/m, 'at exit, open connections are aborted, and on_close is called');
like($p->output, qr/^$late failed 0 stopped$/m, 'at exit, connection attempts fail with "stopped"');
unlike($p->output, qr/Sanitizer|runtime error/, 'no sanitizer reports an error');
$_->end_input, $_->finish for @others;

done_testing();
