# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests channels across child processes: each subscriber receives each message once and in order, even while children start,
# stop and are killed. Also tests ws_channel, access control, and presence.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use JSON::PP;
use Time::HiRes qw(sleep);
use Httpd;
use Client;
use Crowd;

my $subscribers = Crowd::size();

my $httpd = Httpd->start(
    mpm_conf => $Httpd::MPM eq 'prefork'
    ? "StartServers 4\nServerLimit 16\nMaxRequestWorkers 16\nMinSpareServers 4\nMaxSpareServers 16"
    : "StartServers 4\nServerLimit 12\nThreadsPerChild 8\nMaxRequestWorkers 32\n"
        . "MinSpareThreads 24\nMaxSpareThreads 32",
    log_level => 'info',
    files     => { users => "alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n" },
    conf      => <<'END',
WebSocketThreads 2
WebSocketPing off
WebSocketDrainTimeout 1min
WebSocketBusQueue 64K
<Location /crowd>
    WebSocketHandler ws_channel.so channel=crowd publish=on
</Location>
WebSocketHistory kept:* 1000
<Location /kept>
    WebSocketHandler ws_channel.so channel=kept:crowd publish=on
</Location>
<Location /room>
    WebSocketHandler ws_channel.so channel=room:%{path:2} presence=on publish=on echo=off
    WebSocketSubscribe "%{WEBSOCKET_CHANNEL} =~ m#^(room:|open/)# && ! (%{QUERY_STRING} =~ /name=mallory/)"
    WebSocketSubscriptions 3
    WebSocketSendQueue 64M
</Location>
<Location /lazy>
    WebSocketHandler ws_channel.so channel=room:%{path:2} presence=on
    WebSocketCloseTimeout 200ms
</Location>
<Location /users>
    WebSocketHandler ws_channel.so channel=users presence=on
    AuthType Basic
    AuthName channels
    AuthBasicProvider file
    AuthUserFile users
    <RequireAny>
        Require valid-user
        Require expr "%{HTTP:Authorization} == ''"
    </RequireAny>
</Location>
<Location /listen>
    WebSocketHandler ws_channel.so channel=room:1
    WebSocketPublish none
</Location>
<Location /write>
    WebSocketHandler ws_channel.so channel=room:1
    WebSocketPublish "%{REMOTE_ADDR} == '127.0.0.1' && %{WEBSOCKET_CHANNEL} == 'room:1'"
</Location>
<Location /args>
    WebSocketHandler ws_channel.so channel=%{arg:to}
</Location>
<Location /ws-status>
    SetHandler websocket-status
    Require all granted
</Location>
<Location /chat>
    WebSocketHandler ws_chat.so
</Location>
END
);

# Returns the number of the child process, which is part of a connection's id.
sub process_of { return hex substr $_[0], 0, 4 }

# ---- Many clients ----

sub children {
    my (undef, undef, $body) = $httpd->get('/ws-status?limit=0', 'Accept: application/json');
    return @{ decode_json($body)->{children} };
}

# After a reload, the new children start one after another.
sub several_children {
    my @newest = sort { $b <=> $a } map { $_->{generation} } children();
    return @newest >= 3 && $newest[2] == $newest[0];
}

