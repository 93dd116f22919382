# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests the protocols of channels: channel.v1.json, and publishing, reading and subscribing over HTTP. The tables in
# docs/channel-protocol.md refer to the subtests by name.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use JSON::PP;
use Httpd;
use Client;

my $httpd = Httpd->start(
    children => 2,
    conf     => <<'END',
SendBufferSize 65536
WebSocketHistory kept/* 10
WebSocketHistory long/* 1000
<Location "/live">
    WebSocketHandler ws_channel.so
    WebSocketSubscribe "%{WEBSOCKET_CHANNEL} != 'secret' && %{WEBSOCKET_CHANNEL} !~ m#^closed/#"
    WebSocketPublish "%{WEBSOCKET_CHANNEL} != 'secret'"
    WebSocketWildcards news/* closed/*
</Location>
<Location "/beat">
    WebSocketHandler ws_channel.so channel=quiet heartbeat=1s beat=still-here
</Location>
<Location "/plain">
    WebSocketHandler ws_channel.so channel=%{arg:channel}
</Location>
<Location "/slow">
    WebSocketHandler ws_channel.so channel=slow/key
    WebSocketSlowReader keep-latest
    WebSocketSendQueue 1M
    WebSocketPing off
</Location>
<Location "/channels">
    WebSocketChannelHTTP publish
    WebSocketPublish "%{WEBSOCKET_CHANNEL} != 'secret'"
</Location>
<Location "/events">
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe "%{WEBSOCKET_CHANNEL} != 'secret'"
    WebSocketWildcards news/*
</Location>
END
);

my $json = JSON::PP->new->utf8->canonical;

sub connected { return Client->new($httpd, $_[0] // '/live', protocol => 'channel.v1.json') }

sub next_of {
    my ($c) = @_;
    return decode_json(($c->message)[1]);
}

# Send a request. Returns all events up to the answer with the request's id.
sub ask {
    my ($c, %request) = @_;
    my @got;
    $c->text($json->encode(\%request));
    do { push @got, next_of($c) } while ($got[-1]{id} // '') ne $request{id};
    return @got;
}

sub curl {
    my ($path, @arg) = @_;
    my $out = '';
    open my $pipe, '-|', 'curl', '-sS', '-g', '-m', $Httpd::DEADLINE, '-w', '\n%{http_code}', @arg,
        'http://127.0.0.1:' . $httpd->port . $path or die $!;
    { local $/; $out = <$pipe>; }
    my ($body, $status) = $out =~ /\A(.*)\n(\d+)\z/s;
    return ($status, $body =~ /^\{/ ? decode_json($body) : { text => $body });
}

sub published { return (curl("/channels/$_[0]", '--data-binary', $_[1], '-H', 'Content-Type: text/plain', @_[2 .. $#_]))[1]{published}[0] }

subtest 'ping is answered' => sub {
    my $c = connected();
    is_deeply((ask($c, type => 'ping', id => 'p'))[-1], { type => 'pong', id => 'p' }, 'a ping with an id is answered with the id');
    $c->text('{"type":"ping"}');
    is_deeply(next_of($c), { type => 'pong' }, 'the answer to a ping without an id has no id');
    $c->close;
};

subtest 'every answer has the id of its request' => sub {
    my $c = connected();
    my @requests = (
        [subscribe => 'subscribed', channel => 'kept/ids'],
        [publish => 'published', channel => 'kept/ids', data => 'x'],
        [presence => 'presence', channel => 'kept/ids'],
        [history => 'history', channel => 'kept/ids'],
        [ping => 'pong'],
        [unsubscribe => 'unsubscribed', channel => 'kept/ids'],
        [subscribe => 'error', channel => 'secret'],
        [subscribe => 'error', channel => 'no channel'],
        [subscribe => 'error', channel => 'a', after => 7],
        [publish => 'error', channel => 'secret', data => 'x'],
        [publish => 'error', channel => 'a', data => 'x', ttl => 'soon'],
        [publish => 'error', channel => 'a', data => 'x', event => 'gap'],
        [presence => 'error', channel => 'a'],
        [history => 'error', channel => 'a'],
        [history => 'error', channel => 'kept/ids', before => 'x'],
        [unsubscribe => 'error', channel => 'a'],
        [dance => 'error', channel => 'a'],
        ['subscribe' => 'error']);
    my $id = 0;
    for (@requests) {
        my ($type, $answer, %more) = @$_;
        my ($got) = (ask($c, type => $type, id => ++$id % 2 ? $id : "t$id", %more))[-1];
        is($got->{type}, $answer, "$type: $answer" . ($got->{error} ? ", $got->{error}" : ''));
    }
    $c->close;
};

subtest 'a member of another type' => sub {
    my $c = connected();
    ask($c, type => 'subscribe', channel => 'kinds', id => 's');
    my ($text, $flag) = ('must be a string', 'must be true or false');
    for (
        [publish => idempotency_key => 42, $text], [publish => key => 1, $text], [publish => event => undef, $text],
        [publish => channel => ['kinds'], $text], [subscribe => member => 7, $text], [subscribe => token => {}, $text],
        [subscribe => watch => 1, $flag], [subscribe => snapshot => 'true', $flag], [refresh => channel => 5, $text, token => 'x'])
    {
        my ($type, $member, $value, $error, %more) = @$_;
        my ($answer, @more) = ask($c, type => $type, channel => 'kinds', data => 'x', %more, id => 'k', $member => $value);
        is($answer->{error}, "$member $error", "$type: $member is refused: " . JSON::PP->new->allow_nonref->encode($value));
        is_deeply(\@more, [], "$type: nothing is published");
    }
    $c->text('{"type":"publish","channel":"kinds","data":"x","id":true}');
    is(next_of($c)->{error}, 'id must be a number or a string', 'an id of another type is refused');
    is((ask($c, type => 'publish', channel => 'kinds', data => 7, id => 'd'))[0]{data}, '7', 'data may have any type');
    $c->close;
};

subtest 'after: "last", last: N, after: "all"' => sub {
    published('kept/last', $_) for 1 .. 12;
    my $c = connected();
    my %expected = (
        last => [['12'], { after => 'last' }],
        three => [['10' .. '12'], { last => 3 }],
        more => [['3' .. '12'], { last => 100 }],
        all => [['3' .. '12'], { after => 'all' }]);
    for my $id (sort keys %expected) {
        my ($messages, $how) = @{ $expected{$id} };
        my @got = ask($c, type => 'subscribe', channel => 'kept/last', id => $id, %$how);
        is_deeply([map { $_->{data} } grep { $_->{type} eq 'message' } @got], $messages, $json->encode($how));
        is_deeply([grep { $_->{type} eq 'gap' } @got], [], 'no gap is reported');
        $c->text('{"type":"unsubscribe","channel":"kept/last"}');
        next_of($c);
    }
    is((ask($c, type => 'subscribe', channel => 'kept/none', after => 'last', id => 'n'))[-1]{type}, 'subscribed', 'a subscription to a channel with an empty history succeeds without messages');
    is((ask($c, type => 'subscribe', channel => 'other', last => 5, id => 'o'))[0]{type}, 'subscribed', 'a subscription to a channel without a history succeeds without messages');
    for my $wrong ({ last => 0 }, { last => -1 }, { last => 1.5 }, { last => 'x' }, { last => 1, after => 'all' }) {
        is((ask($c, type => 'subscribe', channel => 'kept/w', id => 'w', %$wrong))[-1]{error}, 'no such position', 'a subscription from an invalid position is refused: ' . $json->encode($wrong));
    }
    $c->close;
    for (['after=x', 'after= takes a position, all or last'], ['last=x', 'last= takes a whole number from 1 to 1000000'],
        ['last=0', 'last= takes a whole number from 1 to 1000000'], ['after=all&last=5', 'after= and last= exclude each other: remove one'])
    {
        my ($query, $reason) = @$_;
        my $wrong = Client->new($httpd, "/plain?channel=kept/last&$query");
        $wrong->expect_close(1008, "a client with an invalid query is closed with 1008: $query");
        is($wrong->{reason}, $reason, "the Close frame of $query has the reason");
    }
    for (['after=last', '12'], ['last=2', '11']) {
        my ($query, $first) = @$_;
        my $plain = Client->new($httpd, "/plain?channel=kept/last&$query");
        is(($plain->message)[1], $first, "a client without subprotocol gets the right first message: $query");
        $plain->close;
    }
};

subtest 'history, page by page' => sub {
    published('long/h', "m$_") for 1 .. 25;
    my $c = connected();
    my (@all, $before);
    for my $page (1 .. 3) {
        my ($h) = (ask($c, type => 'history', channel => 'long/h', limit => 10, id => "h$page", $before ? (before => $before) : ()))[-1];
        unshift @all, map { $_->{data} } @{ $h->{messages} };
        $before = $h->{messages}[0]{position};
        is(!!$h->{more}, $page < 3, "page $page: " . ($page < 3 ? 'there is more' : 'there is no more'));
    }
    is_deeply(\@all, [map {"m$_"} 1 .. 25], 'the pages together have all messages in order');
    my (@http, $from);
    for my $page (1 .. 3) {
        my ($status, $h) = curl('/channels/long/h?history&limit=10' . ($from ? "&before=$from" : ''));
        is($status, 200, "HTTP: page $page is returned");
        unshift @http, map { $_->{data} } @{ $h->{messages} };
        $from = $h->{messages}[0]{position};
    }
    is_deeply(\@http, \@all, 'HTTP: the pages have the same messages');
    is((curl('/events/long/h?history'))[1]{messages}[-1]{data}, 'm25', 'HTTP: a section for subscribers also returns the history');
    is((curl('/channels/none?history'))[0], 404, 'HTTP: a channel without a history is answered with 404');
    is((curl('/events/secret?history'))[0], 403, 'HTTP: a channel that is not allowed is answered with 403');
    is((curl("/channels/long/h?$_"))[0], 400, "a request for a history with an invalid query is refused: $_") for 'history&before=x', 'history&limit=0', 'history&limit=1001', 'history&channel=b';
    my ($gone) = (ask($c, type => 'history', channel => 'long/h', before => '1-5', id => 'gone'))[-1];
    ok($gone->{gap} && !@{ $gone->{messages} }, 'a position that no longer exists gives a gap');
    $c->close;
};

subtest 'key, event, id and ttl of a message' => sub {
    my $c = connected();
    ask($c, type => 'subscribe', channel => 'kept/f', id => 's');
    ask($c, type => 'subscribe', channel => 'kept/g', id => 's');
    curl('/channels/kept/f?key=acme&event=price&ttl=60', '-d', '17');
    my $m = next_of($c);
    is_deeply([@$m{qw(data key event)}], ['17', 'acme', 'price'], 'a message published over HTTP has key and event');
    my ($answer) = grep { $_->{type} eq 'published' } my @got = ask($c, type => 'publish', channel => 'kept/f', data => { n => 18 }, key => 'acme', event => 'price', ttl => 60, id => 'x');
    my ($message) = grep { $_->{type} eq 'message' } @got;
    $message //= next_of($c);
    is_deeply([@$message{qw(data key event)}], ['{"n":18}', 'acme', 'price'], 'a message published over WebSocket has key and event');
    my ($h) = (ask($c, type => 'history', channel => 'kept/f', id => 'h'))[-1];
    is_deeply([map { "$_->{data} $_->{key} $_->{event}" } @{ $h->{messages} }], ['17 acme price', '{"n":18} acme price'], 'the messages in the history have key and event');
    published('kept/g', 'first');
    curl('/channels/kept/g?ttl=1', '-d', 'brief');
    published('kept/g', 'third');
    next_of($c) for 1 .. 3;
    Httpd::wait_for(
        sub { !grep { $_->{data} eq 'brief' } @{ (curl('/channels/kept/g?history'))[1]{messages} } }, 'a message to expire');
    my $late = connected();
    @got = ask($late, type => 'subscribe', channel => 'kept/g', after => 'all', id => 'l');
    is_deeply([map { $_->{data} // $_->{type} } @got], ['first', 'third', 'subscribed'], 'an expired message is not delivered, and causes no gap');
    is((curl("/channels/kept/f?$_", '-d', 'x'))[0], 400, "a publication with an invalid parameter is refused: $_") for 'key=', 'event=', 'event=gap', 'event=a%0Ab', 'ttl=0', 'ttl=x', 'key=%', 'id=' . 'x' x 256;
    for (['1h30min', qr/^ttl= takes an interval from 1s to 1000000000s, in seconds or with ms, s, min, h or d$/], ['0', qr/^ttl= takes an interval/],
        ['11575d', qr/^ttl= takes an interval/], ['1500ms', qr/^ttl= takes whole seconds$/])
    {
        my ($ttl, $error) = @$_;
        my ($status, $got) = curl("/channels/kept/f?ttl=$ttl", '-d', 'x');
        is($status, 400, "ttl=$ttl is refused");
        like($got->{error}, $error, "ttl=$ttl: the error says what is valid");
    }
    is((curl("/channels/kept/f?ttl=$_", '-d', 'x'))[0], 200, "ttl=$_ is accepted") for '2000ms', '400d', '1000000000';
    $_->close for $c, $late;
};

subtest 'bytes over WebSocket' => sub {
    my $c = connected();
    ask($c, type => 'subscribe', channel => 'bytes', id => 's');
    my @got = ask($c, type => 'publish', channel => 'bytes', data => 'AAEC/w==', encoding => 'base64', id => 'b');
    my ($m) = grep { $_->{type} eq 'message' } @got;
    $m //= next_of($c);
    is_deeply([@$m{qw(data encoding)}], ['AAEC/w==', 'base64'], 'base64 data arrives as base64');
    is((ask($c, type => 'publish', channel => 'bytes', data => 'x', encoding => 'hex', id => 'h'))[-1]{error}, 'no base64', 'another encoding is refused');
    is((ask($c, type => 'publish', channel => 'bytes', data => $_, encoding => 'base64', id => 'h'))[-1]{error}, 'no base64', "invalid base64 is refused: $_")
        for 'AAEC*/w==', 'AAEC/w== ', 'A';
    # A parser that uses C strings would truncate the message, the name, or the JSON text at U+0000.
    for my $o ({ type => 'publish', channel => 'bytes', data => "cut\0off" }, { type => 'publish', channel => "bytes\0x", data => 'x' },
        { type => 'publish', channel => 'bytes', data => ["a\0b"] }, { type => 'subscribe', channel => "bytes2\0" })
    {
        my ($answer, @more) = ask($c, %$o, id => 'nul');
        is($answer->{error}, 'a text has U+0000: send it as base64', "a request $o->{type} with a NUL is refused");
        is_deeply(\@more, [], 'no message arrives from the refused request');
    }
    is((ask($c, type => 'publish', channel => 'bytes', data => 'no\\u0000', id => 'b'))[0]{data}, 'no\\u0000', 'an escaped backslash is not a NUL');
    $c->close;
};

