# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# wsbench: its results must be right, and it must detect errors of the server.

use strict;
use warnings;
use lib 't/lib';
use Compress::Raw::Zlib qw(Z_FINISH);
use IO::Socket::INET;
use IO::Socket::IP;
use IO::Socket::SSL;
use JSON::PP qw(decode_json);
use POSIX ();
use Socket;
use Test::More;
use Httpd;
use Client qw(frame_bytes);
use Program;
use Server qw(answer frame say_to);

Httpd::once();

# A handler that echoes messages, and changes the last byte of every tenth.
my $wrong = Httpd::compile('wrong', <<'END');
#include "mod_websocket.h"
#include <string.h>
static void change(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    static unsigned count;
    char copy[64];
    memcpy(copy, data, len);
    copy[len - 1] ^= __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED) % 10 == 0;
    ws_send(c, type, copy, len);
}
WS_HANDLER(wrong) = {.on_message = change};
END

# A handler that needs 20 ms for each message.
my $slow = Httpd::compile('slow', <<'END');
#include "mod_websocket.h"
#include <unistd.h>
static void wait_and_echo(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    usleep(20000);
    ws_send(c, type, data, len);
}
WS_HANDLER(slow) = {.on_message = wait_and_echo};
END

my $all = Httpd::compile('all', <<'END');
#include "mod_websocket.h"
#include <string.h>
static void to_all(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    if (len == 5 && !memcmp(data, "hello", 5)) {
        ws_send(c, WS_TEXT, "welcome", 7);
        return;
    }
    ws_broadcast(ws_conn_location(c), type, data, len, 0);
}
WS_HANDLER(all) = {.on_message = to_all};
END

# Run a single child, because a broadcast reaches only the connections of its child.
my $httpd = Httpd->start(children => 1, conf => <<"END", log_level => 'notice');
<LocationMatch "^/(?:echo|deflate|full)\$">
    WebSocketHandler ws_echo.so
</LocationMatch>
<Location /wrong>
    WebSocketHandler $wrong
</Location>
<Location /slow>
    WebSocketHandler $slow
</Location>
<Location /all>
    WebSocketHandler $all
</Location>
<Location /deflate>
    WebSocketCompression on
</Location>
<Location /full>
    WebSocketLimit connections=4
</Location>
END
my ($ws, $wss) = ('ws://127.0.0.1:' . $httpd->port, 'wss://localhost:' . $httpd->ssl_port);
my $ca      = Httpd::certificates() . '/ca.crt';
my $program = "$Httpd::BUILD/bin/wsbench";

# Run wsbench. Returns (status, decoded JSON).
sub bench {
    my ($status, $output) = Program::run($program, '--json', qw(-t 0.1 -w 0.02), @_);
    my $r = eval { decode_json($output) } or diag($output);
    return ($status, $r);
}

sub right {
    my ($name, @arguments) = @_;
    my ($status, $r) = bench(@arguments);
    is($status, 0, "$name: wsbench exits with 0") or diag(explain($r));
    is_deeply([ @$r{qw(failed lost wrong problem)} ], [ 0, 0, 0, undef ], "$name: no connection failed, and no message was lost or wrong");
    return $r;
}

sub any { return $_[0]{messages} > 0 }

# Run wsbench, and double the duration until $enough->(decoded JSON) is true, because the rate depends on the machine.
sub until_right {
    my ($name, $enough, @arguments) = @_;
    my $r;
    for (my $time = 0.2; ; $time *= 2) {
        $r = right($name, @arguments, '-t', $time);
        return $r if $enough->($r) || $time > $Httpd::DEADLINE;
    }
}

# ---- Echo ----

