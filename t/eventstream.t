# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests subscribers over HTTP: EventSource and long polling.

use strict;
use warnings;
use lib 't/lib';
use IO::Select;
use IO::Socket::INET;
use Socket qw(PF_INET SOL_SOCKET SO_RCVBUF SOCK_STREAM inet_aton pack_sockaddr_in);
use Test::More;
use Time::HiRes qw(sleep time);
use Httpd;
use JSON::PP;
use Program;

my $channels = <<'END';
<Location "/channels">
    WebSocketChannelHTTP publish
    WebSocketPublish all
</Location>
<Location "/events">
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe "%{WEBSOCKET_CHANNEL} != 'secret'"
    Header set X-Mark there
</Location>
<Location "/both">
    WebSocketChannelHTTP publish subscribe
    Require all granted
</Location>
<Location "/relayed">
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe all
    WebSocketRelay on
    Header set X-Mark there
</Location>
END
my $httpd = Httpd->start(
    modules  => ['headers', $Httpd::MPM eq 'prefork' ? () : 'http2'],
    files    => { 'htdocs/page.html' => "<!DOCTYPE html>\n" },
    conf     => "SendBufferSize 65536\nWebSocketHistory kept/* 5\n$channels",
    ssl_conf => $channels . ($Httpd::MPM eq 'prefork' ? '' : "Protocols h2 http/1.1\n")
);
my $url = 'http://127.0.0.1:' . $httpd->port;
my $tls = 'https://localhost:' . $httpd->ssl_port;

# Start curl, which keeps running. Returns a function that returns everything that curl has received so far.
my @running;

sub stream {
    my ($path, @arg) = @_;
    my $file = $httpd->root . '/stream.' . @running;
    my $at = $path =~ /^http/ ? $path : $url . $path;
    my $pid = fork // die $!;
    if (!$pid) {
        open STDOUT, '>', $file or die $!;
        exec 'curl', '-sSN', '-i', '-g', '-m', 20 * $Httpd::DEADLINE, '--cacert', Httpd::certificates() . '/ca.crt', @arg, $at;
    }
    push @running, $pid;
    return sub { Httpd::read_file($file) =~ s/\r\n/\n/gr };
}

