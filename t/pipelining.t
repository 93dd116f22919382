# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# A request that makes the engine take over the connection arrives in one segment with earlier requests. The server must
# first send the complete responses to the earlier requests.

use strict;
use warnings;
use lib 't/lib';
use Client;
use Httpd;
use Test::More;

my $sections = <<'END' . $Httpd::STREAMS;
<Location "/ws">
    WebSocketHandler ws_echo.so
</Location>
END
my $page  = join '', map {"line $_ of the page\n"} 1 .. 1000;
my $httpd = Httpd->start(
    files    => { 'htdocs/page.txt' => $page, 'htdocs/small.txt' => 'small' },
    conf     => $sections,
    ssl_conf => $sections
);

sub request {
    my ($path, @headers) = @_;
    return join "\r\n", "GET $path HTTP/1.1", 'Host: localhost', @headers, '', '';
}

# Read the next answer, and return its body, whose length is in Content-Length.
sub answer {
    my ($c) = @_;
    $c->read_answer;
    my $len = $c->header('Content-Length') // 0;
    $c->fill while length $c->{in} < $len;
    return substr $c->{in}, 0, $len, '';
}

for my $tls (0, 1) {
    for my $pages (['/page.txt'], ['/small.txt'], ['/small.txt', '/page.txt', '/small.txt']) {
        my $before = join '', map { request($_) } @$pages;
        my $name   = join(' ', @$pages) . ($tls ? ', TLS' : '');
        my $begin  = sub {
            my $c = Client->new($httpd, '', tls => $tls, expect => 0, request => $before . $_[0]);
            is(answer($c), $_ eq '/page.txt' ? $page : 'small', "the answer to $_ before $_[1] is complete ($name)") for @$pages;
            return $c;
        };
        for my $path ('/events', '/relayed') {
            my $c = $begin->(request("$path/news?wait=0"), "a poll of $path");
            $c->read_answer;
            is($c->status, 200, "a poll behind other requests is answered ($name)");
            $c = $begin->(request("$path/news", 'Accept: text/event-stream'), "a stream of $path");
            $c->read_answer;
            $c->fill until $c->{in} =~ /event: live/;
            pass("an event stream behind other requests is live ($name)");
        }
        my $c = $begin->(request('/ws', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13',
                'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='), 'a WebSocket');
        $c->read_answer;
        is($c->status, 101, "a handshake behind other requests is answered ($name)");
        $c->echoes("the WebSocket ($name)", "a WebSocket behind other requests echoes ($name)");
    }
}
$httpd->stop;
done_testing;