my $r = until_right('echo', sub { $_[0]{messages} > 40 }, '-c', 10, '-m', 4, '-P', $httpd->root . '/httpd.pid', "$ws/echo");
is($r->{opened}, 10, '10 connections are opened');
cmp_ok($r->{messages}, '>', 40, 'more messages are sent than were in flight at first');
cmp_ok(abs($r->{messages} / $r->{seconds} / $r->{rate} - 1), '<', 0.01, 'the rate is messages divided by seconds');
my @latency = @{ $r->{latency_us} }{qw(p50 p90 p99 p99.9 max)};
is("@latency", join(' ', sort { $a <=> $b } @latency), 'the percentiles of latency rise');
cmp_ok($latency[0], '>', 0, 'the lowest latency is more than zero');
cmp_ok($latency[-1], '<', ($r->{seconds} + 60) * 1e6, 'the highest latency is less than the duration');
cmp_ok($r->{$_}, '>', 0, "$_ is measured") for qw(server_cpu server_cpu_us_each server_memory_kib own_cpu);
cmp_ok(abs($r->{server_cpu} * $r->{seconds} * 1e6 / $r->{messages} / $r->{server_cpu_us_each} - 1),
    '<', 0.01, 'processor time for each message is the total divided by the messages');

for (
    [ 'nothing',         qw(-s 0) ],
    [ '126 bytes',       qw(-s 126) ],
    [ '1 MiB, by 4',     qw(-s 1m -c 3 -m 4) ],
    [ 'text',            qw(-s 1000 -C text) ],
    [ 'UTF-8',           qw(-s 997 -C utf8 -m 3) ],
    [ 'UTF-8, one byte', qw(-s 1 -C utf8) ],
    [ 'two workers',     qw(-j 2 -c 5) ])
{
    my ($name, @arguments) = @$_;
    cmp_ok(until_right($name, \&any, @arguments, "$ws/echo")->{messages}, '>', 0, "$name: messages are echoed");
}

cmp_ok(until_right('TLS', \&any, '-s', '40k', '-m', 3, '--cacert', $ca, "$wss/echo")->{messages}, '>', 0, 'TLS: messages are echoed');
is(right('two URLs', '-c', 8, '-k', "$ws/echo", "$wss/echo")->{opened}, 8, 'two URLs: all connections are opened');
for my $how ('on', 'takeover') {
    my $option = $how eq 'on' ? '--deflate' : "--deflate=$how";
    $r = until_right("compressed, $how", \&any, $option, qw(-C json -s 3000 -m 2), "$ws/deflate");
    is($r->{deflate}, $how, "--deflate, $how: the report shows the kind of compression");
    cmp_ok($r->{messages}, '>', 0, "--deflate, $how: messages are echoed");
}

# ---- A faulty server ----

my $status;
for (my $time = 0.2; ; $time *= 2) {
    ($status, $r) = bench('-c', 5, '-t', $time, "$ws/wrong");
    last if $r->{messages} > 10 || $time > $Httpd::DEADLINE;
}
is($status, 1, 'changed messages: wsbench exits with 1');
cmp_ok($r->{wrong}, '>', 0, 'changed messages are counted');
cmp_ok($r->{wrong}, '<', $r->{messages}, 'unchanged messages are not counted as wrong');
like($r->{problem}, qr/^message \d+ of connection \d+ is not what was sent$/, 'the first changed message is reported');

for (
    [ 'a URL without a WebSocket',       qr/^handshake: the server answered 404 /, 8, "$ws/nothing" ],
    [ 'an unknown certificate',  qr/^TLS handshake: .*certificate/,        8, "$wss/echo" ],
    [ 'a wrong name',            qr/^TLS handshake: .*mismatch/,           8, '--cacert', $ca,
        'wss://127.1:' . $httpd->ssl_port . '/echo' ],
    [ 'no compression',          qr/^handshake: the server does not comp/, 8, '-z', "$ws/echo" ],
    [ 'a limit of the server',   qr/^handshake: the server answered 503 /, 4, "$ws/full" ])
{
    my ($name, $problem, $failed, @arguments) = @$_;
    ($status, $r) = bench('-c', 8, @arguments);
    is($status, 1, "$name: wsbench exits with 1");
    like($r->{problem}, $problem, "$name: the problem is reported");
    is($r->{failed}, $failed, "$name: all affected connections are counted");
}

# ---- Unusual servers ----

