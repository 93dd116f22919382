# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# WebSocketHandlerDirectory: the path of a URL selects a handler from a directory. Tests which paths select a handler, and
# which configurations httpd refuses.

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

# Create a directory with these handlers: file name => shared object.
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
is(told('/ws/test'),     'test /ws/test',      'the segment after the Location names the handler');
is(told('/ws/other'),    'other /ws/other',    "the prefix ws_ of a file is not part of the handler's name");
is(told('/ws'),          'default /ws',        '_default answers for the Location itself');
is(told('/ws/'),         'default /ws/',       '_default answers for the Location with a slash');
is(told('/ws?name=x'),   'default /ws',        '_default answers for the Location with arguments');
is(told('/ws/test/'),    'test /ws/test/',     "a slash after the handler's name does not change the handler");
is(told('/ws/test/a/b'), 'test /ws/test/a/b',  'the rest of the path does not change the handler');
is(told('/ws/te%73t'),   'test /ws/test',      'an encoded name selects the handler');
is(told('/ws/A-9_z'),    'test /ws/A-9_z',     "a handler's name can have letters, digits, - and _");
is(told('/ws/' . 'x' x 64), 'test /ws/' . 'x' x 64, "a handler's name can have 64 characters");
is(told('/slash/test'),  'test /slash/test',   'a Location with a slash at its end, inside <IfModule>, has a handler');
is(told('/ws/test', tls => 1), 'test /ws/test', 'a handler is selected over TLS');
is(told('/ws/../ws/./test'), 'test /ws/test',  'dots in the path are resolved before the handler is selected');
Client->new($httpd, '/ws/echo')->echoes('hello', 'a bundled handler is selected by its file name');

# ---- Which paths have no handler ----
for my $path ('nosuch', 'tes', 'testx', 'Test', 'test.so', 'ws_other', 'ws_other.so', '_default', '_default.so', '_',
    '.hidden', '.hidden.so', 'README', 'test.so.old', '%2e%2e%2fhandlers%2ftest', '/etc/passwd', '*', 'te%00st',
    'test%20', 'x' x 65, '%2Ftest', '..%5ctest', 'inherited')
{
    like(status("/ws/$path"), qr/^40[04]$/, "a handshake for /ws/$path is refused");
}
is(status('/ws/nosuch'), 404, 'a handshake for an unknown handler is refused with 404');
ok($httpd->wait_log(qr/handshake refused with 404: no handler "nosuch" in \Q$dir\E \(WebSocketHandlerDirectory\)/),
    'the log has the name of the unknown handler and the directory');
is(status('/slash/'), 404, 'without _default, a handshake for the Location itself is refused with 404');
ok($httpd->wait_log(qr/refused with 404: no handler "_default" in \Q$bare\E /), 'the log says that _default is missing');
is(status('/ws/nosuch', version => 99), 426, 'an unsupported version is refused with 426, although the handler does not exist');
like(status('/wsx/test'), qr/^404$/, "a path that only begins like the Location's path does not belong to the Location");

# ---- Ordinary requests ----
is(($httpd->get('/ws/test/page.html'))[2], 'a page', "an ordinary request below a handler's path gets its page");
is(($httpd->get('/ws/nosuch'))[2], 'a file', 'an ordinary request gets a file where a handshake is refused');
is(($httpd->get('/ws/test'))[0], 301, 'an ordinary request for a folder is redirected to its path with a slash');

