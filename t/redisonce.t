# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# A message with an id, on a channel without a history, waits for the decision of an application. Until it is published, a
# repeated request on any machine must not be told that the message was published.

use strict;
use warnings;
use lib 't/lib';
use IO::Socket::INET;
use JSON::PP;
use Test::More;
use Client;
use Httpd;
use Redis qw(bus_httpd channel_http stop_bus_httpds subscribed_in_redis);

Httpd::once();
plan skip_all => 'the module was built without libcurl' if !-e "$Httpd::BUILD/mod_websocket_hook.so";

my $redis = Redis->start;
my $app   = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1') or die $!;
my ($one, $two) = map { bus_httpd('redis://127.0.0.1:' . $redis->port, conf => <<"END") } 1, 2;
LoadModule websocket_hook_module $Httpd::BUILD/mod_websocket_hook.so
WebSocketChannelHook publish http://127.0.0.1:@{[$app->sockport]}/ timeout=10min
END

# Accept the application's next request. Returns the socket.
sub asked {
    Httpd::ready($app) or Httpd::give_up('nobody asks the application');
    my $s = $app->accept;
    my $in = '';
    while ($in !~ /^Content-Length: (\d+)\r\n.*\r\n\r\n(.*)\z/ims || length $2 < $1) {
        Httpd::ready($s) && sysread $s, $in, 65536, length $in or Httpd::give_up('the request is incomplete');
    }
    return $s;
}

sub decide {
    my ($s, $status) = @_;
    syswrite $s, "HTTP/1.1 $status X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    close $s;
}

# Publish a message with the id "x" over a WebSocket, because a publisher over HTTP waits for ten seconds only.
sub publish {
    my ($httpd, $text) = @_;
    my $c = Client->new($httpd, '/ws?channel=news', protocol => 'channel.v1.json');
    $c->text(encode_json({ type => 'publish', channel => 'news', data => $text, idempotency_key => 'x', id => 1 }));
    return $c;
}

# Read the answer to the publication.
sub answer {
    my ($c) = @_;
    while (1) {
        my $o = decode_json(($c->message)[1]);
        return $o if $o->{type} =~ /^(?:published|error)\z/;
    }
}

sub post { my ($httpd, $text) = @_; return channel_http($httpd, 'POST', 'news?id=x', $text) }

my $reader = Client->new($two, '/ws?channel=news');
subscribed_in_redis('news', 1, $redis);

# ---- The application refuses a message ----

my $first = publish($one, 'refused');
my $asked = asked();
my ($status, $answer, $again) = post($two, 'meanwhile');
is($status, 503, 'while the application is asked about a message, another machine refuses a message with the same id');
ok($again, 'the refused message may be sent again');
decide($asked, 403);
is(answer($first)->{type}, 'error', 'the application refuses the first message');
Httpd::wait_for(sub { $redis->cli('KEYS', '*:d:*') !~ /:d:/ }, 'the claim to be released');
$first = publish($two, 'allowed');
decide(asked(), 204);
$answer = answer($first);
is($answer->{type}, 'published', 'after the refusal, a message with the same id is published');
ok(!$answer->{duplicate}, 'after the refusal, a message with the same id is no duplicate');
is(($reader->message)[1], 'allowed', 'a subscriber receives the published message');

Httpd::wait_for(sub { ($status, $answer) = post($one, 'twice'); $status == 200 }, 'Redis to know that the message is published');
ok($answer->{published}[0]{duplicate}, 'after the message is published, another machine says that it is a duplicate');
my ($key) = $redis->cli('KEYS', '*:d:*') =~ /(\S+:d:\S+)/;
cmp_ok($redis->cli('TTL', $key), '>', 120, 'the id of a published message is stored for ten minutes');
$redis->cli('DEL', $key);

# ---- The child process is killed ----

$first = publish($one, 'killed');
$asked = asked();
kill 'KILL', $one->children;
close $asked;
is((post($two, 'too early'))[0], 503, 'after the child that asks was killed, a message with the same id is refused');
cmp_ok($redis->cli('TTL', $key), '<=', 120, 'after the child that asks was killed, the id is in use for two minutes at most');
$redis->cli('PEXPIRE', $key, 1);
Httpd::wait_for(sub { $redis->cli('EXISTS', $key) =~ /0/ }, 'the claim to expire');
$first = publish($two, 'again');
decide(asked(), 204);
$answer = answer($first);
is($answer->{type}, 'published', 'when the claim of the killed child has expired, the message is published');
ok(!$answer->{duplicate}, 'when the claim of the killed child has expired, the message is no duplicate');
is(($reader->message)[1], 'again', 'a subscriber receives that message and no other');

stop_bus_httpds();
done_testing;
