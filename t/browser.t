# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Runs the demo of `make -f Makefile.apxs run` in Chromium, over ws and wss.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Program;

plan skip_all => 'the demo runs the event MPM' if $Httpd::MPM ne 'event';
plan skip_all => 'the demo loads no sanitizer' if $ENV{WS_TEST_PRELOAD};

my %port = map { $_ => Httpd::free_port() } qw(http https);
my $shots = Httpd::folder();

local @ENV{qw(PORT SSL_PORT)} = @port{qw(http https)};
my $demo = Program->start("$Httpd::TOP/demo/run", $Httpd::BUILD, Httpd::folder());
$demo->wait_output(qr{http://localhost:$port{http}/});
pass('the demo prints its address');
$demo->wait_output(qr{https://localhost:$port{https}/});
pass('the demo prints its address for TLS');

Program::tap('the chat in Chromium', 'node', 't/clients/chat-page.js', "http://localhost:$port{http}/", $shots);
ok(-s "$shots/chat.png", 'there is a screenshot of the demo');
Program::tap('channels in Chromium', 'node', 't/clients/live-page.js', "http://localhost:$port{http}/live.html");
Program::tap('Chromium, http', 'node', 't/clients/page.js', "http://localhost:$port{http}/echo.html", $shots);
Program::tap('Chromium, https', 'node', 't/clients/page.js', "https://localhost:$port{https}/echo.html", $shots);
ok(-s "$shots/page-ws.png" && -s "$shots/page-wss.png", 'there are screenshots of the pages');
Httpd::publish_screenshots($shots);

my $status = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port{http});
print $status "GET /websocket-status HTTP/1.0\r\n\r\n";
like(join('', <$status>), qr{200 OK.*<title>WebSockets</title>}s, 'the demo has the status page');

kill 'INT', $demo->{pid};
$demo->wait_output(qr/Stopped/);
is($demo->finish, 0, 'the demo stops cleanly on Ctrl-C');
ok(!IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port{http}), 'after Ctrl-C, the demo no longer accepts connections');

done_testing;