# ---- Merging ----
Client->new($httpd, '/ws/deep')->echoes('hello', 'WebSocketHandler in an inner section replaces WebSocketHandlerDirectory of the outer section');
is(status('/ws/off/test'), 404, 'an inner WebSocketHandler off removes the directory');
unlike($httpd->error_log, qr/no handler "off"/, 'below WebSocketHandler off, the log does not mention a missing handler');
is(told('/echo/sub/test', protocol => 'its-own'), 'test /echo/sub/test', 'an inner directory replaces WebSocketHandler');
is(told('/echo/sub'), 'default /echo/sub', 'the directory of an inner section replaces all handlers of the outer section, also the default handler');
Client->new($httpd, '/echo/x')->echoes('hello', 'outside of the inner directory, the outer handler still applies');
{
    my $at = sub { (request => join "\r\n", "GET $_[0] HTTP/1.1", 'Host: root.example', 'Upgrade: websocket',
        'Connection: Upgrade', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', '', '') };
    is(told('', $at->('/test')), 'test /test', 'outside of sections, the first segment names the handler');
    is(told('', $at->('/')), 'default /', 'outside of sections, _default serves the path /');
    is(told('', $at->('/ws/other')), 'other /ws/other', 'outside of sections, the directory of an inner section applies');
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
is(told('/ws/other'), 'other /ws/other', 'the handler of a deleted file still works');
$httpd->graceful;
Httpd::wait_for(sub { status('/ws/later') == 101 }, 'the new file');
is(told('/ws/later'), 'test /ws/later', 'after a reload, the added file is found');
is(status('/ws/other'), 404, 'after a reload, the deleted file is not found');
copy("$Httpd::TOP/README.md", "$dir/broken.so") or die $!;
my $output = $httpd->run('-k graceful');
isnt($?, 0, 'a reload with a broken handler is refused');
like($output, qr/WebSocketHandlerDirectory: \Q$dir\E\/broken\.so: cannot load the handler: .*ELF/, 'the error names the broken handler');
is(told('/ws/later'), 'test /ws/later', 'after the refused reload, the server continues');

# ---- Mistakes ----
sub refuses {
    my ($conf, $match, $name) = @_;
    my ($ok, $output) = Httpd->check($conf);
    $output =~ s/^AH\d+: //mg;
    ok(!$ok && $output =~ /^Syntax error on line \d+ of .*:\n(.*)/m && $1 =~ $match, $name) or diag($output);
}

sub below { return "<Location /x>\nWebSocketHandlerDirectory $_[0]\n</Location>" }

my $d = 'WebSocketHandlerDirectory';
refuses(below(''), qr/^$d takes one argument, a directory of handlers; the next segment/, 'httpd refuses the directive without an argument');
refuses(below('/a /b'), qr/^$d takes one argument/, 'httpd refuses two directories');
refuses(below("$folder/nosuch"), qr/^$d: cannot read the directory \Q$folder\E\/nosuch: No such file/, 'httpd refuses a directory that does not exist');
refuses(below('nosuch'), qr/^$d: cannot read the directory \Q$Httpd::BUILD\E\/websocket\/nosuch: No such file/,
    'httpd refuses a relative path that does not exist in websocket/ beside the module');
refuses(below("$folder/handlers/README"), qr/^$d: cannot read the directory .*README: Not a directory/, 'httpd refuses a file instead of a directory');
symlink "$folder/loop", "$folder/loop";
refuses(below("$folder/loop"), qr/^$d: cannot read the directory .*loop: Too many levels/, 'httpd refuses a link to itself');
SKIP: {
    skip 'root may read everything', 1 if $> == 0;
    directory('closed', 'test.so' => $test);
    chmod 0, "$folder/closed";
    refuses(below("$folder/closed"), qr/^$d: cannot read the directory .*closed: Permission denied/, 'httpd refuses a directory without read permission');
}
make_path("$folder/empty", "$folder/folders/x.so");
refuses(below("$folder/empty"), qr/^$d: no handler in \Q$folder\E\/empty: add a file whose name ends in \.so/,
    'httpd refuses an empty directory');
refuses(below("$folder/folders"), qr/^$d: \Q$folder\E\/folders\/x\.so: cannot load the handler: /, 'httpd refuses a folder instead of a handler file');
for my $file ('a.b.so', 'a b.so', 'a+b.so', '-a.so', '_a.so', 'ws_.so', '__default.so', 'x' x 65 . '.so') {
    my $at = directory("named-$file", $file => $test, 'ok.so' => $test);
    refuses(below("\"$at\""), qr/^$d: \Q$at\/$file\E: a handler file is named NAME\.so or _default\.so/, "httpd refuses a file named $file");
}
refuses(below(directory('both', 'ws_a.so' => $test, 'a.so' => $test)),
    qr/^$d: (?:ws_a\.so and a\.so|a\.so and ws_a\.so) in .*both are both named "a": rename or remove one/, 'httpd refuses two files with the same handler name');
refuses(below(directory('nothing', 'a.so' => $test, 'b.so' => Httpd::compile('nothing-here', "int nothing_at_all;\n"))),
    qr/^$d: (.*\/b\.so): \1 is not a WebSocket handler: it has no symbol/, 'httpd refuses a file that is not a handler');
refuses(below(directory('keyed', 'a.so' => Httpd::compile('keyed', <<'END'))),
#include "mod_websocket.h"
static const char *configure(apr_pool_t *p, const char *key, const char *value, void **config)
{
    (void)p, (void)value, (void)config;
    return key ? NULL : "there is no key";
}
WS_HANDLER(keyed) = {.configure = configure};
END
    qr/^$d: .*\/a\.so: handler keyed: there is no key/, 'httpd refuses a handler that requires keys');

refuses("<$_>\n$d $dir\n</" . (split ' ')[0] . '>', qr/^$d: allowed outside of sections, in a <VirtualHost>, or in a <Location> without/,
    "httpd refuses the directive inside <$_>")
    for 'LocationMatch ^/x', 'Location ~ ^/x', 'Location /x*', 'Location "/[xy]"', 'Directory /', 'Files x', 'If true';
refuses("<Location /x>\n<If true>\n$d $bare\n</If>\n</Location>", qr/^$d: allowed outside/, 'httpd refuses the directive inside <If> of a <Location>');
my $beside = qr/this section already has a $d or WebSocketHandler: remove one, or move $d/;
refuses("$d $bare\n$d $bare", qr/^$beside/, 'httpd refuses two directories in a section');
refuses("$d $bare\nWebSocketHandler ws_echo.so", qr/^WebSocketHandler and $d are in the same section: remove one, or move it/, 'httpd refuses WebSocketHandler after the directory');
refuses("WebSocketHandler ws_echo.so\n$d $bare", qr/^$beside/, 'httpd refuses WebSocketHandler before the directory');
refuses("$d $bare\nWebSocketHandler off", qr/^WebSocketHandler off and another handler are in the same section/, 'httpd refuses WebSocketHandler off after the directory');
refuses("WebSocketHandler off\n$d $bare", qr/^$beside/, 'httpd refuses WebSocketHandler off before the directory');

my ($ok, $said) = Httpd->check("<Location /a>\n$d $bare\n</Location>\n<Location /b>\n$d $bare\n</Location>");
ok($ok, 'httpd accepts the same directory in two sections') or diag($said);

done_testing;
