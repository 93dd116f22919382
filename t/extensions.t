# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Extensions: tests the example of docs/extensions.md, alone and with other extensions, and errors at start-up.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Client qw(TEXT BINARY CONTINUATION PING CLOSE);
use Httpd;

Httpd::once();

my $document = Httpd::read_file('docs/extensions.md');
my ($listing) = $document =~ /^```c file=ws_shift\.c\n(.*?)^```$/ms or die 'no listing';
my $shift = Httpd::compile('ws_shift', $listing);
my $api   = Httpd::compile('api');

# An extension without RSV bits that processes all messages in pieces, and counts the calls of its free functions.
my $stamp = Httpd::compile('stamp', <<'END');
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "websocket_extension.h"

static const char *configure(apr_pool_t *p, const char *key, const char *value, void **config)
{
    (void)p;
    if (!key) {
        return *config ? NULL : "mark= is missing";
    }
    if (strcmp(key, "mark")) {
        return "mark= is all there is";
    }
    *config = (void *)value;
    return NULL;
}

static int agree(ws_negotiation *n, void *config)
{
    (void)config;
    return n->count == 0;
}

static int receive(ws_extended *x, unsigned char *data, apr_size_t len, unsigned where)
{
    unsigned char mark[] = "<";
    if (where & WS_FIRST) {
        if (!*x->shared) {
            *x->shared = malloc(1);
            dprintf(STDERR_FILENO, "stamp: a loop\n");
        }
        if (!x->state) {
            x->state = malloc(1);
        }
        if (len && *data == 'f') {
            return 4444;
        }
        if (len && *data == 'p') {
            return WS_PASS_BY;
        }
        if (len && *data == 'l') {
            return 0; /* loses it */
        }
        if (ws_extension_deliver(x, mark, 1, 0)) {
            return 0;
        }
    }
    for (apr_size_t i = 0; i < len; i++) { /* byte for byte */
        if (ws_extension_deliver(x, data + i, 1, 0)) {
            return 0;
        }
    }
    if (where & WS_LAST) {
        ws_extension_deliver(x, data, 0, 1);
    }
    return 0;
}

static int out(ws_extended *x, ws_type type, const unsigned char *data, apr_size_t len,
                unsigned where)
{
    const char *mark = x->config;
    if ((where & WS_FIRST) && len && *data == '-') {
        return WS_PASS_BY;
    }
    if (ws_extension_emit(x, data, len, 0)
        || ((where & WS_LAST) && ws_extension_emit(x, mark, strlen(mark), 1))) {
        return WS_CLOSE_INTERNAL;
    }
    return type == WS_TEXT || type == WS_BINARY ? 0 : WS_CLOSE_INTERNAL;
}

static void close_it(ws_extended *x)
{
    dprintf(STDERR_FILENO, "stamp: close %s\n", x->state ? "with state" : "without state");
    free(x->state);
}

static void end(void *shared)
{
    dprintf(STDERR_FILENO, "stamp: the loop ends\n");
    free(shared);
}

WS_EXTENSION("x-stamp") = {.configure = configure,
                           .negotiate = agree,
                           .receive = receive,
                           .send = out,
                           .close = close_it,
                           .end = end,
                           .repeatable_keys = ""};
END

my $httpd = Httpd->start(conf => <<"END");
WebSocketHandler $api
<Location /shift>
    WebSocketExtension $shift
    WebSocketCompression on threshold=1
</Location>
<Location /both>
    WebSocketExtension $stamp mark=!
    WebSocketExtension $shift
</Location>
<Location /both/none>
    WebSocketExtension off
</Location>
<Location /twice>
    WebSocketExtension $stamp mark=1
    WebSocketExtension $stamp mark=2
    WebSocketMaxMessageSize 10
</Location>
END

sub client {
    my ($path, $offer, %o) = @_;
    return Client->new($httpd, $path, headers => ["Sec-WebSocket-Extensions: $offer"], %o);
}

sub moved {
    my ($by, $text) = @_;
    return join '', map { chr((ord($_) + $by) % 256) } split //, $text;
}

# ---- The example ----

