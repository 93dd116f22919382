# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests the recipes of docs/proxying.md. httpd -t accepts each recipe as written. With each recipe, httpd serves a page and a
# WebSocket of an application of this test, which replaces the documented application.

use strict;
use warnings;
use lib 't/lib';
use Client;
use Httpd;
use JSON::PP;
use Program;
use Test::More;

my $port   = Httpd::free_port();
my $server = Program->start('node', 't/clients/upstream.js', 'application', $port);
$server->wait_output(qr/^ready$/m);
my @modules = (modules => [qw(proxy proxy_http proxy_wstunnel slotmem_shm proxy_balancer lbmethod_byrequests access_compat)]);

# The path of the WebSocket and the path that the application receives for it, then the same for a page. A missing second
# path is the same as the first.
my %recipes = (
    'JupyterHub'     => ['/user/ann/api/kernels/1/channels?token=x', undef, '/hub/home'],
    'Home Assistant' => ['/api/websocket', undef, '/lovelace'],
    'Grafana Live'   => ['/api/live/ws', undef, '/d/board'],
    "Nextcloud's notify_push" => ['/push/ws', '/ws', '/push/test/cookie', '/test/cookie'],
    'Guacamole'      => ['/guacamole/websocket-tunnel?token=x&GUAC_ID=1', undef, '/guacamole/'],
    'socket.io'      => ['/socket.io/?EIO=4&transport=websocket', undef, '/socket.io/?EIO=4&transport=polling'],
    'Action Cable'   => ['/cable', undef, '/posts'],
    'Phoenix'        => ['/live/websocket?vsn=2.0.0', undef, '/users'],
);

my ($text) = Httpd::read_file('docs/proxying.md') =~ /^## Recipes\n(.*)/ms;
my %found;
while ($text =~ /^\*\*(.*?)\*\*.*?^```apache\n(.*?)^```/msg) {
    my ($name, $recipe) = ($1, $2);
    my ($path, $target, $page, $page_target) = @{ $recipes{$name} || [] };
    $found{$name} = 1;
    ok($path, "$name: the recipe is in this test") or next;
    my ($right, $said) = Httpd->check("$recipe\nWebSocketOrigin any\n", @modules);
    ok($right, "$name: httpd -t accepts the recipe") or diag($said);

    (my $here = $recipe) =~ s{\b(127\.0\.0\.1|localhost|HOSTNAME|app0\d):\d+}{127.0.0.1:$port}g;
    my %seen; # keep one of the members, which now have the same URL
    $here = join '', grep { !/BalancerMember "(\S+)"/ || !$seen{$1}++ } split /^/, $here;
    my $httpd = Httpd->start(@modules, conf => "$here\nWebSocketOrigin any\n");
    my $c = Client->new($httpd, $path, headers => ['Cookie: session=1']);
    $c->text('request');
    my $r = decode_json(($c->message)[1]);
    is($r->{url}, $target // $path, "$name: a WebSocket reaches the application");
    is($r->{headers}{cookie}, 'session=1', "$name: the application gets the WebSocket's cookie");
    like(($httpd->get($page))[2], qr{page of application at \Q@{[$page_target // $page]}\E\n}, "$name: a page request reaches the application");
    ok($httpd->count_log(qr{proxy: connected to (?:ws|http)://127\.0\.0\.1:$port/}), "$name: the WebSocket is proxied by this module, not by mod_proxy");
    $httpd->stop;
}
is_deeply([sort keys %found], [sort keys %recipes], 'docs/proxying.md has all recipes of this test');
done_testing;
