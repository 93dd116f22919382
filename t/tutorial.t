# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Builds the handlers of docs/handlers.md as a reader does: outside of the source tree, with apxs and the installed header.
# Also tests which files make install and make uninstall leave.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use File::Temp qw(tempdir);
use Httpd;
use Client qw(frame_bytes TEXT BINARY);
use Program;

my $dir = tempdir('mod_websocket-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;

# ---- Installing ----

my $dest = "$dir/installed";
(my $build = $Httpd::BUILD) =~ s{/address-undefined$}{};
delete local @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS PREFIX)};
my ($status, $output) = Program::make("BUILD=$build", "DESTDIR=$dest", 'install');
is($status, 0, 'make install succeeds') or diag($output);
my $include = $dest . Httpd::apxs_query('INCLUDEDIR');
my $modules = $dest . Httpd::apxs_query('LIBEXECDIR');
ok(-f "$include/mod_websocket.h", 'mod_websocket.h is installed where apxs looks for headers');
ok(-f "$modules/$_", "$_ is installed below apxs's modules directory")
    for qw(mod_websocket.so websocket/ws_echo.so websocket/ws_time.so);
ok(-f "$dest/usr/local/share/mod_websocket/js/$_", "js/$_ is installed")
    for qw(channel.js channel.d.ts package.json README.md LICENSE);

# ---- Building ----

my %file;
my $text = Httpd::read_file("$Httpd::TOP/docs/handlers.md");
$file{$1} = $2 while $text =~ /^```c file=(\S+)\n(.*?)^```$/msg;
cmp_ok(scalar keys %file, '>=', 11, 'the tutorial has its listings');
for my $name (sort keys %file) {
    Httpd::write_file("$dir/build/$name", $file{$name});
    my ($status, $output) = Program::run('sh', '-c',
        "cd $dir/build && apxs -c -I $include -Wc,-Wall -Wc,-Wextra -Wc,-Werror -Wc,-Wno-missing-field-initializers $name");
    is($status, 0, "$name is built by apxs against the installed header") or diag($output);
}

# ---- Running the handlers ----

sub so { "$dir/build/.libs/$_[0].so" }
my $journal = "$dir/journal";
Httpd::write_file($journal, '');
chmod 0666, $journal;
my $httpd = Httpd->start(
    load => 'LoadModule motd_module ' . so('mod_motd') . "\nMotdText \"The coffee is ready.\"",
    conf => join '', map({"<Location /$_>\nWebSocketHandler " . so("ws_$_") . "\n</Location>\n"}
            qw(echo count named chat oracle pour weigh)), <<"END");
<Location /polite>
    WebSocketHandler @{[so('ws_polite')]} "greeting=Good day" lines=3
</Location>
<Location /idle>
    WebSocketHandler @{[so('ws_idle')]} patience=200
</Location>
<Location /journal>
    WebSocketHandler @{[so('ws_journal')]} file=$journal
</Location>
<Location /motd>
    SetHandler motd
    WebSocketHandler motd
</Location>
END
my $open = sub { Client->new($httpd, @_) };
my $next = sub { ($_[0]->message)[1] };

$open->('/echo')->echoes('hello', 'the handler echo echoes');
{
    my $c = $open->('/count');
    $c->text($_) for qw(a b);
    is(join('|', map { $next->($c) } 1, 2), '1: a|2: b', 'the handler count counts the messages of a connection');
    my $d = $open->('/count');
    $d->text('c');
    is($next->($d), '1: c', 'the handler count starts at one for each connection');
}
{
    is((Client->refused($httpd, '/named'))[0], 400, 'the handler named refuses a client without a name');
    is((Client->refused($httpd, '/named?name=admin'))[0], 403, 'the handler named refuses the name admin');
    my $c = $open->('/named?name=ann', headers => ['User-Agent: test'], protocol => 'x, named.v1');
    is($c->header('Set-Cookie'), 'name=ann', 'the handler named sets a cookie');
    is($next->($c), 'Hello ann. User-Agent: test. Subprotocol: named.v1.', 'the handler named gets the User-Agent and the subprotocol');
    $c->text('hi');
    is($next->($c), 'ann, 1: hi', 'the handler named keeps data of the connection');
}
{
    my $c = $open->('/polite');
    is($next->($c), 'Good day', 'the handler polite greets as configured');
    $c->echoes($_, "the handler polite echoes line $_") for 1 .. 3;
    $c->expect_close(1000, 'the handler polite closes after the configured number of lines');
    my ($right, $said) = Httpd->check("<Location /x>\nWebSocketHandler " . so('ws_polite') . " lines=many\n</Location>");
    like($said, qr/Syntax error on line \d+ of .*httpd\.conf:\s.*lines=many: .*whole number/s,
        'an invalid value for the handler polite is refused with file, line and remedy');
}
is($next->($open->('/idle')), 'Are you there?', 'the handler idle sends a message to a silent client');
SKIP: {
    skip 'each child of prefork has its own room', 3 if $Httpd::MPM eq 'prefork';
    my ($ann, $bob) = ($open->('/chat?name=ann'), undef);
    $ann->text('alone');
    is($next->($ann), 'ann: alone', 'the handler chat sends messages to all clients');
    $bob = $open->('/chat?name=bob');
    is($next->($ann), 'bob: (comes in)', 'the handler chat tells clients that another has joined');
    $bob->close(1000);
    is($next->($ann), 'bob: (leaves)', 'the handler chat tells clients that another has left');
}
{
    my $c = $open->('/oracle');
    $c->text('four');
    is($next->($c), 'Your question has 4 bytes.', 'the handler oracle answers from a thread');
}
{
    my ($c, $bytes, $type, $data) = ($open->('/pour'), 0);
    $c->text('8');
    while (1) {
        ($type, $data) = $c->message;
        last if $type == TEXT;
        $bytes += length $data;
    }
    is("$bytes $data", 8 * 1024 * 1024 . ' That was it.', 'the handler pour sends much data without filling the queue');
}
{
    my $c = $open->('/weigh');
    my $data = 'ab' x 1_500_000;
    $c->binary($data);
    is($next->($c), '3000000 bytes, sum ' . 1_500_000 * (97 + 98), 'the handler weigh accepts more than WebSocketMaxMessageSize');
}
{
    my $c = $open->('/journal');
    $c->text('dear diary');
    is($next->($c), 'kept', 'the handler journal answers');
    like(Httpd::read_file($journal), qr/^dear diary$/m, 'the handler journal has written its file');
}
is($next->($open->('/motd')), 'The coffee is ready.', 'mod_motd, a module with a handler, sends its text over a WebSocket');
is(($httpd->get('/motd'))[2], 'The coffee is ready.', 'mod_motd sends its text over HTTP');
$httpd->stop;

# ---- Uninstalling ----

($status, $output) = Program::make("BUILD=$build", "DESTDIR=$dest", 'uninstall');
is($status, 0, 'make uninstall succeeds') or diag($output);
my @left = split /\n/, (Program::run('find', $dest, '-type', 'f'))[1];
is("@left", '', 'make uninstall leaves no file');

done_testing;
