# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests ws_lua with the listings of docs/lua.md: the functions of scripts, errors and limits, requests, and reloads.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client qw(TEXT BINARY);

plan skip_all => 'the module was built without Lua' if !-e "$Httpd::BUILD/websocket/ws_lua.so";

my $dir = Httpd::folder();
my $text = Httpd::read_file("$Httpd::TOP/docs/lua.md");
my %file;
$file{$1} = $2 while $text =~ /^```lua file=(\w+)\.lua\n(.*?)^```$/msg;
cmp_ok(() = $file{echo} =~ /\n/g, '<=', 6, 'the listing of an echo has at most six lines');
cmp_ok(() = $file{chat} =~ /\n/g, '<=', 30, 'the listing of a chat has at most thirty lines');
$file{all} = <<'END';
local stale
function open(c) c.data = 0 end
local commands = {}
function commands.fail() local t = nil; return t.field end
function commands.loop() while true do end end
function commands.caught() while true do pcall(function() while true do end end) end end
function commands.handled() while true do xpcall(function() while true do end end, function() while true do end end) end end
function commands.co() while true do coroutine.wrap(function() while true do end end)() end end
function commands.bomb() local t = {}; while true do t[#t + 1] = ("x"):rep(100000) .. #t end end
function commands.hoard() hoard = hoard or {}; while true do hoard[#hoard + 1] = ("x"):rep(100000) .. #hoard end end
function commands.gc(c) setmetatable({}, {__gc = print}) end
function commands.bytecode(c) assert(load(string.dump(function() end))) end
function commands.badtext(c) c:send("\255") end
function commands.count(c) c.data = c.data + 1; c:send(tostring(c.data)) end
function commands.libraries(c)
    c:send(table.concat({type(io), type(os), type(require), type(dofile), type(debug), type(utf8)}, " "))
end
function commands.once(c) c:timer(1, function(d) d:send(d == c and "once" or "other") end) end
function commands.ticks(c)
    local n = 0
    c:timer(10, function(d, timer) n = n + 1; d:send("tick " .. n); if n == 2 then timer:stop(); d:send("stopped") end end, 10)
end
function commands.late(c) c:timer(10, function(d) d:send("left") end, 10) end
function commands.badtimer(c) c:timer(1, function() error("in a timer") end) end
function commands.remember(c) stale = c; c:send("kept") end
function commands.what(c)
    c:send(table.concat({c.uri, c.args or "", tostring(c.user), c.peer, c.state, tostring(c.secure), c.version,
        c:arg("name") or "none", #c:id(), ws.config.colour, c.transport}, " "))
end
function commands.join(c) c:subscribe("room", {watch = true, member = "me"}); end
function commands.leave(c) c:unsubscribe("room"); c:send("left " .. #c:subscriptions()) end
function commands.say(c) c:publish("room", "said"); ws.publish("room", "secret"); ws.publish("room", "\0\255", {kind = "binary"}) end
function commands.list(c) c:send(table.concat(c:subscriptions(), ",")) end
function commands.bad(c) c:send(tostring(select(2, c:subscribe("a b")))) end
function commands.closing(c) c:close(4001, "enough") end
function commands.all(c) ws.broadcast("for all") end
function commands.me(c) ws.send(c:id(), "by id") end
function message(c, data, kind)
    if kind == "binary" then return c:send(data, kind) end
    commands[data](c)
end
function channel(c, event)
    if event.kind == "message" and event.data == "secret" then return false end
    if event.kind == "message" and event.data == "said" then return "heard " .. event.data end
    if event.kind == "live" then return "live " .. event.channel end
end
function close(c, code, reason) c:log(("all: closed %d %q"):format(code, reason)) end
END
sub script { my ($name, $text) = @_; Httpd::write_file("$dir/$name.lua", $text); return "$dir/$name.lua" }
script($_, $file{$_}) for keys %file;
script('version', 'function message(c) c:send("one") end');
script('refuse', <<'END');
function request(r)
    if r:arg("how") == "false" then return false end
    if r:arg("how") == "error" then error("broken request") end
    if r:arg("how") == "status" then return 200 end
    if r:arg("how") == "loop" then while true do end end
end
END

# ---- httpd -t ----

sub refused {
    my ($source, $pattern, $name, $keys) = @_;
    my $file = script('broken', $source);
    my ($ok, $said) = Httpd->check("<Location /x>\nWebSocketHandler ws_lua.so script=$file " . ($keys // '') . "\n</Location>");
    ok(!$ok && $said =~ $pattern, "httpd -t refuses $name") or diag($said);
}
refused("function open(c)\nend\nfunction message(c", qr/broken\.lua:3: .*near <eof>/, 'a script that does not compile');
refused("function open() end\n\nerror('at start')", qr/broken\.lua:3: at start/, 'a script that fails');
refused('x = 1', qr/broken\.lua: defines none of/, 'a script without functions');
refused('open = 1', qr/open is a number, not a function/, 'a callback that is not a function');
refused('function open() end while true do end', qr/broken\.lua:1: more than 10000 instructions/, 'an endless loop', 'instructions=10000');
refused('x = ("x"):rep(1e9)', qr/not enough memory/, 'too much memory');
refused('open = print', qr/takes a size/, 'a wrong key', 'memory=lots');
refused('open = print', qr/takes one or more of io, os and package/, 'an unknown library', 'libraries=debug');
refused('open = print', qr/takes one or more of io, os and package, .*, each once/, "libraries=$_", "libraries=$_") for 'io,', 'io,io', ',';

# ---- Scripts ----

my $httpd = Httpd->start(conf => "WebSocketThreads 2\n" . join '', map { my ($path, $name, $keys) = @$_; <<"END" }
<Location /$path>
    WebSocketHandler ws_lua.so script=$dir/$name.lua @{[$keys // '']}
</Location>
END
    (['echo', 'echo'], ['chat', 'chat'], ['guarded', 'guarded', 'key=sesame'], ['refuse', 'refuse'], ['version', 'version'],
        ['all', 'all', 'colour=blue instructions=1000000 memory=2M'], ['libraries', 'all', 'libraries=io,os,package']));
my $open = sub { Client->new($httpd, @_) };
my $ask = sub { my ($c, $command) = @_; $c->text($command); return ($c->message)[1] };

{
    my $c = $open->('/echo');
    $c->echoes('hello', 'the echo script echoes');
    $c->echoes("gr\xc3\xbc\xc3\x9fe", 'the echo script echoes UTF-8');
    $c->echoes('', 'the echo script echoes an empty message');
    $c->binary("\0\xff");
    is_deeply([($c->message)[0, 1]], [BINARY, "\0\xff"], 'the echo script echoes a binary message');
}
{
    my ($ann, $bob) = ($open->('/chat?name=ann'), undef);
    is(($ann->message)[1], 'ann has come', 'the chat script tells a client that it has come');
    $bob = $open->('/chat?name=bob');
    is(($_->message)[1], 'bob has come', 'the chat script tells both clients that the second one has come') for $ann, $bob;
    $bob->text('hi');
    is(($ann->message)[1], 'bob: hi', "the chat script passes on a message with its sender's name");
    is((Client->refused($httpd, '/chat?name=a%20b'))[0], 400, 'the chat script refuses an invalid name');
}
{
    is((Client->refused($httpd, '/guarded'))[0], 401, 'request() refuses with a status');
    my $c = $open->('/guarded', headers => ['X-Key: sesame', 'Cookie: a=b; theme=dark'], protocol => 'x, notes.v1');
    like($c->header('Set-Cookie'), qr/^seen=yes; /, 'request() sets a cookie');
    is(($c->message)[1], 'Your theme is dark, your protocol is notes.v1.', 'request() reads a cookie, chooses the subprotocol, and sets data');
    is((Client->refused($httpd, "/refuse?how=$_->[0]"))[0], $_->[1], "request() that returns or fails with $_->[0] refuses the handshake")
        for ['false', 403], ['error', 500], ['status', 500], ['loop', 500];
    ok($httpd->wait_log(qr/refuse\.lua:3: broken request/), 'an error in request() is logged with file and line');
    $open->('/refuse?how=well');
}
{
    my $other = $open->('/all');
    for (['fail', qr/all\.lua:4: attempt to index/], (map { [$_, qr/more than 1000000 instructions/] } qw(loop caught handled co)),
        (map { [$_, qr/not enough memory/] } qw(bomb hoard)), ['gc', qr/__gc is not available/],
        ['bytecode', qr/attempt to load a binary chunk/], ['badtext', qr/is not UTF-8/], ['badtimer', qr/in a timer/])
    {
        my $c = $open->('/all');
        $c->text($_->[0]);
        $c->expect_close(1011, "$_->[0] closes the connection with 1011");
        ok($httpd->wait_log($_->[1]), "$_->[0] is logged");
        is($ask->($open->('/all'), 'count'), '1', "after $_->[0], a new connection works");
        is($ask->($other, 'me'), 'by id', 'after an error, another connection still works') if $_->[0] ne 'hoard';
        $other = $open->('/all') if $_->[0] eq 'hoard';
    }
    ok($httpd->wait_log(qr/stack traceback/), 'the log has a traceback of the error');
}
{
    my $c = $open->('/all?name=x%20y');
    is(join(',', map { $ask->($c, 'count') } 1 .. 3), '1,2,3', 'c.data is kept between messages');
    is($ask->($c, 'what'), '/all name=x%20y nil 127.0.0.1 open false 13 x y 16 blue websocket', 'a connection has its fields, and ws.config has its keys');
    is($ask->($c, 'libraries'), 'nil nil nil nil nil table', 'by default, a script has only safe libraries');
    is($ask->($open->('/libraries'), 'libraries'), 'table table function nil nil table', 'with libraries=, a script has more libraries');
    is($ask->($c, 'once'), 'once', 'c:timer calls a function once');
    is($ask->($c, 'ticks'), 'tick 1', 'c:timer with an interval calls a function');
    is(join(',', map { ($c->message)[1] } 1 .. 2), 'tick 2,stopped', 'c:timer with an interval calls the function until it is stopped');
    is($ask->($c, 'me'), 'by id', 'ws.send sends to the connection with the given id');
    is($ask->($c, 'bad'), 'bad name', 'a call with an invalid argument raises an error');
    is($ask->($c, 'join'), 'live room', 'c:subscribe subscribes, and channel() gets events');
    is($ask->($c, 'list'), 'room', 'c:subscriptions lists the channels');
    is($ask->($c, 'say'), 'heard said', 'c:publish publishes, and channel() can change the message');
    is(($c->message)[1], "\0\xff", 'channel() can drop a message, and sends a binary message unchanged');
    is($ask->($c, 'leave'), 'left 0', 'c:unsubscribe unsubscribes');
    is($ask->($c, 'all'), 'for all', 'ws.broadcast sends to all connections');
    $c->text('late');
    $c->message;
    $c->drop;
    ok($httpd->wait_log(qr/all: closed 1006/), 'a timer ends with its connection');
    $c = $open->('/all');
    $c->text('closing');
    $c->expect_close(4001, 'c:close closes with a code');
    ok($httpd->wait_log(qr/all: closed 4001 \\?"enough/), 'close() gets the code and the reason');
}

# ---- A reload ----

my $old = $open->('/version');
is($ask->($old, 'which'), 'one', 'before the reload, the script answers');
script('version', 'function message(c) c:send("two") end');
$httpd->graceful;
Httpd::wait_is(sub { $ask->($open->('/version'), 'which') }, 'two', 'a reload loads the changed script');
is($ask->($old, 'which'), 'one', 'after the reload, an old connection keeps the old script');

done_testing();
