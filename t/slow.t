# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Some clients read too slowly or not at all, or never send anything complete. The server must not use more memory and CPU
# time for them than the limits allow, and must still serve other clients.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client qw(frame_bytes TEXT BINARY CLOSE PING PONG);

Httpd::once();

# A handler that sends N numbered messages of 10,000 bytes in batches of 20 when it receives "pour N". For
# WebSocketSlowReader keep-latest, each message has one of ten keys, which is its number modulo 10.
my $pump = Httpd::compile('pump', <<'END');
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "mod_websocket.h"
static char name[32];
static void pour(ws_conn *c, void *arg)
{
    int *left = arg;
    for (int i = 0; c && i < 20 && *left > 0; i++) {
        static char message[10000];
        ws_status s;
        memset(message, ' ', sizeof(message));
        snprintf(message, sizeof(message), "%d", --*left);
        s = ws_send_keyed(c, WS_TEXT, message, sizeof(message), 1 + (apr_uint64_t)*left % 10);
        if (s < 0 && s != WS_DROPPED) {
            *left = 0;
        }
    }
    if (!c || !*left || ws_run(ws_conn_id(c), pour, left) != WS_QUEUED) {
        dprintf(STDERR_FILENO, "pump: %s has poured\n", c ? ws_uri(c) : "nobody");
        free(left);
    }
}
static void on_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    if (type == WS_TEXT && len > 5 && !memcmp(data, "pour ", 5)) {
        int *left = malloc(sizeof(*left));
        memcpy(name, data + 5, len - 5 < sizeof(name) ? len - 5 : sizeof(name) - 1);
        *left = atoi(name);
        pour(c, left);
        return;
    }
    ws_send(c, type, data, len);
}
WS_HANDLER(pump) = {.on_message = on_message};
END

my $httpd = Httpd->start(children => $Httpd::MPM eq 'prefork' ? 8 : 1, conf => <<"END");
WebSocketHandler $pump
WebSocketSendQueue 100K
WebSocketPing off
<Location /newest>
    WebSocketSlowReader drop-newest
</Location>
<Location /oldest>
    WebSocketSlowReader drop-oldest
</Location>
<Location /latest>
    WebSocketSlowReader keep-latest 1h
</Location>
<Location /behind>
    WebSocketSendQueue 1G
    WebSocketSlowReader close 1ms
</Location>
<Location /impatient>
    WebSocketPing 100ms 100ms
</Location>
END

sub rss    { return Httpd::memory($_[0], 'RSS') }
sub memory { return $httpd->each_child(\&rss) }

# Test that no child has grown by more than 8 MiB. A sanitizer would keep freed memory.
sub little_memory {
    my ($before, $name) = @_;
SKIP: {
        skip 'sanitizers keep freed memory', 1 if $ENV{WS_TEST_PRELOAD};
        $httpd->none_grows($before, \&rss, "$name: memory, KiB", 8192);
    }
}

# Send the same data repeatedly as long as the server accepts it, and read nothing. Returns the number of bytes.
sub stuff {
    my ($c, $frame, $most) = @_;
    my ($sent, $left) = (0, '');
    while ($sent < $most) {
        $left = $frame x 20 if $left eq '';
        my $n = $c->socket->syswrite($left);
        if ($n) {
            substr $left, 0, $n, '';
            $sent += $n;
        }
        elsif (!IO::Select->new($c->socket)->can_write(2)) {
            last;
        }
    }
    $c->{left} = $left;
    return $sent;
}

# Read messages up to number $last, and return their numbers.
sub numbers {
    my ($c, $last) = @_;
    my @numbers;
    do {
        my ($type, $text) = $c->message;
        length $text == 10000 or BAIL_OUT('a message is truncated');
        push @numbers, $text + 0;
    } while ($numbers[-1] != $last);
    return @numbers;
}

sub pour {
    my ($path, $n) = @_;
    my $c = Client->new($httpd, $path, rcvbuf => 65536);
    $c->text("pour $n");
    return $c;
}

my $everybody = Client->new($httpd, '/');
$everybody->echoes('hello', 'another client is connected');

# ---- A client that never reads ----

my $before = memory();
{
    my $c = pour('/', 3000);
    ok($httpd->wait_log(qr/closing: the client reads too slowly, \d+ bytes wait to be sent \(WebSocketSendQueue\)/),
        'close: the log says that the client reads too slowly');
    $c->expect_close(1008, 'close: the client is closed with 1008');
}
for my $policy (qw(newest oldest latest)) {
    no warnings 'numeric';
    my $c = pour("/$policy", 3000);
    $httpd->wait_log(qr{pump: /$policy has poured});
    little_memory($before, "$policy: 30 MB to a client that does not read");
    $c->text('behind it');
    my $end = $policy eq 'newest' ? undef : 0;
    my (@got, $answer);
    while (my (undef, $text) = $c->message) {
        length $text == 10000 ? push @got, $text + 0 : ($answer = $text);
        last if defined $answer;
        last if $policy ne 'newest' && $got[-1] == 0;
        $c->text('behind it') if $policy eq 'newest' && @got % 10 == 0;
    }
    ok(@got > 2 && @got < 3000, "$policy: " . @got . ' of 3000 messages arrive, whole');
    if ($policy eq 'latest') {
        is_deeply([sort map { $_ % 10 } @got[-10 .. -1]], [0 .. 9], 'keep-latest: the last messages have each key once');
    }
    else {
        is_deeply(\@got, [sort { $b <=> $a } @got], "$policy: messages arrive in order");
    }
    is($got[0],  2999, "$policy: the first message arrives");
    is($got[-1], 0,    "$policy: the last message arrives") if $policy ne 'newest';
    cmp_ok($got[-1], '>', 0, "$policy: the last message does not arrive") if $policy eq 'newest';
    ok($httpd->wait_log(qr{/$policy, .*: messages are dropped: the client reads too slowly, \d+ bytes wait}),
        "$policy: the log says that messages are dropped") if $policy ne 'latest';
    ok($httpd->wait_log(qr{/$policy, .*: \d+ messages were dropped \(WebSocketSlowReader\)}),
        "$policy: when the queue is empty, the log has the number of dropped messages") if $policy ne 'latest';
}
{
    my $c = pour('/behind', 100_000_000);
    ok($httpd->wait_log(qr/closing: the client reads too slowly, a message has waited for \d+ ms \(WebSocketSlowReader\)/),
        'WebSocketSlowReader close 1ms: the log says that a message has waited too long');
    while (my ($opcode, $payload) = $c->frame) {
        next if $opcode != CLOSE;
        is(unpack('n', $payload), 1008, 'WebSocketSlowReader close 1ms: the connection is closed with 1008');
        last;
    }
}
$everybody->echoes('1', 'after slow readers, another client is served');

