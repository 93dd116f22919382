# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Relayed connections pass through httpd's filters, because of WebSocketRelay or because a filter must process their bytes.
# For clients and handlers, they must behave like other connections. t/h2.t tests HTTP/2.

use strict;
use warnings;
use lib 't/lib';
use Socket qw(SOL_SOCKET SO_LINGER);
use Test::More;
use Httpd;
use Client qw(frame_bytes TEXT BINARY CLOSE);

# Each relayed connection occupies a thread, and a single child must have all connections.
my %mpm = (prefork => "StartServers 4\nServerLimit 64\nMaxRequestWorkers 64\nMaxSpareServers 64",
    map { $_->[0] => "StartServers 1\nServerLimit 4\nThreadsPerChild 60\nMaxRequestWorkers $_->[1]\nMinSpareThreads 1" }
        [event => 60], [worker => 240]);
my $mpm = $mpm{$Httpd::MPM};

my $api   = Httpd::compile('api');
my $httpd = Httpd->start(mpm_conf => $mpm, conf => <<"END");
WebSocketHandler $api
WebSocketRelay on
WebSocketMaxMessageSize 16M
<Location /small-queue>
    WebSocketSendQueue 40000
    WebSocketCloseTimeout 60s
</Location>
<Location /off>
    WebSocketRelay off
</Location>
END

my $number = 0;

sub client {
    my ($path, %o) = @_;
    my $server = $o{server} || $httpd;
    my $name   = 'r' . ++$number;
    my $c = Client->new($server, "$path?cookie&name=$name", %o);
    $c->{name} = $name;
    return $c;
}

# Wait until the server has called on_close for a client's connection, and return the arguments: "CODE REASON".
sub told {
    my ($c) = @_;
    my (undef, $code, $reason) = $c->{httpd}->wait_log(qr/api: closed $c->{name} (\d+) "(.*?)"/);
    return "$code $reason";
}

# ---- Relayed connections behave like others, over ws and wss ----

for (['plain', 0], ['TLS 1.2', 'TLSv1_2'], ['TLS 1.3', 'TLSv1_3']) {
    my ($name, $tls) = @$_;
    my $c = client('/', tls => $tls);
    is(join('|', $c->header('Set-Cookie')), 'a=1|b=2; HttpOnly', "$name: the 101 has the handler's headers");
    for my $size (0, 1, 125, 126, 65_535, 65_536, 1_000_000, 5 * 1024 * 1024) {
        my $message = join '', map { chr($_ * 7 % 251) } 1 .. 997;
        $message = substr $message x ($size / 997 + 1), 0, $size;
        $c->binary($message);
        my ($type, $got) = $c->message;
        ok($type == BINARY && $got eq $message, "$name: $size bytes are echoed");
    }
    $c->text('who');
    like(($c->message)[1], qr/ peer=127\.0\.0\.1 .* secure=@{[$tls ? 1 : 0]} /, "$name: the handler gets the client's address and whether TLS is used");
    $c->close(4321, 'done');
    $c->expect_close(4321, "$name: the client closes with 4321, and the server answers with the same code");
    is(told($c), '4321 done', "$name: on_close gets the client's code and reason");

    for my $count (5, 2000, 60_000) {
        my $behind = join '', map { frame_bytes(TEXT, "message $_") } 1 .. $count;
        my $early = client('/', tls => $tls, behind => $behind);
        my $right = grep { ($early->message)[1] eq "message $_" } 1 .. $count;
        is($right, $count, "$name: $count messages sent together with the handshake are echoed");
    }
    {
        my $half = client('/', tls => $tls, behind => substr frame_bytes(TEXT, 'in pieces'), 0, 5);
        $half->raw(substr frame_bytes(TEXT, 'in pieces'), 5);
        is(($half->message)[1], 'in pieces', "$name: a message whose first half is sent together with the handshake is echoed");
    }

    $c = client('/', tls => $tls);
    $c->text('close 4002 enough');
    $c->expect_close(4002, "$name: the handler closes with 4002, and the client gets the code");
    is($c->{reason}, 'enough', "$name: the client also gets the handler's reason");
    is(told($c), '4002 enough', "$name: on_close gets the handler's code and reason");

    $c = client('/', tls => $tls);
    $c->text('a last message');
    $c->drop;
    like(told($c), qr/^1006 /, "$name: a client that disconnects without a Close frame: on_close gets 1006");

    $c = client('/', tls => $tls);
    $c->echoes('there', "$name: the connection echoes before the client resets it");
    setsockopt $c->socket, SOL_SOCKET, SO_LINGER, pack 'II', 1, 0;
    $c->drop;
    like(told($c), qr/^1006 /, "$name: a client that resets its connection: on_close gets 1006");
}
{
    my $c = client('/');
    shutdown $c->socket, 1;
    ok($c->at_end, 'when a client shuts down its sending side without a Close frame, the server ends the connection');
    like(told($c), qr/^1006 /, 'when a client shuts down its sending side without a Close frame, on_close gets 1006');

    $c = client('/');
    $c->raw(frame_bytes(TEXT, 'said') . frame_bytes(CLOSE, pack 'n', 4003));
    shutdown $c->socket, 1;
    is(($c->message)[1], 'said', 'a client that shuts down its sending side after a Close frame gets all queued data');
    is_deeply([($c->frame)[0, 1]], [CLOSE, pack 'n', 4003], 'after the queued data, the client gets the Close frame');
    ok($c->at_end, 'after the Close frame, the server ends the connection');
    is(told($c), '4003 ', 'on_close gets the code of the client that shut down its sending side');
}
{
    my $c = client('/');
    $c->raw("\xff");
    $c->expect_close(1002, 'an invalid frame closes the connection with 1002');
}

