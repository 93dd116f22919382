# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# WebSocketHandlerDirectory: how a path selects a handler, which paths select none, and which configurations are
# refused.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use File::Copy qw(copy);
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempdir);
use Httpd;
use Client;

Httpd::once();

my $folder = tempdir('mod_websocket-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $folder;

# A handler that sends its name, its number of messages in this process, and the path.
my $teller = <<'END';
#include <stdio.h>
#include <httpd.h>
#include "mod_websocket.h"
static int messages;
static int choose(ws_request *rq, void *config)
{
    (void)config;
    ws_request_choose_protocol(rq, "its-own");
    return 0;
}
static void tell(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    char text[200];
    (void)data, (void)len;
    snprintf(text, sizeof(text), NAME " %d %s", ++messages, ws_uri(c));
    ws_send(c, type, text, strlen(text));
}
WS_HANDLER(teller) = {.on_request = choose, .on_message = tell};
END

# A directory with these handlers: file name => shared object.
sub directory {
    my ($name, %files) = @_;
    make_path("$folder/$name");
    for my $file (keys %files) {
        copy($files{$file}, "$folder/$name/$file") or die "$file: $!";
    }
    return "$folder/$name";
}

sub teller { my ($name) = @_; return Httpd::compile("teller-$name", $teller, "-DNAME='\"$name\"'") }

my ($test, $other, $default) = map { teller($_) } qw(test other default);
my $echo  = "$Httpd::BUILD/websocket/ws_echo.so";
my $dir   = directory('handlers', 'test.so' => $test, 'ws_other.so' => $other, '_default.so' => $default,
    'ws_echo.so' => $echo, 'A-9_z.so' => $test, 'x' x 64 . '.so' => $test);
my $bare  = directory('no-default', 'test.so' => $test);
Httpd::write_file("$dir/$_", 'no handler') for 'README', 'test.so.old', '.hidden.so', 'Makefile.in';

my $conf = <<"END";
<Location /ws>
    WebSocketHandlerDirectory $dir
    WebSocketOrigin any
</Location>
<Location /ws/deep>
    WebSocketHandler ws_echo.so
</Location>
<Location /ws/off>
    WebSocketHandler off
</Location>
<Location /ws/inherited>
    WebSocketPing 10s
</Location>
<Location /slash/>
    <IfModule websocket_module>
        WebSocketHandlerDirectory $bare
    </IfModule>
</Location>
<Location /echo>
    WebSocketHandler ws_echo.so
    WebSocketHandler ws_echo.so protocol=its-own
</Location>
<Location /echo/sub>
    WebSocketHandlerDirectory $dir
</Location>
<VirtualHost *>
    ServerName localhost
</VirtualHost>
<VirtualHost *>
    ServerName root.example
    WebSocketHandlerDirectory $dir
</VirtualHost>
END
my $httpd = Httpd->start(
    conf  => $conf,
    files => { 'htdocs/ws/test/page.html' => 'a page', 'htdocs/ws/nosuch' => 'a file' },
);

sub told {
    my ($path, %o) = @_;
    my $c = Client->new($httpd, $path, %o);
    $c->text('?');
    my ($told) = ($c->message)[1] =~ /^(\w+ \d+ .*)$/;
    $c->drop;
    return $told =~ s/ \d+ / /r;
}

sub status { return (Client->refused($httpd, @_))[0] }

# ---- Which handler answers ----
is(told('/ws/test'),     'test /ws/test',      'the segment behind the Location names the handler');
is(told('/ws/other'),    'other /ws/other',    'ws_ in front of its file name does not count');
is(told('/ws'),          'default /ws',        '_default answers for the bare Location');
is(told('/ws/'),         'default /ws/',       'also with a slash');
is(told('/ws?name=x'),   'default /ws',        'also with arguments');
is(told('/ws/test/'),    'test /ws/test/',     'what follows is the handler\'s');
is(told('/ws/test/a/b'), 'test /ws/test/a/b',  'whatever it contains');
is(told('/ws/te%73t'),   'test /ws/test',      'the path is decoded first');
is(told('/ws/A-9_z'),    'test /ws/A-9_z',     'all characters that a name can have');
is(told('/ws/' . 'x' x 64), 'test /ws/' . 'x' x 64, 'a name of 64 characters');
is(told('/slash/test'),  'test /slash/test',   'a Location with a slash at its end, and inside <IfModule>');
is(told('/ws/test', tls => 1), 'test /ws/test', 'over TLS');
is(told('/ws/../ws/./test'), 'test /ws/test',  'dots in the path are resolved first');
Client->new($httpd, '/ws/echo')->echoes('hello', 'a stock handler under its own file name');

# ---- Which paths have no handler ----
for my $path ('nosuch', 'tes', 'testx', 'Test', 'test.so', 'ws_other', 'ws_other.so', '_default', '_default.so', '_',
    '.hidden', '.hidden.so', 'README', 'test.so.old', '%2e%2e%2fhandlers%2ftest', '/etc/passwd', '*', 'te%00st',
    'test%20', 'x' x 65, '%2Ftest', '..%5ctest', 'inherited')
{
    like(status("/ws/$path"), qr/^40[04]$/, "refused: /ws/$path");
}
is(status('/ws/nosuch'), 404, 'with 404');
ok($httpd->wait_log(qr/handshake refused with 404: no handler "nosuch" in \Q$dir\E \(WebSocketHandlerDirectory\)/),
    'and the log names handler and directory');
is(status('/slash/'), 404, 'the bare Location without _default: 404');
ok($httpd->wait_log(qr/refused with 404: no handler "_default" in \Q$bare\E /), 'the log has the missing name');
is(status('/ws/nosuch', version => 99), 426, 'a malformed handshake is refused with 400');
like(status('/wsx/test'), qr/^404$/, 'a path beside the Location does not belong to it');

# ---- Ordinary requests ----
is(($httpd->get('/ws/test/page.html'))[2], 'a page', 'an ordinary request gets its page');
is(($httpd->get('/ws/nosuch'))[2], 'a file', 'also where a handshake is refused');
is(($httpd->get('/ws/test'))[0], 301, 'and a directory its slash');

# ---- Merging ----
Client->new($httpd, '/ws/deep')->echoes('hello', 'an inner WebSocketHandler replaces the directory');
is(status('/ws/off/test'), 404, 'WebSocketHandler off removes it');
unlike($httpd->error_log, qr/no handler "off"/, 'altogether');
is(told('/echo/sub/test', protocol => 'its-own'), 'test /echo/sub/test', 'an inner directory replaces handlers');
is(told('/echo/sub'), 'default /echo/sub', 'of all of them');
Client->new($httpd, '/echo/x')->echoes('hello', 'and these still apply beside it');
{
    my $at = sub { (request => join "\r\n", "GET $_[0] HTTP/1.1", 'Host: root.example', 'Upgrade: websocket',
        'Connection: Upgrade', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', '', '') };
    is(told('', $at->('/test')), 'test /test', 'outside of sections, the first segment names the handler');
    is(told('', $at->('/')), 'default /', 'and _default serves the bare host');
    is(told('', $at->('/ws/other')), 'other /ws/other', 'below a separate section');
}

# ---- Subprotocols ----
my $c = Client->new($httpd, '/ws/test', protocol => 'a, its-own');
is($c->header('Sec-WebSocket-Protocol'), 'its-own', 'a handler chooses the subprotocol');
$c = Client->new($httpd, '/ws/echo', protocol => 'a');
is($c->header('Sec-WebSocket-Protocol'), undef, 'without a choice of the handler, no subprotocol is agreed on');

# ---- Only files that exist at start-up count ----
copy($test, "$dir/later.so") or die $!;
unlink "$dir/ws_other.so" or die $!;
is(status('/ws/later'), 404, 'a file that is added later is not found');
is(told('/ws/other'), 'other /ws/other', 'and a deleted one still works');
$httpd->graceful;
Httpd::wait_for(sub { status('/ws/later') == 101 }, 'the new file');
is(told('/ws/later'), 'test /ws/later', 'until a reload');
is(status('/ws/other'), 404, 'which also drops deleted files');
copy("$Httpd::TOP/README.md", "$dir/broken.so") or die $!;
my $output = $httpd->run('-k graceful');
isnt($?, 0, 'a reload with a broken handler is refused');
like($output, qr/WebSocketHandlerDirectory: \Q$dir\E\/broken\.so: cannot load the handler: .*ELF/, 'and says which');
is(told('/ws/later'), 'test /ws/later', 'the running server continues');

# ---- Mistakes ----
sub refuses {
    my ($conf, $match, $name) = @_;
    my ($ok, $output) = Httpd->check($conf);
    $output =~ s/^AH\d+: //mg;
    ok(!$ok && $output =~ /^Syntax error on line \d+ of .*:\n(.*)/m && $1 =~ $match, $name) or diag($output);
}

sub below { return "<Location /x>\nWebSocketHandlerDirectory $_[0]\n</Location>" }

my $d = 'WebSocketHandlerDirectory';
refuses(below(''), qr/^$d takes one argument, a directory of handlers; the next segment/, 'no directory');
refuses(below('/a /b'), qr/^$d takes one argument/, 'two directories');
refuses(below("$folder/nosuch"), qr/^$d: cannot read the directory \Q$folder\E\/nosuch: No such file/, 'a missing directory');
refuses(below('nosuch'), qr/^$d: cannot read the directory \Q$Httpd::BUILD\E\/websocket\/nosuch: No such file/,
    'a relative one is looked for in websocket/ beside the module');
refuses(below("$folder/handlers/README"), qr/^$d: cannot read the directory .*README: Not a directory/, 'a file');
symlink "$folder/loop", "$folder/loop";
refuses(below("$folder/loop"), qr/^$d: cannot read the directory .*loop: Too many levels/, 'a link to itself');
SKIP: {
    skip 'root may read everything', 1 if $> == 0;
    directory('closed', 'test.so' => $test);
    chmod 0, "$folder/closed";
    refuses(below("$folder/closed"), qr/^$d: cannot read the directory .*closed: Permission denied/, 'a directory without read permission');
}
make_path("$folder/empty", "$folder/folders/x.so");
refuses(below("$folder/empty"), qr/^$d: no handler in \Q$folder\E\/empty: add a file whose name ends in \.so/,
    'an empty directory');
refuses(below("$folder/folders"), qr/^$d: \Q$folder\E\/folders\/x\.so: cannot load the handler: /, 'a folder instead of a file');
for my $file ('a.b.so', 'a b.so', 'a+b.so', '-a.so', '_a.so', 'ws_.so', '__default.so', 'x' x 65 . '.so') {
    my $at = directory("named-$file", $file => $test, 'ok.so' => $test);
    refuses(below("\"$at\""), qr/^$d: \Q$at\/$file\E: a handler file is named NAME\.so or _default\.so/, "named $file");
}
refuses(below(directory('both', 'ws_a.so' => $test, 'a.so' => $test)),
    qr/^$d: (?:ws_a\.so and a\.so|a\.so and ws_a\.so) in .*both are both named "a": rename or remove one/, 'two files with the same handler name');
refuses(below(directory('nothing', 'a.so' => $test, 'b.so' => Httpd::compile('nothing-here', "int nothing_at_all;\n"))),
    qr/^$d: (.*\/b\.so): \1 is not a WebSocket handler: it has no symbol/, 'a file that is not a handler');
refuses(below(directory('keyed', 'a.so' => Httpd::compile('keyed', <<'END'))),
#include "mod_websocket.h"
static const char *configure(apr_pool_t *p, const char *key, const char *value, void **config)
{
    (void)p, (void)value, (void)config;
    return key ? NULL : "there is no key";
}
WS_HANDLER(keyed) = {.configure = configure};
END
    qr/^$d: .*\/a\.so: handler keyed: there is no key/, 'a handler that requires keys');

refuses("<$_>\n$d $dir\n</" . (split ' ')[0] . '>', qr/^$d: allowed outside of sections, in a <VirtualHost>, or in a <Location> without/,
    "inside <$_>")
    for 'LocationMatch ^/x', 'Location ~ ^/x', 'Location /x*', 'Location "/[xy]"', 'Directory /', 'Files x', 'If true';
refuses("<Location /x>\n<If true>\n$d $bare\n</If>\n</Location>", qr/^$d: allowed outside/, 'inside <If> of a <Location>');
my $beside = qr/this section already has a $d or WebSocketHandler: remove one, or move $d/;
refuses("$d $bare\n$d $bare", qr/^$beside/, 'two in a section');
refuses("$d $bare\nWebSocketHandler ws_echo.so", qr/^WebSocketHandler and $d are in the same section: remove one, or move it/, 'WebSocketHandler after it');
refuses("WebSocketHandler ws_echo.so\n$d $bare", qr/^$beside/, 'and before it');
refuses("$d $bare\nWebSocketHandler off", qr/^WebSocketHandler off and another handler are in the same section/, 'off after it');
refuses("WebSocketHandler off\n$d $bare", qr/^$beside/, 'and before it');

my ($ok, $said) = Httpd->check("<Location /a>\n$d $bare\n</Location>\n<Location /b>\n$d $bare\n</Location>");
ok($ok, 'accepted: one directory in two places') or diag($said);

done_testing;
