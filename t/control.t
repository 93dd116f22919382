# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# The control API: connections, users and channels over HTTP, in all child processes, even if one of them is stopped,
# and across a reload.

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

# For clients of all machines.
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

# A request with a body: (status, JSON, head).
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
    $c->echoes('here');    # so it is listed
    return $c;
}

# All pages of a list.
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

# The results of a query, once there are this many: a client gets its 101 a moment before its connection is listed.
sub listed {
    my ($query, $n) = @_;
    my @got;
    Httpd::wait_for(sub { (@got = all($query, 1000)) >= $n }, "$n connections with $query");
    return @got;
}

# A client, and its id.
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
    like($id, qr/\A[0-9a-f]{16}\z/, 'a connection has an id');
    my ($json) = status_is(200, 'what is known of a connection', 'GET', "/connections/$id");
    is($json->{id}, $id, 'its id');
    is($json->{address}, '127.0.0.1', 'its address');
    is($json->{handler}, 'echo', 'its handler');
    like($json->{start}, qr/^\d{4}-\d\d-\d\dT/, 'its start time');
    is_deeply($json->{channels}, [], 'its channels');
    is($json->{user}, undef, 'it has no user');

    ($json) = status_is(200, 'a text is sent', 'POST', "/connections/$id", "gr\xc3\xbcn");
    is_deeply($json, { sent => $id }, 'the answer names the connection');
    is_deeply([$c->message], [TEXT, "gr\xc3\xbcn"], 'the client has received it');
    status_is(200, 'bytes are sent', 'POST', "/connections/$id", "\xff\0x", 'Content-Type: application/octet-stream');
    is_deeply([$c->message], [BINARY, "\xff\0x"], 'the client has received the bytes');
    status_is(200, 'nothing is sent', 'POST', "/connections/$id", '');
    is_deeply([$c->message], [TEXT, ''], 'the client has received an empty message');
    my $large = 'x' x 90_000;
    status_is(200, 'much is sent', 'POST', "/connections/$id", $large);
    is(($c->message)[1], $large, 'a message larger than a packet between processes arrives');

    status_is(400, 'text that is not UTF-8', 'POST', "/connections/$id", "\xff");
    status_is(415, 'text in another encoding', 'POST', "/connections/$id", 'x', 'Content-Type: text/plain; charset=latin1');
    status_is(413, 'more than WebSocketMaxMessageSize', 'POST', "/connections/$id", 'x' x 102_401);
    status_is(405, 'a method that a connection does not have', 'PUT', "/connections/$id");
    status_is(400, 'a code that no Close frame has', 'DELETE', "/connections/$id?code=1005");
    status_is(400, 'a code that is no number', 'DELETE', "/connections/$id?code=bye");
    status_is(400, 'a long reason', 'DELETE', "/connections/$id?reason=" . 'x' x 124);
    status_is(400, 'a reason that is not UTF-8', 'DELETE', "/connections/$id?reason=%ff");
    $c->echoes('still here', 'none of these requests had an effect');
    status_is(200, 'a connection is closed', 'DELETE', "/connections/$id?code=4001&reason=gr%C3%BCn");
    $c->expect_close(4001, 'with the code');
    is($c->{reason}, "gr\xc3\xbcn", 'and the reason');
    Httpd::wait_for(sub { (ask('GET', "/connections/$id"))[0] == 404 }, 'the connection to end');
    status_is(404, 'nothing is sent to one that has gone', 'POST', "/connections/$id", 'x');
    status_is(404, 'nor is it closed', 'DELETE', "/connections/$id");
    status_is(404, 'nor subscribed', 'PUT', "/connections/$id/channels/a");
}
{
    my ($c, $id) = connected('/echo');
    status_is(200, 'without a code', 'DELETE', "/connections/$id");
    $c->expect_close(1000, 'a connection is closed with 1000');
}
for my $id ('', 'x', '123', '0' x 15, '0' x 17, 'g' x 16, ('0' x 16) . '-' . 'x' x 16, ('0' x 33)) {
    next if $id eq '';
    status_is(400, "the malformed id $id", 'GET', "/connections/$id");
    status_is(400, "the malformed id $id", 'DELETE', "/connections/$id");
}
status_is(404, 'no connection has the id 0', 'GET', '/connections/' . '0' x 16);
status_is(404, 'a process that is not there', 'POST', '/connections/ffff000000000001', 'x');
status_is(404, 'a server that is not there', 'POST', '/connections/00000000000000aa-ffff000000000001', 'x');
status_is(404, 'a path that is not there', 'GET', '/nothing');
status_is(404, 'below a connection', 'GET', '/connections/' . '0' x 16 . '/nothing');
status_is(405, 'connections are not made', 'POST', '/connections');

