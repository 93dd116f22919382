# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# The control API manages connections, users and channels over HTTP, in all child processes. Also tests it while a child
# process is stopped, and across a reload.

use strict;
use warnings;
use lib 't/lib';
use Digest::SHA qw(sha1_base64);
use JSON::PP;
use MIME::Base64 qw(encode_base64);
use Test::More;
use Client qw(TEXT BINARY);
use Httpd;
use Program;
use Redis;

# The Locations of all servers in this test.
my $sections = <<'END';
WebSocketPing off
<Location /echo>
    WebSocketHandler ws_echo.so
</Location>
<Location /users>
    WebSocketHandler ws_echo.so
    AuthType Basic
    AuthName users
    AuthBasicProvider file
    AuthUserFile users
    Require valid-user
</Location>
END
my %password = map { ($_ => "$_-secret") } qw(alice bob), 'carol d';
my $httpd = Httpd->start(
    mpm_conf => $Httpd::MPM eq 'prefork'
    ? "StartServers 4\nServerLimit 32\nMaxRequestWorkers 32\nMinSpareServers 4\nMaxSpareServers 32"
    : "StartServers 4\nServerLimit 16\nThreadsPerChild 8\nMaxRequestWorkers 32\n"
        . "MinSpareThreads 24\nMaxSpareThreads 32",
    log_level => 'info',
    files     => { users => join '', map { "$_:{SHA}" . sha1_base64($password{$_}) . "=\n" } sort keys %password },
    conf      => $sections . <<'END',
WebSocketThreads 2
WebSocketDrainTimeout 10min
<Location /narrow>
    WebSocketHandler ws_echo.so
    WebSocketSendQueue 64K
</Location>
<Location /old>
    WebSocketHandler ws_echo.so
    WebSocketVersions 13 76
</Location>
<Location /channel>
    WebSocketHandler ws_channel.so channel=%{arg:to} presence=on
    WebSocketSubscribe "%{WEBSOCKET_CHANNEL} !~ /^secret/"
    WebSocketSubscriptions 3
</Location>
<Location /plain>
    WebSocketHandler ws_echo.so
    WebSocketSubscribe "%{WEBSOCKET_CHANNEL} !~ /^secret/"
    WebSocketSubscriptions 3
</Location>
<Location /events>
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe all
</Location>
<Location /control>
    SetHandler websocket-control
    Require local
    WebSocketMaxMessageSize 100K
</Location>
<Location /ws-status>
    SetHandler websocket-status
    Require local
</Location>
<Location /guarded>
    SetHandler websocket-control
    AuthType Basic
    AuthName control
    AuthBasicProvider file
    AuthUserFile users
    Require user bob
    WebSocketPublish "%{WEBSOCKET_CHANNEL} =~ /^open/"
</Location>
END
);

# Send a request with a body. Returns (status, decoded JSON, head).
sub ask {
    my ($method, $path, $body, @headers) = @_;
    $body //= '';
    push @headers, 'Content-Type: text/plain; charset=utf-8' if !grep {/^Content-Type/} @headers;
    my ($status, $head, $text) = $httpd->request($method, $path =~ m{^/(?:guarded|control)} ? $path : "/control$path",
        @headers, 'Content-Length: ' . length $body, '', $body);
    return ($status, eval { decode_json($text) }, $head);
}

sub status_is {
    my ($status, $name, @request) = @_;
    my ($got, $json, $head) = ask(@request);
    is($got, $status, $name) or diag(explain($json));
    return ($json, $head);
}

sub authorization {
    my ($user) = @_;
    return 'Authorization: Basic ' . encode_base64("$user:$password{$user}", '');
}

sub user_client {
    my ($user, %o) = @_;
    my $c = Client->new($httpd, '/users', headers => [authorization($user)], %o);
    $c->echoes('here');    # so that the connection is listed
    return $c;
}

# Read all pages of a list, and return the connections.
sub all {
    my ($query, $limit) = @_;
    my (@all, $next, $pages);
    do {
        my $json = (ask('GET', "/connections?$query&limit=$limit" . (defined $next ? "&next=$next" : '')))[1];
        die "a page has more than $limit" if @{ $json->{connections} } > $limit;
        push @all, @{ $json->{connections} };
        $next = $json->{next};
        $pages++;
    } while defined $next;
    return wantarray ? @all : \@all;
}

sub ids { return map { $_->{id} } all(@_) }

# Wait until a query has this many results, because a client gets its 101 a moment before its connection is listed.
# Returns the results.
sub listed {
    my ($query, $n) = @_;
    my @got;
    Httpd::wait_for(sub { (@got = all($query, 1000)) >= $n }, "$n connections with $query");
    return @got;
}

