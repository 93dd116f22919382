# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests attacks by clients: TLS 1.2 renegotiation, and resets of connections while WS_BLOCKING handlers check the permissions of
# these clients.

use strict;
use warnings;
use lib 't/lib';
use Socket qw(SOL_SOCKET SO_LINGER);
use Test::More;
use Client;
use Httpd;
use Program;

sub memory_of { return Httpd::read_file("/proc/$_[0]/status") =~ /^VmRSS:\s+(\d+)/m ? $1 : undef }

# ---- Renegotiation, below TLS 1.3 ----

SKIP: {
    skip 'no openssl', 1 if !-x '/usr/bin/openssl';
    my $httpd = Httpd->start(tls => 1, conf => <<'END');
WebSocketPing off
<Location "/echo">
    WebSocketHandler ws_echo.so
</Location>
<Location "/relayed">
    WebSocketHandler ws_echo.so
    WebSocketRelay on
</Location>
END
    for my $path (qw(/echo /relayed)) {
        my $renegotiate = sub {
            my $client = Program->start('openssl', 's_client', '-tls1_2', '-connect', '127.0.0.1:' . $httpd->ssl_port);
            $client->write(join "\r\n", "GET $path HTTP/1.1", 'Host: localhost', 'Upgrade: websocket', 'Connection: Upgrade',
                'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', '', '');
            $client->wait_output(qr/101 Switching Protocols.*?\r\n\r\n/s);
            $client->write("R\n");
            my $status = $client->finish;
            # openssl may end before it reports the renegotiation, if the server disconnects first.
            die "openssl did not renegotiate: ", $client->output
                if $client->output !~ /RENEGOTIATING/ && $httpd->error_log !~ /renegotiation/;
            return $status;
        };
        $renegotiate->() for 1 .. 3;
        my $before = $httpd->each_child(\&memory_of);
        $renegotiate->() for 1 .. 20;
        pass("$path: a client that renegotiates is disconnected, 20 times");
        # AddressSanitizer keeps freed memory for a while.
        $httpd->none_grows($before, \&memory_of, "$path: no child grows", $ENV{WS_TEST_PRELOAD} ? 128 * 1024 : 8 * 1024);
        Client->new($httpd, $path, tls => 'TLSv1_2')->echoes('hello', "$path: after the renegotiations, another client is served");
    }
}

# ---- Blocking handlers, expressions, and resets ----

{
    my $handler = Httpd::compile('asking', <<'END');
#include "mod_websocket.h"

#include <string.h>

static void asking_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    for (int i = 0; i < 20; i++) {
        ws_may(c, WS_MAY_SUBSCRIBE, "room:a");
        ws_may(c, WS_MAY_PUBLISH, "room:b");
        ws_subscribe(c, i % 2 ? "room:a" : "room:b", NULL);
        ws_unsubscribe(c, "room:b");
    }
    ws_send(c, type, data, len);
}

static void asking_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    (void)code, (void)reason, (void)len;
    ws_may(c, WS_MAY_PUBLISH, "room:a");
}

WS_HANDLER(asking) = {.flags = WS_BLOCKING, .on_message = asking_message, .on_close = asking_close};
END
    my $httpd = Httpd->start(conf => <<"END");
<Location "/ask">
    WebSocketHandler $handler
    WebSocketSubscribe "%{WEBSOCKET_CHANNEL} =~ m#^room:# && %{QUERY_STRING} =~ /me=/ && %{HTTP:X-Token} == 'secret'"
    WebSocketPublish "%{WEBSOCKET_CHANNEL} == 'room:a' && %{REMOTE_ADDR} == '127.0.0.1'"
</Location>
END
    my @ask = ($httpd, '/ask?me=1', headers => ['X-Token: secret']);
    my %pids = map { $_ => 1 } $httpd->children;
    for my $round (1 .. 60) {
        my @c = map { Client->new(@ask) } 1 .. 12;
        for my $c (@c) {
            $c->text("message $_") for 1 .. 3;
            $c->message if $round % 3 == 0;
            setsockopt $c->socket, SOL_SOCKET, SO_LINGER, pack 'II', 1, 0 if $round % 2;
            $c->drop;
        }
    }
    my $c = Client->new(@ask);
    $c->echoes('hello', 'a handler asks for access while 720 clients leave, most by a reset');
    $c->close(1000);
    is($httpd->count_log(qr/exit signal/), 0, 'no child has crashed');
}

done_testing;