# An event stream is a connection, but accepts no messages; closing it is allowed.
{
    my $socket = $httpd->connect;
    print $socket "GET /events/x HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    my ($id) = map { $_->{id} } listed('uri=/events/x', 1);
    status_is(409, 'a stream of events takes no message', 'POST', "/connections/$id", 'x');
    status_is(200, 'but can be closed', 'DELETE', "/connections/$id");
    my $all = do { local $/; <$socket> };
    unlike($all, qr/^x/m, 'nothing was written to the stream');
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
    is($full, 503, 'a full queue is an error');
    like($head, qr/^Retry-After: 1\r?$/mi, 'with Retry-After');
    my ($json) = status_is(200, 'and the connection is still there', 'GET', "/connections/$id");
    cmp_ok($json->{queued}, '>', 0, 'and the list shows the queued bytes');
    my $got = ($c->message)[1];
    is(length $got, 60_000, 'messages that were reported as sent arrive');
}

# ---- Lists ----

{
    my %clients = map { my ($c, $id) = connected('/echo/many'); ($id => $c) } 1 .. 30;
    my @all = all('uri=/echo/many/*', 7);
    is_deeply([sort map { $_->{id} } @all], [sort keys %clients], 'the pages of a list have each connection once');
    my %children = map { (child_of($_) => 1) } keys %clients;
    cmp_ok(keys %children, '>', 1, 'from several child processes: ' . keys %children);
    is_deeply([sort(ids('uri=/echo/many/*', 1000))], [sort keys %clients], 'and so has one page');
    is_deeply([ids('uri=/echo/manyfold', 10)], [], 'nothing else is listed');
    is_deeply([ids('vhost=elsewhere', 10)], [], 'nor are connections of another virtual host');
    is(scalar(ids('vhost=localhost&uri=/echo/many/*', 1000)), 30, 'virtual hosts have names');
    for my $wrong (qw(limit=0 limit=1001 limit=x next=x next=0000000000000000.0000.ff.00000000 channel=%20)) {
        status_is(400, "the argument $wrong", 'GET', "/connections?$wrong");
    }
    is_deeply((ask('GET', '/connections?limit=1'))[1]{missing}, [], 'all processes have answered');
    ok((ask('GET', '/connections?limit=1'))[1]{complete}, 'and the list is complete');
    # One child dies.
    my ($victim) = sort keys %clients;
    my %pid = map { ($_->{process} => $_->{pid}) } @{ children() };
    kill 'KILL', $pid{ hex child_of($victim) };
    Httpd::wait_for(sub { !grep { child_of($_) eq child_of($victim) } ids('uri=/echo/many/*', 1000) },
        'a killed child to be listed no more');
    status_is(404, "a killed child's connection", 'POST', "/connections/$victim", 'x');
}

# The child processes on the status page.
sub children {
    my $status = decode_json(($httpd->request('GET', '/ws-status', 'Accept: application/json'))[2] || '{}');
    return $status->{children} || [];
}

# ---- Users ----

