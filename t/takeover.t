# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# The engine takes over a connection from httpd. It must not lose data, must release httpd's resources, and must continue
# the TLS session.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use File::Temp;
use Httpd;
use Client qw(frame_bytes TEXT CLOSE);
use Program;

my $keys  = File::Temp->new;
my $httpd = Httpd->start(children => 4, env => { SSLKEYLOGFILE => "$keys" }, conf => <<'END');
<Location /echo>
    WebSocketHandler ws_echo.so
    Header always set X-Always "always set"
    Header set X-Set "set"
    Header always add Set-Cookie "one=1"
    Header always add Set-Cookie "two=2"
</Location>
END

my @transports = (['plain', 0], ['TLS 1.2', 'TLSv1_2'], ['TLS 1.3', 'TLSv1_3']);

# ---- Bytes right after the handshake ----

# Returns frames with $total bytes together, and their messages of up to 1,000 bytes.
sub frames {
    my ($total) = @_;
    my (@messages, $bytes);
    $bytes = '';
    while (length $bytes < $total) {
        my $left = $total - length $bytes;
        my $len = $left >= 2016 ? 1000 : $left - ($left < 134 ? 6 : 8);
        push @messages, sprintf '%-*.*s', $len, $len, 'message ' . @messages;
        $bytes .= frame_bytes(TEXT, $messages[-1]);
    }
    return ($bytes, @messages);
}

for (@transports) {
    my ($name, $tls) = @$_;
    for my $size (20_000, 60_000, 1_000_000) {
        my ($bytes, @messages) = frames($size);
        is(length $bytes, $size, "$name: the frames for the test have $size bytes");
        my $c = Client->new($httpd, '/echo', tls => $tls, behind => $bytes);
        my @got = map { ($c->message)[1] } @messages;
        is_deeply(\@got, \@messages, "$name: $size bytes sent together with the handshake are echoed");
        $c->echoes('and more', "$name: later messages are echoed, too");
    }
    my $frame = frame_bytes(TEXT, 'in pieces');
    my $c = Client->new($httpd, '/echo', tls => $tls, behind => substr $frame, 0, 5);
    $c->raw(substr $frame, 5);
    is(($c->message)[1], 'in pieces', "$name: a message is echoed if 5 bytes of its frame are sent together with the handshake, and the others later");
    $c->close(1000);
    $c->expect_close(1000, "$name: the connection closes cleanly");
}

# ---- What httpd logs and sends ----

{
    my $c = Client->new($httpd, '/echo?logged');
    is($c->header('X-Always'), 'always set', '"Header always set" applies to the 101');
    is($c->header('X-Set'), 'set', '"Header set" applies to the 101');
    is(join('|', $c->header('Set-Cookie')), 'one=1|two=2', 'two cookies in the 101 are separate headers');
    ok($httpd->wait_log(qr{"GET /echo\?logged HTTP/1\.1" 101 -}, 1),
        'the access log has the 101 while the connection is open, not marked as aborted');
    is($c->header('Date') ? 1 : 0, 0, 'the 101 has no Date header');
    is($c->header('Content-Length'), undef, 'the 101 has no Content-Length');
}

# ---- httpd's resources are released ----

sub sockets { return Httpd::descriptors($_[0], qr/^socket:/) }