for (['over TCP'], ['over TLS', tls => 1]) {
    my ($name, %o) = @$_;
    my $c = client('/shift', 'x-shift; by=3', %o);
    is($c->header('Sec-WebSocket-Extensions'), 'x-shift; by=3', "$name: the extension is agreed on");
    for my $text ('hello', '', 'long ' x 20_000) {
        $c->binary(moved(3, $text), rsv => 0x20);
        my ($opcode, $payload, $first) = $c->frame;
        ok($payload eq moved(3, $text), "$name: a message comes back: " . length($text) . ' bytes');
        is($first, 0xA0 | BINARY, "$name: the answer has the extension's bit");
    }
    $c->text(moved(3, "\xc3\xbc"), rsv => 0x20);
    is(($c->frame)[1], moved(3, "\xc3\xbc"), "$name: a text that becomes UTF-8 when the extension decodes it is accepted");
    $c->binary('as it is');
    is(($c->frame)[1], moved(3, 'as it is'), "$name: a message without the bit bypasses the extension");
    $c->text(moved(3, "\xff"), rsv => 0x20);
    $c->expect_close(1007, "$name: a text that is not UTF-8 after the extension has decoded it is refused with 1007");
}
{
    my $c = client('/shift', 'x-shift; by=1');
    $c->send(TEXT, moved(1, 'par'), rsv => 0x20, fin => 0);
    $c->send(PING, 'p');
    is(($c->frame)[1], 'p', 'control frames bypass extensions');
    $c->send(CONTINUATION, moved(1, 'ted'));
    is(($c->frame)[1], moved(1, 'parted'), 'a fragmented message is decoded');
    $c->text(moved(1, 'parts'), rsv => 0x20);
    my @frames = grep { $_->[0] != PING } map { [$c->frame] } 1 .. 5;
    is($frames[0][1], moved(1, 'misplaced'), 'a single message of a handler is encoded');
    is(join('', map { $_->[1] } @frames[1 .. 3]), moved(1, 'one two three'), 'a message that the handler sends in parts is encoded');
    is_deeply([map { $_->[2] } @frames[1 .. 3]], [0x20 | TEXT, 0, 0x80], "only the first frame of a message in parts has the extension's bit");
}
is(client('/shift', $_)->header('Sec-WebSocket-Extensions'), undef, "the extension declines $_")
    for 'x-shift', 'x-shift; by=0', 'x-shift; by', 'x-shift; by=1; by=2', 'x-shift; to=1', 'X-Shift; by=1';
is(client('/', 'x-shift; by=1')->header('Sec-WebSocket-Extensions'), undef, 'a Location without WebSocketExtension declines the offer');
is(client('/both/none', 'x-shift; by=1')->header('Sec-WebSocket-Extensions'), undef, 'WebSocketExtension off declines the offer');

# ---- Several extensions ----

{
    my $c = client('/shift', 'permessage-deflate, x-shift; by=3, x-shift; by=4');
    is($c->header('Sec-WebSocket-Extensions'),
        'permessage-deflate; server_no_context_takeover; client_no_context_takeover, x-shift; by=3',
        'two different extensions are agreed on, each once');
    require Compress::Raw::Zlib;
    my $z = Compress::Raw::Zlib::Deflate->new(-WindowBits => -15, -AppendOutput => 1);
    my $out = '';
    $z->deflate('hello ' x 100, $out);
    $z->flush($out, Compress::Raw::Zlib::Z_SYNC_FLUSH());
    $c->binary(moved(3, substr $out, 0, -4), rsv => 0x60);
    my ($opcode, $payload, $first) = $c->frame;
    is($first, 0xE0 | BINARY, 'a message that two extensions have encoded has both bits');
    my $i = Compress::Raw::Zlib::Inflate->new(-WindowBits => -15, -AppendOutput => 1, -LimitOutput => 0);
    my ($in, $text) = (moved(253, $payload) . "\0\0\xff\xff", '');
    $i->inflate($in, $text);
    is($text, 'hello ' x 100, 'a message is first compressed, then shifted, in the order of the answer');
    $c->text('plain');
    is(($c->frame)[2], 0xA0 | TEXT, 'a message that does not get shorter has only the bit of the other extension');
}
{
    my $c = client('/both', 'x-shift; by=1, x-stamp');
    is($c->header('Sec-WebSocket-Extensions'), 'x-shift; by=1, x-stamp', "extensions are agreed on in the client's order");
    $c->text(moved(1, 'x'), rsv => 0x20);
    # Incoming messages pass x-stamp first, then x-shift. Outgoing messages pass x-shift first, then x-stamp.
    is(($c->frame)[1], moved(1, chr(ord('<') - 1) . 'x') . '!', 'an extension without bits gets all messages, in pieces of any size');
    $c->text(moved(1, '-'));
    my (undef, $payload) = $c->frame;
    is($payload, moved(1, '<' . moved(1, '-')) . '!', 'an extension without bits also gets messages without a bit') ;
    $c->close(1000);
    $c->expect_close(1000, 'a connection with an extension closes cleanly');
    $httpd->wait_log(qr/stamp: close with state/);
    pass("the extension's close function is called");
}