# Connect. Returns the client, and the id of its connection.
sub connected {
    my ($path, %o) = @_;
    our $count;
    my $uri = "$path/" . ++$count;
    my $c = Client->new($httpd, $uri . ($o{query} // ''), %o);
    my ($info, @more) = listed("uri=$uri", 1);
    die 'more than one' if @more;
    return wantarray ? ($c, $info->{id}) : $c;
}

sub child_of { return substr $_[0], 0, 4 }

# ---- One connection ----

{
    my ($c, $id) = connected('/echo');
    like($id, qr/\A[0-9a-f]{16}\z/, 'a connection has an id of 16 digits');
    my ($json) = status_is(200, 'a connection is returned', 'GET', "/connections/$id");
    is($json->{id}, $id, 'the connection has its id');
    is($json->{address}, '127.0.0.1', "the connection has the client's address");
    is($json->{handler}, 'echo', 'the connection has its handler');
    like($json->{start}, qr/^\d{4}-\d\d-\d\dT/, 'the connection has its start time');
    is_deeply($json->{channels}, [], 'the connection has a list of channels');
    is($json->{user}, undef, 'the connection has no user');

    ($json) = status_is(200, 'a text is sent to a connection', 'POST', "/connections/$id", "gr\xc3\xbcn");
    is_deeply($json, { sent => $id }, "the answer has the connection's id");
    is_deeply([$c->message], [TEXT, "gr\xc3\xbcn"], 'the client has received the text');
    status_is(200, 'bytes are sent to a connection', 'POST', "/connections/$id", "\xff\0x", 'Content-Type: application/octet-stream');
    is_deeply([$c->message], [BINARY, "\xff\0x"], 'the client has received the bytes');
    status_is(200, 'an empty message is sent to a connection', 'POST', "/connections/$id", '');
    is_deeply([$c->message], [TEXT, ''], 'the client has received an empty message');
    my $large = 'x' x 90_000;
    status_is(200, "a large message is sent to a connection", 'POST', "/connections/$id", $large);
    is(($c->message)[1], $large, 'a message larger than a packet between processes arrives');

    status_is(400, 'a message that is not UTF-8 is refused', 'POST', "/connections/$id", "\xff");
    status_is(415, 'a message in another encoding is refused', 'POST', "/connections/$id", 'x', 'Content-Type: text/plain; charset=latin1');
    status_is(413, 'a message larger than WebSocketMaxMessageSize is refused', 'POST', "/connections/$id", 'x' x 102_401);
    status_is(405, 'a method that a connection does not have is refused', 'PUT', "/connections/$id");
    status_is(400, 'a request to close is refused if its code is not allowed in a Close frame', 'DELETE', "/connections/$id?code=1005");
    status_is(400, 'a request to close is refused if its code is not a number', 'DELETE', "/connections/$id?code=bye");
    status_is(400, 'a request to close is refused if its reason is too long', 'DELETE', "/connections/$id?reason=" . 'x' x 124);
    status_is(400, 'a request to close is refused if its reason is not UTF-8', 'DELETE', "/connections/$id?reason=%ff");
    status_is(400, 'a request to close is refused if its reason cannot be decoded', 'DELETE', "/connections/$id?reason=50%");
    $c->echoes('still here', 'the connection is open after these invalid requests, and has received nothing');
    status_is(200, 'a connection is closed', 'DELETE', "/connections/$id?code=4001&reason=gr%C3%BCn");
    $c->expect_close(4001, 'a connection is closed with the requested code');
    is($c->{reason}, "gr\xc3\xbcn", 'a connection is closed with the requested reason');
    Httpd::wait_for(sub { (ask('GET', "/connections/$id"))[0] == 404 }, 'the connection to end');
    status_is(404, 'nothing is sent to a connection that has ended', 'POST', "/connections/$id", 'x');
    status_is(404, 'a connection that has ended cannot be closed', 'DELETE', "/connections/$id");
    status_is(404, 'a connection that has ended cannot be subscribed to a channel', 'PUT', "/connections/$id/channels/a");
}
{
    my ($c, $id) = connected('/echo');
    status_is(200, 'a request without a code closes a connection', 'DELETE', "/connections/$id");
    $c->expect_close(1000, 'a connection is closed with 1000 if the request has no code');
}
for my $id ('', 'x', '123', '0' x 15, '0' x 17, 'g' x 16, ('0' x 16) . '-' . 'x' x 16, ('0' x 33)) {
    next if $id eq '';
    status_is(400, "the malformed id $id is refused", 'GET', "/connections/$id");
    status_is(400, "the malformed id $id is refused", 'DELETE', "/connections/$id");
}
status_is(404, 'no connection has the id 0', 'GET', '/connections/' . '0' x 16);
status_is(404, 'an id with an unknown process is answered with 404', 'POST', '/connections/ffff000000000001', 'x');
status_is(404, 'an id with an unknown server is answered with 404', 'POST', '/connections/00000000000000aa-ffff000000000001', 'x');
status_is(404, 'an unknown path is answered with 404', 'GET', '/nothing');
status_is(404, 'an unknown path below a connection is answered with 404', 'GET', '/connections/' . '0' x 16 . '/nothing');
status_is(405, 'a connection cannot be created', 'POST', '/connections');

# An event stream is a connection that accepts no messages, but can be closed.
{
    my $socket = $httpd->connect;
    print $socket "GET /events/x HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    my ($id) = map { $_->{id} } listed('uri=/events/x', 1);
    status_is(409, 'nothing can be sent to an event stream', 'POST', "/connections/$id", 'x');
    status_is(200, 'an event stream can be closed', 'DELETE', "/connections/$id");
    my $all = do { local $/; <$socket> };
    unlike($all, qr/^x/m, 'nothing was written to the event stream');
}

# ---- A client that does not read ----

{
    my ($c, $id) = connected('/narrow', rcvbuf => 4096);
    my ($full, $head);
    Httpd::wait_for(sub {
        my ($status, undef, $h) = ask('POST', "/connections/$id", 'x' x 60_000);
        ($full, $head) = ($status, $h) if $status != 200;
        return $full;
    }, 'the queue to be full');
    is($full, 503, 'a message for a full queue is refused with 503');
    like($head, qr/^Retry-After: 1\r?$/mi, 'a message for a full queue is refused with Retry-After');
    my ($json) = status_is(200, 'a connection with a full queue stays open', 'GET', "/connections/$id");
    cmp_ok($json->{queued}, '>', 0, "the connection's object has the number of its queued bytes");
    my $got = ($c->message)[1];
    is(length $got, 60_000, 'messages that were accepted before the queue was full arrive');
}

# ---- Lists ----

{
    my %clients = map { my ($c, $id) = connected('/echo/many'); ($id => $c) } 1 .. 30;
    my @all = all('uri=/echo/many/*', 7);
    is_deeply([sort map { $_->{id} } @all], [sort keys %clients], 'the pages of a list have each connection once');
    my %children = map { (child_of($_) => 1) } keys %clients;
    cmp_ok(keys %children, '>', 1, 'the list has connections of several child processes: ' . keys %children);
    is_deeply([sort(ids('uri=/echo/many/*', 1000))], [sort keys %clients], 'a page that is long enough has each connection once');
    is_deeply([ids('uri=/echo/manyfold', 10)], [], 'a filter by another URI lists no connection');
    is_deeply([ids('vhost=elsewhere', 10)], [], 'a filter by another virtual host lists no connection');
    is(scalar(ids('vhost=localhost&uri=/echo/many/*', 1000)), 30, 'a filter by the virtual host lists its connections');
    for my $wrong (qw(limit=0 limit=1001 limit=x next=x next=0000000000000000.0000.ff.00000000 channel=%20)) {
        status_is(400, "the argument $wrong", 'GET', "/connections?$wrong");
    }
    for my $name (qw(user uri vhost channel)) {
        my ($json) = status_is(400, "an argument that cannot be decoded is refused: $name", 'GET', "/connections?limit=5&$name=%zz");
        is($json->{error}, "the argument $name cannot be decoded: write % as %25, and no %00", "the error names the argument $name");
    }
    is_deeply((ask('GET', '/connections?limit=1'))[1]{missing}, [], 'no process is missing in a list');
    ok((ask('GET', '/connections?limit=1'))[1]{complete}, 'a list is complete');
    # Kill a child.
    my ($victim) = sort keys %clients;
    my %pid = map { ($_->{process} => $_->{pid}) } @{ children() };
    kill 'KILL', $pid{ hex child_of($victim) };
    Httpd::wait_for(sub { !grep { child_of($_) eq child_of($victim) } ids('uri=/echo/many/*', 1000) },
        'the killed child to disappear from the list');
    status_is(404, "a connection of a killed child is not found", 'POST', "/connections/$victim", 'x');
}

# Returns the child processes that the status page lists.
sub children {
    my $status = decode_json(($httpd->request('GET', '/ws-status', 'Accept: application/json'))[2] || '{}');
    return $status->{children} || [];
}

# ---- Users ----

{
    my @alice = map { user_client('alice') } 1 .. 6;
    my $bob   = user_client('bob');
    my $carol = user_client('carol d');
    is(scalar(ids('user=alice', 3)), 6, 'a list can be filtered by user');
    my ($json) = status_is(200, 'a message to a user is accepted', 'POST', '/users/alice', 'hello alice');
    is($json->{sent}, 6, 'the answer counts all connections of the user');
    is_deeply([map { ($_->message)[1] } @alice], [('hello alice') x 6], 'all connections of the user receive the message');
    status_is(200, 'bytes to a user whose name has a space are accepted', 'POST', '/users/carol%20d', "\0\xfe", 'Content-Type: application/octet-stream');
    is_deeply([$carol->message], [BINARY, "\0\xfe"], 'the user whose name has a space receives the bytes');
    is((ask('POST', '/users/nobody', 'x'))[1]{sent}, 0, 'a message to an unknown user reaches no connection');
    is((ask('POST', '/users/ALICE', 'x'))[1]{sent}, 0, 'users are compared with regard to case');
    is((ask('POST', '/users/alice?vhost=elsewhere', 'x'))[1]{sent}, 0, 'a message to a user in another virtual host reaches no connection');
    $bob->echoes('x', 'another user has received no message');
    status_is(400, 'a message without a user is refused', 'POST', '/users/', 'x');
    status_is(400, 'a request to disconnect a user is refused if its virtual host cannot be decoded', 'DELETE', '/users/alice?vhost=%zz');
    status_is(405, 'a user cannot be read', 'GET', '/users/alice');
    status_is(400, 'a request to disconnect a user is refused if its code is invalid', 'DELETE', '/users/alice?code=999');
    ($json) = status_is(200, 'a user is disconnected', 'DELETE', '/users/alice?code=4000&reason=logout');
    is($json->{closed}, 6, 'all connections of the user are closed');
    $_->expect_close(4000) for @alice;
    $bob->echoes('y', 'connections of another user stay open');
    is((ask('DELETE', '/users/alice'))[1]{closed}, 0, 'the user can be disconnected again, which closes no connection');
}

# ---- Channels of a connection ----

{
    my ($c, $id) = connected('/plain');
    my ($json) = status_is(200, 'a connection is subscribed to a channel', 'PUT', "/connections/$id/channels/news/today");
    is_deeply($json, { subscribed => 'news/today' }, 'the answer has the channel, whose name has a slash');
    is_deeply((ask('GET', "/connections/$id"))[1]{channels}, ['news/today'], 'the connection lists the channel');
    is_deeply([ids('channel=news/today', 10)], [$id], 'a list filtered by channel has the connection');
    status_is(200, 'a connection is subscribed to the same channel again', 'PUT', "/connections/$id/channels/news/today");
    ($json) = status_is(200, 'a message is published to the channel', 'POST', '/publish/',
        encode_json({ items => [{ channel => 'news/today', formats => { 'ws-message' => { content => "gr\x{fc}n" } } }] }));
    is($json->{published}[0]{receivers}, 1, 'the message has one receiver');
    is_deeply([$c->message], [TEXT, "gr\xc3\xbcn"], 'the connection receives the message');
    status_is(403, 'WebSocketSubscribe refuses a channel', 'PUT', "/connections/$id/channels/secret");
    status_is(400, 'an invalid channel name is refused', 'PUT', "/connections/$id/channels/a%20b");
    status_is(400, 'a missing channel name is refused', 'PUT', "/connections/$id/channels/");
    status_is(405, "a method that a connection's channel does not have is refused", 'GET', "/connections/$id/channels/x");
    status_is(200, 'a connection is subscribed to more channels', 'PUT', "/connections/$id/channels/$_") for 1, 2;
    status_is(409, 'WebSocketSubscriptions refuses another channel', 'PUT', "/connections/$id/channels/3");
    status_is(200, 'a connection is unsubscribed', 'DELETE', "/connections/$id/channels/news/today");
    status_is(404, 'unsubscribing from a channel without a subscription is refused', 'DELETE', "/connections/$id/channels/news/today");
    is_deeply([ids('channel=news/today', 10)], [], 'after unsubscribing, a list filtered by channel is empty');
    ask('POST', '/publish', encode_json({ items => [{ channel => 'news/today', formats => { 'ws-message' => { content => 'x' } } }] }));
    $c->echoes('y', 'after unsubscribing, the connection receives no message');
}

# ---- All channels ----

{
    my @member = map { scalar connected('/channel', query => '?to=list/a') } 1 .. 5;
    my @many   = map { scalar connected('/channel', query => sprintf '?to=list/m%02d', $_) } 1 .. 12;
    my ($plain, $id) = connected('/plain');
    ask('PUT', "/connections/$id/channels/list/a");
    my ($json) = status_is(200, 'the channels with a prefix are listed', 'GET', '/channels?prefix=list/&limit=1000');
    is_deeply([map { $_->{channel} } @{ $json->{channels} }], ['list/a', map { sprintf 'list/m%02d', $_ } 1 .. 12],
        'all channels with the prefix are listed, sorted');
    is($json->{channels}[0]{subscribers}, 6, 'a channel has its number of subscribers in all processes');
    is($json->{channels}[0]{members}, 5, 'a channel has its number of members');
    is($json->{next}, undef, 'a complete list has no next page');
    my (@names, $next);
    do {
        $json = (ask('GET', '/channels?prefix=list/&limit=5' . ($next ? "&next=$next" : '')))[1];
        push @names, map { $_->{channel} } @{ $json->{channels} };
        cmp_ok(@{ $json->{channels} }, '<=', 5, 'a page has at most the requested number of channels');
        $next = $json->{next};
    } while $next;
    is_deeply(\@names, ['list/a', map { sprintf 'list/m%02d', $_ } 1 .. 12], 'the pages have each channel once');
    is_deeply((ask('GET', '/channels?prefix=none'))[1]{channels}, [], 'a prefix that no channel has gives an empty list');
    status_is(400, "the argument $_", 'GET', "/channels?$_") for qw(prefix=%20 next=%20 limit=0);
    status_is(405, 'a channel cannot be created', 'PUT', '/channels');
}

# ---- GRIP's publish ----

sub item { my ($channel, %format) = @_; return { channel => $channel, formats => { 'ws-message' => \%format } } }

{
    my @c = map { [connected('/plain')] } 1 .. 6;
    ask('PUT', "/connections/$_->[1]/channels/grip") for @c;
    my ($json) = status_is(200, 'GRIP items are published', 'POST', '/publish/', encode_json({ items => [
        item('grip', content => 'one'), item('grip', 'content-bin' => encode_base64("\0\xff", ''), action => 'send'),
        { channels => ['grip', 'other'], formats => { 'ws-message' => { content => 'three' }, 'http-stream' => { content => 'x' } } },
    ] }), 'Content-Type: application/json');
    is_deeply([map { $_->{receivers} } grep { $_->{channel} eq 'grip' } @{ $json->{published} }], [6, 6, 6], 'each GRIP item is published to all subscribers');
    for my $c (map { $_->[0] } @c) {
        is_deeply([map { $c->message } 1 .. 3], [TEXT, 'one', BINARY, "\0\xff", TEXT, 'three'], 'GRIP items arrive in order');
    }
    my $once = encode_json({ items => [{ %{ item('grip', content => 'once') }, id => 'message-1' }] });
    ask('POST', '/publish/', $once);
    ($json) = status_is(200, 'an item with the same id is published again', 'POST', '/publish/', $once);
    ok($json->{published}[0]{duplicate}, 'the second item with the same id is reported as a duplicate');
    is(($_->[0]->message)[1], 'once') for @c;
    ($json) = status_is(200, 'an item with a message and one with the action close are published', 'POST', '/publish/', encode_json({ items => [
        item('grip', action => 'close', code => 4002, reason => 'over'), item('grip', content => 'last') ] }));
    is_deeply([$json->{closed}[0]{channel}, $json->{closed}[0]{closed}], ['grip', 6], 'the action close closes all subscribers');
    for my $c (map { $_->[0] } @c) {
        is(($c->message)[1], 'last', 'subscribers receive the message before they are closed');
        $c->expect_close(4002);
        is($c->{reason}, 'over');
    }
}
{
    my ($c, $id) = connected('/plain');
    ask('PUT', "/connections/$id/channels/w");
    my $right = item('w', content => 'x');
    my %wrong = (
        'no JSON'            => '{',
        'no body'            => '',
        'no items'           => {},
        'items that is not an array' => { items => 'x' },
        'an empty list'      => { items => [] },
        'an item that is not an object' => { items => [$right, 7] },
        'no channel'         => { items => [$right, { formats => { 'ws-message' => { content => 'x' } } }] },
        'a wrong channel'    => { items => [$right, item('a b', content => 'x')] },
        'no name in a list'  => { items => [$right, { channels => [7], formats => { 'ws-message' => { content => 'x' } } }] },
        'an empty list of channels' => { items => [$right, { channels => [], formats => { 'ws-message' => { content => 'x' } } }] },
        'no ws-message'      => { items => [$right, { channel => 'w', formats => { 'http-stream' => { content => 'x' } } }] },
        'no content'         => { items => [$right, item('w')] },
        'two contents'       => { items => [$right, item('w', content => 'x', 'content-bin' => 'eA==')] },
        'no base64'          => { items => [$right, item('w', 'content-bin' => 'ab*d')] },
        'an unknown action'  => { items => [$right, item('w', action => 'refresh')] },
        'a wrong code'       => { items => [$right, item('w', action => 'close', code => 1006)] },
        'a long reason'      => { items => [$right, item('w', action => 'close', reason => 'x' x 124)] },
        'an empty id'        => { items => [$right, { %$right, id => '' }] },
        'a NUL'              => { items => [$right, item('w', content => "a\0b")] },
    );
    for my $name (sort keys %wrong) {
        my ($json) = status_is(400, "publish: $name", 'POST', '/publish/', ref $wrong{$name} ? encode_json($wrong{$name}) : $wrong{$name});
        like($json->{error}, qr/\w/, 'an invalid GRIP request is refused with a reason');
    }
    for (['id', { %$right, id => 42 }], ['channel', { %$right, channel => 7 }], ['action', item('w', content => 'x', action => 5)],
        ['content-bin', item('w', content => 'x', 'content-bin' => 5)], ['reason', item('w', action => 'close', reason => {})])
    {
        my ($name, $item) = @$_;
        my ($json) = status_is(400, "publish: $name of another type", 'POST', '/publish/', encode_json({ items => [$right, $item] }));
        is($json->{error}, qq("$name" must be a string), "publish: the error names $name");
    }
    status_is(400, 'publish: no UTF-8', 'POST', '/publish/', '{"items":[' . encode_json($right) . ',"' . "\xff" . '"]}');
    status_is(413, 'publish: a large body', 'POST', '/publish/', encode_json({ items => [item('w', content => 'x' x 102_400)] }));
    status_is(405, 'publish: another method', 'GET', '/publish/');
    status_is(200, 'publish: an escaped backslash before u0000 is not a NUL', 'POST', '/publish/', encode_json({ items => [item('w', content => 'a\\u0000b')] }));
    is(($c->message)[1], 'a\\u0000b', 'no message of an invalid GRIP request was published');
}

# ---- Access ----

{
    my ($c, $id) = connected('/echo');
    my @elsewhere = ('Origin: https://evil.example');
    for my $request (['POST', "/connections/$id", 'x'], ['DELETE', "/connections/$id"], ['PUT', "/connections/$id/channels/a"],
        ['DELETE', "/connections/$id/channels/a"], ['POST', '/users/alice', 'x'], ['DELETE', '/users/alice'],
        ['POST', '/publish/', encode_json({ items => [item('a', content => 'x')] })], ['POST', "/\@connections/$id", 'x'])
    {
        status_is(403, "a page of another site may not send $request->[0] $request->[1]", @$request[0, 1], $request->[2] // '', @elsewhere);
        status_is(403, "Sec-Fetch-Site: cross-site refuses $request->[0] $request->[1]", @$request[0, 1], $request->[2] // '', 'Sec-Fetch-Site: cross-site');
        status_is(403, "Origin: null refuses $request->[0] $request->[1]", @$request[0, 1], $request->[2] // '', 'Origin: null');
    }
    $c->echoes('z', 'requests from pages of another site had no effect');
    status_is(200, 'a page of the same host may send to a connection', 'POST', "/connections/$id", 'own', 'Origin: http://localhost:' . $httpd->port);
    is(($c->message)[1], 'own', 'the connection receives the message from a page of the same host');
    status_is(401, 'a Location with Require refuses a request without a password', 'GET', '/guarded/connections');
    status_is(401, 'Require user refuses another user', 'GET', '/guarded/connections', '', authorization('alice'));
    status_is(200, 'Require user admits its user', 'GET', '/guarded/connections', '', authorization('bob'));
    status_is(400, 'WebSocketPublish of the Location refuses a channel', 'POST', '/guarded/publish/',
        encode_json({ items => [item('closed', content => 'x')] }), authorization('bob'));
    status_is(200, 'WebSocketPublish of the Location permits a channel', 'POST', '/guarded/publish/', encode_json({ items => [item('open', content => 'x')] }),
        authorization('bob'));
}

# ---- AWS's client ----

sub aws {
    my (@arg) = @_;
    my $program = Program->start('node', 't/clients/aws.mjs', 'http://localhost:' . $httpd->port . '/control', @arg);
    return decode_json(($program->wait_output(qr/^\{.*\}\n/m))[0]);
}

{
    my ($c, $id) = connected('/echo');
    my $answer = aws('get', $id);
    is($answer->{status}, 200, "the AWS SDK's GetConnection succeeds");
    is($answer->{Identity}{SourceIp} // $answer->{identity}{sourceIp}, '127.0.0.1', 'GetConnection returns the address') or diag(explain($answer));
    like($_, qr/^\d{4}-\d\d-\d\dT[\d:.]+Z$/, 'GetConnection returns times') for @$answer{qw(ConnectedAt LastActiveAt)};
    is(aws('post', $id, 'from the SDK')->{status}, 200, "the AWS SDK's PostToConnection succeeds");
    is_deeply([$c->message], [TEXT, 'from the SDK'], 'PostToConnection sends a text');
    status_is(200, 'bytes are posted to the path of PostToConnection', 'POST', "/\@connections/$id", "\xff\xfe", 'Content-Type: application/octet-stream');
    is_deeply([$c->message], [BINARY, "\xff\xfe"], 'bytes posted to the path of PostToConnection are sent as a binary message');
    is(aws('delete', $id)->{status}, 204, "the AWS SDK's DeleteConnection succeeds");
    $c->expect_close(1000);
    Httpd::wait_for(sub { (ask('GET', "/connections/$id"))[0] == 404 }, 'the connection to end');
    for my $verb (qw(get post delete)) {
        $answer = aws($verb, $id, 'x');
        is_deeply([@$answer{qw(status name gone)}], [410, 'GoneException', JSON::PP::true], "the AWS SDK reports a connection that has ended as GoneException: $verb");
    }
    is(aws('get', 'malformed')->{name}, 'BadRequestException', 'the AWS SDK reports a malformed id as BadRequestException');
    $answer = aws('post', $id, 'x' x 102_401);
    is_deeply([@$answer{qw(status name)}], [413, 'PayloadTooLargeException'], 'the AWS SDK reports a large message as PayloadTooLargeException');
    status_is(405, 'a method that the API of AWS does not have is refused', 'PUT', "/\@connections/$id");
}

# ---- A reload ----

{
    my ($c, $id) = connected('/echo');
    my @alice = map { user_client('alice') } 1 .. 3;
    my ($before) = (ask('POST', '/users/alice', 'before'))[1]{sent};
    ($_->message) for @alice;
    $httpd->graceful;
    my $new = connected('/echo');
    $c->echoes('old', 'after a reload, an old connection still echoes');
    status_is(200, 'a connection of the old generation is found', 'GET', "/connections/$id");
    status_is(200, 'a message is sent to a connection of the old generation', 'POST', "/connections/$id", 'from new to old');
    is(($c->message)[1], 'from new to old');
    status_is(200, 'a connection of the old generation is subscribed', 'PUT', "/connections/$id/channels/reloaded");
    push @alice, user_client('alice');
    is((ask('POST', '/users/alice', 'both'))[1]{sent}, $before + 1, 'a message to a user counts connections of both generations');
    is(($_->message)[1], 'both') for @alice;
    ask('POST', '/publish/', encode_json({ items => [item('reloaded', action => 'close', code => 4003)] }));
    $c->expect_close(4003);
}

# ---- A stopped child ----

# Stop a child of the old generation, which accepts no requests any more. A stopped child of the new generation could accept
# the test's requests, which would then get no response.
{
    my @c = map { [connected('/echo/stopped')] } 1 .. 8;
    my ($c, $id) = @{ $c[0] };
    my ($child) = grep { $_->{process} == hex child_of($id) } @{ children() };
    $httpd->graceful;
    push @c, map { [connected('/echo/stopped')] } 1 .. 3;
    my $alice  = user_client('alice');
    my $theirs = grep { child_of($_->[1]) eq child_of($id) } @c;
    Httpd::freeze($child->{pid});
    my $name = 'a stopped child';
    status_is(504, "$name: sending to its connection times out", 'POST', "/connections/$id", 'late');
    status_is(504, "$name: closing its connection times out", 'DELETE', "/connections/$id");
    status_is(504, "$name: reading its connection times out", 'GET', "/connections/$id");
    status_is(504, "$name: subscribing its connection times out", 'PUT', "/connections/$id/channels/a");
    my ($json) = status_is(504, "$name: a user may have more connections", 'POST', '/users/alice', 'x');
    cmp_ok($json->{sent}, '>=', 1, "a stopped child: the answer counts the user's connections in other children");
    is(($alice->message)[1], 'x', "a stopped child: the user's connection in another child receives the message");
    ok(!$json->{complete}, 'while a child is stopped, complete is false in the answer about the user');
    status_is(504, "$name: a channel may have more subscribers", 'POST', '/publish/',
        encode_json({ items => [item('nobody', action => 'close')] }));
    my ($list) = status_is(200, "$name: a list", 'GET', '/connections?limit=1000&uri=/echo/stopped/*');
    is_deeply([map { $_->{process} } @{ $list->{missing} }], [hex child_of($id)], 'a stopped child is in the list of missing processes');
    ok(!$list->{complete}, "a list without the stopped child's connections is not complete");
    is(scalar @{ $list->{connections} }, @c - $theirs, 'the list has all connections of other children');
    ok(!(ask('GET', '/channels'))[1]{complete}, 'the list of channels is not complete, either');
    kill 'CONT', $child->{pid};
    $c->echoes('again', 'the child continues, and drops requests that have timed out');
    status_is(200, 'the child answers new requests when it continues', 'POST', "/connections/$id", 'now');
    is(($c->message)[1], 'now');
}

# ---- Two machines ----

{
    my $redis = Redis->start;
    my %arg   = (
        load  => $Redis::LOAD,
        files => { users => "alice:{SHA}" . sha1_base64($password{alice}) . "=\n" },
        children => 2, log_level => 'info',
        conf  => 'WebSocketBus redis://127.0.0.1:' . $redis->port . "\n$sections" . <<'END');
<Location /control>
    SetHandler websocket-control
    Require local
    WebSocketMaxMessageSize 1M
</Location>
END
    my ($one, $two) = map { Httpd->start(%arg) } 1 .. 2;
    $httpd = $one;
    Httpd::wait_for(sub { (ask('GET', '/connections'))[1]{complete} }, 'a machine to know the other');
    my $c = Client->new($two, '/echo/far');
    my ($info) = listed('uri=/echo/far', 1);
    like($info->{id}, qr/\A[0-9a-f]{16}-[0-9a-f]{16}\z/, "with a bus, an id has the server's id, too");
    my $id = $info->{id};
    status_is(200, 'a connection of another machine is found', 'GET', "/connections/$id");
    status_is(200, 'a large message is sent to a connection of another machine', 'POST', "/connections/$id", 'y' x 500_000);
    is(length(($c->message)[1]), 500_000, 'the connection of another machine receives the large message');
    status_is(200, 'a connection of another machine is subscribed', 'PUT', "/connections/$id/channels/far");
    is((ask('GET', '/channels?prefix=far'))[1]{channels}[0]{subscribers}, 1, 'a channel counts the subscriber of another machine');
    is_deeply([ids('channel=far', 10)], [$id], 'a list filtered by channel has the connection of another machine');
    my ($own) = $id =~ /-(.*)/;
    my ($status) = ask('GET', "/connections/$own");
    isnt($status, 200, "without the server's id, a connection of another machine is not found") if !grep { $_ =~ /-\Q$own\E/ } ids('uri=/nothing', 10);
    $httpd = $two;
    status_is(200, 'on its own machine, a connection is found by its short id', 'GET', "/connections/$own");
    $httpd = $one;
    my @alice = map { Client->new($_, '/users', headers => [authorization('alice')]) } $one, $two, $two;
    listed('user=alice', 3);
    my $json = (ask('POST', '/users/alice', 'everywhere'))[1];
    is($json->{sent}, 3, 'a message to a user reaches connections on both machines');
    is(($_->message)[1], 'everywhere') for @alice;
    $json = (ask('POST', '/publish/', encode_json({ items => [item('far', action => 'close', code => 4004)] })))[1];
    is($json->{closed}[0]{closed}, 1, 'the action close closes a subscriber on another machine');
    $c->expect_close(4004);
    is((ask('DELETE', '/users/alice?code=4005'))[1]{closed}, 3, 'a user is disconnected on both machines');
    $_->expect_close(4005) for @alice;
    my ($unknown) = status_is(404, 'an id with the server id of no server is answered with 404', 'GET', '/connections/00000000000000aa-0001000000000001');
    # Without Redis, a server cannot reach other servers.
    $c = Client->new($two, '/echo/far');
    ($id) = map { $_->{id} } listed('uri=/echo/far', 1);
    $redis->stop;
    Httpd::wait_for(sub { !(ask('GET', '/connections'))[1]{complete} }, 'the server to notice that Redis has gone');
    status_is(504, 'when the bus fails, a connection of another machine is not reported as gone', 'POST', "/connections/$id", 'x');
    is((ask('POST', '/users/alice', 'x'))[0], 504, 'when the bus fails, a message to a user is not reported as complete');
}

# ---- Configuration ----

if ($Httpd::MPM eq 'event') {
    my %right = (
        'restricted'       => 'Require local',
        'a wider section'  => '</Location><Location "/control/x">Require all granted</Location><Location "/control">Require local',
        'switched open'    => 'WebSocketControlOpen on',
        'by user'          => 'Require user x',
        'nobody'           => 'Require all denied',
    );
    my %wrong = (
        'no Require'          => '',
        'open'                => 'Require all granted',
        'for reading only'    => "<Limit GET>\nRequire local\n</Limit>",
        'for writing only'    => "<LimitExcept GET>\nRequire local\n</LimitExcept>",
        'switched off'        => 'WebSocketControlOpen off',
    );
    s/(<\/?Location[^>]*>)/\n$1\n/g for values %right;
    for my $name (sort keys %right) {
        my ($ok, $text) = Httpd->check("<Location /control>\nSetHandler websocket-control\n$right{$name}\n</Location>");
        ok($ok, "httpd starts: $name") or diag($text);
    }
    for my $name (sort keys %wrong) {
        my ($ok, $text) = Httpd->check("<Location /control>\nSetHandler websocket-control\n$wrong{$name}\n</Location>");
        ok(!$ok, "httpd does not start: $name");
        like($text, qr/httpd\.conf:\d+: SetHandler websocket-control in <Location "\/control"> is open to everyone\. Add a Require/,
            'the error suggests a Require');
    }
    for my $section ('<LocationMatch "^/control">|</LocationMatch>', '<Location "/control*">|</Location>', '<Directory />|</Directory>') {
        my ($open, $close) = split /\|/, $section;
        my ($ok, $text) = Httpd->check("$open\nSetHandler websocket-control\nRequire local\n$close");
        ok(!$ok, "httpd does not start: websocket-control in $open");
        like($text, qr/is allowed only in a <Location> without wildcards/, 'the error says that a <Location> without wildcards is needed');
    }
}

done_testing();
