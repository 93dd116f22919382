# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Directives: httpd accepts valid values, and refuses invalid values with the right error texts. A mistake at a reload does
# not affect the running server.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client qw(BINARY);

Httpd::once();

my $api = Httpd::compile('api');

# Test that httpd refuses this line, and reports its location and the error.
sub refuses {
    my ($line, $match, $name, $before, $after) = @_;
    my $httpd  = Httpd->new(conf => join "\n", $before // (), $line, $after // ());
    my $output = $httpd->run('-t');
    my $failed = $? != 0;
    my @lines  = split /\n/, Httpd::read_file($httpd->root . '/httpd.conf');
    my ($at)   = grep { $lines[$_ - 1] eq $line } reverse 1 .. @lines;
    my $place  = "Syntax error on line $at of " . $httpd->root . '/httpd.conf:';
    $output =~ s/^AH\d+: //mg;
    ok($failed && $output =~ /^\Q$place\E\n(.*)/ms && $1 =~ $match, $name // "httpd refuses $line") or diag($output);
}

sub takes {
    my ($conf, $name) = @_;
    my ($ok, $output) = Httpd->check($conf);
    ok($ok, $name) or diag($output);
}

# ---- Values ----

# Invalid intervals.
my @nonsense = qw(1h30min 20sec 5sfoo 1s500ms 5m 5mi 5mins 1hr 1w 1us 1.5s 0x10 +5s 1e3 20K ss s5 5s5);
for my $directive (qw(WebSocketMaxMessageSize WebSocketMaxFrameSize WebSocketSendQueue)) {
    refuses("$directive $_", qr/^$directive: invalid value "\Q$_\E": expected a size from 1 to 1024G, in bytes or with K, M or G/)
        for qw(0 -1 x 1x 1KB 1.5M 1T K 9223372036854775808 9999999999G 1025G 1M1K 0x10 +1 1e3);
    refuses(qq($directive "$_"), qr/^$directive: invalid value "$_": expected a size/) for ' 1', '1 ', '1 K';
    refuses("$directive ''", qr/^$directive takes one argument/);
    refuses($directive,      qr/^$directive takes one argument, .* in bytes or with K, M or G/);
    refuses("$directive 1 2", qr/^$directive takes one argument/);
    takes("$directive $_", "httpd accepts $directive $_") for qw(1 65536 64k 1M 2G);
}
refuses("WebSocketFragmentSize $_", qr/^WebSocketFragmentSize: invalid value "\Q$_\E": expected a size from 1 to 1024G, .*, or on \(16K\) or off/)
    for qw(0 -5 yes 4KB);
refuses('WebSocketFragmentSize', qr/^WebSocketFragmentSize takes one argument, off, on, or/);
takes("WebSocketFragmentSize $_", "httpd accepts WebSocketFragmentSize $_") for qw(off On 1 4096 64K);

refuses("WebSocketPing $_", qr/^WebSocketPing: invalid value "\Q$_\E": expected an interval from 100ms to 24h, in seconds or with ms, s, min, h or d; or off/)
    for qw(0 99ms 25h x 5q -1 5000000000000), @nonsense;
refuses("WebSocketPing 20s $_", qr/^WebSocketPing: invalid value "\Q$_\E": expected an interval from 100ms to 24h,.*, as the time to answer a ping; or off, to keep clients that do not$/m)
    for qw(0 99ms 25h), @nonsense;
refuses('WebSocketPing off 5s',   qr/^WebSocketPing: invalid value "5s": expected nothing after off/);
refuses('WebSocketPing',          qr/^WebSocketPing takes 1-2 arguments/);
refuses('WebSocketPing 1s 1s 1s', qr/^WebSocketPing takes 1-2 arguments/);
takes("WebSocketPing $_", "httpd accepts WebSocketPing $_") for 'off', '20s off', 'Off', '100ms', '24h', '20', '2min', '20s 100ms', '100ms 24h';

refuses("WebSocketLimit $_", qr/^WebSocketLimit: invalid value "[^"]*": expected one of connections=N, .* or off/)
    for 'x', 'connections', 'off 1', 'dry-run', 'burst=5', 'key=address', 'messages=5 rate=1', '';
refuses("WebSocketLimit $_", qr/^WebSocketLimit: invalid value "(\w+)=[^"]*": \1= takes a whole number from 1 to 1000000000$/m)
    for map({ "connections=$_" } '', qw(0 1x 1K -1 +1 1.5 1000000001)), 'messages=1 burst=0', 'handshakes=1 burst=1K', 'messages=one';
refuses("WebSocketLimit $_", qr/^WebSocketLimit: invalid value "(\w+)=[^"]*": \1= takes a size from 1 to 1024G, /)
    for qw(bytes=2T bytes=0 bytes=1KB bytes=1.5M), 'bytes=1 burst=1s';
for my $kind (qw(lifetime idle)) {
    refuses("WebSocketLimit $kind=$_", qr/^WebSocketLimit: invalid value "$kind=\Q$_\E": $kind= takes an interval from 1ms to 24h, /)
        for qw(0 25h), @nonsense;
}
refuses("WebSocketLimit connections=1 key=$_", qr/^WebSocketLimit: "key=$_" is the same for all clients: key= takes address, or an expression/)
    for qw(ip addr user REMOTE_USER %REMOTE_ADDR);
refuses('WebSocketLimit connections=1 messages=1', qr/^WebSocketLimit: "messages=1" follows connections: write one directive for each limit/);
refuses("WebSocketLimit $_=1 burst=2", qr/^WebSocketLimit: remove burst=: $_= is not a rate/) for qw(connections lifetime idle);
refuses("WebSocketLimit $_=1 key=address", qr/^WebSocketLimit: remove key=: $_= is a limit of each connection/) for qw(messages bytes lifetime idle);
refuses('WebSocketLimit connections=1 key=%{X', qr/^WebSocketLimit: "key=%\{X" is not a valid expression: /);
refuses('WebSocketLimit messages=2', qr/^WebSocketLimit: this section already has "messages=1"; a second limit/,
    undef, 'WebSocketLimit messages=1');
takes("WebSocketLimit $_", "httpd accepts WebSocketLimit $_")
    for 'off', 'connections=1', 'Connections=100000 KEY=address Dry-Run', 'handshakes=5 burst=10 "key=%{REMOTE_USER}-%{REMOTE_ADDR}"',
    'messages=100', 'bytes=1m burst=64K', 'lifetime=1ms', 'idle=24h dry-run';
takes("WebSocketLimit messages=1\nWebSocketLimit messages=2 dry-run\nWebSocketLimit connections=1\nWebSocketLimit connections=1", 'several limits');
refuses("WebSocketReauthorize $_", qr/^WebSocketReauthorize: invalid value "\Q$_\E": expected an interval from 100ms to 24h.*; or off/)
    for qw(0 99ms 25h x -1), @nonsense;
takes("WebSocketReauthorize $_", "httpd accepts WebSocketReauthorize $_") for qw(off 100ms 24h 60 5min);
refuses("WebSocketWatchdog $_", qr/^WebSocketWatchdog: invalid value "\Q$_\E": expected an interval from 10ms to 24h.*; or off/)
    for qw(0 9ms 25h x -1), @nonsense;
takes("WebSocketWatchdog $_", "httpd accepts WebSocketWatchdog $_") for qw(off 10ms 24h 2);
refuses("WebSocketSlowReader $_", qr/^WebSocketSlowReader: invalid value "\Q$_\E": expected close, drop-newest, drop-oldest or/)
    for qw(drop 5s off);
refuses("WebSocketSlowReader close $_", qr/^WebSocketSlowReader: invalid value "\Q$_\E": expected an interval from 1ms to 24h.*, as the time that a message may wait; or off/)
    for qw(0 25h x -1), @nonsense;
refuses('WebSocketSlowReader', qr/^WebSocketSlowReader takes 1-2 arguments/);
takes("WebSocketSlowReader $_", "httpd accepts WebSocketSlowReader $_")
    for 'close', 'Drop-Newest', 'drop-oldest 1ms', 'keep-latest 24h', 'close off';

for my $directive (qw(WebSocketCloseTimeout WebSocketDrainTimeout)) {
    refuses("$directive $_", qr/^$directive: invalid value "\Q$_\E": expected an interval from 1ms to 24h, in seconds or with/)
        for qw(0 0ms 25h x -1 off), @nonsense;
    refuses($directive, qr/^$directive takes one argument/);
    takes("$directive $_", "httpd accepts $directive $_") for qw(1ms 24h 5 500ms 1min 1d 20S 2Min);
}

# Values that cannot work: patterns that match no channel, folders that cannot be created, invalid ports, invalid targets.
refuses("WebSocketHistory \"$_\" 10", qr/^WebSocketHistory: invalid value "\Q$_\E": expected a pattern of channels' names/)
    for 'a b', 'news,*', 'news[a', 'n%20', '[z-a]', '[]', 'a]', 'x' x 201;
refuses("WebSocketHistory $_->[1] 10", qr/^WebSocketHistory: "\Q$_->[1]\E" never applies, since an earlier line has the pattern "\Q$_->[0]\E": remove one, or/,
    undef, "WebSocketHistory $_->[0] off")
    for ['news', 'news'], ['*', 'news/*'], ['*', '*'];
takes("WebSocketHistory news/a off\nWebSocketHistory news/* 10\nWebSocketHistory * 5", 'httpd accepts exceptions above a pattern for all channels');
takes("WebSocketHistory $_ 10", "httpd accepts WebSocketHistory $_") for qw(* kept/* k?pt/[a-f]* [!a]* [^a]*);
refuses("WebSocketHistoryDirectory $_->[0]", qr/^WebSocketHistoryDirectory: "\Q$_->[0]\E" $_->[1]/)
    for ['/nonexistent/x', qr{cannot be created: there is no folder /nonexistent/: create it}], ['/etc/passwd', 'is not a folder'], ['/etc/passwd/x', 'cannot be created'];
refuses("WebSocketHandler ws_proxy.so to=$_", qr/^WebSocketHandler: handler proxy, to=\S+: takes servers .* cannot: the URL.s (?:port is not 1 to 65535|host has an invalid character)/)
    for 'ws://x:0', 'ws://x:65536', 'wss://x:8x/y', 'ws://x,ws://y:99999', 'unix:/s|ws://x:0/';
refuses("WebSocketHandler ws_http.so to=$_", qr/^WebSocketHandler: handler http, to=\S+: takes /)
    for qw(http://x:0/ https://x:65536/ http://x:8x/ http:///x http://:80/);
takes("WebSocketHandler ws_proxy.so to=$_", "httpd accepts ws_proxy.so to=$_")
    for 'ws://x:1', 'ws://[::1]:65535/x?y', 'wss://u:p@x:443/,ws://y';

refuses("WebSocketMessageTimeout $_", qr/^WebSocketMessageTimeout: invalid value "\Q$_\E": expected an interval from 100ms to 24h.*; or off/)
    for qw(0 99ms 25h x -1), @nonsense;
refuses("WebSocketMessageTimeout 5s $_", qr/^WebSocketMessageTimeout: invalid value "\Q$_\E": expected a size.*, as bytes per second/)
    for qw(x -1 2G off);
refuses('WebSocketMessageTimeout off 500', qr/^WebSocketMessageTimeout: invalid value "500": expected nothing after off/);
takes("WebSocketMessageTimeout $_", "httpd accepts WebSocketMessageTimeout $_") for 'off', '100ms', '24h 0', '60s 500', '1min 10K';

refuses("WebSocketOrigin $_", qr/^WebSocketOrigin: invalid value "\Q$_\E": expected same, any, or origins such as https:/)
    for qw(example.org https:// https://a/ https://a/path http://a:x http://a:65536 //a *), 'http://';
refuses('WebSocketOrigin any http://a', qr/^WebSocketOrigin: invalid value "any": expected any to stand alone/);
refuses('WebSocketOrigin http://a any', qr/^WebSocketOrigin: invalid value "any": expected any to stand alone/);
refuses('WebSocketOrigin',              qr/^WebSocketOrigin takes same, any, or origins/);
takes("WebSocketOrigin $_", "httpd accepts WebSocketOrigin $_")
    for 'same', 'any', 'https://a', 'Same http://localhost:8080 https://[::1]:8443';
for (['ws://a', 'http://a'], ['https://b WSS://*.a:99', 'https://*.a:99']) {
    my ($ok, $output) = Httpd->check("WebSocketOrigin $_->[0]");
    my ($origin) = $_->[0] =~ /(\S+)$/;
    ok($ok && $output =~ /WebSocketOrigin \Q$origin\E: browsers send the origin of the page, .*: write \Q$_->[1]\E\n/i,
        "httpd -t warns about WebSocketOrigin $origin") or diag($output);
}
is((Httpd->check('WebSocketOrigin wss://a https://a'))[1], "Syntax OK\n", "httpd -t does not warn about wss:// if the page's origin is listed");

refuses("WebSocketVersions $_", qr/^WebSocketVersions: invalid value "\Q$_\E": expected one or more of 13, 8, 7, 76 and 75/)
    for qw(6 9 14 0 x 130 013 -13);
refuses('WebSocketVersions 13 5', qr/^WebSocketVersions: invalid value "5"/);
refuses('WebSocketVersions',      qr/^WebSocketVersions takes one or more of/);
takes("WebSocketVersions $_", "httpd accepts WebSocketVersions $_") for '13', '7 8 13', '8', '13 8 7 76 75', '75';

refuses("WebSocketThreads $_", qr/^WebSocketThreads: invalid value "\Q$_\E": expected a whole number from 1 to 64, of event loops/)
    for qw(0 65 -1 x 2x 4294967297);
refuses("WebSocketThreads 2 $_",
    qr/^WebSocketThreads: invalid value "\Q$_\E": expected a whole number from 1 to 1024, of threads for blocking handlers/)
    for qw(0 1025 x);
refuses('WebSocketThreads', qr/^WebSocketThreads takes 1-2 arguments/);
takes("WebSocketThreads $_", "httpd accepts WebSocketThreads $_") for '1', '64', '2 1', '2 1024';

refuses("WebSocketBackend $_", qr/^WebSocketBackend: invalid value "\Q$_\E": expected auto, epoll or io_uring/)
    for qw(poll kqueue 1);
refuses('WebSocketBackend', qr/^WebSocketBackend takes one argument/);
takes("WebSocketBackend $_", "httpd accepts WebSocketBackend $_") for qw(epoll Epoll auto);

for my $flag (qw(WebSocketRelay WebSocketStatusClose WebSocketControlOpen WebSocketTokenRequired)) {
    refuses("$flag maybe", qr/^$flag: invalid value "maybe": expected on or off$/m);
    refuses("$flag on off", qr/^$flag takes one argument/);
    takes("$flag $_", "httpd accepts $flag $_") for qw(on Off);
}

# ---- Places ----
for my $line ('WebSocketThreads 2', 'WebSocketDrainTimeout 5s', 'WebSocketBackend epoll') {
    my ($directive) = $line =~ /(\w+)/;
    refuses($line, qr/^$directive cannot occur within <VirtualHost/, "refused in a virtual host: $line",
        '<VirtualHost *>', '</VirtualHost>');
    refuses($line, qr/^$directive not allowed (?:here|in <Location>)|^$directive cannot occur within <Location/,
        "refused in a Location: $line", '<Location /x>', '</Location>');
}

# ---- Handlers that cannot be loaded ----
sub handler {
    my ($name, $magic, $abi, $size, $table) = @_;
    $table //= 'static const ws_handler table = {.flags = 0};';
    return Httpd::compile($name, <<"END");
#include "mod_websocket.h"
$table
WS_API extern const ws_handler_descriptor ws_handler_descriptor_v1;
const ws_handler_descriptor ws_handler_descriptor_v1 = {$magic, $abi, $size, "$name", (const void *)&table};
END
}
my $in_folder = "$Httpd::BUILD/websocket";
my $text      = "$Httpd::BUILD/t/handlers/text.$$.so";
Httpd::write_file($text, "This is no shared object.\n" x 100);
my $nothing = Httpd::compile('nothing', "int nothing_at_all;\n");
my $damaged = handler('damaged', '0x12345678', 'WS_ABI',     'sizeof(ws_handler)');
my $foreign = handler('foreign', 'WS_MAGIC',   'WS_ABI + 1', 'sizeof(ws_handler)');
my $newer   = handler('newer',   'WS_MAGIC',   'WS_ABI',     'sizeof(ws_handler) + sizeof(void *)');
my $missing = Httpd::compile('missing', <<'END');
#include "mod_websocket.h"
extern void defined_nowhere(ws_conn *c);
WS_HANDLER(missing) = {.on_open = defined_nowhere};
END

my $h = 'WebSocketHandler';
refuses($h,                  qr/^$h takes a handler's file or name, then \[protocol=a,b\] \[key=value \.\.\.\]; or off/);
refuses("$h nosuch.so",      qr{^$h: cannot load the handler: \Q$in_folder\E/nosuch\.so: cannot open}, 'a handler that is not in websocket/ is refused');
refuses("$h sub/nosuch.so",  qr{^$h: cannot load the handler: \Q$in_folder\E/sub/nosuch\.so: }, 'a handler that is not in a folder below websocket/ is refused');
refuses("$h /nosuch.so",     qr{^$h: cannot load the handler: /nosuch\.so: cannot open}, 'a handler with an absolute path that does not exist is refused');
refuses("$h $text",          qr/^$h: cannot load the handler: \Q$text\E: .*ELF/, 'a handler that is not a shared object is refused');
refuses("$h $missing",       qr/^$h: cannot load the handler: .*defined_nowhere/, 'a shared object with an undefined function is refused');
refuses("$h $nothing",       qr/^$h: \Q$nothing\E is not a WebSocket handler: it has no symbol ws_handler_descriptor_v1; define one with WS_HANDLER/,
    'a shared object without a handler is refused');
refuses("$h $damaged", qr/^$h: handler \Q$damaged\E: its descriptor is damaged \(magic 12345678, not 57534844\)/, 'a damaged descriptor is refused');
refuses("$h $foreign", qr/^$h: handler \Q$foreign\E was built for ABI \d+ of mod_websocket\.h, but this module has ABI \d+: rebuild it/, 'a handler built for another ABI is refused');
refuses("$h $newer", qr/^$h: handler \Q$newer\E was built with a newer mod_websocket\.h .* install the newer module/, 'a handler with a newer callback table is refused');
refuses("$_->[0] off $_->[1]", qr/^$_->[0]: invalid value "\Q$_->[1]\E": expected nothing after off$/m)
    for [$h, 'off'], [$h, 'protocol=a'], ['WebSocketExtension', 'off'], ['WebSocketExtension', 'x=1'];
refuses("$h nosuch", qr/^$h: no module has registered a WebSocket handler "nosuch": move its LoadModule above/, 'a name that no module has registered is refused');

# ---- Keys ----
refuses("$h ws_echo.so nonsense", qr/^$h: "nonsense": expected key=value after the handler's name/);
refuses("$h ws_echo.so =value",   qr/^$h: "=value": expected key=value after the handler's name/);
refuses("$h ws_echo.so key=1",    qr/^$h: handler echo has no keys except protocol=: remove "key"/);
refuses("$h ws_echo.so protocol=$_", qr/^$h: protocol=\Q$_\E: list subprotocols as in/) for '', 'a,a', 'a;b', 'a/b', 'a,', ',a', 'a,,b';
refuses("$h $api unknown=1",  qr/^$h: handler api, unknown=1: unknown key; the keys are greeting and start/, 'the error of configure about an unknown key is reported');
refuses("$h $api greeting=a start=2", qr/^$h: handler api, start=2: unknown key/, 'the error of configure about the second key is reported');
refuses("$h $api greeting=",  qr/^$h: handler api: greeting= wants a text/, 'the error of configure at the end of the line is reported');
takes("$h $api greeting=a=b", 'a value of a key may contain =');

# ---- Arguments given twice ----
sub twice {
    my ($line, $what, $section) = @_;
    my ($directive) = $line =~ /^(\w+)/;
    refuses($line, qr/^$directive: (?:handler \w+(?:, \S+)?: )?\Q$what\E is given twice: remove one$/m, undef,
        $section ? ('<Location /x>', '</Location>') : ());
}
twice(@$_)
    for ['WebSocketCompression on level=6 level=7', 'level='], ['WebSocketCompression off window=8 level=1 window=8', 'window='],
    ['WebSocketVersions 13 8 13', '13'], ['WebSocketOrigin http://a same http://A', 'http://A'], ['WebSocketOrigin same Same', 'Same'],
    ['WebSocketTokenAudience live live', 'live'], ['WebSocketTokenIssuer app app', 'app'], ['WebSocketWildcards news/* news/*', 'news/*'],
    ['WebSocketPolicyFile a:80 b:80 A:80', 'A:80'],
    ['WebSocketLimit connections=5 key=address key=%{REMOTE_USER}', 'key='], ['WebSocketLimit messages=5 burst=1 Burst=2', 'Burst='],
    ['WebSocketLimit messages=5 dry-run dry-run', 'dry-run'],
    ['WebSocketTransports websocket sockjs WebSocket', 'WebSocket', 1], ['WebSocketSockJS delay=1s cookie=on DELAY=2s', 'DELAY='],
    ['WebSocketChannelHTTP subscribe subscribe', 'subscribe', 1];
twice("$h $_->[0]", $_->[1])
    for ['ws_echo.so protocol=a,b protocol=b', 'protocol=: b'], ["$api protocol=a greeting=x protocol=a", 'protocol=: a'],
    ['ws_time.so interval=1 interval=2', 'interval='], ['ws_tcp.so to=127.0.0.1:1 to=127.0.0.1:2', 'to='],
    ['ws_proxy.so to=ws://x to=ws://y', 'to='], ['ws_proxy.so to=ws://x headers=Cookie,DNT headers=cookie', 'cookie'],
    ['ws_exec.so command=/bin/cat max=1 max=2', 'max='], ['ws_channel.so channel=a echo=on echo=off', 'echo='],
    ['ws_channel.so channel=a channel=b channel=a', 'channel=a'];
twice("$h ws_http.so to=/a to=/b", 'to=') if -e "$in_folder/ws_http.so";
takes($_, "httpd accepts $_")
    for 'WebSocketCompression off level=1', "$h ws_channel.so channel=a channel=b", "$h ws_proxy.so to=ws://x headers=Cookie headers=DNT",
    "$h $api greeting=a greeting=b", 'WebSocketTokenAudience live Live', 'WebSocketTokenAudience x?a=1 x?a=2';

# ---- Placeholders of a channel's name ----
refuses("$h ws_channel.so channel=$_", qr/^$h: handler channel, channel=\Q$_\E: takes a channel's name, 1 to 200 of the characters .* %\{path:N\} \(N from 1 to 100\)/)
    for qw(%{ip} %{path:0} %{path:} %{path:x} %{path:101} %{arg:} %{User} %{user %user a%20b a%{user}/%{no} room:%{path:1x}), 'x' x 200 . '%{user}';
takes("$h ws_channel.so channel=$_", "httpd accepts channel=$_") for qw(%{user} a:%{path:1}/%{path:100} room:%{arg:x}-%{user});

# ---- Several handlers of a section ----
refuses("$h $api", qr/^$h \Q$api\E: this section already has a handler without protocol= \(echo\)\. Only one can be the default/,
    'a second default handler is refused', "$h ws_echo.so");
refuses("$h $api protocol=b,c", qr/^$h \Q$api\E: handler echo of this section already has subprotocol "b"/,
    'a subprotocol of two handlers is refused', "$h ws_echo.so protocol=a,b");
refuses("$h off", qr/^$h off and another handler are in the same section/, 'WebSocketHandler off after a handler is refused', "$h ws_echo.so");
refuses("$h ws_echo.so", qr/^$h off and another handler are in the same section/, 'a handler after WebSocketHandler off is refused', "$h off");
takes("$h ws_echo.so protocol=a\n$h $api\n$h $api protocol=b greeting=hi", 'a section may have several handlers');
takes("$h ws_echo.so protocol=a protocol=b", 'protocol= may be given twice with different values');
takes("$h ws_echo.so \"\"", 'an empty argument at the end is accepted, because httpd ignores it');

refuses("WebSocketSubscriptions $_", qr/^WebSocketSubscriptions: invalid value "\Q$_\E": expected a whole number from 1 to 100000, of channels/)
    for qw(0 -1 x 1K 100001);
refuses("WebSocketChannels $_", qr/^WebSocketChannels: invalid value "\Q$_\E": expected a whole number from 1 to 10000000, of channels/)
    for qw(0 -1 x 1K 10000001);
refuses("WebSocketBusQueue $_", qr/^WebSocketBusQueue: invalid value "\Q$_\E": expected a size from 64K to 1024G/)
    for qw(0 -1 x 63K 65535);
for my $directive (qw(WebSocketSubscribe WebSocketPublish)) {
    refuses(qq($directive "%{WEBSOCKET_CHANNEL} =="), qr/^$directive takes all, none, handler, or a quoted expression that is true for allowed clients: /);
    refuses("$directive $_", qr/^$directive: invalid value "$_": expected all, none, handler, or a quoted expression that is true/)
        for qw(on off ann valid-user);
    refuses(qq($directive "%{NO_SUCH_VARIABLE} == 'x'"), qr/^$directive takes all, none, handler, or a quoted expression that is true for allowed clients: /);
    takes("$directive $_", "httpd accepts $directive $_")
        for qw(all None handler), q("%{WEBSOCKET_CHANNEL} == 'x'"), q("%{REMOTE_USER} == 'ann' && %{websocket_channel} =~ /^a/");
}
for (['%{env:LANG}', 'env'], ["-n reqenv('X')", 'reqenv'], ["note ('X') == 'y'", 'note'], ["%{resp:X} == ''", 'resp'], ["%{SSL_CLIENT_S_DN} == 'x'", 'SSL_...'],
    ["osenv('X') == 'y'"], ["%{HTTP:env} == 'y'"])
{
    my ($expression, $name) = ($_->[0] =~ /^%\{env/ ? "$_->[0] == 'x'" : $_->[0], $_->[1]);
    my $rule = qq(WebSocketPublish "$expression"\n);
    my (undef, $output) = Httpd->check("<Location /x>\nWebSocketHandler ws_channel.so\n$rule</Location>");
    my ($warned) = $output =~ /<Location "\/x">: WebSocketPublish uses (\S+), which/;
    is($warned, $name, 'httpd -t ' . ($name ? 'warns' : 'does not warn') . " about $expression") or diag($output);
    is((Httpd->check("<Location /x>\nWebSocketChannelHTTP publish\n$rule</Location>"))[1],
        "Syntax OK\n", "httpd -t does not warn about $expression without WebSockets");
}
takes("$_", "httpd accepts $_") for 'WebSocketSubscriptions 100000', 'WebSocketChannels 10000000', 'WebSocketBusQueue 64K';
for my $directive (qw(WebSocketChannels WebSocketBusQueue)) {
    my (undef, $output) = Httpd->check("<VirtualHost *>\n$directive 100000\n</VirtualHost>");
    like($output, qr/$directive cannot occur within <VirtualHost> section/, "$directive is refused in a virtual host");
}

for (['', qr/takes websocket, sockjs, or both/], ['polling', qr/invalid value "polling": expected websocket, sockjs, or both/]) {
    refuses("WebSocketTransports $_->[0]", qr/^WebSocketTransports:? .*$_->[1]|^WebSocketTransports $_->[1]/, undef, '<Location /x>', '</Location>');
}
refuses('WebSocketTransports sockjs', qr/^WebSocketTransports is allowed only in a <Location> without wildcards/, 'WebSocketTransports sockjs outside of a section is refused');
refuses('WebSocketTransports sockjs', qr/^WebSocketTransports is allowed only in a <Location> without wildcards/,
    'WebSocketTransports sockjs in a section with wildcards is refused', '<LocationMatch ^/x>', '</LocationMatch>');
refuses("SSLProxyVerifyDepth $_", qr/^SSLProxyVerifyDepth takes a whole number from 0 to /) for qw(x 1x 99999999999);
refuses("WebSocketSockJS $_->[0]", qr/^WebSocketSockJS.*$_->[1]/)
    for ['', qr/takes one or more of client=/], ['x=1', qr/is unknown/], ['cookie', qr/takes a value/], ['cookie=yes', qr/takes on or off/],
    ['response=1', qr/takes a size from 1K to 1G/], ['heartbeat=0', qr/takes an interval/], ['delay=1h', qr/takes an interval/],
    ['sessions=0', qr/takes a whole number from 1 to 200000/], map({ ["client=$_", qr/takes a path/] } 'javascript:x', "/x'y", 'http://', 'https:///x', 'http://a:99999/x', 'http://a:0/', '/%zz', '/%4', '/a%00.js', "/\xff", '//');
takes("WebSocketSockJS client=$_", "httpd accepts client=$_") for '/s.js', '//cdn.example/s.js?v=1', '/%41', 'http://a:8080/x', "/\xc3\xbc.js";
for (['', 1], ['WebSocketHandler off', 1], ['WebSocketHandler ws_echo.so', 0]) {
    my ($ok, $output) = Httpd->check("<Location /x>\nWebSocketTransports websocket sockjs\n$_->[0]\n</Location>");
    my $warned = $output =~ /httpd\.conf:\d+: WebSocketTransports sockjs: <Location "\/x"> has no handler: add a WebSocketHandler to it$/m;
    ok($ok && !$warned == !$_->[1], "httpd -t " . ($_->[1] ? 'warns' : 'does not warn') . " about WebSocketTransports sockjs with \"$_->[0]\"")
        or diag($output);
}
takes("<Location /x>\nWebSocketTransports websocket sockjs\nWebSocketSockJS client=https://x.example/s.js response=1M heartbeat=1s delay=1s sessions=1 cookie=off\n</Location>",
    'WebSocketSockJS accepts all its keys');

# ---- .htaccess ----
my %lines = (
    WebSocketHandler        => 'ws_echo.so',
    WebSocketHandlerDirectory => '/',
    WebSocketHtaccess       => 'ws_http.so',
    WebSocketExtension      => 'off',
    WebSocketCompression    => 'on',
    WebSocketThreads        => '2',
    WebSocketDrainTimeout   => '5s',
    WebSocketBackend        => 'epoll',
    WebSocketWatchdog       => '5s',
    WebSocketMaxMessageSize => '1M',
    WebSocketMaxFrameSize   => '1M',
    WebSocketSendQueue      => '1M',
    WebSocketSlowReader     => 'close',
    WebSocketLimit          => 'connections=5',
    WebSocketReauthorize    => 'off',
    WebSocketPing           => 'off',
    WebSocketMessageTimeout => '60s 500',
    WebSocketCloseTimeout   => '5s',
    WebSocketOrigin         => 'any',
    WebSocketVersions       => '13',
    WebSocketRelay          => 'off',
    WebSocketStatusClose    => 'on',
    WebSocketControlOpen    => 'off',
    WebSocketFragmentSize   => 'off',
    WebSocketLog            => 'logs/x json',
    WebSocketPolicyFile     => '*:80',
    WebSocketTransports     => 'sockjs',
    WebSocketSockJS         => 'cookie=on',
    WebSocketSubscribe      => 'all',
    WebSocketPublish        => 'none',
    WebSocketSubscriptions  => '5',
    WebSocketChannels       => '5',
    WebSocketBusQueue       => '1M',
    WebSocketChannelHTTP    => 'on',
    WebSocketHistory        => 'news 10',
    WebSocketHistorySize    => '64M',
    WebSocketHistoryDirectory => 'history',
    WebSocketTokenKey       => 'off',
    WebSocketTokenAudience  => 'live',
    WebSocketTokenIssuer    => 'app',
    WebSocketTokenLeeway    => '10s',
    WebSocketTokenRequired  => 'on',
    WebSocketWildcards      => 'off',
);
my $old = handler('old', 'WS_MAGIC', 'WS_ABI', 'sizeof(table)', <<'END');
static void echo(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    ws_send(c, type, data, len);
}
/* The beginning of ws_handler, as far as it went once. */
static const struct {
    unsigned flags;
    const char *keep_headers;
    void *configure, *start, *stop, *on_request, *on_open;
    void (*on_message)(ws_conn *c, ws_type type, const char *data, apr_size_t len);
} table = {.on_message = echo};
END
my $conf = <<"END";
<Directory />
    AllowOverride All
</Directory>
<Location /echo>
    WebSocketHandler ws_echo.so
</Location>
<Location /old>
    WebSocketHandler $old
    WebSocketCloseTimeout 1s
</Location>
<Location /fragments>
    WebSocketHandler ws_echo.so
    WebSocketFragmentSize 1000
</Location>
<Location /fragments/default>
    WebSocketFragmentSize on
</Location>
<Location /fragments/off>
    WebSocketFragmentSize off
</Location>
<Location /origins>
    WebSocketHandler ws_echo.so
    WebSocketOrigin @{[map {"https://$_.example.org"} 1 .. 100]}
</Location>
END
my $httpd = Httpd->start(
    conf     => $conf,
    files    => { map { ("htdocs/$_/.htaccess" => "$_ $lines{$_}\n", "htdocs/$_/index.html" => '') } keys %lines },
);
for my $directive (sort keys %lines) {
    is(($httpd->get("/$directive/index.html"))[0], 500, ".htaccess may not set $directive");
    my $why = $directive eq 'WebSocketHandler' ? qr/: \.htaccess can have/ : qr/ not allowed here/;
    ok($httpd->wait_log(qr{/htdocs/$directive/\.htaccess: $directive$why}), "the log says why .htaccess may not set $directive");
}
my %known = map { $_ => 1 } $httpd->run('-L') =~ /^(WebSocket\w+) \(/mg;
is_deeply([sort keys %known], [sort keys %lines], 'the module has no directives that this test omits');

# ---- Handlers built for an older release ----
my $c = Client->new($httpd, '/old');
$c->echoes('hello', 'a handler with the callback table of an older header works');
$c->send(Client::PONG, 'x');
$c->echoes('again', 'callbacks missing in the table of an older header are not called');
$c->close(1000);
$c->expect_close(1000);

# ---- Fragments ----
for (['/fragments', [1000, 1000, 500]], ['/fragments/off', [2500]], ['/fragments/default', [2500]]) {
    my ($path, $sizes) = @$_;
    my $c = Client->new($httpd, $path);
    $c->binary('x' x 2500);
    my @frames = map { [$c->frame] } @$sizes;
    is_deeply([map { length $_->[1] } @frames], $sizes, "$path: 2,500 bytes are sent in frames of the right sizes");
    is_deeply([map { $_->[2] } @frames], [map { ($_ == $#$sizes ? 0x80 : 0) | ($_ == 0 ? BINARY : 0) } 0 .. $#$sizes],
        "$path: the frames are one message");
}
$c = Client->new($httpd, '/fragments/default');
$c->binary('x' x 40000);
is_deeply([map { length(($c->frame)[1]) } 1 .. 3], [16384, 16384, 7232], 'with WebSocketFragmentSize on, a message is sent in frames of 16 KiB');

# ---- More than 64 arguments ----
Client->new($httpd, '/origins', origin => "https://$_.example.org")->echoes($_, "origin $_ of 100 listed origins is accepted") for 1, 64, 65, 100;
is((Client->refused($httpd, '/origins', origin => 'https://101.example.org'))[0], 403, 'an origin that is not among the 100 listed is refused');
for my $line ("WebSocketHandler ws_channel.so @{[map {qq(channel=c$_)} 1 .. 64]}", "WebSocketPolicyFile @{[map {qq(a$_:80)} 1 .. 64]}",
    "WebSocketOrigin @{[map {qq(https://a$_)} 1 .. 64]}")
{
    my ($directive) = $line =~ /^(\w+)/;
    my ($ok, $output) = Httpd->check("$line /wrong");
    like($output, qr{^$directive: .*/wrong}m, "$directive: an invalid 65th argument is refused");
}

# ---- A mistake does not reach the running server ----
$c = Client->new($httpd, '/echo');
$httpd->write_conf("$conf\nWebSocketHandler nosuch.so");
for my $command ('graceful', 'restart') {
    my $output = $httpd->run("-k $command");
    isnt($?, 0, "-k $command refuses a configuration with a mistake");
    like($output, qr/cannot load the handler: .*nosuch\.so/, "-k $command reports the mistake");
    $c->echoes('alive', "after -k $command, connections are still open");
    Client->new($httpd, '/echo')->echoes('new', "after -k $command, new connections are accepted");
}
is($httpd->count_log(qr/resuming normal operations/), 1, 'httpd was not reloaded because of a refused configuration');

done_testing;
