# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# If no optional library is installed, make lists the omitted parts, and the module serves connections. httpd refuses
# directives that need a missing library, and names the library.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Program;
use Client;

Httpd::once();
plan skip_all => 'the omitted parts do not depend on the sanitizer' if $ENV{WS_TEST_PRELOAD};

my $build = Httpd::folder() . '/build';
my @none  = map {"$_=no"} qw(URING IDN LMDB HIREDIS LIBEDIT CJSON CURL LUA);
delete local @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS SANITIZE)};
my ($status, $output) = Program::run('make', '--no-print-directory', '-j2', 'all', "BUILD=$build", @none,
    'CFLAGS=-O0 -U_FORTIFY_SOURCE');
is($status, 0, 'make builds the module without any optional library') or diag($output);
is(join(' ', sort $output =~ /\(needs (\w+)\)$/mg), 'LMDB Lua cJSON hiredis libcurl libedit libidn2 liburing',
    'make lists the missing libraries');
like($output, qr/^Not built: WebSocketHistory without Redis \(needs LMDB\)$/m, 'make lists the parts that need a missing library');
is(join(' ', map { m{/ws_(\w+)\.so$} ? $1 : () } sort glob "$build/websocket/*"), 'echo exec proxy tcp time',
    'only handlers that need no library are built');
ok(!-e "$build/mod_websocket_redis.so", 'without hiredis, mod_websocket_redis.so is not built');
my $linked = `ldd $build/mod_websocket.so $build/bin/wsclient`;
unlike($linked, qr/lib(?:lmdb|hiredis|cjson|edit|curl|lua5.4|uring|idn2)\b/, 'nothing is linked with a missing library');

{
    local $Httpd::BUILD = $build;
    my $history = "WebSocketHistory news 10\n";
    my ($ok, $text) = Httpd->check($history);
    ok(!$ok && $text =~ /WebSocketHistory needs LMDB.*liblmdb-dev/, 'httpd -t refuses WebSocketHistory, and suggests the library')
        or diag($text);
    my $httpd = Httpd->start(conf => "<Location /echo>\nWebSocketHandler ws_echo.so\n</Location>\n");
    Client->new($httpd, '/echo')->echoes('hello', 'the module built without libraries echoes');
    my $url = 'ws://127.0.0.1:' . $httpd->port . '/echo';
    is_deeply([Program::run("$build/bin/wsclient", '-q', '-c', '1', '-x', 'hello', $url)], [0, "hello\n"], 'wsclient built without libraries exchanges messages');
    # script(1) runs wsclient at a terminal.
    my $prompt = Program->start('script', '-qec', "$build/bin/wsclient $url", '/dev/null');
    $prompt->wait_output(qr/> /);
    $prompt->write("typed\n");
    ok($prompt->wait_output(qr/< typed/), 'wsclient without libedit sends a line typed at a terminal');
    $prompt->write("/close 1000 bye\n");
    is($prompt->finish, 0, 'wsclient without libedit recognizes a command');
}

done_testing();