{
    my @alice = map { user_client('alice') } 1 .. 6;
    my $bob   = user_client('bob');
    my $carol = user_client('carol d');
    is(scalar(ids('user=alice', 3)), 6, 'connections of a user');
    my ($json) = status_is(200, 'a message to a user', 'POST', '/users/alice', 'hello alice');
    is($json->{sent}, 6, 'the message goes to all connections');
    is_deeply([map { ($_->message)[1] } @alice], [('hello alice') x 6], 'and they receive it');
    status_is(200, 'bytes to a user', 'POST', '/users/carol%20d', "\0\xfe", 'Content-Type: application/octet-stream');
    is_deeply([$carol->message], [BINARY, "\0\xfe"], 'a user whose name has a space');
    is((ask('POST', '/users/nobody', 'x'))[1]{sent}, 0, 'an unknown user has no connections');
    is((ask('POST', '/users/ALICE', 'x'))[1]{sent}, 0, 'upper case is another user');
    is((ask('POST', '/users/alice?vhost=elsewhere', 'x'))[1]{sent}, 0, 'nor has the user in another virtual host');
    $bob->echoes('x', 'another user has received nothing');
    status_is(400, 'name a user', 'POST', '/users/', 'x');
    status_is(405, 'a user is not read', 'GET', '/users/alice');
    status_is(400, 'a user is not disconnected with a wrong code', 'DELETE', '/users/alice?code=999');
    ($json) = status_is(200, 'a user logs out', 'DELETE', '/users/alice?code=4000&reason=logout');
    is($json->{closed}, 6, 'all connections are closed');
    $_->expect_close(4000) for @alice;
    $bob->echoes('y', 'but not those of another user');
    is((ask('DELETE', '/users/alice'))[1]{closed}, 0, 'the request can be repeated');
}

# ---- Channels of a connection ----

{
    my ($c, $id) = connected('/plain');
    my ($json) = status_is(200, 'a connection is subscribed', 'PUT', "/connections/$id/channels/news/today");
    is_deeply($json, { subscribed => 'news/today' }, 'to a channel with a slash');
    is_deeply((ask('GET', "/connections/$id"))[1]{channels}, ['news/today'], 'the channel is in the list of the connection');
    is_deeply([ids('channel=news/today', 10)], [$id], 'and the connection in that of the channel');
    status_is(200, 'once more', 'PUT', "/connections/$id/channels/news/today");
    ($json) = status_is(200, 'a message is published', 'POST', '/publish/',
        encode_json({ items => [{ channel => 'news/today', formats => { 'ws-message' => { content => "gr\x{fc}n" } } }] }));
    is($json->{published}[0]{receivers}, 1, 'to one receiver');
    is_deeply([$c->message], [TEXT, "gr\xc3\xbcn"], 'and it receives the message');
    status_is(403, 'WebSocketSubscribe holds', 'PUT', "/connections/$id/channels/secret");
    status_is(400, 'a wrong name', 'PUT', "/connections/$id/channels/a%20b");
    status_is(400, 'no name', 'PUT', "/connections/$id/channels/");
    status_is(405, 'a method that it does not have', 'GET', "/connections/$id/channels/x");
    status_is(200, 'another', 'PUT', "/connections/$id/channels/$_") for 1, 2;
    status_is(409, 'WebSocketSubscriptions holds', 'PUT', "/connections/$id/channels/3");
    status_is(200, 'a subscription is ended', 'DELETE', "/connections/$id/channels/news/today");
    status_is(404, 'one that is none', 'DELETE', "/connections/$id/channels/news/today");
    is_deeply([ids('channel=news/today', 10)], [], 'the channel is no longer listed');
    ask('POST', '/publish', encode_json({ items => [{ channel => 'news/today', formats => { 'ws-message' => { content => 'x' } } }] }));
    $c->echoes('y', 'and no message arrives');
}

# ---- All channels ----

{
    my @member = map { scalar connected('/channel', query => '?to=list/a') } 1 .. 5;
    my @many   = map { scalar connected('/channel', query => sprintf '?to=list/m%02d', $_) } 1 .. 12;
    my ($plain, $id) = connected('/plain');
    ask('PUT', "/connections/$id/channels/list/a");
    my ($json) = status_is(200, 'channels', 'GET', '/channels?prefix=list/&limit=1000');
    is_deeply([map { $_->{channel} } @{ $json->{channels} }], ['list/a', map { sprintf 'list/m%02d', $_ } 1 .. 12],
        'all with that prefix, sorted');
    is($json->{channels}[0]{subscribers}, 6, 'with their subscribers in all processes');
    is($json->{channels}[0]{members}, 5, 'and members');
    is($json->{next}, undef, 'there is no further page');
    my (@names, $next);
    do {
        $json = (ask('GET', '/channels?prefix=list/&limit=5' . ($next ? "&next=$next" : '')))[1];
        push @names, map { $_->{channel} } @{ $json->{channels} };
        cmp_ok(@{ $json->{channels} }, '<=', 5, 'a page');
        $next = $json->{next};
    } while $next;
    is_deeply(\@names, ['list/a', map { sprintf 'list/m%02d', $_ } 1 .. 12], 'the pages have each channel once');
    is_deeply((ask('GET', '/channels?prefix=none'))[1]{channels}, [], 'a prefix that no channel has');
    status_is(400, "the argument $_", 'GET', "/channels?$_") for qw(prefix=%20 next=%20 limit=0);
    status_is(405, 'channels are not made', 'PUT', '/channels');
}

