# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# ws_exec gives a program the same environment as httpd's mod_cgid or mod_cgi does for the same URL. To compare them, an
# ordinary GET of the Location runs the program as CGI.

use strict;
use warnings;
use lib 't/lib';
use JSON::PP;
use Test::More;
use Client;
use Httpd;
use Program;

my $dir = Httpd::folder();
chmod 0777, $dir;
mkdir "$dir/$_" or die "$dir/$_: $!" for qw(bin cgi);
my %program = map { ("$dir/$_" => 1) } 'bin/show', 'cgi/show.cgi';
for my $program (keys %program) {
    Httpd::write_file($program, "#!/bin/sh\n[ -n \"\$HTTP_UPGRADE\" ] || printf 'Content-Type: text/plain\\r\\n\\r\\n'\n"
            . "/usr/bin/env | sort | tr '\\n' '\\001'\necho\ncat >/dev/null\n");
    chmod 0755, $program;
}

my $module = $Httpd::MPM eq 'prefork' ? 'cgi' : 'cgid';
my $socket = $module eq 'cgid' ? 'ScriptSock cgisock' : '';
my $h2     = $module eq 'cgid' ? "Protocols h2 http/1.1\nH2WebSockets on\nWebSocketRelay on" : '';
my $httpd  = Httpd->start(modules => [$module, 'alias', $h2 ? 'http2' : ()], tls => 1, conf => <<"END");
$socket
$h2
ScriptAlias "/script" "$dir/bin/show"
ScriptAlias "/bin/" "$dir/bin/"
Alias "/alias" "$dir/cgi"
<Directory "$dir">
    Require all granted
</Directory>
<Directory "$dir/cgi">
    Options +ExecCGI
    AddHandler cgi-script .cgi
</Directory>
SetEnv OWN_VARIABLE value
<Location "/script">
    WebSocketHandler ws_exec.so command=$dir/bin/show
</Location>
<Location "/bin/">
    WebSocketHandler ws_exec.so command=$dir/bin/*
</Location>
<Location "/alias/">
    WebSocketHandler ws_exec.so command=$dir/cgi/*
</Location>
END

# Variables that depend on the connection, the stream or the handshake, and are therefore not compared. mod_cgi takes PATH
# from httpd's own environment.
my $own = qr/^(?:REMOTE_PORT|PWD|OLDPWD|_|SHLVL|HTTP_(?:UPGRADE|CONNECTION|SEC_WEBSOCKET_\w+)|WEBSOCKET_\w+|UNIQUE_ID|H2_STREAM_(?:ID|TAG))$/;

sub variables {
    my ($text) = @_;
    my %v = map { /^(\w+)=(.*)$/s ? ($1 => $2) : () } split /\001/, $text =~ s/\n\z//r;
    delete @v{ grep {/$own/} keys %v };
    return \%v;
}

my @paths = ('/script', '/script/', '/script/a/b%20c?x=1&y=%2B', '/bin/show', '/bin/show/extra//path/?q', '/alias/show.cgi/p?a+b');
for my $tls (0, 1) {
    for my $path (@paths) {
        my @headers = ('User-Agent: test', 'X-Thing: a, b', 'Cookie: c=d', 'Accept: */*', 'Proxy: evil');
        my $get = Client->new($httpd, $path, tls => $tls, request => join("\r\n", "GET $path HTTP/1.1", 'Host: localhost:'
                . ($tls ? $httpd->ssl_port : $httpd->port), 'Connection: close', @headers, '', ''), expect => 0);
        eval { $get->fill while 1 };
        my ($head, $body) = split /\r\n\r\n/, $get->{in}, 2;
        like($head, qr{^HTTP/1.1 200}, "GET $path") or next;
        $body =~ s/\A[0-9a-f]+\r\n(.*?)\r\n0\r\n.*\z/$1/s;
        my (undef, $text) = Client->new($httpd, $path, tls => $tls, headers => \@headers)->message;
        is_deeply(variables($text), variables($body), ($tls ? 'TLS' : 'plain') . ": $path: ws_exec and mod_$module give the same environment");
    }
}

# Compare both over HTTP/2, on one connection. mod_http2 is inactive with prefork.
for my $path ($module eq 'cgid' ? @paths : ()) {
    my ($status, $output) = Program::run('node', 't/clients/h2.js', $httpd->ssl_port, Httpd::certificates() . '/ca.crt', 'both', $path);
    is($status, 0, "the client gets both answers over HTTP/2 for $path") or diag($output), next;
    my $both = decode_json($output =~ s/\n.*//sr);
    is($both->{get}{status}, 200, "HTTP/2: GET $path");
    my ($cgi, $exec) = map { variables($_) } $both->{get}{body}, $both->{message};
    is($cgi->{SERVER_PROTOCOL}, 'HTTP/2.0', 'mod_cgid runs the program for a request over HTTP/2');
    is_deeply($exec, $cgi, "HTTP/2: $path: ws_exec and mod_cgid give the same environment");
}

done_testing;
