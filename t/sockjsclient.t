# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests sockjs-client in Node and in Chromium, with each transport. The requests of a session can reach any of several
# children.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Program;
use SockJS;

my $library = Httpd::read_file("$Httpd::TOP/t/node_modules/sockjs-client/dist/sockjs.min.js");
my $delay   = Patience::stretch('5s');
my $conf    = SockJS::services(more => "delay=$delay");
my $httpd   = Httpd->start(
    children => 4,
    files    => {
        'htdocs/sockjs.js' => $library,
        'htdocs/page.html' => qq(<!DOCTYPE html>\n<meta charset="utf-8"><title>SockJS</title><script src="/sockjs.js"></script>\n),
    },
    conf     => $conf,
    ssl_conf => $conf,
);
my ($port, $ssl) = ($httpd->port, $httpd->ssl_port);
$ENV{NODE_EXTRA_CA_CERTS} = Httpd::certificates() . '/ca.crt';

my @node = qw(websocket xhr-streaming eventsource xhr-polling);
Program::tap('sockjs-client, http', 'node', 't/clients/sockjs.js', "http://127.0.0.1:$port", @node);
Program::tap('sockjs-client, https', 'node', 't/clients/sockjs.js', "https://localhost:$ssl", @node);

my @page = qw(websocket xhr-streaming eventsource htmlfile xhr-polling jsonp-polling);
Program::tap('Chromium, http', 'node', 't/clients/sockjs-page.js', "http://localhost:$port/page.html", "http://localhost:$port", @page);
Program::tap('Chromium, https', 'node', 't/clients/sockjs-page.js', "https://localhost:$ssl/page.html", "https://localhost:$ssl", @page);
Program::tap('Chromium, another origin', 'node', 't/clients/sockjs-page.js', "http://localhost:$port/page.html", "http://127.0.0.1:$port",
    qw(websocket xhr-streaming xhr-polling jsonp-polling iframe-eventsource iframe-htmlfile iframe-xhr-polling));

done_testing;