# Start a server that answers each handshake with the result of $answer, and each message with the result of $echo. The
# server ends when the object is destroyed.
sub server {
    my ($answer, $echo) = @_;
    my $listen = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1') or die $!;
    my $pid = fork // die;
    return (bless({ pid => $pid }, 'Child'), $listen->sockport) if $pid;
    $SIG{CHLD} = 'IGNORE';
    while (my $s = $listen->accept) {
        next if fork;
        eval {
            my $head = '';
            1 while $head !~ /\r\n\r\n\z/ && sysread $s, $head, 1, length $head;
            $answer->($s, $head);
            while (my ($opcode, $payload) = frame($s)) {
                say_to($s, $opcode, $payload), last if $opcode == 8;
                syswrite $s, $_ for $echo->($opcode, $payload);
            }
        };
        POSIX::_exit(0);
    }
    POSIX::_exit(0);
}
sub Child::DESTROY { local $?; kill 'KILL', $_[0]{pid}; waitpid $_[0]{pid}, 0 }

sub inflated {
    my ($payload) = @_;
    my $z = Compress::Raw::Zlib::Inflate->new(-WindowBits => -15, -AppendOutput => 1);
    $payload .= "\0\0\xff\xff";
    $z->inflate($payload, my $out = '');
    return $out;
}
sub deflated {
    my ($text, $flush) = @_;
    my $z = Compress::Raw::Zlib::Deflate->new(-WindowBits => -15, -AppendOutput => 1);
    my $out = '';
    $z->deflate($text, $out);
    $z->flush($out, $flush);
    return $out;
}
my $offered = 'Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover';
for my $case (
    ['a last block', sub { frame_bytes($_[0], deflated(inflated($_[1]), Z_FINISH), mask => '', rsv => 0x40) }],
    ['a last block, and an empty block', sub { frame_bytes($_[0], deflated(inflated($_[1]), Z_FINISH) . "\0", mask => '', rsv => 0x40) }],
    ['a last block, and an empty frame',
        sub { (frame_bytes($_[0], deflated(inflated($_[1]), Z_FINISH), mask => '', rsv => 0x40, fin => 0), frame_bytes(0, '', mask => '')) }],
    ['uncompressed messages', sub { frame_bytes($_[0], inflated($_[1]), mask => '') }])
{
    my ($what, $echo) = @$case;
    my ($child, $port) = server(sub { answer(@_, $offered) }, $echo);
    ok(any(until_right($what, \&any, '-z', qw(-c 2 -s 3000 -C json), "ws://127.0.0.1:$port/")), "$what: messages are echoed");
}
{
    # The decompressed message has exactly the size of a buffer, and its last block the final bit.
    my ($child, $port) = server(sub { answer(@_, 'Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover') },
        sub { frame_bytes($_[0], deflated(inflated($_[1]), Z_FINISH), mask => '', rsv => 0x40) });
    until_right('a last block that ends with the buffer', sub { $_[0]{messages} > 10 }, qw(--deflate=takeover -c 1 -s 256k -C json), "ws://127.0.0.1:$port/");
}
{
    my ($child, $port) = server(sub { answer(@_) if $_[1] =~ /^X-Forwarded-For: ::1\r$/m }, sub { frame_bytes(@_, mask => '') });
    right('a header whose value begins with colons', '-c', 1, '-H', 'X-Forwarded-For: ::1', "ws://127.0.0.1:$port/");
}
{
    # A server that accepts one connection at a time, and refuses it if another one is being opened.
    my $listen = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1') or die $!;
    my $pid = fork // die;
    if (!$pid) {
        while (my $s = $listen->accept) {
            my $head = '';
            1 while $head !~ /\r\n\r\n\z/ && sysread $s, $head, 1, length $head;
            Httpd::ready($listen, 0, 0.05) ? syswrite($s, "HTTP/1.1 503 Busy\r\n\r\n") : answer($s, $head);
            frame($s) and say_to($s, 8, '');
        }
        POSIX::_exit(0);
    }
    my $child = bless { pid => $pid }, 'Child';
    until_right('--connect, --opening', sub { $_[0]{handshakes} > 4 }, qw(--connect --opening=1 -c 4), 'ws://127.0.0.1:' . $listen->sockport . '/');
}
for my $case (
    ['a parameter that was not offered', qr/client_max_window_bits, which was not offered/, "$offered; client_max_window_bits=10"],
    ['an unknown parameter', qr/unknown parameters of permessage-deflate/, "$offered; x=1"],
    ['an extension that was not offered', qr/an extension that was not offered/, 'Sec-WebSocket-Extensions: x-other'],
    ['two extensions', qr/twice/, "$offered, permessage-deflate"])
{
    my ($what, $problem, $header) = @$case;
    my ($child, $port) = server(sub { answer(@_, $header) }, sub { });
    my ($status, $r) = bench('-z', '-c', 1, "ws://127.0.0.1:$port/");
    is($status, 1, "$what: wsbench exits with 1");
    like($r->{problem}, $problem, "$what: the problem is reported");
}
{
    my ($child, $port) = server(
        sub { syswrite $_[0], "HTTP/1.1 100 Wait\r\n\r\nHTTP/1.1 103 Early\r\nLink: </x>\r\n\r\n"; answer(@_) },
        sub { frame_bytes(@_, mask => '') });
    right('interim answers', '-c', 2, "ws://127.0.0.1:$port/");
}
{
    my ($child, $port) = server(sub { }, sub { });
    my ($status, $r) = bench('-c', 1, "ws://127.0.0.1:$port/");
    is($status, 1, 'a server that does not answer: wsbench exits with 1');
    is($r->{problem}, 'no progress for 10 seconds', 'a server that does not answer: the problem is reported');
}
for my $case (
    ['interim answers without end', "HTTP/1.1 103 Early\r\n\r\n" x 40,
        'the server sent more than 32 interim (1xx) answers, the last with status 103, and no final answer'],
    ['an endless answer', "HTTP/1.1 101 Yes\r\n" . "X: y\r\n" x 4000, "the head of the server's answer is longer than 16384 bytes"])
{
    my ($what, $bytes, $problem) = @$case;
    my ($child, $port) = server(sub { syswrite $_[0], $bytes }, sub { });
    my ($status, $r) = bench('-c', 1, "ws://127.0.0.1:$port/");
    is($status, 1, "$what: wsbench exits with 1");
    like($r->{problem}, qr/handshake: \Q$problem\E/, "$what: the problem is reported");
}
{
    my ($child, $port) = server(sub { syswrite $_[0], "HTTP/1.1 403 \e]0;x\a\xc2\x9b\x9b\r\n\r\n" }, sub { });
    my ($status, $output) = Program::run($program, qw(-t 0.1 -c 1), "ws://127.0.0.1:$port/");
    unlike($output, qr/[\x00-\x09\x0b-\x1f\x7f-\x9f]/, 'a reason phrase of the server cannot control the terminal');
    like($output, qr/answered 403 \\x1b\]0;x\\x07\\xc2\\x9b\\x9b/, 'a reason phrase of the server is shown escaped');
}
{
    # A library that replaces getaddrinfo(). It returns two addresses, of which the first refuses or does not answer.
    my $hole = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die $!;
    my @filling = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $hole->sockport, Blocking => 0) } 1 .. 8;
    my $shim = $httpd->root . '/names';
    Httpd::write_file("$shim.c", <<'END');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