# ---- A client that sends one byte at a time ----

{
    my @clients = map { Client->new($httpd, '/impatient') } 1 .. 50;
    my $announced = substr frame_bytes(BINARY, '', length => 1_000_000), 0, 14;
    $before = memory();
    $_->raw_bytewise($announced) for @clients;
    $_->raw_bytewise('x' x 200) for @clients[0 .. 4];
    little_memory($before, 'messages that arrive byte by byte, with 50 MB announced');
    is((grep { 1 while $_->frame; $_->{eof} } @clients), 50, 'a client that is silent for too long is dropped');
}

# ---- A client that sends nothing ----

{
    my @clients = map { Client->new($httpd, '/impatient') } 1 .. 50;
    is((grep { my ($opcode) = $_->frame; $opcode == PING && $_->at_end } @clients), 50, 'a client that opens a connection and stays silent is dropped');
}

# ---- A client that pings endlessly and never reads ----

{
    my $c = Client->new($httpd, '/', rcvbuf => 65536);
    $before = memory();
    my $sent = stuff($c, frame_bytes(PING, 'p' x 125), 20_000_000);
    $everybody->echoes('2', "while a client sends $sent bytes of pings, another client is served");
    little_memory($before, 'a client that sends pings and reads nothing');
    my $pongs = 0;
    my $asleep;
    Httpd::wait_for(
        sub {
            for ($asleep = 0; $asleep < 20 && $httpd->asleep; $asleep++) {
                select undef, undef, undef, 0.01;
            }
            return $asleep == 20;
        },
        'all threads to sleep');
    pass('unread pings use no processor time');
    # Send the rest of the pings. The server accepts them only as fast as the client reads the pongs.
    my $rest = $c->{left} . frame_bytes(TEXT, 'end');
    while (my ($opcode, $payload) = $c->frame) {
        last if $opcode == TEXT;
        $pongs++ if $opcode == PONG && $payload eq 'p' x 125;
        my $n = length $rest && $c->socket->syswrite($rest) or next;
        substr $rest, 0, $n, '';
    }
    cmp_ok($pongs, '>', 0, "$pongs complete pongs arrive, and then the answer to a message");
}

# ---- A client that sends and does not read the answers ----

{
    my $c = Client->new($httpd, '/oldest', rcvbuf => 65536);
    $before = memory();
    my $sent = stuff($c, frame_bytes(BINARY, 'e' x 10000), 100_000_000);
    cmp_ok($sent, '<', 100_000_000, "while answers wait, the server stops reading, even if it could drop the answers: $sent bytes");
    little_memory($before, 'a client that does not read its answers');
}
$everybody->echoes('3', 'while a client does not read its answers, another client is served');

# ---- A client that reads slowly but steadily ----

# The data for this client, and each Ping after the data, stay in the kernel's buffers for many times the interval of
# WebSocketPing. The server must not regard the client as gone.
{
    my $grace = Patience::stretch('2s') =~ s/ms//r / 1000;
    my $slow  = Httpd->start(conf => <<"END");
WebSocketPing @{[1000 * $grace]}ms @{[1000 * $grace]}ms
WebSocketCloseTimeout @{[1000 * $grace]}ms
WebSocketSendQueue 8M
WebSocketHandler ws_echo.so
END
    # The client's kernel acknowledges about 8 KB at a time, ten times in $grace, so the client does not appear silent, even
    # on a busy machine.
    my $c = Client->new($slow, '/', rcvbuf => 8192);
    my $n = 800_000;
    $c->binary('s' x $n);
    my ($got, $closed) = ('', 0);
    while (substr($got, -4) ne "\x88\x02\x03\xe8") {
        select undef, undef, undef, $grace / 40;
        $c->close(1000) if length $got > $n / 2 && !$closed++;
        my $more = $c->socket->sysread($got, $n / 400, length $got);
        last if defined $more && !$more || !defined $more && !$!{EAGAIN};
    }
    # Count the bytes of the message. Pings and the Close frame contain no "s".
    is($got =~ tr/s//, $n, "a client that takes ten times the interval of WebSocketPing to read gets all data");
    is(substr($got, -4), "\x88\x02\x03\xe8", 'a client that reads slowly gets the Close frame at the end');
}

done_testing;