# ---- GRIP's publish ----

sub item { my ($channel, %format) = @_; return { channel => $channel, formats => { 'ws-message' => \%format } } }

{
    my @c = map { [connected('/plain')] } 1 .. 6;
    ask('PUT', "/connections/$_->[1]/channels/grip") for @c;
    my ($json) = status_is(200, 'items', 'POST', '/publish/', encode_json({ items => [
        item('grip', content => 'one'), item('grip', 'content-bin' => encode_base64("\0\xff", ''), action => 'send'),
        { channels => ['grip', 'other'], formats => { 'ws-message' => { content => 'three' }, 'http-stream' => { content => 'x' } } },
    ] }), 'Content-Type: application/json');
    is_deeply([map { $_->{receivers} } grep { $_->{channel} eq 'grip' } @{ $json->{published} }], [6, 6, 6], 'the items are published');
    for my $c (map { $_->[0] } @c) {
        is_deeply([map { $c->message } 1 .. 3], [TEXT, 'one', BINARY, "\0\xff", TEXT, 'three'], 'in their order');
    }
    my $once = encode_json({ items => [{ %{ item('grip', content => 'once') }, id => 'message-1' }] });
    ask('POST', '/publish/', $once);
    ($json) = status_is(200, 'an item with an id', 'POST', '/publish/', $once);
    ok($json->{published}[0]{duplicate}, 'is published once');
    is(($_->[0]->message)[1], 'once') for @c;
    ($json) = status_is(200, 'a message and a close', 'POST', '/publish/', encode_json({ items => [
        item('grip', action => 'close', code => 4002, reason => 'over'), item('grip', content => 'last') ] }));
    is_deeply([$json->{closed}[0]{channel}, $json->{closed}[0]{closed}], ['grip', 6], 'the action close closes the subscribers');
    for my $c (map { $_->[0] } @c) {
        is(($c->message)[1], 'last', 'after the last message');
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
        'items that are none' => { items => 'x' },
        'an empty list'      => { items => [] },
        'an item that is none' => { items => [$right, 7] },
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
        like($json->{error}, qr/\w/, 'with a reason');
    }
    status_is(400, 'publish: no UTF-8', 'POST', '/publish/', '{"items":[' . encode_json($right) . ',"' . "\xff" . '"]}');
    status_is(413, 'publish: a large body', 'POST', '/publish/', encode_json({ items => [item('w', content => 'x' x 102_400)] }));
    status_is(405, 'publish: another method', 'GET', '/publish/');
    status_is(200, 'a backslash is no NUL', 'POST', '/publish/', encode_json({ items => [item('w', content => 'a\\u0000b')] }));
    is(($c->message)[1], 'a\\u0000b', 'no message of an invalid request was published');
}

# ---- Access ----