sub events { return stream($_[0], '-H', 'Accept: text/event-stream', @_[1 .. $#_]) }

sub has {
    my ($stream, $match, $name) = @_;
    Httpd::wait_for(sub { $stream->() =~ $match }, $name);
    pass($name);
}

sub publish {
    my ($channel, $text, @arg) = @_;
    my $answer = decode_json(`curl -s -m $Httpd::DEADLINE $url/channels/$channel @arg --data-binary '$text'`);
    return $answer->{published}[0];
}

sub subscribers {
    my ($channel) = @_;
    return decode_json(`curl -s -m $Httpd::DEADLINE $url/channels/$channel`)->{channels}[0]{subscribers};
}

# ---- EventSource ----

my $plain = events('/events/news');
has($plain, qr/event: live\ndata:\n\n/, 'an event stream begins with the event live');
like($plain->(), qr{\AHTTP/1.1 200 OK\n}, 'an event stream has an ordinary response');
like($plain->(), qr{^Content-Type: text/event-stream$}m, 'an event stream has the type text/event-stream');
like($plain->(), qr{^Cache-Control: no-store$}m, 'an event stream must not be cached');
like($plain->(), qr{^X-Mark: there$}m, "an event stream has the headers of mod_headers");
unlike($plain->(), qr/^id:/m, 'a channel without a history sends no positions');
is(publish('news', 'hello', '-H "Content-Type: text/plain"')->{receivers}, 1, 'an event stream counts as a subscriber');
has($plain, qr/^data: hello\n\n/m, 'an event stream receives a message');
publish('news', "one\ntwo", '-H "Content-Type: text/plain"');
has($plain, qr/^data: one\ndata: two\n\n/m, 'an event stream receives a message of two lines');
publish('news', "\x01\x02", '-H "Content-Type: application/octet-stream"');
has($plain, qr/^event: binary\ndata: AQI=\n\n/m, 'an event stream receives binary messages in base64');
publish('news', '', '-X POST -H "Content-Type: text/plain"');
has($plain, qr/^data: \n\n/m, 'an event stream receives an empty message');

my $first = publish('kept/a', 'm1')->{position};
publish('kept/a', "m$_") for 2 .. 3;
my $kept = events('/events/kept/a', '-H', "Last-Event-ID: $first");
has($kept, qr/^event: live\n/m, 'a resumed event stream becomes live');
my ($epoch) = split /-/, $first;
like($kept->(), qr/\n\nid: $epoch-2\ndata: m2\n\nid: $epoch-3\ndata: m3\n\nid: $epoch-3\nevent: live\n/,
    'a resumed event stream first receives the missed messages in order, each with its position');
publish('kept/a', 'm4');
has($kept, qr/^id: $epoch-4\ndata: m4\n\n\z/m, 'a resumed event stream then receives new messages');
publish('kept/a', "m$_") for 5 .. 7;
my $late = events("/events/kept/a?after=$first");
has($late, qr/^event: live\n/m, 'an event stream that resumes too late becomes live');
like($late->(), qr/\n\nevent: gap\ndata:\n\nid: $epoch-3\ndata: m3\n\n/, 'an event stream that resumes too late receives a gap before its messages');
has(events("$tls/events/kept/a?after=all", '--http1.1'), qr/data: m7\n\nid: $epoch-7\nevent: live/, 'an event stream over TLS receives the history');
has(events('/both/kept/a?after=all'), qr/data: m7/, 'an event stream in a Location that also permits publishing receives the history');

# ---- Long polling ----

sub poll {
    my ($path) = @_;
    my ($head, $body) = split /\n\n/, `curl -s -i -g -m $Httpd::DEADLINE '$url$path'` =~ s/\r\n/\n/gr, 2;
    return (decode_json($body), $head);
}

my ($answer, $head) = poll("/events/kept/a?after=$epoch-5");
is_deeply([map { $_->{data} } @{ $answer->{messages} }], ['m6', 'm7'], 'a poll is answered immediately with the missed messages');
is($answer->{position}, "$epoch-7", 'the answer to a poll has the position for the next poll');
ok(!$answer->{gap}, 'the answer to a poll has no gap if no message is missing');
like($head, qr{^Content-Type: application/json$}m, 'the answer to a poll is JSON');
like($head, qr{^X-Mark: there$}m, "the answer to a poll has the headers of mod_headers");
($answer) = poll("/events/kept/a?after=$first");
ok($answer->{gap}, 'the answer to a poll from an old position has a gap');
my $poll = stream("/events/kept/a?after=$epoch-7");
Httpd::wait_for(sub { subscribers('kept/a') >= 5 }, 'the poll to wait');
publish('kept/a', 'm8');
has($poll, qr/"messages":\[\{"data":"m8","position":"$epoch-8"\}\]/, 'a waiting poll is answered when a message is published');
($answer) = poll("/events/kept/a?after=$epoch-8&wait=1");
is_deeply($answer, { channel => 'kept/a', messages => [], gap => JSON::PP::false, position => "$epoch-8" },
    'a waiting poll is answered without messages when its time is over');
Httpd::write_file($httpd->root . '/large', 'x' x 600_000);
publish('kept/large', '@' . $httpd->root . '/large', '-H "Content-Type: text/plain"') for 1 .. 2;
my $unread = IO::Socket::INET->new(Proto => 'tcp', Type => SOCK_STREAM) or die $@;
setsockopt $unread, SOL_SOCKET, SO_RCVBUF, 4096 or die $!;
connect $unread, pack_sockaddr_in($httpd->port, inet_aton('127.0.0.1')) or die $!;
syswrite $unread, "GET /events/kept/large,left?after=all,- HTTP/1.1\r\nHost: localhost\r\n\r\n";
IO::Select->new($unread)->can_read($Httpd::DEADLINE) or die 'no answer to the poll of kept/large';
is(publish($_, 'x')->{receivers}, 0, "a poll that has an answer does not count as a receiver of $_ while its client reads") for qw(kept/large left);
close $unread;
has(stream("/both/kept/a?after=all"), qr/"m8"/, 'a poll in a Location that also permits publishing is answered');

# ---- Several channels ----

my $one = publish('kept/m1', 'a1')->{position};
my $two = publish('kept/m2', 'b1')->{position};
my $both = events("/events/kept/m1,kept/m2?channel=plain&after=$one,all,-");
has($both, qr/event: live\ndata: \{"channel":"$_"[,}]/, "a stream of several channels: $_ becomes live") for qw(kept/m1 kept/m2 plain);
like($both->(), qr/^id: $one,$two,-\ndata: \{"channel":"kept\/m2","data":"b1","position":"$two"\}$/m, 'a stream of several channels: a kept message has its channel');
unlike($both->(), qr/"a1"/, 'a stream of several channels: each channel starts from its own position');
my $next = publish('kept/m1', "a2\n")->{position};
has($both, qr/^id: $next,$two,-\ndata: \{"channel":"kept\/m1","data":"a2\\u000a","position":"$next"\}\n\n/m, 'a stream of several channels: the id has the positions of all channels');
publish('plain', "\x01", '-H "Content-Type: application/octet-stream"');
has($both, qr/^data: \{"channel":"plain","data":"AQ==","encoding":"base64"\}$/m, 'a stream of several channels: a binary message is in base64');
my $again = events('/events/kept/m1,kept/m2?channel=plain', '-H', "Last-Event-ID: $one,$two,-");
has($again, qr/^id: $next,$two,-\ndata: \{"channel":"kept\/m1","data":"a2/m, 'a stream of several channels resumes after the id that the client sends');
has($again, qr/event: live\ndata: \{"channel":"$_"[,}]/, "a resumed stream of several channels: $_ becomes live") for qw(kept/m1 kept/m2 plain);
unlike($again->(), qr/"b1"/, 'a resumed stream of several channels: no message is sent twice');
($answer) = poll("/events/kept/m1,kept/m2?after=$one,$two");
is_deeply($answer, { gaps => [], gap => JSON::PP::false, position => "$next,$two",
        messages => [{ channel => 'kept/m1', data => "a2\n", position => $next }] }, 'a poll of several channels is answered with their messages');
($answer) = poll("/events/kept/a,kept/m2?after=$first,$two");
is_deeply($answer->{gaps}, ['kept/a'], 'a poll of several channels names the channel that has a gap');
kill 'KILL', pop @running for 1, 2;

# ---- Relayed connections ----

my $relayed = events("/relayed/kept/a?after=$epoch-7");
has($relayed, qr/data: m8\n\nid: $epoch-8\nevent: live/, 'a relayed event stream receives the history');
like($relayed->(), qr{^X-Mark: there$}m, "a relayed event stream has the headers of mod_headers");
($answer) = poll("/relayed/kept/a?after=$epoch-7");
is($answer->{messages}[0]{data}, 'm8', 'a relayed poll is answered');
SKIP: {
    skip 'mod_http2 is inactive with the prefork MPM', 2 if $Httpd::MPM eq 'prefork';
    my $h2 = events("$tls/relayed/kept/a?after=$epoch-7", '--http2');
    has($h2, qr/data: m8\n\nid: $epoch-8\nevent: live/, 'an event stream over HTTP/2 receives the history');
    like($h2->(), qr{\AHTTP/2 200}, 'the response of that stream is HTTP/2');
    kill 'KILL', pop @running;
}
kill 'KILL', pop @running;

# ---- Chromium ----

SKIP: {
    skip 'the test with Chromium runs only with event and without a sanitizer', 1 if $Httpd::MPM ne 'event' || $ENV{WS_TEST_PRELOAD};
    my $begin = publish('kept/chromium', 'm1')->{position};
    publish('kept/chromium', "m$_") for 2, 3;
    Program::tap('EventSource in Chromium', 'node', 't/clients/events-page.js', "$url/page.html",
        "$url/events/kept/chromium", "$url/channels/kept/chromium", $begin);
}

# ---- A poll with a long response and a slow client ----

# The response takes longer than the 30 s that a closing handshake may take.
if ($Httpd::MPM eq 'event') {
    Httpd::write_file($httpd->root . '/long', join '', map { chr(97 + rand 26) } 1 .. 1e6);
    publish('kept/long', '@' . $httpd->root . '/long');
    socket my $socket, PF_INET, SOCK_STREAM, 0 or die $!;
    setsockopt $socket, SOL_SOCKET, SO_RCVBUF, 8192 or die $!;
    connect $socket, pack_sockaddr_in($httpd->port, inet_aton('127.0.0.1')) or die $!;
    syswrite $socket, "GET /events/kept/long?after=all HTTP/1.1\r\nHost: localhost\r\n\r\n";
    my ($began, $answer) = (time, '');
    while (Httpd::ready($socket) && sysread $socket, $answer, time - $began < 40 ? 16384 : 1 << 20, length $answer) {
        sleep 0.7 if time - $began < 40;
    }
    my ($length) = $answer =~ /^Content-Length: (\d+)\r$/m;
    is(length($answer =~ s/.*?\r\n\r\n//sr), $length, 'a client that reads a response to a poll for 40 s gets all of it');
}

# ---- Errors ----

for (['/events/a?channel=a', 400], ['/events/a,,b', 400], ['/events/a,b?after=1-1', 400], ['/events/a?after=1-1,1-1', 400], ['/events/a,b?after=1-1,', 400], ['/events/a,secret', 403], ['/events', 400], (map { ["/events/a?$_", 400] }
    qw(after=now after=%zz after=1-2x after=0x1-1 after=-1-1 wait=abc wait=5sec wait=-1 wait=1h30min), 'wait=+5'), ['/events/secret', 403]) {
    my ($path, $status) = @$_;
    is(($httpd->get($path, 'Accept: text/event-stream'))[0], $status, "$path is answered with $status");
}
is(($httpd->request('POST', '/events/a', 'Content-Length: 0'))[0], 405, 'a POST to a Location that only permits subscribing is refused');

# ---- The end ----

kill 'KILL', pop @running for 1 .. 3;
kill 'KILL', $running[0];
Httpd::wait_for(sub { subscribers('news') == 0 }, 'the server to notice that a client has disconnected');
pass('a client that disconnects is no longer a subscriber');
$httpd->graceful;
publish('kept/a', 'm9');
has($kept, qr/^data: m9\n/m, 'an event stream continues after a reload');
$httpd->terminate;
waitpid $running[1], 0;
is($? >> 8, 0, 'when httpd stops, an event stream ends cleanly');
Httpd::wait_for(sub { !kill 0, $httpd->pid }, 'the end');
kill 'KILL', @running;

done_testing();
