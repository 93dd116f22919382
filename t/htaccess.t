# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# WebSocketHandler in .htaccess: if the administrator allows it, a page below the folder of the .htaccess file can be the
# application. The server refuses everything else with an explanation. A user of one folder has no rights in other folders.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client;

plan skip_all => 'the module was built without libcurl' if !-e "$Httpd::BUILD/websocket/ws_http.so";

my $cgi = $Httpd::MPM eq 'prefork' ? 'cgi' : 'cgid';
my $dir = Httpd::folder();
chmod 0777, $dir;

# Responds with the requested environment variable.
my $page = <<'END';
#!/usr/bin/perl
read STDIN, my $body, $ENV{CONTENT_LENGTH} || 0;
my ($name) = $body =~ /data%5B%5D=(\w+)/;
print "Content-Type: text/plain\n\n", $name ? "$name=" . ($ENV{$name} // 'none') : '';
END
sub folder {
    my ($name, $htaccess, @pages) = @_;
    mkdir "$dir/$name";
    Httpd::write_file("$dir/$name/.htaccess", $htaccess) if defined $htaccess;
    for (@pages) { Httpd::write_file("$dir/$name/$_", $page); chmod 0755, "$dir/$name/$_" }
}
Httpd::write_file("$dir/passwords", 'mallory:' . crypt('secret', 'ab') . "\n");
Httpd::write_file("$dir/others", 'alice:' . crypt('secret', 'ab') . "\n");
folder('site', 'WebSocketHandler ws_http.so to=app.cgi', 'app.cgi');
folder('site/deep', undef);
folder('site/off', 'WebSocketHandler off');
folder('named', "<Files chat>\nWebSocketHandler ws_http.so \"to=in side/app.cgi\"\n</Files>");
folder('named/in side', undef, 'app.cgi');
folder('user', <<"END", 'app.cgi');
AuthType Basic
AuthName site
AuthUserFile $dir/others
Require valid-user
WebSocketHandler ws_http.so to=app.cgi
END
folder('rewritten', <<"END", 'app.cgi');
AuthType Basic
AuthName site
AuthUserFile $dir/others
Require valid-user
WebSocketHandler ws_http.so to=app.cgi
RewriteEngine on
RewriteRule ^app.cgi\$ /secret/app.cgi
END
folder('secret', undef, 'app.cgi');
folder('closed', 'WebSocketHandler ws_http.so to=app.cgi', 'app.cgi');
folder('nothing', 'WebSocketHandler ws_http.so to=app.cgi', 'app.cgi');
folder('admin-off', 'WebSocketHandler ws_http.so to=app.cgi', 'app.cgi');
my @refused = ('WebSocketHandler ws_echo.so', 'WebSocketHandler ws_http.so', 'WebSocketHandler ws_http.so to=/app.cgi',
    'WebSocketHandler ws_http.so to=../secret/app.cgi', 'WebSocketHandler ws_http.so to=a/../../x', 'WebSocketHandler ws_http.so to=http://127.0.0.1/',
    'WebSocketHandler ws_http.so to=app.cgi concurrency=4000', 'WebSocketHandler ./ws_http.so to=app.cgi', 'WebSocketHandler ws_exec.so program=/bin/sh',
    'WebSocketHandler ws_http.so to=.htpasswd', 'WebSocketHandler ws_http.so to=unix:/x|http://y/', 'WebSocketHandler ws_http.so to=');
folder("refused$_", $refused[$_], 'app.cgi') for 0 .. $#refused;
my @others = ('WebSocketHtaccess ws_http.so', 'WebSocketOrigin any', 'WebSocketHandlerDirectory /tmp', 'WebSocketLimit connections=9');
folder("other$_", $others[$_], 'app.cgi') for 0 .. $#others;

my $httpd = Httpd->start(
    modules => [$cgi],
    conf    => <<"END");
@{[$cgi eq 'cgid' ? "ScriptSock $dir/cgid.sock" : '']}
WebSocketOrigin any
Alias /sites/ $dir/
Alias /secret $dir/secret
<Directory $dir>
    Require all granted
    Options ExecCGI FollowSymLinks
    AddHandler cgi-script .cgi
    AllowOverride FileInfo AuthConfig
    WebSocketHtaccess ws_http.so timeout=@{[Patience::stretch('20s')]}
</Directory>
<Directory $dir/closed>
    WebSocketHtaccess off
</Directory>
<Directory $dir/nothing>
    AllowOverride None
</Directory>
<Directory $dir/admin-off>
    WebSocketHandler off
</Directory>
<Directory $dir/secret>
    AuthType Basic
    AuthName secret
    AuthUserFile $dir/passwords
    Require user alice
</Directory>
END

sub says {
    my ($path, $variable, @o) = @_;
    my $c = Client->new($httpd, "/sites/$path", @o);
    $c->text($variable);
    my ($opcode, $text) = $c->frame;
    return $opcode == 8 ? 'closed with ' . unpack 'n', $text : $text;
}

is(says('site/chat', 'WEBSOCKET'), 'WEBSOCKET=1', 'in .htaccess, a page of the folder is the application');
is(says('site/chat', 'REQUEST_URI'), 'REQUEST_URI=/sites/site/app.cgi', 'the application gets the URL of the page, not that of the WebSocket');
is(says('site/app.cgi?a=b', 'QUERY_STRING'), 'QUERY_STRING=a=b', 'the URL of the application itself can be used for the WebSocket');
is(says('site/deep/chat', 'REQUEST_URI'), 'REQUEST_URI=/sites/site/app.cgi', 'a folder below has the same application');
is(says('named/chat', 'REQUEST_URI'), 'REQUEST_URI=/sites/named/in%20side/app.cgi', 'in <Files>, the name of an application can have a blank');
is(says('site/chat', 'REMOTE_ADDR', from => '127.0.0.9'), 'REMOTE_ADDR=127.0.0.9', "the application gets the client's address");
is(says('site/chat', 'HTTPS', tls => 1), 'HTTPS=on', 'the application gets HTTPS=on for a client with TLS');
isnt((Client->refused($httpd, '/sites/named/other'))[0], 101, 'WebSocketHandler in <Files> applies only to the name in <Files>');
isnt((Client->refused($httpd, '/sites/site/off/chat'))[0], 101, 'WebSocketHandler off in .htaccess of a folder below refuses handshakes');
isnt((Client->refused($httpd, '/sites/admin-off/chat'))[0], 101, 'WebSocketHandler off of the administrator takes precedence over .htaccess');
isnt((Client->refused($httpd, '/sites/nothing/chat'))[0], 101, 'AllowOverride None: .htaccess has no effect');

my @alice = (headers => ['Authorization: Basic ' . 'YWxpY2U6c2VjcmV0']);
is(says('user/chat', 'REMOTE_USER', @alice), 'REMOTE_USER=alice', 'the application gets the authenticated user');
is((Client->refused($httpd, '/sites/user/chat'))[0], 401, 'a folder that needs a user refuses a handshake without one');
is((Client->refused($httpd, '/sites/rewritten/chat', @alice))[0], 401, "a page outside of the folder does not get the folder's user");

is((Client->refused($httpd, '/sites/closed/chat'))[0], 403, 'without WebSocketHtaccess, a handler in .htaccess refuses handshakes');
ok($httpd->wait_log(qr/closed\/\.htaccess has a WebSocketHandler, and the server's configuration does not allow it/), 'without WebSocketHtaccess, the log says why');
for (0 .. $#refused) {
    is((Client->refused($httpd, "/sites/refused$_/chat"))[0], 500, ".htaccess may not have: $refused[$_]");
    ok($httpd->wait_log(qr{refused$_/\.htaccess: WebSocketHandler: \.htaccess can have only "WebSocketHandler ws_http\.so to=PAGE"}), 'the log says what .htaccess can have');
}
for (0 .. $#others) {
    is((Client->refused($httpd, "/sites/other$_/chat"))[0], 500, ".htaccess may not have: $others[$_]");
    ok($httpd->wait_log(qr{other$_/\.htaccess: \w+ not allowed here}), 'the log says that the directive is not allowed in .htaccess');
}

for (['ws_http.so to=/x', 'remove to='], ['ws_echo.so', 'takes ws_http.so'], ['', 'takes'], ['ws_http.so nonsense=1', 'unknown key']) {
    my ($arguments, $match) = @$_;
    my ($good, $text) = Httpd->check("<Directory />\nWebSocketHtaccess $arguments\n</Directory>");
    ok(!$good && $text =~ /\Q$match\E/, "httpd -t refuses: WebSocketHtaccess $arguments") or diag($text);
}
$httpd->graceful;
is(says('site/chat', 'WEBSOCKET'), 'WEBSOCKET=1', 'after a reload, a page of the folder is still the application');

done_testing();