{
    my ($c, $id) = connected('/echo');
    my @elsewhere = ('Origin: https://evil.example');
    for my $request (['POST', "/connections/$id", 'x'], ['DELETE', "/connections/$id"], ['PUT', "/connections/$id/channels/a"],
        ['DELETE', "/connections/$id/channels/a"], ['POST', '/users/alice', 'x'], ['DELETE', '/users/alice'],
        ['POST', '/publish/', encode_json({ items => [item('a', content => 'x')] })], ['POST', "/\@connections/$id", 'x'])
    {
        status_is(403, "a page of another site: $request->[0] $request->[1]", @$request[0, 1], $request->[2] // '', @elsewhere);
        status_is(403, 'as browsers say it', @$request[0, 1], $request->[2] // '', 'Sec-Fetch-Site: cross-site');
        status_is(403, 'or hide it', @$request[0, 1], $request->[2] // '', 'Origin: null');
    }
    $c->echoes('z', 'the request had no effect');
    status_is(200, 'a page of the same host', 'POST', "/connections/$id", 'own', 'Origin: http://localhost:' . $httpd->port);
    is(($c->message)[1], 'own', 'may');
    status_is(401, 'a Require holds', 'GET', '/guarded/connections');
    status_is(401, 'for another user, too', 'GET', '/guarded/connections', '', authorization('alice'));
    status_is(200, 'and lets in', 'GET', '/guarded/connections', '', authorization('bob'));
    status_is(400, 'WebSocketPublish of the Location holds', 'POST', '/guarded/publish/',
        encode_json({ items => [item('closed', content => 'x')] }), authorization('bob'));
    status_is(200, 'and lets through', 'POST', '/guarded/publish/', encode_json({ items => [item('open', content => 'x')] }),
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
    is($answer->{status}, 200, 'GetConnection');
    is($answer->{Identity}{SourceIp} // $answer->{identity}{sourceIp}, '127.0.0.1', 'GetConnection returns the address') or diag(explain($answer));
    like($_, qr/^\d{4}-\d\d-\d\dT[\d:.]+Z$/, 'and a time') for @$answer{qw(ConnectedAt LastActiveAt)};
    is(aws('post', $id, 'from the SDK')->{status}, 200, 'PostToConnection');
    is_deeply([$c->message], [TEXT, 'from the SDK'], 'PostToConnection sends a text');
    status_is(200, 'bytes by its path', 'POST', "/\@connections/$id", "\xff\xfe", 'Content-Type: application/octet-stream');
    is_deeply([$c->message], [BINARY, "\xff\xfe"], 'bytes are sent as a binary message');
    is(aws('delete', $id)->{status}, 204, 'DeleteConnection');
    $c->expect_close(1000);
    Httpd::wait_for(sub { (ask('GET', "/connections/$id"))[0] == 404 }, 'the connection to end');
    for my $verb (qw(get post delete)) {
        $answer = aws($verb, $id, 'x');
        is_deeply([@$answer{qw(status name gone)}], [410, 'GoneException', JSON::PP::true], "$verb of a connection that has ended");
    }
    is(aws('get', 'malformed')->{name}, 'BadRequestException', 'a malformed id');
    $answer = aws('post', $id, 'x' x 102_401);
    is_deeply([@$answer{qw(status name)}], [413, 'PayloadTooLargeException'], 'a large message');
    status_is(405, 'a method that AWS does not have', 'PUT', "/\@connections/$id");
}

# ---- A reload ----

{
    my ($c, $id) = connected('/echo');
    my @alice = map { user_client('alice') } 1 .. 3;
    my ($before) = (ask('POST', '/users/alice', 'before'))[1]{sent};
    ($_->message) for @alice;
    $httpd->graceful;
    my $new = connected('/echo');
    $c->echoes('old', 'after a reload');
    status_is(200, 'a connection of the old generation is found', 'GET', "/connections/$id");
    status_is(200, 'and sent to', 'POST', "/connections/$id", 'from new to old');
    is(($c->message)[1], 'from new to old');
    status_is(200, 'and subscribed', 'PUT', "/connections/$id/channels/reloaded");
    push @alice, user_client('alice');
    is((ask('POST', '/users/alice', 'both'))[1]{sent}, $before + 1, 'a user has connections of both');
    is(($_->message)[1], 'both') for @alice;
    ask('POST', '/publish/', encode_json({ items => [item('reloaded', action => 'close', code => 4003)] }));
    $c->expect_close(4003);
}

# ---- A stopped child ----

# Stop a child of the old generation. A stopped child of the new one could accept the test's requests, which would then
# wait for it.
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
    status_is(504, "$name: nothing is sent", 'POST', "/connections/$id", 'late');
    status_is(504, "$name: nothing is closed", 'DELETE', "/connections/$id");
    status_is(504, "$name: nothing is known", 'GET', "/connections/$id");
    status_is(504, "$name: nothing is subscribed", 'PUT', "/connections/$id/channels/a");
    my ($json) = status_is(504, "$name: a user may have more connections", 'POST', '/users/alice', 'x');
    cmp_ok($json->{sent}, '>=', 1, 'and none other than those that got the message');
    is(($alice->message)[1], 'x', 'and they have received it');
    ok(!$json->{complete}, 'it is not complete');
    status_is(504, "$name: a channel may have more subscribers", 'POST', '/publish/',
        encode_json({ items => [item('nobody', action => 'close')] }));
    my ($list) = status_is(200, "$name: a list", 'GET', '/connections?limit=1000&uri=/echo/stopped/*');
    is_deeply([map { $_->{process} } @{ $list->{missing} }], [hex child_of($id)], 'the list names the child as missing');
    ok(!$list->{complete}, 'and is not complete');
    is(scalar @{ $list->{connections} }, @c - $theirs, 'but has the connections of all others');
    ok(!(ask('GET', '/channels'))[1]{complete}, 'nor is the list of channels');
    kill 'CONT', $child->{pid};
    $c->echoes('again', 'when it continues, it drops requests whose time is over');
    status_is(200, 'and it answers again', 'POST', "/connections/$id", 'now');
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
    like($info->{id}, qr/\A[0-9a-f]{16}-[0-9a-f]{16}\z/, 'an id names the server, too');
    my $id = $info->{id};
    status_is(200, 'a connection of another machine', 'GET', "/connections/$id");
    status_is(200, 'is sent to', 'POST', "/connections/$id", 'y' x 500_000);
    is(length(($c->message)[1]), 500_000, 'much');
    status_is(200, 'and subscribed', 'PUT', "/connections/$id/channels/far");
    is((ask('GET', '/channels?prefix=far'))[1]{channels}[0]{subscribers}, 1, 'its channel is counted');
    is_deeply([ids('channel=far', 10)], [$id], 'and its connection listed');
    my ($own) = $id =~ /-(.*)/;
    my ($status) = ask('GET', "/connections/$own");
    isnt($status, 200, 'without the server it is none of ours') if !grep { $_ =~ /-\Q$own\E/ } ids('uri=/nothing', 10);
    $httpd = $two;
    status_is(200, 'on its own machine it has the short id, too', 'GET', "/connections/$own");
    $httpd = $one;
    my @alice = map { Client->new($_, '/users', headers => [authorization('alice')]) } $one, $two, $two;
    listed('user=alice', 3);
    my $json = (ask('POST', '/users/alice', 'everywhere'))[1];
    is($json->{sent}, 3, 'a user has connections on both');
    is(($_->message)[1], 'everywhere') for @alice;
    $json = (ask('POST', '/publish/', encode_json({ items => [item('far', action => 'close', code => 4004)] })))[1];
    is($json->{closed}[0]{closed}, 1, 'subscribers of both are closed');
    $c->expect_close(4004);
    is((ask('DELETE', '/users/alice?code=4005'))[1]{closed}, 3, 'a user logs out on both');
    $_->expect_close(4005) for @alice;
    my ($unknown) = status_is(404, 'a server that is not there', 'GET', '/connections/00000000000000aa-0001000000000001');
    # Without Redis, nothing is known of other machines.
    $c = Client->new($two, '/echo/far');
    ($id) = map { $_->{id} } listed('uri=/echo/far', 1);
    $redis->stop;
    Httpd::wait_for(sub { !(ask('GET', '/connections'))[1]{complete} }, 'the bus to be missed');
    status_is(504, 'without the bus it is not known', 'POST', "/connections/$id", 'x');
    is((ask('POST', '/users/alice', 'x'))[0], 504, 'nor are users');
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
            'and says what to do');
    }
    for my $section ('<LocationMatch "^/control">|</LocationMatch>', '<Location "/control*">|</Location>', '<Directory />|</Directory>') {
        my ($open, $close) = split /\|/, $section;
        my ($ok, $text) = Httpd->check("$open\nSetHandler websocket-control\nRequire local\n$close");
        ok(!$ok, "nor does $open");
        like($text, qr/is allowed only in a <Location> without wildcards/, 'because the path names the resource');
    }
}

done_testing();