# Returns the child with the fewest connections: httpd distributes connections unpredictably.
sub one_of {
    my @children = @_;
    my %open = map { $_->{pid} => $_->{connections} } children();
    return (sort { ($open{$a} // 0) <=> ($open{$b} // 0) } @children)[0];
}

for (['/crowd', $subscribers], ['/kept', $subscribers / 4]) {
    my ($path, $subscribers) = @$_;
    Httpd::wait_for(\&several_children, 'several children');
    my $crowd = Crowd->start([$httpd], $path, $subscribers);
    pass("$path: $subscribers subscribers and 8 publishers are connected to several children");
    $crowd->go_on(100);

    my @children = $httpd->children;
    my $victim = one_of(@children);
    kill 'KILL', $victim;
    Httpd::wait_for(sub { !grep { $_ == $victim } $httpd->children }, 'a child to be killed');
    $crowd->go_on(100);
    pass('publishing continues after a child was killed');
    $httpd->graceful;
    $crowd->go_on(100);
    pass('publishing continues after a graceful reload');

    # Kill a child of the new generation, while children of the old generation still run.
    my @new = grep { my $pid = $_; !grep { $_ == $pid } @children } $httpd->children;
    kill 'KILL', one_of(@new) if @new;
    $crowd->go_on(100);
    my ($left, $lost, $messages, $faults) = $crowd->result;
    cmp_ok($lost, '<', $subscribers, 'only connections of killed children were lost');
    is($left + $lost, $subscribers, 'all connections of other children are still open');
    cmp_ok($messages, '>=', 400, "the publishers have received $messages messages of their own");
    is($faults, 'missing=0 twice=0 disordered=0', 'each subscriber has received each message once, in the order of its publisher');
}

# Find a connection's child in the list of connections.
sub child_of {
    my ($process) = @_;
    return Httpd::wait_for(
        sub {
            my (undef, undef, $body) = $httpd->get('/ws-status?limit=1000', 'Accept: application/json');
            my ($c) = grep { process_of($_->{id}) == $process } @{ decode_json($body)->{connections} };
            return $c && $c->{pid};
        },
        "a child with ids of $process");
}

# ---- The bundled handler ----

sub client {
    my ($path, %arg) = @_;
    my $client = Client->new($httpd, $path, %arg);
    setsockopt $client->socket, IPPROTO_TCP, TCP_NODELAY, 1;
    return $client;
}

sub json_client {
    my ($path) = @_;
    return client($path, protocol => 'channel.v1.json');
}

sub told {
    my ($client) = @_;
    my ($type, $data) = $client->message;
    return decode_json($data);
}

sub say_json { my ($client, %o) = @_; return $client->text(encode_json(\%o)) }

# Read events up to the next one of a type, and return that one.
sub told_type {
    my ($client, $type) = @_;
    my $o;
    do { $o = told($client) } until $o->{type} eq $type;
    return $o;
}

sub subscribers_are {
    my ($client, $channel, $n) = @_;
    Httpd::wait_for(
        sub {
            say_json($client, type => 'presence', channel => $channel, id => 'count');
            return told_type($client, 'presence')->{subscribers} == $n;
        },
        "$n subscribers of $channel"
    );
}

{
    my $ann = json_client('/room/1?name=Ann');
    is_deeply(told($ann), { type => 'subscribed', channel => 'room:1' }, 'a client is subscribed to the channel of its URL');
    my $join = told($ann);
    is($join->{type}, 'join', 'a member receives its own join event');
    is($join->{data}, 'Ann', "the join event has the member's name");
    my $bob = client('/room/1?name=Bob+B%C3%B6b');
    $join = told_type($ann, 'join');
    is($join->{data}, "Bob B\xF6b", 'a member receives the join events of others');
    say_json($ann, type => 'presence', channel => 'room:1', id => 7);
    my $here = told_type($ann, 'presence');
    is(join(',', sort map { $_->{data} } @{ $here->{members} }), "Ann,Bob B\xF6b", 'presence lists the members');
    is($here->{id},          7, "the presence answer has the request's id");
    is($here->{subscribers}, 2, 'the presence answer has the number of subscribers');
    ok($here->{complete}, 'the presence answer says that the list is complete');

    say_json($ann, type => 'publish', channel => 'room:1', data => 'Hello', id => 8);
    is_deeply(told_type($ann, 'published'), { type => 'published', channel => 'room:1', id => 8, receivers => 2 },
        'a client publishes, and the answer has the number of receivers');
    is(($bob->message)[1], 'Hello', 'a client without subprotocol receives the message unchanged');
    $bob->text('Hi');
    is_deeply(told($ann), { type => 'message', channel => 'room:1', data => 'Hi' }, 'a text from a client without subprotocol is published');
    $bob->binary("\x00\xFF");
    is_deeply(told($ann), { type => 'message', channel => 'room:1', data => 'AP8=', encoding => 'base64' }, 'bytes from a client without subprotocol are published in base64');
    say_json($ann, type => 'publish', channel => 'room:1', data => { x => [1] });
    is(($bob->message)[1], '{"x":[1]}', 'a client without subprotocol receives JSON data as text');

    say_json($ann, type => 'publish', channel => 'room:2', data => 'x', id => 9);
    is_deeply(told($ann), { type => 'error', channel => 'room:2', error => 'not allowed', id => 9 },
        'a client may publish only to channels it is subscribed to');
    say_json($ann, type => 'subscribe', channel => 'open/1', id => 10, member => 'Ann', watch => JSON::PP::true);
    is_deeply(told($ann), { type => 'subscribed', channel => 'open/1', id => 10 },
        "a client subscribes to another channel, and the answer has the request's id");
    is(told($ann)->{type}, 'join', 'a client that subscribes with a member text joins as a member');
    say_json($ann, type => 'subscribe', channel => 'secret', id => 11);
    is(told($ann)->{error}, 'not allowed', 'WebSocketSubscribe refuses a subscription');
    say_json($ann, type => 'subscribe', channel => 'open/2');
    is(told($ann)->{type}, 'subscribed', 'a client subscribes to a third channel');
    say_json($ann, type => 'subscribe', channel => 'open/3');
    is(told($ann)->{error}, 'too many channels', 'WebSocketSubscriptions refuses a fourth channel');
    say_json($ann, type => 'unsubscribe', channel => 'open/2');
    is(told($ann)->{type}, 'unsubscribed', 'a client unsubscribes');
    say_json($ann, type => 'unsubscribe', channel => 'open/2');
    is(told($ann)->{error}, 'not subscribed', 'unsubscribing again is refused');
    say_json($ann, type => 'subscribe', channel => 'room:1', after => '65f0', id => 12);
    is_deeply(told($ann), { type => 'error', channel => 'room:1', id => 12, error => 'no such position' },
        'a subscription from an invalid position is refused');
    say_json($ann, type => 'subscribe', channel => 'room:1', after => 5, id => 13);
    is(told($ann)->{error}, 'no such position', 'a subscription from a position that is a number is refused');
    say_json($ann, type => 'subscribe', channel => 'room:1', member => 'x' x 1025, id => 14);
    is(told($ann)->{error}, 'too big', 'a subscription with a member text that is too long is refused');
    $bob->text('still');
    is_deeply(told($ann), { type => 'message', channel => 'room:1', data => 'still' }, 'after refused subscriptions, the earlier subscription still works');
    say_json($ann, type => 'subscribe', channel => 'room:1', member => 'Anna', id => 15);
    is_deeply([sort map { $_->{type} } my @two = (told($ann), told($ann))], ['join', 'subscribed'],
        'a client subscribes again, with another member text');
    is((grep { $_->{type} eq 'subscribed' } @two)[0]{id}, 15, 'the answer to the second subscription has its id');
    for my $wrong ('{', '[]', '{"type":"publish"}', '{"type":"x","channel":"room:1"}',
        '{"type":"subscribe","channel":"a b"}', '{"type":"subscribe","channel":"open/1","after":"x"}')
    {
        $ann->text($wrong);
        is(told($ann)->{type}, 'error', "the request is answered with an error: $wrong");
    }

    my $listener = client('/listen');
    $listener->text('x');
    $listener->expect_close(1008, 'a client that may not publish is closed (WebSocketPublish none)');
    my $writer = client('/write');
    $writer->text('written');
    is(told($ann)->{data}, 'written', 'a client that the expression permits can publish');
    $writer->close;

    my $mallory = client('/room/1?name=mallory');
    $mallory->expect_close(1008, 'if a client may not subscribe to the channel in its URL, the server closes the connection');
    my $nowhere = client('/args?to=a%20b');
    $nowhere->expect_close(1008, "if a client's URL has an invalid channel name, the server closes the connection");

    $bob->close;
    is(told_type($ann, 'leave')->{data}, "Bob B\xF6b", 'a client that disconnects leaves the channel');
    $ann->close;
}

# ---- Text from other clients ----

{
    my $watcher = json_client('/room/text?name=watcher');
    told($watcher) for 1 .. 2;
    my $long = '%C3%BC' x 600;    # 1,200 bytes
    for (['%FF', ''], ['a%C3', 'a'], ["x$long", 'x' . "\xFC" x 511], ['%ED%A0%80', '']) {
        my ($name, $shown) = @$_;
        my $other = client("/room/text?name=$name");
        is(told_type($watcher, 'join')->{data}, $shown, 'a name is truncated at the first byte that is not UTF-8: ' . substr $name, 0, 12);
        $other->close;
        is(told_type($watcher, 'leave')->{data}, $shown, 'the leave event has the truncated name, too');
    }
    for my $channel (map { pack 'H*', $_ } 'ff', '726f6f6dc3') {
        my $other = client('/args?to=' . join '', map { sprintf '%%%02X', ord } split //, $channel);
        $other->expect_close(1008, 'a channel name that is not text is refused');
    }
    $watcher->close;
}

# ---- Users ----

{
    my @as    = (headers => ['Authorization: Basic YWxpY2U6c2VjcmV0'], protocol => 'channel.v1.json');
    my $bob   = json_client('/users?name=bob');
    told($bob) for 1 .. 2;
    my $alice = client('/users?name=administrator', @as);
    my $join  = told_type($bob, 'join');
    is_deeply([@$join{qw(user data)}], ['alice', 'alice'], 'a member who is a user has the field user');
    told_type($alice, 'join');
    say_json($alice, type => 'subscribe', channel => 'users', member => 'the administrator', id => 1);
    $join = told_type($bob, 'join');
    is_deeply([@$join{qw(user data)}], ['alice', 'the administrator'], 'the field user does not depend on the member text');
    say_json($bob, type => 'subscribe', channel => 'users', member => "alice", user => 'alice', id => 2);
    $join = told_type($alice, 'join') until $join->{data} eq 'alice';
    ok(!exists $join->{user}, 'a client without an authenticated user cannot set the field user');
    say_json($bob, type => 'presence', channel => 'users', id => 3);
    is_deeply([sort map { $_->{user} // '-' } @{ told_type($bob, 'presence')->{members} }], ['-', 'alice'], 'in the list of members, a client without an authenticated user has no field user');
    $alice->close;
    is(told_type($bob, 'leave')->{user}, 'alice', "a user's leave event has the field user");
    $bob->close;
}

# ---- Answers that are larger than requests ----

sub memory { return [sort { $b <=> $a } map { Httpd::read_file("/proc/$_/status") =~ /VmRSS:\s+(\d+)/ ? $1 / 1024 : 0 } $httpd->children]->[0] }

SKIP: {
    skip 'with prefork and a sanitizer, memory cannot be measured', 1 if $Httpd::MPM eq 'prefork' && $ENV{WS_TEST_PRELOAD};
    my @members = map { client("/room/flood?name=$_" . 'n' x 1000) } 1 .. ($Httpd::MPM eq 'prefork' ? 4 : 100);
    my $flood   = json_client('/room/flood?name=flood');
    my $other   = json_client('/room/flood?name=other');
    my $before  = memory();
    my $ask     = join '', map { Client::frame_bytes(1, encode_json({ type => 'presence', channel => 'room:flood', id => $_ })) } 1 .. 8000;
    syswrite $flood->socket, $ask;    # the socket may accept only a part
    for (1 .. 3) {
        say_json($other, type => 'presence', channel => 'room:flood', id => "other$_");
        is(told_type($other, 'presence')->{id}, "other$_", 'while one client requests more than it reads, another client is answered');
    }
    cmp_ok(memory() - $before, '<', 500, 'memory stays bounded while a client requests more than it reads');
    is(told_type($flood, 'presence')->{id}, 1, 'the client that requests more than it reads is answered');
    is(told_type($flood, 'presence')->{id}, $_, 'the answers to that client arrive in order') for 2 .. 60;
    $_->close for $other, @members;
    $flood->drop;
}

# ---- Presence across processes ----

{
    my $watcher = json_client('/room/9?name=watcher');
    my $own     = process_of(told_type($watcher, 'join')->{member});
    my @others  = map { client("/room/9?name=other$_") } 1 .. 12;
    my %of;
    for (1 .. 12) {
        my $join = told_type($watcher, 'join');
        push @{ $of{ process_of($join->{member}) } }, $join->{data};
    }
    my ($process) = grep { $_ != $own } keys %of;
SKIP: {
        skip 'all are in one child', 2 if !$process;
        # Kill the process that has these connections.
        my $gone = @{ $of{$process} };
        my ($pid) = child_of($process);
        kill 'KILL', $pid;
        my @left = map { told_type($watcher, 'leave')->{data} } 1 .. $gone;
        is_deeply([sort @left], [sort @{ $of{$process} }], 'when a child is killed, its members leave');
        say_json($watcher, type => 'presence', channel => 'room:9');
        is(scalar @{ told_type($watcher, 'presence')->{members} }, 13 - $gone, 'when a child is killed, other members remain');
    }
    $watcher->close;
}

# ---- Overload ----

# Connect two members of a room in two children. Returns the publisher, the other member, the pid of the other member's
# child, and further members in the publisher's child.
sub two_apart {
    my ($room) = @_;
    my $publisher = json_client("/room/$room?name=publisher");
    my $own       = process_of(told_type($publisher, 'join')->{member});
    my @same;
    for (1 .. 500) {
        my $other = client("/room/$room?name=other");
        my $process = process_of(told_type($publisher, 'join')->{member});
        return ($publisher, $other, child_of($process), @same) if $process != $own;
        push @same, $other;
        sleep 0.02 if @same > 50;    # httpd may be about to start another child
    }
    die "all connections are in one child\n";
}

# Returns the error, or nothing. Adds the types of events that arrive before the answer to @before_answer.
my @before_answer;
sub publish {
    my ($client, $channel, $data) = @_;
    say_json($client, type => 'publish', channel => $channel, data => $data, id => 1);
    while (1) {
        my $o = told($client);
        return $o->{error} if defined $o->{id};
        push @before_answer, $o->{type};
    }
}

# Retry, as a client must after "try again later".
sub publish_at_last {
    my ($client, @what) = @_;
    Httpd::wait_for(sub { !publish($client, @what) }, 'room for a message');
}

sub counter {
    my ($name) = @_;
    return ($httpd->get('/ws-status?prometheus=1'))[2] =~ /^websocket_$name (\d+)$/m ? $1 : undef;
}

{
    my ($publisher, $other, $pid, @same) = two_apart('full');
    $_->close for @same;
    my $refused = counter('publish_refused_total');
    Httpd::freeze($pid);
    my ($taken, $number, $error) = (0, 0);
    my $filler = 'x' x 20000;
    while (!$error && $number < 5000) {
        $number++;
        $error = publish($publisher, 'room:full', "$number $filler");
        $taken++ if !$error;
    }
    is($error, 'try again later', "when another child accepts no more messages, the publisher is refused, after $taken messages");
    is($taken, $number - 1, 'the first message that does not fit is refused immediately');
    kill 'CONT', $pid;    # before any request to httpd, because this child may be the one that accepts its connection
    my @numbers = map { ($other->message)[1] =~ /^(\d+) / } 1 .. $taken;
    is_deeply(\@numbers, [1 .. $taken], 'all accepted messages arrive, in order');
    publish_at_last($publisher, 'room:full', 'last');
    is(($other->message)[1], 'last', 'refused messages do not arrive, but later messages do');
    cmp_ok(counter('publish_refused_total'), '>', $refused, 'refused messages are counted');
    is(counter('bus_missed_total'), 0, 'the bus has missed no message');
    $_->close for $publisher, $other;
}

{
    my ($publisher, $other, $pid, @same) = two_apart('big');
    my $lazy = client('/lazy/big?name=lazy', rcvbuf => 4096);
    my $big  = join '', map { chr(65 + $_ % 26) } 1 .. 100_000;
    my $wrong = 0;
    @before_answer = ();
    for my $n (1 .. 60) {
        publish_at_last($publisher, 'room:big', "$n $big");
        $wrong++ if ($other->message)[1] ne "$n $big";
    }
    is($wrong, 0, 'messages of 100 KB arrive in other children, while one client does not read');
    ok((grep { $_ eq 'leave' } @before_answer) || told_type($publisher, 'leave'), 'the client that does not read is closed');
    $_->close for $publisher, $other, @same;
}

$httpd->stop;
is_deeply([$httpd->complaints], [], 'no child crashed');
done_testing;