# ---- Slow readers ----

{
    my $c = client('/', rcvbuf => 65536);
    $c->text('flood 3000');
    ok($httpd->wait_log(qr/api: flood waits $c->{name}/), 'when a client does not read, ws_send tells the handler to wait');
    my $bytes = 0;
    while (my ($type, $data) = $c->message) {
        last if $type == TEXT;
        $bytes += length $data;
    }
    is($bytes, 30_000_000, 'when the client reads again, on_drain lets the handler send the rest');
}
{
    my $c = client('/small-queue', rcvbuf => 65536);
    $c->text('burst 3000');
    ok($httpd->wait_log(qr/api: burst ended full/), 'a handler that sends without waiting finds the queue full');
    $c->expect_close(1008, 'when the queue is full, the client is closed with 1008');
}
{
    my $impatient = Httpd->start(mpm_conf => $mpm,
        conf => "Timeout 1\nWebSocketHandler $api\nWebSocketRelay on\nWebSocketPing off\n");
    my $idle = client('/', server => $impatient);
    my $c    = client('/', server => $impatient, rcvbuf => 65536);
    $c->text('flood 3000');
    like(told($c), qr/^1006 /, 'a client that does not read is dropped after Timeout');
    $idle->echoes('still here', 'a client that is only silent is not dropped after Timeout');
}

SKIP: {
    skip 'sanitizers keep freed memory', 1 if $ENV{WS_TEST_PRELOAD};
    my $server   = Httpd->start(mpm_conf => $mpm, conf => "WebSocketHandler $api\nWebSocketRelay on\nWebSocketMaxMessageSize 16M\n");
    my $c        = client('/', server => $server);
    my @children = $server->children;
    my $memory   = sub {
        my $kib = 0;
        $kib += Httpd::read_file("/proc/$_/status") =~ /^VmRSS:\s+(\d+)/m ? $1 : 0 for @children;
        return $kib;
    };
    my $some = sub {
        for (1 .. 20) {
            $c->raw(join '', map { frame_bytes(TEXT, "a small message $_") } 1 .. 1000);
            $c->message for 1 .. 1000;
        }
        $c->binary('x' x 4_000_000), $c->message for 1 .. 5;
    };
    # Repeat until the memory has stopped growing: a leak grows in each round, but memory that the allocator keeps does not.
    my @after = ($memory->());
    do { $some->(); push @after, $memory->() } until $after[-1] - $after[-2] < 64 || @after > 20;
    cmp_ok($after[-1] - $after[-2], '<', 64, 'relaying messages leaks no memory') or diag("KiB: @after");
}

# ---- The directive ----

