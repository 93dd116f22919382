# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests settings of the server, a virtual host and a Location. Each setting is inherited separately, and the innermost value
# applies.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client qw(frame_bytes BINARY CONTINUATION);

Httpd::once();

# A handler that sends its name and the virtual host.
sub named {
    my ($name) = @_;
    return Httpd::compile("called_$name", <<"END");
#include <string.h>
#include "mod_websocket.h"
static void tell(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    (void)data, (void)len;
    ws_send_part(c, type, "$name at ", strlen("$name at "), WS_FIRST);
    ws_send_part(c, type, ws_vhost(c), strlen(ws_vhost(c)), WS_LAST);
}
WS_HANDLER($name) = {.on_message = tell};
END
}

my $httpd = Httpd->start(conf => <<"END");
WebSocketHandler ws_echo.so
WebSocketMaxMessageSize 4000
WebSocketMaxFrameSize 3000
WebSocketVersions 13 8
WebSocketOrigin any
<VirtualHost *>
    ServerName localhost
</VirtualHost>
<VirtualHost *>
    ServerName one.example
    WebSocketMaxFrameSize 2000
    <Location /inner>
        WebSocketMaxMessageSize 1000
        <If "%{QUERY_STRING} == 'if'">
            WebSocketMaxMessageSize 500
        </If>
    </Location>
    <Location /inner/deeper>
        WebSocketMaxFrameSize 700
    </Location>
    <Location /inner/off>
        WebSocketHandler off
    </Location>
    <Location /inner/off/on>
        WebSocketHandler @{[named('deep')]}
        WebSocketVersions 7
        WebSocketOrigin same
    </Location>
</VirtualHost>
<VirtualHost *>
    ServerName two.example
    WebSocketHandler @{[named('second')]}
    WebSocketMaxMessageSize 1K
    <Location /large>
        WebSocketHandler ws_echo.so
        WebSocketMaxMessageSize 2M
        WebSocketMaxFrameSize 1M
    </Location>
</VirtualHost>
<Location /everywhere>
    WebSocketMaxMessageSize 10
</Location>
END

sub client {
    my ($host, $path, %o) = @_;
    my $version = $o{version} // 13;
    my $c = Client->new($httpd, $path, expect => 0, request => join "\r\n", "GET $path HTTP/1.1", "Host: $host",
        'Upgrade: websocket', 'Connection: Upgrade', "Sec-WebSocket-Version: $version",
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', $o{origin} ? "Origin: $o{origin}" : (), '', '');
    $c->read_answer;
    return $c;
}

# Returns a message of $size bytes in frames of at most $frame bytes.
sub fragments {
    my ($size, $frame, %o) = @_;
    my ($left, @frames) = $size;
    while ($left > 0) {
        my $part = $left < $frame ? $left : $frame;
        $left -= $part;
        push @frames, frame_bytes(@frames ? CONTINUATION : BINARY, 'y' x $part, fin => !$left && !$o{more});
    }
    return join '', @frames;
}

# Each entry has a host, a path, the expected maximum payload of a frame, the expected maximum size of a message (both in
# bytes), and the directives that set these limits.
for (
    ['localhost',   '/',                3000,    4000,    'the server configuration sets both limits'],
    ['one.example', '/',                2000,    4000,    'a virtual host sets the limit for frames'],
    ['one.example', '/inner',           1000,    1000,    'a Location sets both limits'],
    ['one.example', '/inner?if',        500,     500,     'an <If> inside a Location sets both limits'],
    ['one.example', '/inner/deeper',    700,     1000,    'a Location below another Location sets the limit for frames'],
    ['one.example', '/inner/deeper?if', 500,     500,     'an <If> inside the outer Location sets both limits'],
    ['two.example', '/large',           1 << 20, 2 << 20, 'the limits have the suffix K or M'],
    ['localhost',   '/everywhere',      10,      10,      'a Location in the server configuration sets both limits'],
    ['one.example', '/everywhere',      10,      10,      'a Location in the server configuration sets both limits in a virtual host'],
    )
{
    my ($host, $path, $frame, $message, $name) = @$_;
    my $c = client($host, $path);
    $c->raw(fragments($message, $frame));
    is(length(($c->message)[1]), $message,
        "$name: at $host$path, a message of $message bytes in frames of $frame bytes is accepted");
    $c->send(BINARY, '', length => $frame + 1);
    $c->expect_close(1009, "$name: at $host$path, a frame of one byte more is refused");
    $c = client($host, $path);
    $c->raw(fragments($message, $frame, more => 1) . frame_bytes(CONTINUATION, '', length => 1));
    $c->expect_close(1009, "$name: at $host$path, a message of one byte more is refused");
}

# WebSocketHandler, WebSocketVersions and WebSocketOrigin set lists. A list in an inner section replaces the whole list of the
# outer section.
sub answer {
    my ($c) = @_;
    $c->text('?');
    return ($c->message)[1];
}
is(answer(client('two.example', '/')), 'second at two.example', 'the handler of a virtual host serves connections to this virtual host');
is(answer(client('one.example', '/inner/off/on', version => 7)), 'deep at one.example', 'a handler in a Location below WebSocketHandler off serves connections to this Location');
is(client('one.example', '/inner/off')->status,          404, 'with WebSocketHandler off, httpd serves a handshake as an ordinary request');
is(client('one.example', '/', version => 7)->status,     426, 'a version that is not in WebSocketVersions of the server configuration is refused');
is(client('one.example', '/', version => 8)->status,     101, 'a version in WebSocketVersions of the server configuration is accepted');
is(client('one.example', '/inner/off/on')->status,       426, 'WebSocketVersions in a Location replaces the list of the server configuration: version 13 is refused');
is(client('one.example', '/', origin => 'http://evil.example')->status, 101, 'with WebSocketOrigin any in the server configuration, any origin is accepted');
is(client('one.example', '/inner/off/on', version => 7, origin => 'http://evil.example')->status,
    403, 'WebSocketOrigin in a Location replaces that of the server configuration: another origin is refused');

done_testing;
