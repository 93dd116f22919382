# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# WebSocketChannelHTTP: clients publish messages, count subscribers and clear histories over HTTP.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Client qw(TEXT BINARY);
use Httpd;
use JSON::PP;

my $httpd = Httpd->start(conf => <<'END');
WebSocketHistory kept/* 100
<Location "/ws">
    WebSocketHandler ws_channel.so channel=%{arg:channel} presence=on
</Location>
<Location "/plain">
    WebSocketHandler ws_channel.so channel=%{arg:channel}
</Location>
<Location "/json">
    WebSocketHandler ws_channel.so channel=%{arg:channel} publish=on
</Location>
<Location "/channels">
    WebSocketChannelHTTP publish
    WebSocketMaxMessageSize 100
    WebSocketPublish "%{WEBSOCKET_CHANNEL} != 'secret'"
</Location>
<Location "/closed">
    WebSocketChannelHTTP publish
    Require all denied
</Location>
<Location "/user">
    WebSocketChannelHTTP publish
    AuthType Basic
    AuthName publishers
    AuthUserFile users
    Require valid-user
</Location>
END

# Send a request with curl. Returns (status, answer, headers).
sub curl {
    my ($path, @arg) = @_;
    my $url = 'http://127.0.0.1:' . $httpd->port . $path;
    open my $pipe, '-|', 'curl', '-s', '-g', '-m', $Httpd::DEADLINE, '-D', '-', @arg, $url or die $!;
    my $all = do { local $/; <$pipe> } // '';
    close $pipe;
    $all =~ s{\AHTTP/1.1 100 .*?\r\n\r\n}{}s;
    my ($head, $body) = split /\r\n\r\n/, $all, 2;
    my ($status) = $head =~ m{^HTTP/1.1 (\d+)};
    return ($status, eval { decode_json($body) }, $head);
}

my $c = Client->new($httpd, '/plain?channel=news');
Httpd::wait_for(sub { (curl('/channels/news'))[1]{channels}[0]{subscribers} == 1 }, 'the subscriber');

my ($status, $answer, $head) = curl('/channels/news', '-d', 'hello');
is($status, 200, 'a message is published');
is_deeply($answer, { published => [{ channel => 'news', receivers => 1 }] }, 'the answer has the number of receivers');
like($head, qr{^Content-Type: application/json\r?$}m, 'the answer is JSON');
is_deeply([$c->message], [TEXT, 'hello'], 'the subscriber receives the message');
curl('/channels/news', '-H', 'Content-Type: application/octet-stream', '--data-binary', "\x01\xff");
is_deeply([$c->message], [BINARY, "\x01\xff"], 'application/octet-stream is published as a binary message');
curl('/channels/news', '-H', 'Content-Type: application/json; charset=UTF-8', '-d', '{"a":1}');
is_deeply([$c->message], [TEXT, '{"a":1}'], 'application/json is published as a text');
curl('/channels/news', '-H', 'Content-Type:', '--data-binary', 'x');
is_deeply([$c->message], [BINARY, 'x'], 'a body without a type is published as a binary message');
curl('/channels/news', '-H', 'Content-Type: text/plain', '-H', 'Transfer-Encoding: chunked', '-d', 'chunked');
is_deeply([$c->message], [TEXT, 'chunked'], 'a body in chunks is published');
curl('/channels/news', '-H', 'Content-Type: text/plain', '-X', 'POST');
is_deeply([$c->message], [TEXT, ''], 'an empty body is published');

# Publish to several channels, and use the positions in the answer.
my $d = Client->new($httpd, '/plain?channel=kept/a');
Httpd::wait_for(sub { (curl('/channels/kept/a'))[1]{channels}[0]{subscribers} == 1 }, 'the other subscriber');
($status, $answer) = curl('/channels/kept/a?channel=news&channel=kept%2Fb', '-d', 'all');
is($status, 200, 'a message is published to several channels');
my %by = map { $_->{channel} => $_ } @{ $answer->{published} };
is_deeply([sort keys %by], ['kept/a', 'kept/b', 'news'], 'the answer has an entry for each channel');
like($by{'kept/a'}{position}, qr/^[0-9a-f]+-1$/, 'the entry of a channel with a history has a position');
ok(!exists $by{news}{position}, 'the entry of a channel without a history has no position');
is($by{'kept/a'}{receivers}, 1, 'the entry of a channel has the number of receivers');
is(($c->message)[1], 'all', 'a subscriber of the first channel receives the message');
is(($d->message)[1], 'all', 'a subscriber of the second channel receives the message');
curl('/channels/kept/a', '-d', 'more');
my $e = Client->new($httpd, '/plain?channel=kept/a&after=' . $by{'kept/a'}{position});
is(($e->message)[1], 'more', 'a subscriber can resume from the position in the answer');

# ---- Published once ----

for my $channel ('once', 'kept/once') {
    my $g = Client->new($httpd, "/plain?channel=$channel");
    Httpd::wait_for(sub { (curl("/channels/$channel"))[1]{channels}[0]{subscribers} == 1 }, 'the reader');
    # Each request uses another connection, which any child may accept.
    my @answers = map { [curl("/channels/$channel", '-H', 'Idempotency-Key: "a 1"', '-d', 'once')] } 1 .. 8;
    is_deeply([map { $_->[0] } @answers], [(200) x 8], "$channel: a message with an id is accepted eight times");
    my @first = map { $_->[1]{published}[0] } @answers;
    is(scalar(grep { $_->{duplicate} } @first), 7, "$channel: seven of the eight answers say that it is a duplicate");
    is_deeply([map { $_->{position} } @first], [($first[0]{position}) x 8], "$channel: all answers have the same position");
    is_deeply([map { $_->{receivers} } @first], [(1) x 8], "$channel: all answers have the same number of receivers");
    curl("/channels/$channel?id=a+1", '-d', 'by another way');
    curl("/channels/$channel?id=b", '-d', 'another');
    is(($g->message)[1], 'once', "$channel: the message arrives");
    is(($g->message)[1], 'another', "$channel: the message does not arrive again");

    # Send the same message many times simultaneously. Some requests may be refused, because the first one is in progress.
    my @at_once = map { open my $p, '-|', 'curl', '-s', '-m', 50, '-H', 'Idempotency-Key: c', '-d', 'race',
            'http://127.0.0.1:' . $httpd->port . "/channels/$channel" or die $!; $p } 1 .. 10;
    my @told = map { my $p = $_; decode_json(do { local $/; <$p> })->{published}[0] } @at_once;
    is(scalar(grep { !$_->{duplicate} && !$_->{error} } @told), 1, "$channel: one of ten simultaneous requests with the same id is the first");
    curl("/channels/$channel", '-d', 'behind');
    is(($g->message)[1], 'race', "$channel: the message of the simultaneous requests arrives");
    is(($g->message)[1], 'behind', "$channel: the message of the simultaneous requests does not arrive again");
    $g->close;
}
{
    my $g = Client->new($httpd, '/json?channel=once', protocol => 'channel.v1.json');
    my $say = sub {
        $g->text(encode_json({ type => 'publish', channel => 'once', data => 'json', id => $_[0], idempotency_key => $_[1] }));
        my $o;
        do { $o = decode_json(($g->message)[1]) } until defined $o->{id};
        return $o;
    };
    ok(!$say->(1, 'json')->{duplicate}, 'a message with an idempotency_key is published over WebSocket');
    ok($say->(2, 'json')->{duplicate}, 'a message with the same idempotency_key is a duplicate');
    ok($say->(3, 'a 1')->{duplicate}, 'an idempotency_key that was used over HTTP is a duplicate');
    is($say->(4, '')->{error}, 'no such channel', 'an empty idempotency_key is an error');
    $g->close;
}
ok((curl('/channels/once?id=%25', '-d', 'x'))[0] == 200 && (curl('/channels/once?id=%25', '-d', 'x'))[1]{published}[0]{duplicate},
    'a message is published once with the id %');
is((curl('/channels/once?key=%25', '-d', 'x'))[0], 200, 'a message is published with the key %');
for ('', 'x' x 256) {
    my ($status, $answer) = curl("/channels/once?id=$_", '-d', 'x');
    is($status, 400, 'a publication with an invalid id is refused: ' . substr $_, 0, 4);
    like($answer->{error}, qr/an id/, 'the error is about the id');
}
is((curl('/channels/once?channel=a%20b&id=x', '-d', 'x'))[0], 400, 'a publication to an invalid channel is refused');
ok(!(curl('/channels/once?id=x', '-d', 'x'))[1]{published}[0]{duplicate}, 'a refused publication does not use up its id');

# Subscribe again from an earlier position: the client gets the stored messages first, then new ones.
{
    my $g = Client->new($httpd, '/plain?channel=kept/g', protocol => 'channel.v1.json');
    is(decode_json(($g->message)[1])->{type}, 'subscribed', 'a client is subscribed');
    my @positions = map { (curl('/channels/kept/g', '-d', "g$_"))[1]{published}[0]{position} } 1 .. 3;
    decode_json(($g->message)[1]) for 1 .. 3;
    $g->text(encode_json({ type => 'subscribe', channel => 'kept/g', after => $positions[0], id => 'again' }));
    my @got = map { decode_json(($g->message)[1]) } 1 .. 3;
    is(join(' ', map { $_->{data} // $_->{type} } @got), 'g2 g3 subscribed', 'a second subscription from an earlier position sends the messages from there');
    is($got[2]{id}, 'again', 'the answer to the second subscription has its id');
    $g->text(encode_json({ type => 'subscribe', channel => 'kept/g', id => 'live' }));
    is_deeply(decode_json(($g->message)[1]),
        { type => 'subscribed', channel => 'kept/g', id => 'live', position => $positions[2] }, 'a third subscription without a position sends no messages');
    curl('/channels/kept/g', '-d', 'g4');
    is(decode_json(($g->message)[1])->{data}, 'g4', 'after three subscriptions, a new message arrives once');
    $g->text(encode_json({ type => 'subscribe', channel => 'kept/g', after => 'nothing', id => 'wrong' }));
    is(decode_json(($g->message)[1])->{error}, 'no such position', 'a subscription with an invalid position is refused');
    curl('/channels/kept/g', '-d', 'g5');
    is(decode_json(($g->message)[1])->{data}, 'g5', 'after the refused subscription, messages still arrive');
    $g->close;
}

# Presence.
my $m = Client->new($httpd, '/ws?channel=room&name=Ann');
my $here;
Httpd::wait_for(
    sub {
        $here = (curl('/channels/room'))[1]{channels}[0];
        @{ $here->{members} || [] } == 1;
    },
    'the member');
is($here->{members}[0]{data}, 'Ann', 'a GET of a channel lists its members');
is($here->{subscribers}, 1, 'a GET of a channel has the number of subscribers');
ok($here->{complete}, 'a GET of a channel is complete');

# Clearing.
($status, $answer) = curl('/channels/kept/a', '-X', 'DELETE');
is($status, 200, 'a DELETE of a channel clears its history');
is_deeply($answer, { cleared => [{ channel => 'kept/a' }] }, 'the answer to a DELETE has the channel');
my $lost = Client->new($httpd, '/plain?channel=kept/a&after=1-2x');
$lost->expect_close(1008, 'a client with an invalid position is closed with 1008');
my $f = Client->new($httpd, '/plain?channel=kept/a&after=all');
curl('/channels/kept/a', '-d', 'after');
is(($f->message)[1], 'after', 'after a DELETE, the history has only later messages');

# Errors.
my $long = 'x' x 101;
for (
    ['no channel',       400, qr/no channel/,   '/channels',              '-d', 'x'],
    ['an invalid name',       400, qr/invalid channel name/,   '/channels/a%20b',        '-d', 'x'],
    (map { ["$_->[0] that cannot be decoded", 400, qr/^the argument $_->[0] cannot be decoded: write % as %25, and no %00$/, "/channels/a?$_->[1]", '-d', 'x'] }
        ['channel', 'channel=b%2'], ['id', 'id=%zz'], ['key', 'ttl=5&key=50%'], ['event', 'event=a%00b'], ['note', 'note=%']),
    ['an invalid name among several',   400, qr/invalid channel name/,   '/channels/a?channel=%3C', '-d', 'x'],
    ['a list of too many channels',         400, qr/more than 100 channels/, '/channels/a?' . join('&', map {"channel=c$_"} 1 .. 100), '-d', 'x'],
    ['a text that is not UTF-8',        400, qr/must be UTF-8/, '/channels/a', '--data-binary', "\xff"],
    ['another encoding', 415, qr/UTF-8/,        '/channels/a', '-H', 'Content-Type: text/plain; charset=latin1', '-d', 'x'],
    ['a large body',        413, qr/larger/,       '/channels/a', '-d', $long],
    ['a large body in chunks', 413, qr/larger/,   '/channels/a', '-H', 'Transfer-Encoding: chunked', '-d', $long],
    ['an unknown method',         405, qr/method not allowed/, '/channels/a', '-X', 'PUT', '-d', 'x'],
    ['no history',       404, qr/no history/,   '/channels/a', '-X', 'DELETE'],
    ['a channel that is not allowed',      403, qr/WebSocketPublish/, '/channels/secret', '-d', 'x'],
    ['a channel that is not allowed among several',  403, qr/WebSocketPublish/, '/channels/a?channel=secret', '-d', 'x'],
    ['a page of another origin',   403, qr/WebSocketOrigin/, '/channels/a', '-H', 'Origin: http://evil.example', '-d', 'x'])
{
    my ($what, $expected, $why, @request) = @$_;
    my ($got, $text, $answer_head) = curl(@request);
    is($got, $expected, "$what is answered with $expected");
    like($text->{error}, $why, "$what: the error is \"$text->{error}\"");
    like($answer_head, qr/^Allow: GET, HEAD, POST, DELETE, OPTIONS\r?$/m, "$what: the answer lists the allowed methods") if $expected == 405;
}
is((curl('/closed/a', '-d', 'x'))[0], 403, "Require refuses a publication");
is((curl('/user/a', '-d', 'x'))[0], 401, 'AuthType refuses a publication without a password');
like($httpd->error_log, qr/channels: refused with 413/, 'the log has a line for a refused publication');
is(($httpd->get('/index.html'))[0], 200, 'a request for another URL gets the page at that URL');

# ---- The examples of docs/channels.md ----

{
    my ($text) = Httpd::read_file('docs/channels.md') =~ /\A(.*)\z/s;
    my $address = 'http://127.0.0.1:' . $httpd->port;
    my $g = Client->new($httpd, '/plain?channel=chat/lobby');
    Httpd::wait_for(sub { (curl('/channels/chat/lobby'))[1]{channels}[0]{subscribers} == 1 }, 'the reader');
    my %example;    # keep the first listing of each language
    $example{$1} //= $2 while $text =~ /^```(sh|python|php)\n(.*?)^```$/msg;
    is_deeply([sort keys %example], [qw(php python sh)], 'docs/channels.md has an example in each language');
    s{https?://www\.example\.org}{$address}g for values %example;
    my ($curl) = $example{sh} =~ /^(curl .*?lobby)$/ms;
    my $output = `$curl 2>/dev/null`;
    is(decode_json($output)->{published}[0]{receivers}, 1, 'the example with curl publishes');
    is(($g->message)[1], 'Hello', 'the message of the example with curl arrives');
    Httpd::write_file($httpd->root . '/publish.py', $example{python});
    $output = `/usr/bin/python3 @{[$httpd->root]}/publish.py 2>&1`;
    like($output, qr/^1\n/, 'the example in Python publishes');
    is(($g->message)[1], '{"from": "Python"}', 'the message of the example in Python arrives');
}

# ---- The directive ----

for (
    ['WebSocketChannelHTTP publish', qr/is allowed only in a <Location> without wildcards/],
    ['<LocationMatch "x"> WebSocketChannelHTTP publish', qr/without wildcards/],
    ['<Location "/x"> WebSocketChannelHTTP', qr/takes publish, subscribe, or both/],
    ['<Location "/x"> WebSocketChannelHTTP publish off', qr/invalid value "off"/],
    ['WebSocketHistory * 0', qr/invalid value "0": expected a whole number from 1 to 1000000, of messages that are kept; or off/],
    ['WebSocketHistory * 5 never', qr/invalid value "never": expected an interval from 1s to 365d, .*, as the time that messages are kept/],
    ['WebSocketHistory * off 5s', qr/remove the argument after off/],
    ['WebSocketHistorySize 5', qr/expected a size from 1M to 1024G/],
    (map { ["WebSocketHistory * 5 $_", qr/invalid value "\Q$_\E": expected an interval from 1s to 365d/] } qw(366d 1h30min 20sec 999ms 1m)),
    ['<Location "/x"> WebSocketHistory * 5', qr/not allowed in <Location>/])
{
    my ($line, $why) = @$_;
    my ($section, $inside) = $line =~ /^(<\w+ \S+>) (.*)/;
    my ($name) = ($section // '') =~ /^<(\w+)/;
    my ($right, $text) = Httpd->check($section ? "$section\n$inside\n</$name>\n" : "$line\n");
    ok(!$right, "httpd -t refuses: $line");
    like($text, $why, "the error says what is wrong in: $line");
}

done_testing();