subtest 'several messages in one request (NDJSON)' => sub {
    my $c = connected();
    ask($c, type => 'subscribe', channel => $_, id => 's') for 'nd/a', 'nd/b', 'kept/nd';
    my @type = ('-H', 'Content-Type: application/x-ndjson');
    my $body = join '', map { $json->encode($_) . "\n" } (
        { channel => 'nd/a', data => 'one' },
        { channel => 'nd/b', data => [2], event => 'e', key => 'k' },
        { channel => 'kept/nd', data => 'AP8=', encoding => 'base64', id => 'nd-1', ttl => 60 });
    my ($status, $answer) = curl('/channels/', @type, '--data-binary', $body);
    is($status, 200, 'a request with three lines is accepted');
    is_deeply([sort { $a->[0] <=> $b->[0] } map { [$_->{line}, $_->{channel}] } @{ $answer->{published} }],
        [[1, 'nd/a'], [2, 'nd/b'], [3, 'kept/nd']], 'each line has an answer');
    my %got = map { $_->{channel} => $_ } map { next_of($c) } 1 .. 3;
    is_deeply([map { $got{$_}{data} } 'nd/a', 'nd/b', 'kept/nd'], ['one', '[2]', 'AP8='], "each line's message is delivered");
    is($got{'nd/b'}{event}, 'e', 'the fields of a line are delivered');
    (undef, $answer) = curl('/channels/kept/nd', @type, '--data-binary', '{"data":"x","id":"nd-1"}');
    ok($answer->{published}[0]{duplicate}, 'a message with an id is published once, and a line without a channel uses the channel in the path');
    for (
        ['{"channel":"nd/a","data":"cut\u0000off"}', 'U+0000', 400], ['{"channel":"nd/a\u0000b","data":"x"}', 'U+0000', 400],
        ['{"channel":"nd/a","data":"AP*=","encoding":"base64"}', 'is not base64', 400],
        ["{\"channel\":\"nd/a\",\"data\":\"x\"}\n{\"channel\":\"nd/a\"}", 'line 2', 400],
        ['[]', 'line 1', 400], ['{"channel":"no channel","data":1}', 'line 1', 400], ['{"data":1}', 'line 1', 400], ["\n\n", 'no message', 400],
        ['{"channel":"secret","data":1}', 'WebSocketPublish', 400], ['{"channel":"nd/a","data":1,"ttl":-1}', 'line 1: "ttl" must be a whole number of seconds from 1 to 1000000000', 400],
        ['{"channel":"nd/a","data":1,"ttl":1000000001}', 'line 1: "ttl" must', 400], ['{"channel":"nd/a","data":1,"id":7}', 'line 1: "id" must be a string', 400],
        ['{"channel":"nd/a","data":1} x', 'line 1', 400], ["{\"channel\":\"nd/a\",\"data\":1}\n" x 1001, 'more than 1000', 400])
    {
        my ($lines, $why, $expected) = @$_;
        ($status, $answer) = curl('/channels/', @type, '--data-binary', $lines);
        is($status, $expected, 'an invalid list of messages is refused: ' . substr $lines, 0, 40);
        like($answer->{error} // '', qr/\Q$why\E/, "the error has \"$why\"");
    }
    is((ask($c, type => 'ping', id => 'end'))[0]{type}, 'pong', 'a refused request has published nothing');
    $c->close;
};

subtest 'the list of channels' => sub {
    my @c = map { connected() } 1 .. 6;
    for my $i (0 .. 5) {
        ask($c[$i], type => 'subscribe', channel => $_, id => 's') for 'list/all', "list/$i";
    }
    my ($status, $list) = curl('/channels/?prefix=list/');
    is($status, 200, 'a list with a prefix is returned');
    is_deeply([map {"$_->{channel} $_->{subscribers}"} @{ $list->{channels} }], ['list/0 1', 'list/1 1', 'list/2 1', 'list/3 1', 'list/4 1', 'list/5 1', 'list/all 6'], 'the list is sorted, and has the subscribers of all processes');
    ok($list->{complete} && !$list->{more}, 'the list is complete');
    my ($after, @paged) = ('');
    do {
        (undef, $list) = curl("/channels/?prefix=list/&limit=3&after=$after");
        push @paged, map { $_->{channel} } @{ $list->{channels} };
        $after = $list->{after};
    } while $list->{more};
    is_deeply(\@paged, [map({"list/$_"} 0 .. 5), 'list/all'], 'the pages of a list together have all channels');
    is_deeply((curl('/channels/?prefix=nobody'))[1]{channels}, [], 'a prefix that no channel has gives an empty list');
    is((curl("/channels/?$_"))[0], 400, "a request for a list of channels with an invalid query is refused: $_") for 'prefix=%20', 'prefix=&limit=0', 'prefix=&after=*', '';
    is((curl('/events/?prefix=list/'))[0], 400, 'a section for subscribers has no list');
    $_->close for @c;
};

subtest 'wildcards' => sub {
    my $c = connected();
    is((ask($c, type => 'subscribe', channel => 'news/*', id => 'w'))[-1]{type}, 'subscribed', 'a listed wildcard can be subscribed to');
    is((ask($c, type => 'subscribe', channel => 'news/sport/*', id => 'n'))[-1]{type}, 'subscribed', 'a wildcard narrower than a listed one can be subscribed to');
    for ('other/*', 'closed/*', '*', '/*', 'ne*', 'news/*/x', 'news*') {
        ok((ask($c, type => 'subscribe', channel => $_, id => 'x'))[-1]{error}, "the wildcard $_ is refused");
    }
    is((ask($c, type => 'publish', channel => 'news/*', data => 'x', id => 'p'))[-1]{error}, 'no such channel', 'nothing is published to a wildcard');
    is((ask($c, type => 'subscribe', channel => 'news/*', member => 'Ann', id => 'm'))[-1]{error}, 'no such channel', 'a subscription to a wildcard cannot have a member');
    Httpd::wait_for(sub { published('news/x', 'there?')->{receivers} }, 'the subscription to the wildcard');
    published('news/sport/football', 'goal');
    my @got;
    while (@got < 2) { my $m = next_of($c); push @got, $m if $m->{data} eq 'goal' }
    is_deeply([sort map { $_->{wildcard} } @got], ['news/*', 'news/sport/*'], 'each of two matching wildcards receives the message');
    is_deeply([map { $_->{channel} } @got], ['news/sport/football', 'news/sport/football'], "the messages of a wildcard have the channel's name");
    published('newspaper', 'x');
    published('news', 'x');
    ask($c, type => 'unsubscribe', channel => 'news/*', id => 'u');
    published('news/x', 'not any more');
    is((ask($c, type => 'ping', id => 'end'))[0]{type}, 'pong', 'other channels do not match, and after unsubscribing no message arrives');
    $c->close;
};

subtest 'a snapshot of the members' => sub {
    my @c = map { connected() } 1 .. 4;
    ask($c[$_], type => 'subscribe', channel => 'who', member => "m$_", id => 's') for 1 .. 3;
    $c[0]->text('{"type":"subscribe","channel":"who","snapshot":true,"id":"w"}');
    my (@joined, %seen);
    while (!$seen{members}) {
        my $o = next_of($c[0]);
        $seen{ $o->{type} }++;
        push @joined, $o->{data} if $o->{type} eq 'join';
    }
    is_deeply([sort @joined], [qw(m1 m2 m3)], 'each present member is reported once');
    next_of($c[0]) if !$seen{subscribed};
    $c[2]->close;
    my $gone = next_of($c[0]);
    is("$gone->{type} $gone->{data}", 'leave m2', 'later changes are reported');
    $_->close for @c[0, 1, 3];
};

subtest 'heartbeats' => sub {
    my $plain = Client->new($httpd, '/beat');
    is(($plain->message)[1], 'still-here', 'a client without subprotocol receives heartbeats as text');
    my $c = connected('/beat');
    is(next_of($c)->{type}, 'subscribed', 'a client with the subprotocol is subscribed first');
    is_deeply(next_of($c), { type => 'heartbeat' }, 'a client with the subprotocol receives heartbeat events');
    $_->close for $plain, $c;
};

my @streams;
END { kill 'TERM', @streams if @streams }

sub stream {
    my ($path) = @_;
    my $pid = open my $pipe, '-|', 'curl', '-sN', '-g', '-m', 10 * $Httpd::DEADLINE, '-H', 'Accept: text/event-stream', 'http://127.0.0.1:' . $httpd->port . $path or die $!;
    push @streams, $pid;
    return $pipe;
}

sub event {
    my ($pipe) = @_;
    my %e;
    while (defined(my $line = <$pipe>)) {
        $line =~ s/\r?\n\z//;
        return \%e if $line eq '' && %e;
        $e{$1} = $2 if $line =~ /^(\w+): ?(.*)/;
    }
    return \%e;
}

subtest 'EventSource: event, last, format and wildcards' => sub {
    my $s = stream('/events/kept/last?last=2');
    is_deeply([map { event($s)->{data} } 1 .. 2], ['11', '12'], 'last=2 sends the last two messages');
    is(event($s)->{event}, 'live', 'after these, the stream is live');
    curl('/channels/kept/last?event=price', '-d', '5');
    is_deeply([@{ event($s) }{qw(event data)}], ['price', '5'], "an event name is the type of the event");
    my $j = stream('/events/kept/last?after=last&format=json');
    my $m = decode_json(event($j)->{data});
    is_deeply([@$m{qw(channel data event)}], ['kept/last', '5', 'price'], 'format=json sends channel, data and event');
    my $w = stream('/events/news/*');
    is(decode_json(event($w)->{data})->{channel}, 'news/*', 'a stream of a wildcard becomes live');
    Httpd::wait_for(sub { published('news/z', 'zz')->{receivers} }, 'the subscription to the wildcard');
    $m = decode_json(event($w)->{data});
    is_deeply([@$m{qw(channel wildcard data)}], ['news/z', 'news/*', 'zz'], "a stream of a wildcard has the channel's name and the wildcard");
    is((curl('/events/other/*', '-H', 'Accept: text/event-stream'))[0], 403, 'a wildcard that is not listed is refused');
    for (['last=0', 'last= takes a whole number from 1 to 1000000'], ['last=x', 'last= takes a whole number from 1 to 1000000'], ['format=xml', 'format= takes json'],
        ['after=x', 'after= or Last-Event-ID takes a position for each channel, all or last'], ['wait=soon', 'wait= takes an interval from 0 to 24h, in seconds or with ms, s, min, h or d'],
        ['after=all&last=5', 'after= and last= exclude each other: remove one'])
    {
        my ($query, $error) = @$_;
        my ($status, $got) = curl("/events/kept/last?$query");
        is($status, 400, "a poll with an invalid query is refused: $query");
        is($got->{error}, $error, "a poll with an invalid query is refused with the reason: $query");
    }
    my (undef, $resumed) = curl('/events/kept/last?last=1&wait=0', '-H', 'Last-Event-ID: all');
    cmp_ok(@{ $resumed->{messages} }, '>', 1, 'Last-Event-ID takes precedence over last=, for EventSource, which reconnects with the same URL');
    my (undef, $poll) = curl('/events/kept/last?last=1');
    is($poll->{messages}[0]{data}, '5', 'a poll with last=1 returns the last message');
    kill 'TERM', splice @streams;
    (undef, $poll) = curl('/events/kept/last?after=last');
    is_deeply([map { $_->{data} } @{ $poll->{messages} }], ['5'], 'a poll with after=last returns the last message');
};

subtest 'key: the latest for slow readers' => sub {
    my $slow = Client->new($httpd, '/slow', rcvbuf => 4096);
    Httpd::wait_for(sub { (curl('/channels/slow/key'))[1]{channels}[0]{subscribers} }, 'the slow reader');
    my $blob = $httpd->root . '/blob';
    for my $n (1 .. 30) {
        Httpd::write_file($blob, "$n " . 'x' x 100_000);
        curl('/channels/slow/key?key=k', '-H', 'Content-Type: text/plain', '--data-binary', "\@$blob");
        curl('/channels/slow/key?key=other', '-d', 'other') if $n == 10;
    }
    my (@got, $text);
    do { (undef, $text) = $slow->message; push @got, $text =~ /^(\d+|other)/ } while $got[-1] ne '30';
    cmp_ok(scalar @got, '<', 30, 'older messages with the key were replaced');
    push @got, ($slow->message)[1] if !grep { $_ eq 'other' } @got;    # a message that replaces another one takes its place in the queue
    is(scalar(grep { $_ eq 'other' } @got), 1, 'a message with another key was not replaced');
    @got = grep { $_ ne 'other' } @got;
    is_deeply(\@got, [sort { $a <=> $b } @got], 'the remaining messages arrive in order, up to the newest');
    $slow->close;
};

subtest 'the sixth stream' => sub {
    my @open = map { stream('/events/six') } 1 .. 11; # one of two children has at least six
    ok($httpd->wait_log(qr/one client has 6 event streams open/), 'the log has a hint about six event streams of one client');
    kill 'TERM', splice @streams;
};

subtest 'WebSocketWildcards' => sub {
    for ('news', 'news*', '*', '/*', 'a b/*', 'off news/*', 'news/* off') {
        my ($right, $text) = Httpd->check("<Location /x>\nWebSocketWildcards $_\n</Location>\n");
        ok(!$right && $text =~ /WebSocketWildcards/, "httpd -t refuses: WebSocketWildcards $_");
    }
    ok((Httpd->check("<Location /x>\nWebSocketWildcards news/* a/b/*\n</Location>\nWebSocketWildcards off\n"))[0], 'httpd -t accepts two wildcards, and off');
};

done_testing;