# ---- Errors ----

{
    my $c = client('/both', 'x-stamp');
    $c->text('pass');
    is(($c->frame)[1], 'pass!', 'a message that the extension passes on arrives');
    $c->text('lost');
    $c->expect_close(1011, 'a message whose end the extension never delivers is refused with 1011');
    $c = client('/both', 'x-stamp');
    $c->text('fails');
    $c->expect_close(4444, 'an extension closes the connection with its code');
    $httpd->wait_log(qr/extension x-stamp cannot read a message/);
    $c = client('/twice', 'x-stamp, x-stamp');
    is($c->header('Sec-WebSocket-Extensions'), 'x-stamp', 'an extension that is configured twice is used once');
    $c->text('123456789');
    is(($c->frame)[1], '<1234567891', 'the first line whose extension accepts the offer applies');
    $c->text('1234567890');
    $c->expect_close(1009, 'the limit applies to the output of the extension');
}
client('/both', 'x-stamp')->drop;
$httpd->wait_log(qr/stamp: close without state/);
$httpd->stop;
my $log = $httpd->error_log;
is(scalar(() = $log =~ /stamp: the loop ends/g), scalar(() = $log =~ /stamp: a loop/g), 'data shared by a loop is released');

# ---- Directives ----

my $broken = sub {
    my ($name, $table) = @_;
    return Httpd::compile('broken', <<"END");
#include "websocket_extension.h"
static int agree(ws_negotiation *n, void *c) { (void)n; (void)c; return 1; }
static int in(ws_extended *x, unsigned char *d, apr_size_t l, unsigned w) { (void)x; (void)d; (void)l; (void)w; return 0; }
static int out(ws_extended *x, ws_type t, const unsigned char *d, apr_size_t l, unsigned w)
{ (void)x; (void)t; (void)d; (void)l; (void)w; return 0; }
const void *const used[] = {(void *)agree, (void *)in, (void *)out};
WS_EXTENSION("$name") = {$table};
END
};
my $all = '.negotiate = agree, .receive = in, .send = out';
for (
    ["WebSocketExtension", 'takes an extension\'s file or name'],
    ["WebSocketExtension unknown", 'no module has registered a WebSocket extension "unknown"'],
    ["WebSocketExtension /nowhere.so", 'cannot load the extension: /nowhere.so'],
    ["WebSocketExtension $api", 'is not a WebSocket extension: it has no symbol ws_extension_descriptor_v1'],
    ["WebSocketHandler $shift", 'is not a WebSocket handler'],
    ["WebSocketExtension $shift a=b", 'extension x-shift has no keys: remove "a=b"'],
    ["WebSocketExtension $stamp", 'extension x-stamp: mark= is missing'],
    ["WebSocketExtension $stamp a=b", 'extension x-stamp, a=b: mark= is all there is'],
    ["WebSocketExtension $stamp mark=a MARK=b", 'extension x-stamp: MARK= is given twice: remove one'],
    ["WebSocketExtension $stamp mark", '"mark": expected key=value after the extension\'s name'],
    ["WebSocketExtension off\nWebSocketExtension $shift", 'WebSocketExtension off and another extension are in the same section'],
    ["WebSocketExtension $shift\n<Location />\nWebSocketExtension $stamp mark=a\nWebSocketExtension $shift\nWebSocketExtension $stamp mark=a\n</Location>", 'is the same: remove one of the two'],
    ["WebSocketExtension $shift\nWebSocketExtension off", 'WebSocketExtension off and another extension are in the same section'],
    ['a name', 'the name "a b" is not valid in a header', 'a b', $all],
    ['ours', 'permessage-deflate is built in', 'permessage-deflate', $all],
    ['bits', 'claims bits other than WS_RSV1 to WS_RSV3', 'x', "$all, .rsv = 0x80"],
    ['negotiate', 'has no negotiate', 'x', '.receive = in, .send = out'],
    ['receive', 'has no receive', 'x', '.negotiate = agree, .send = out'],
    ['send', 'has no send', 'x', '.negotiate = agree, .receive = in'])
{
    my ($conf, $error, @make) = @$_;
    my $name = $conf =~ s/\n/, /r;
    $conf = 'WebSocketExtension ' . $broken->(@make) if @make;
    my ($ok, $output) = Httpd->check($conf);
    ok(!$ok && index($output, $error) >= 0 && $output =~ /line \d+/, "httpd -t: $name") or diag($output);
}

done_testing;
