# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Clients on slow links send or receive long messages without a pause. A Ping waits behind this data in the queues, so its
# answer arrives late. Both sides must recognize that the peer has not gone.

use strict;
use warnings;
use lib 't/lib';
use IO::Socket::INET;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);
use Client qw(frame_bytes TEXT BINARY PONG PING);
use Httpd;
use Program;

Httpd::once();

# The sizes of the messages in bytes, and the rates in bytes per second. With these values, a Ping needs much longer than
# the time allowed for its answer.
my ($upload, $up_rate)     = (2_000_000, 100_000);
my ($download, $down_rate) = (600_000,   25_000);
my ($interval, $grace)     = (1, 5);

# A handler that answers "size N" with N bytes, and any other message with the length of the message.
my $handler = Httpd::compile('amount', <<'END');
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "mod_websocket.h"
static void on_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    char text[32];
    (void)type;
    if (len < 20 && !memcmp(data, "size ", 5)) {
        apr_size_t n = strtoul(data + 5, NULL, 10);
        char *bytes = calloc(1, n);
        ws_send(c, WS_BINARY, bytes, n);
        free(bytes);
        return;
    }
    ws_send(c, WS_TEXT, text, (apr_size_t)snprintf(text, sizeof(text), "%lu", (unsigned long)len));
}
WS_HANDLER(amount) = {.on_message = on_message};
END

my $httpd = Httpd->start(conf => <<"END");
WebSocketHandler $handler
WebSocketMaxMessageSize 64M
WebSocketPing ${interval}s ${grace}s
END

# Start a relay that passes bytes to the server at this rate, and bytes from the server without delay. Returns the port and
# the process of the relay.
sub slow_line {
    my ($rate) = @_;
    my $listener = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die $!;
    $listener->sockopt(SO_RCVBUF, 16384);
    my $pid = fork // die $!;
    return ($listener->sockport, $pid) if $pid;
    my $client = $listener->accept;
    my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $httpd->port);
    for (my ($begin, $passed) = (time, 0); $client && $server;) {
        my $may = int((time - $begin) * $rate) - $passed;
        if ($may > 0 && Httpd::ready($client, 0, 0)) {
            my $n = sysread $client, my $bytes, $may > 65536 ? 65536 : $may;
            $passed += $n || last;
            syswrite $server, $bytes;
        }
        if (Httpd::ready($server, 0, 0.02)) {
            sysread $server, my $bytes, 65536 or last;
            syswrite $client, $bytes;
        }
    }
    POSIX::_exit(0);
}

# Request a long message, and read it at the rate for twice the time in which the server must get an answer to a Ping. Returns
# the client, which has not read the rest yet, and the number of bytes read.
sub slow_reader {
    my $c = Client->new($httpd, '/', rcvbuf => 16384);
    $c->text("size $download");
    my ($begin, $got, $bytes) = (time, 0, '');
    my $until = $begin + 2 * ($interval + $grace);
    while (time < $until) {
        my $may = int((time - $begin) * $down_rate) - $got;
        my $n = $may > 0 ? sysread $c->socket, $bytes, $may, length $bytes : undef;
        last if defined $n && $n == 0;
        $got += $n // 0;
        sleep 0.02;
    }
    $c->{in} .= $bytes;
    return ($c, $got);
}

# Start wsclient, which sends a long message over a slow line. Returns its process and that of the line.
sub slow_sender {
    my ($options) = @_;
    my ($port, $line) = slow_line($up_rate);
    my $sender = Program->start('sh', '-c', "head -c $upload /dev/zero | tr '\\0' x | \"\$0\" $options ws://127.0.0.1:$port/",
        "$Httpd::BUILD/bin/wsclient");
    return ($sender, $line);
}
my ($sender, $line) = slow_sender('--ping=1 -c 1');
my ($closer, $other_line) = slow_sender("--close-timeout=$grace");

my ($reader, $got) = slow_reader();
cmp_ok($got, '<', $download, 'after twice the time of a ping, a slow reader has not read all data');
my ($type, $message) = $reader->message;
is(length($message // ''), $download, 'a slow reader gets the whole message');
$reader->text('four');
is(($reader->message)[1], '4', 'after a slow download, the connection still works');
unlike($httpd->error_log, qr/no answer to a ping/, 'the log does not report a missing answer to a ping');

is($sender->finish, 0, 'a slow upload succeeds');
like($sender->output, qr/^$upload$/m, 'all data of a slow upload arrives');
is($closer->finish, 0, 'a slow upload with the Close frame behind it succeeds');
like($closer->output, qr/^$upload$/m, 'all data before the Close frame arrives');
for ($line, $other_line) {
    kill 'KILL', $_;
    waitpid $_, 0;
}

done_testing;