{
    # A relayed request lasts until the WebSocket has ended.
    my $off = client('/off');
    ok($httpd->wait_log(qr/name=$off->{name} HTTP\S+ 101/, 1), 'with WebSocketRelay off in a Location, the module takes over the connection');
    my $on = client('/on');
    $on->echoes('x', 'with WebSocketRelay on for the server, a connection in another Location echoes');
    unlike($httpd->access_log, qr/name=$on->{name} /, "httpd's request lasts as long as the relayed connection");
    $on->close(1000);
    $on->expect_close(1000);
    ok($httpd->wait_log(qr/name=$on->{name} HTTP\S+ 101 -/, 1), 'when the relayed connection ends, the access log has its request, not marked as aborted');
    my ($ok, $text) = Httpd->check("WebSocketRelay maybe\n");
    ok(!$ok && $text =~ /WebSocketRelay: invalid value .*expected on or off/, 'WebSocketRelay accepts only on and off');
}

# ---- Filters of other modules ----

{
    my $dump = Httpd->start(modules => ['dumpio'], mpm_conf => $mpm, conf => <<"END");
WebSocketHandler $api
DumpIOInput On
DumpIOOutput On
LogLevel dumpio:trace7
END
    for my $tls (0, 1) {
        my $name = $tls ? 'secure' : 'plain';
        my $c = client('/', server => $dump, tls => $tls);
        $c->binary($name, mask => '    '); # this mask changes lower case to upper case
        is(($c->message)[1], $name, "$name: with mod_dumpio loaded, a connection echoes");
        ok($dump->wait_log(qr/relayed: filter dumpio_in must see its bytes/), "$name: the log says that mod_dumpio causes the connection to be relayed");
        ok($dump->wait_log(qr/dumpio_in \(data-\w+\): .*    \U$name/), "$name: mod_dumpio sees the connection's input");
        ok($dump->wait_log(qr/dumpio_out \(data-\w+\): .*$name/), "$name: mod_dumpio sees the connection's output");
        $c->close(1000);
        $c->expect_close(1000, "$name: the connection that mod_dumpio sees closes cleanly");
    }
}
{
    # A filter may keep data until it gets a flush.
    my $hoarder = Httpd::compile('hoarder', <<'END');
#include <httpd.h>
#include <http_config.h>
#include <http_connection.h>
#include <http_request.h>
#include <util_filter.h>
static apr_status_t hoard(ap_filter_t *f, apr_bucket_brigade *bb)
{
    apr_bucket *last = APR_BRIGADE_LAST(bb);
    int flush = !APR_BRIGADE_EMPTY(bb) && (APR_BUCKET_IS_FLUSH(last) || AP_BUCKET_IS_EOR(last));
    apr_bucket_brigade *all = f->ctx;
    apr_status_t rv = ap_save_brigade(f, &all, &bb, f->c->pool);
    f->ctx = all;
    if (rv != APR_SUCCESS || !flush) {
        return rv;
    }
    rv = ap_pass_brigade(f->next, all);
    apr_brigade_cleanup(all);
    return rv;
}
static int add(conn_rec *c, void *csd)
{
    (void)csd;
    if (!c->master) {
        ap_add_output_filter("HOARD", NULL, NULL, c);
    }
    return OK;
}
static void hooks(apr_pool_t *p)
{
    (void)p;
    ap_register_output_filter("HOARD", hoard, NULL, AP_FTYPE_CONNECTION);
    ap_hook_pre_connection(add, NULL, NULL, APR_HOOK_MIDDLE);
}
AP_DECLARE_MODULE(hoarder) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, hooks, 0};
END
    my $hoard = Httpd->start(load => "LoadModule hoarder_module $hoarder", mpm_conf => $mpm,
        conf => "WebSocketHandler $api\n");
    for my $tls (0, 1) {
        my $c = client('/', server => $hoard, tls => $tls);
        $c->echoes("message $_", 'data gets through a filter that buffers until it sees a flush') for 1 .. 3;
        $c->close(1000);
        $c->expect_close(1000, 'the Close frame gets through a filter that buffers until it sees a flush');
    }
}

# ---- TLS connections that this module cannot take over ----