int getaddrinfo(const char *name, const char *port, const struct addrinfo *hints, struct addrinfo **found)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
    char first[64] = "", *colon;
    int rv;
    if (!(rv = strcmp(name, "several.test")) && !(hints->ai_flags & AI_NUMERICHOST)) {
        strcpy(first, getenv("FIRST_ADDRESS"));
        *(colon = strchr(first, ':')) = 0;
        rv = real(first, colon + 1, hints, found);
        return rv ? rv : real("127.0.0.1", port, hints, &(*found)->ai_next);
    }
    return real(name, port, hints, found);
}
END
    is(system("gcc -shared -fPIC -o $shim.so $shim.c"), 0, 'the library that replaces getaddrinfo() is built');
    for my $case (['refuses', '127.0.0.9:1'], ['is silent', '127.0.0.1:' . $hole->sockport]) {
        local @ENV{qw(LD_PRELOAD FIRST_ADDRESS)} = ("$shim.so", $case->[1]);
        local $ENV{ASAN_OPTIONS} = 'verify_asan_link_order=0';
        my $several = 'ws://several.test:' . $httpd->port;
        right("a name whose first address $case->[0]", '-c', 3, "$several/echo");
        right("a publisher with a name whose first address $case->[0]", '-c', 2, "--fan-out=$several/all", "$ws/all");
    }
}
# Run wsbench against a TLS server at this host. Returns the server name (SNI) that the server has received.
sub server_name {
    my ($host, $address) = @_;
    my $listen = IO::Socket::IP->new(Listen => 1, LocalHost => $address // '127.0.0.1') or die $!;
    pipe(my $from, my $to) or die $!;
    my $pid = fork // die;
    if (!$pid) {
        my $s = IO::Socket::SSL->start_SSL(scalar $listen->accept, SSL_server => 1, SSL_cert_file => $ca =~ s/ca\.crt/server.crt/r,
            SSL_key_file => $ca =~ s/ca\.crt/server.key/r);
        syswrite $to, $s ? $s->get_servername // 'none' : "no handshake: $IO::Socket::SSL::SSL_ERROR";
        POSIX::_exit(0);
    }
    my $child = bless { pid => $pid }, 'Child';
    close $to;
    bench('-c', 1, '-k', "wss://$host:" . $listen->sockport . '/');
    return scalar <$from>;
}
is(server_name($_), 'none', "wsbench sends no server name to the address $_") for '127.0.0.1', '127.1', '0x7f.1';
is(server_name('[::1]', '::1'), 'none', 'wsbench sends no server name to an IPv6 address') if IO::Socket::IP->new(Listen => 1, LocalHost => '::1');
is(server_name('localhost'), 'localhost', 'wsbench sends a server name to a host name');
{
    my $host = 'wss://127.0.0.1:' . $httpd->ssl_port . '/echo';
    right('TLS to an address', '-c', 1, '--cacert', $ca, $host);
    right('a dot at the end of the host', '-c', 1, '--cacert', $ca, $wss =~ s/localhost/localhost./r . '/echo')
        if gethostbyname('localhost.');
}

# ---- Ctrl-C ----

{
    my $p = Program->start($program, qw(--json -t 60 -w 0 -c 4), "$ws/echo?interrupted");
    Httpd::wait_for(sub { $httpd->access_log =~ /interrupted/ }, 'the handshakes');
    kill 'INT', $p->{pid};
    is($p->finish, 130, 'Ctrl-C: wsbench exits with 130');
    my $r = decode_json($p->output);
    ok($r->{interrupted}, 'Ctrl-C: the results so far are printed');
    is($r->{problem}, undef, 'Ctrl-C: no problem is reported');
    cmp_ok($r->{seconds}, '<', 60, 'Ctrl-C: the duration in the results is the elapsed time');
    ($status, my $text) = Program::run('sh', '-c', "$program -c 1 ws://127.0.0.1:1/ 2>&1; $program --size=99999999999 x 2>&1; $program -c 5000000 x");
    unlike($text, qr/\de\+/, 'error texts have limits as plain numbers, not with exponents');
    like($text, qr/whole number from 1 to 4000000/, 'error texts have the limits in words');
}

# ---- A rate ----

$r = right('a rate', qw(-r 200 -c 10 -t 1), "$ws/echo");
cmp_ok($r->{messages}, '<=', 200 * ($r->{seconds} + 0.1) + 10, '--rate: no more messages than the rate are sent');
my $closed = until_right('slow server, closed loop', \&any, '-c', 1, "$ws/slow");
my $most   = 5 * $closed->{latency_us}{p50};
my $open   = until_right('slow server, open loop', sub { $_[0]{latency_us} && $_[0]{latency_us}{max} > $most },
    qw(-c 1 -r 100 -w 0), "$ws/slow");
cmp_ok($open->{latency_us}{max}, '>', $most, 'with a rate, latency includes the time before a message is sent');

# ---- Fan-out ----

for (
    [ 'one by one',  1 ],
    [ 'eight',       1, '-m', 8 ],
    [ 'two workers', 1, '-j', 2 ],
    [ 'a rate',      0, '-r', 50 ])
{
    my ($name, $loop, @arguments) = @$_;
    $r = until_right("fan-out, $name", sub { $_[0]{deliveries} >= 20 && (!$loop || $_[0]{to_last_us}) },
        qw(-f -c 20 -s 100), @arguments, "$ws/all");
    is($r->{opened}, 21, "fan-out, $name: 20 subscribers and a publisher are connected");
    cmp_ok($r->{deliveries}, '>=', 20, "fan-out, $name: deliveries are counted");
    $loop
        ? cmp_ok($r->{to_last_us}{p50}, '>=', $r->{first_to_last_us}{p50}, "fan-out, $name: the last delivery is not before the first")
        : is($r->{to_last_us}, undef, "fan-out, $name: there are no batches");
}
right('fan-out, behind a greeting', qw(-f -c 4 --hello hello --skip 1), "$ws/all");

# ---- Idle, connect, sources ----

$r = right('idle', '--idle', '-c', 50, '--pid', $httpd->pid, "$ws/echo");
is($r->{messages}, 0, '--idle: no messages are sent');
ok(defined $r->{server_bytes_per_connection}, '--idle: memory of a connection is measured');
$r = until_right('connect', sub { $_[0]{handshakes} > 4 }, '--connect', '-c', 4, '-k', "$ws/echo", "$wss/echo");
cmp_ok($r->{handshakes}, '>', 4, '--connect: connections are opened again and again');
$r = right('sources', qw(-c 6 -S 127.0.0.5-127.0.0.7), "$ws/echo?source");
my %from = map { $_ => 1 } $httpd->access_log =~ m{^(\S+) .*/echo\?source}mg;
is_deeply([ sort keys %from ], [qw(127.0.0.5 127.0.0.6 127.0.0.7)], '--sources: connections come from each of three addresses');

# ---- Text ----

my $text = '';
for (my $time = 0.2; $text !~ /^latency/m && $time <= $Httpd::DEADLINE; $time *= 2) {
    (undef, $text) = Program::run($program, qw(-c 2 --pid), $httpd->pid, '-t', $time, "$ws/echo");
}
like($text, qr/^echo +2 connections, 20 bytes binary, 1 in flight, [\d.]+ s$/m, 'the report in text has a line for the load');
like($text, qr/^messages +\d+, \d+ a second, [\d.]+ MB a second$/m, 'the report in text has a line for the messages');
like($text, qr/^latency +p50 [\d.]+ (?:us|ms|s), p90 [\d.]+ (?:us|ms|s), p99 [\d.]+ (?:us|ms|s), p99\.9 [\d.]+ (?:us|ms|s), max [\d.]+ (?:us|ms|s)$/m, 'the report in text has a line for the latency');
like($text, qr/^server +[\d.]+ of a processor, [\d.]+ us for each message$/m, 'the report in text has a line for the server');
like($text, qr/^load +1 worker, [\d.]+ of a processor, the busiest [\d.]+/m, 'the report in text has a line for wsbench itself');
unlike($text, qr/\r/, 'without a terminal, no progress is shown');

# ---- The command line, and its documentation ----

my $not_pid = $httpd->root . '/not_pid';
Httpd::write_file($not_pid, "12abc\n");
for (
    [ 'no URL', qr/the URL is missing/ ],
    [ 'another scheme', qr/does not start with ws/, 'http://127.0.0.1/' ],
    [ 'a number', qr/--connections: invalid value "many": expected a whole number from 1 to 4000000/, qw(-c many ws://127.0.0.1/) ],
    [ 'a number with an exponent', qr/--connections: invalid value "1e3"/, qw(-c 1e3 ws://127.0.0.1/) ],
    [ 'a time', qr/--time: invalid value "5sec": expected an interval from 100ms to /, qw(-t 5sec ws://127.0.0.1/) ],
    [ 'a rate', qr/--rate: invalid value "nan": expected a number from 0.001 to 1000000000/, qw(-r nan ws://127.0.0.1/) ],
    [ 'a size', qr/--size: invalid value "3x": expected a size from 0 to 1G/, qw(-s 3x ws://127.0.0.1/) ],
    [ 'a kind', qr/--content: invalid value "prose": expected binary, text, utf8 or json/, qw(-C prose ws://127.0.0.1/) ],
    [ 'a window', qr/--deflate: invalid value "often": expected takeover/, qw(--deflate=often ws://127.0.0.1/) ],
    [ 'a header without a value', qr/--header: "X" is not "Name: value"/, qw(-H X ws://127.0.0.1/) ],
    map({ [ "the header $_", qr/--header: "$_: x": an additional header is reserved for the handshake/, '-H', "$_: x", 'ws://127.0.0.1/' ] }
        'Upgrade', 'Sec-WebSocket-Key'),
    map({ [ "--in-flight, @$_", qr/--in-flight cannot be combined with --rate, --idle or --connect/, '-m', 1, @$_, 'ws://127.0.0.1/' ] }
        ['-r', 5], ['--idle'], ['--connect'], ['-f', '-r', 5]),
    [ 'sources for IPv6', qr/--sources takes IPv4 addresses, but ws:\/\/\[::1\]\/ has none/, '-S', '127.0.0.1', 'ws://[::1]/' ],
    [ 'a file without a process id', qr/--pid-file: \S+ does not contain a process id/, '-P', $not_pid, 'ws://127.0.0.1/' ],
    [ 'addresses', qr/--sources: "here"/, qw(-S here ws://127.0.0.1/) ],
    map({ [ "addresses \"$_\"", qr/--sources: "\Q$_\E"/, '-S', $_, 'ws://127.0.0.1/' ] }
        '0.0.0.0-255.255.255.255', '127.0.0.1x', '127.0.0.1-', '127.0.0.1-127.0.0.2x', '127.0.0.1-127.0.0.2-127.0.0.3', '127.0.0.2-127.0.0.1', '127.1', ''),
    [ 'an unknown option', qr/unrecognized option/, '--nothing' ])
{
    my ($name, $text, @arguments) = @$_;
    my ($status, $output) = Program::run($program, @arguments);
    is($status, 2, "wrong command line, $name: wsbench exits with 2");
    like($output, $text, "wrong command line, $name: the error is reported");
    like($output, qr/wsbench --help/, "wrong command line, $name: the error refers to --help");
}
($status, my $help) = Program::run($program, '--help');
is($status, 0, 'wsbench --help exits with 0');
my %option = map { $_ => 1 } $help =~ /(--[a-z][a-z-]+)/g;
my $page = Httpd::read_file('docs/man/wsbench.1');
is(join(' ', grep { $page !~ /^\.(?:BR?|TP) .*\Q$_\E\b/m } sort keys %option), '', 'the man page of wsbench has each option');
(undef, my $completed) = Program::run('bash', '-c',
    "PATH=$Httpd::BUILD/bin:\$PATH; . tools/completion/bash/wsbench; COMP_WORDS=(wsbench --conn) COMP_CWORD=1; _wsbench; "
        . 'echo "${COMPREPLY[*]}"');
is($completed, "--connect --connections\n", 'the shell completion of wsbench completes options');

($status, my $output) = Program::run('bash', '-c', 'exec "$0" "$@" >/dev/full', $program, qw(-c 1 -t 0.1), "$ws/echo");
is($status, 1, 'with a full disk, wsbench exits with 1');
like($output, qr/^wsbench: cannot write the report$/m, 'with a full disk, wsbench says why');

$httpd->stop;

# ---- bench/compare, which runs wsbench ----

{
    local @ENV{qw(BENCH CELLS SERVERS ROUNDS JSON PEER)} =
        ('utf8', 'text', 'ours,raw,nobody', 1, $httpd->root . '/results.json', 'nobody=/nonexistent');
    my $table;
    for (my $time = 0.1; ; $time *= 2) { # until both servers have a figure
        local $ENV{DURATION} = $time;
        ($status, $table) = Program::run($^X, 'bench/compare');
        last if $table =~ /^\| 16 KiB, text \| \d[^|]*\| \d/m || $time > $Httpd::DEADLINE;
    }
    is($status, 0, 'bench/compare exits with 0');
    like($table, qr/^missing: nobody: it has ended/m, 'bench/compare reports a server that does not start');
    like($table, qr/^\| 16 KiB, text \| [\d.]+ \| [\d.]+ \| \d+\.\d+ \| - \|$/m, 'bench/compare prints a row of the table');
    my $json = decode_json(Httpd::read_file($ENV{JSON}));
    cmp_ok($json->{medians}{'utf8: 16 KiB, text'}{$_}, '>', 0, "bench/compare writes the median of $_ as JSON") for qw(ours raw);
}

done_testing;
