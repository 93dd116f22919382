# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Rewrite rules of a front controller replace the arguments of a request: the module must use the arguments of the request
# line. Rules for a WebSocket section may set arguments: the module must use those.

use strict;
use warnings;
use lib 't/lib';
use Client;
use Httpd;
use JSON::PP;
use Test::More;

my $httpd = Httpd->start(
    files => { 'htdocs/app/index.html' => 'the application' },
    conf  => <<'END',
WebSocketHistory kept/* 10
RewriteEngine on
RewriteRule ^/forced$ /ws?channel=forced [PT]
RewriteRule ^/ws$ /ws?channel=named
RewriteRule ^/app/(.*)$ /app/index.html?path=$1 [L]
<Location "/channels">
    WebSocketChannelHTTP publish
    WebSocketPublish all
</Location>
<Location "/app/events">
    WebSocketChannelHTTP publish subscribe
    WebSocketSubscribe all
    WebSocketPublish all
</Location>
<Location "/app/ws">
    WebSocketHandler ws_channel.so channel=%{arg:channel}
</Location>
<Location "/ws">
    WebSocketHandler ws_channel.so channel=%{arg:channel}
</Location>
END
);
my $url = 'http://127.0.0.1:' . $httpd->port;

sub curl { my ($path, @arg) = @_; return decode_json(`curl -s -m 60 @arg '$url$path'`) }
sub publish { my ($channel, $text) = @_; return curl("/channels/$channel", "-H 'Content-Type: text/plain' -d $text")->{published}[0] }

like(($httpd->get('/app/some/page'))[2], qr/the application/, 'the front controller answers other paths');
my $first = publish('kept/a', 'one')->{position};
publish('kept/a', 'two');
is_deeply([map { $_->{data} } @{ curl("/app/events/kept/a?after=$first&wait=60")->{messages} }],
    ['two'], 'a poll gets the arguments after= and wait= of its own URL');
is_deeply([map { $_->{channel} } @{ curl('/app/events/kept/a?channel=kept/b', '-d x')->{published} }],
    ['kept/a', 'kept/b'], 'a publisher gets the argument channel= of its own URL');

my $has = sub { my ($channel) = @_; Httpd::wait_for(sub { curl("/channels/$channel")->{channels}[0]{subscribers} }, $channel) };
my $c = Client->new($httpd, '/app/ws?channel=mine&after=all');
$has->('mine');
publish('mine', 'hello');
is(($c->message)[1], 'hello', 'a WebSocket gets the argument channel= of its own URL');
$c = Client->new($httpd, '/forced?channel=other');
$has->('forced');
publish('other', 'not this');
publish('forced', 'this');
is(($c->message)[1], 'this', 'a rule that rewrites the path sets the arguments');
$c = Client->new($httpd, '/ws?channel=other');
$has->('named');
publish('other', 'not this');
publish('named', 'this');
is(($c->message)[1], 'this', 'a rule that leaves the path unchanged sets the arguments');
$httpd->stop;
done_testing;