{
    # A filter that looks like mod_ssl's, on connections whose SSL object the module does not know.
    my $foreign = Httpd::compile('foreign_tls', <<'END');
#include <httpd.h>
#include <http_config.h>
#include <http_connection.h>
#include <util_filter.h>
static apr_status_t in(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode,
                       apr_read_type_e block, apr_off_t n)
{
    return ap_get_brigade(f->next, bb, mode, block, n);
}
static apr_status_t out(ap_filter_t *f, apr_bucket_brigade *bb)
{
    return ap_pass_brigade(f->next, bb);
}
static int add(conn_rec *c, void *csd)
{
    (void)csd;
    ap_add_input_filter("SSL/TLS FILTER", NULL, NULL, c);
    ap_add_output_filter("SSL/TLS FILTER", NULL, NULL, c);
    return OK;
}
static void hooks(apr_pool_t *p)
{
    (void)p;
    ap_register_input_filter("SSL/TLS FILTER", in, NULL, AP_FTYPE_CONNECTION + 5);
    ap_register_output_filter("SSL/TLS FILTER", out, NULL, AP_FTYPE_CONNECTION + 5);
    ap_hook_pre_connection(add, NULL, NULL, APR_HOOK_MIDDLE);
}
AP_DECLARE_MODULE(foreign_tls) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, hooks, 0};
END
    my $server = Httpd->start(load => "LoadModule foreign_tls_module $foreign", mpm_conf => $mpm,
        conf => "WebSocketHandler $api\n");
    my $c = client('/', server => $server);
    $c->echoes('x' x 100_000, 'a TLS connection whose SSL object is unknown is relayed');
    $c->close(1000);
    $c->expect_close(1000, 'a TLS connection whose SSL object is unknown closes cleanly');
    $server->wait_log(qr/the connection is relayed: its TLS connection is not mod_ssl's/);
    $server->stop;
}

# ---- Reloads and stops ----

my $conf = "WebSocketHandler $api\n<Location /relay>\nWebSocketRelay on\n</Location>\n";
{
    my $server = Httpd->start(mpm_conf => $mpm, conf => "WebSocketPing off\nWebSocketDrainTimeout " . Patience::stretch('3s') . "\n$conf");
    my @c = map { client($_ % 2 ? '/relay' : '/', server => $server, tls => $_ >> 1 & 1) } 1 .. 8;
    $server->graceful;
    is((grep { $_->text('x'); ($_->frame)[1] eq 'x' } @c), 8, 'after a reload, all connections stay open, relayed or not');
    my $new = client('/relay', server => $server);
    is((grep { my ($opcode, $payload) = $_->frame; $opcode == CLOSE && unpack('n', $payload) == 1012 } @c),
        8, 'at the end of WebSocketDrainTimeout, all old connections are closed with 1012');
    $new->echoes('here', 'a connection opened after the reload stays open');
    my @old = map { told($_) } @c[0, 1];
    is("@old", '1012 server restarts 1012 server restarts', 'on_close gets 1012 for relayed connections and for others');
}
{
    my $server = Httpd->start(mpm_conf => $mpm, conf => $conf);
    my @c = map { client($_ % 2 ? '/relay' : '/', server => $server, tls => $_ >> 1 & 1) } 1 .. 8;
    $server->graceful;
    $_->echoes('y', 'a connection of an old child still echoes after a reload') for @c[0, 1];
    $server->stop;
    my @ends = map { my ($opcode, $payload) = eval { $_->frame }; defined $opcode ? unpack 'n', $payload : 'none' } @c;
    is("@ends[1, 3, 5, 7]", '1001 1001 1001 1001', 'a stop during the drain closes connections that were taken over with 1001');
    is("@ends[0, 2, 4, 6]", $Httpd::MPM eq 'prefork' ? 'none none none none' : '1001 1001 1001 1001',
        'a stop during the drain closes relayed connections with 1001, but not on prefork');
    unlike($server->error_log, qr/SIGKILL/, 'a stop during the drain does not have to kill a child');
}
{
    my $server = Httpd->start(mpm_conf => $mpm, conf => $conf);
    my @c = map { client('/relay', server => $server, tls => $_ % 2) } 1 .. 4;
    $server->stop;
    is((grep { eval { () = $_->frame; 1 } } @c), 4, 'a stop ends all relayed connections');
    unlike($server->error_log, qr/SIGKILL/, 'a stop with relayed connections does not have to kill a child');
}

done_testing;