{
    # httpd needs a moment to decrease its number of busy workers.
    my $idle = sub { ($httpd->status_value('BusyWorkers') // 99) <= 1 };
    Httpd::wait_for($idle, 'httpd to be idle');
    my $before = $httpd->each_child(\&sockets);
    my @open   = map { Client->new($httpd, '/echo', tls => $_ % 2) } 1 .. 150;
    ok(Httpd::wait_for($idle, 'the workers to be free'),
        'with 150 open connections, only the worker of the status request is busy');
    $_->text('all live') for @open;
    is((grep { ($_->message)[1] eq 'all live' } @open), 150, 'all 150 connections echo');
    is(($httpd->get('/index.html'))[0], 200, 'while 150 connections are open, an ordinary request is answered');
    SKIP: {
        skip 'only event counts connections', 1 if $Httpd::MPM ne 'event';
        ok(Httpd::wait_for(sub { $httpd->status_value('ConnsTotal') <= 1 }, 'httpd to no longer count the connections'),
            'httpd does not count any of the 150 connections');
    }
    $_->close(1000) for @open[0 .. 74];
    is((grep { ($_->frame)[0] == CLOSE } @open[0 .. 74]), 75, 'half of the connections close cleanly');
    $_->drop for @open;
    # One socket may remain, because httpd closes the connection of the last request later.
    $httpd->none_grows($before, \&sockets, 'after all connections have ended, no socket is left open', 1);
}

# ---- TLS continues ----

# Open a WebSocket with openssl s_client. The program reads commands and data from the same input. Therefore the test waits
# for the effect of each command before it writes data.
sub s_client {
    my ($server, $path, @options) = @_;
    my $s = Program->start(qw(openssl s_client -brief -servername localhost -connect),
        '127.0.0.1:' . $server->ssl_port, @options);
    $s->wait_output(qr/CONNECTION ESTABLISHED/);
    $s->write("GET $path HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            . "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    $s->wait_output(qr/101 Switching Protocols.*?\r\n\r\n/s);
    return $s;
}

# Returns the number of bytes that the server has not read yet from its TLS connections.
sub unread {
    my $port = sprintf ':%04X', $httpd->ssl_port;
    my $bytes = 0;
    for (split /\n/, Httpd::read_file('/proc/net/tcp')) {
        my (undef, $local, undef, $state, $queues) = split;
        $bytes += hex((split /:/, $queues)[1]) if $state eq '01' && $local =~ /$port$/;
    }
    return $bytes;
}

sub key_update {
    my ($command) = @_;
    my $s = s_client($httpd, '/echo', '-tls1_3');
    my $update = sub {
        $s->write("$command\n");
        $s->wait_output(qr/KEYUPDATE/);
    };
    for my $round (1 .. 3) {
        $update->();
        $s->write(frame_bytes(TEXT, "round $round"));
        $s->wait_output(qr/\x81\x07round $round/);
    }
    pass("TLS 1.3: $_[1]");
    Httpd::freeze($_) for $httpd->children;    # so that the server later reads the key update and the message together
    Httpd::wait_for(sub { !grep { Httpd::read_file("/proc/$_/stat") !~ /\) T / } $httpd->children }, 'the children to stop');
    $update->();
    Httpd::wait_for(sub { unread() > 0 }, 'the key update to be sent');
    my $before = unread();
    $s->write(frame_bytes(TEXT, 'together'));
    Httpd::wait_for(sub { unread() > $before }, 'the message to be sent');
    kill 'CONT', $httpd->children;
    ok($s->wait_output(qr/\x81\x08together/), "TLS 1.3: $_[1], with the key update and a message in one read");
}
key_update('k', 'a client can update its key');
key_update('K', "a client can update its key and request an update of the server's key");
like(Httpd::read_file("$keys"), qr/^CLIENT_TRAFFIC_SECRET_0 /m, 'the TLS secrets of the key updates are logged');

{
    # httpd refuses a renegotiation, which must not affect other connections.
    my $s = s_client($httpd, '/echo', '-tls1_2');
    $s->write("R\n");
    $s->wait_output(qr/RENEGOTIATING/);
    isnt($s->finish, 0, 'TLS 1.2: a renegotiation ends the connection');
    Client->new($httpd, '/echo', tls => 'TLSv1_2')->echoes('x', 'TLS 1.2: a renegotiation does not affect other connections');
}

# ---- Client certificates ----

my $who = Httpd::compile('who', <<'END');
#include "mod_websocket.h"
#include <string.h>
static void echo(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    const char *user = ws_user(c) ? ws_user(c) : "nobody";
    ws_send_part(c, type, user, strlen(user), WS_FIRST);
    ws_send_part(c, type, data, len, WS_LAST);
}
WS_HANDLER(who) = {.on_message = echo};
END
my $certs = Httpd::certificates();
my ($mutual, $asking) = map { Httpd->start(conf => "WebSocketHandler $who", ssl_conf => <<"END") }
    SSLCACertificateFile $certs/ca.crt
    SSLUserName SSL_CLIENT_S_DN_CN
    $_
END
    "SSLVerifyClient optional\n<Location />\nRequire expr %{SSL_CLIENT_VERIFY} == 'SUCCESS'\n</Location>",
    "<Location />\nSSLVerifyClient require\n</Location>";

for (grep { $_->[1] } @transports) {
    my ($name, $tls) = @$_;
    my $c = Client->new($mutual, '/', tls => $tls, cert => 1, behind => frame_bytes(TEXT, ' at once'));
    is(($c->message)[1], 'client at once', "$name: the handler gets the name in a client's certificate");
    $c->text(' later');
    is(($c->message)[1], 'client later', "$name: a later message of a client with a certificate is answered");
    $c->close(1000);
    $c->expect_close(1000, "$name: a client with a certificate closes cleanly");
    is((Client->refused($mutual, '/', tls => $tls))[0], 403, "$name: a client without a certificate is refused");
}
{
    # If only the Location requires a certificate, httpd requests it on the open connection.
    my $c = Client->new($asking, '/', tls => 'TLSv1_2', cert => 1);
    $c->text(' asked');
    is(($c->message)[1], 'client asked', 'TLS 1.2: a Location requests a certificate, and the handler gets its name');
    my $s = s_client($asking, '/', '-tls1_3', '-enable_pha', '-cert', "$certs/client.crt",
        '-key', "$certs/client.key");
    $s->write(frame_bytes(TEXT, ' asked'));
    ok($s->wait_output(qr/\x01\x06client\x80\x06 asked/), 'TLS 1.3: a Location requests a certificate, and the handler gets its name');
}

done_testing;
