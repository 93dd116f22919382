# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# SetHandler websocket-status: tests the JSON, the metrics for Prometheus, and the page in Chromium. All of them list the
# connections of all children, and clients can close connections.

use strict;
use warnings;
use lib 't/lib';
use JSON::PP;
use Test::More;
use Httpd;
use Program;
use Client qw(TEXT);

my $prefork = $Httpd::MPM eq 'prefork';
my $httpd = Httpd->start(
    ($prefork ? () : (mpm_conf => <<'MPM')),
StartServers 3
ServerLimit 8
ThreadsPerChild 8
MaxRequestWorkers 24
MinSpareThreads 1
MaxSpareThreads 24
MPM
    files => { users => "jane:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=\n" },
    conf => <<'END');
WebSocketPing off
WebSocketDrainTimeout 1h
<Location /echo>
    WebSocketHandler ws_echo.so protocol=echo
    WebSocketHandler ws_echo.so
</Location>
<Location /echo/jane>
    AuthType Basic
    AuthName x
    AuthUserFile users
    Require valid-user
</Location>
<Location /websocket-status>
    SetHandler websocket-status
    WebSocketStatusClose on
    Require all granted
</Location>
<Location /metrics>
    SetHandler websocket-status
    Require expr "%{QUERY_STRING} =~ /^prometheus=?$/"
</Location>
END

# Request the status until all children have answered in time, or with $partly only once. Returns the decoded response.
sub status {
    my ($query, $partly) = @_;
    my $s;
    Httpd::wait_for(sub { $s = status_now($query); $partly || !@{ $s->{missing} } }, 'all children to answer',
        sub {"none from @{$s->{missing}}"});
    return $s;
}

sub status_now {
    my ($query) = @_;
    my ($status, $head, $body) = $httpd->get('/websocket-status' . ($query ? "?$query" : ''), 'Accept: application/json');
    is($status, 200, 'the status page answers with 200') if $status != 200;
    return JSON::PP->new->utf8->decode($body);
}

sub post {
    my ($query, @headers) = @_;
    return $httpd->request('POST', "/websocket-status?$query", 'Content-Length: 0', @headers);
}

# Wait until this number of connections are listed. Returns the status.
sub listed {
    my ($number, $query) = @_;
    my $s;
    Httpd::wait_for(sub { $s = status($query); $s->{matching} == $number }, "$number connections",
        sub {"$s->{matching} connections"});
    return $s;
}

# Open connections, each with a different number of messages.
my @clients;
for my $n (1 .. 12) {
    my $c = Client->new($httpd, "/echo/$n", protocol => $n % 2 ? 'echo' : undef, tls => $n == 3);
    for (1 .. $n) {
        $c->text('x' x 100);
        $c->frame;
    }
    push @clients, $c;
}

# ---- JSON ----
{
    my $s = listed(12);
    is(scalar @{ $s->{connections} }, 12, 'all connections of all children are listed');
    my %pids = map { $_->{pid} => 1 } @{ $s->{connections} };
    my %children = map { $_->{pid} => $_->{connections} } @{ $s->{children} };
    is(scalar(grep { !defined $children{$_} } keys %pids), 0, 'the process of each connection is in the list of children');
    my $sum = 0;
    $sum += $_ for values %children;
    is($sum, 12, 'the list of children has their numbers of connections');
    is_deeply($s->{missing}, [], 'no child is missing');
    is($s->{counters}{messages_total}{in}, 78, 'the counters are in the JSON');
    my ($third) = grep { $_->{uri} eq '/echo/3' } @{ $s->{connections} };
    like(delete $third->{id}, qr/^[0-9a-f]{16}$/, 'a connection has an id');
    like(delete $third->{start}, qr/^\d{4}-\d\d-\d\dT/, 'a connection has a start time');
    ok($children{ delete $third->{pid} }, 'a connection has a process');
    is_deeply($third, {
        address => '127.0.0.1', user => undef, vhost => 'localhost', uri => '/echo/3', subprotocol => 'echo',
        handler => 'echo', way => 'tls', version => 13, messages_in => 3, messages_out => 3, bytes_in => 300,
        bytes_out => 300, wire_in => 318, wire_out => 306, queued => 0,
    }, 'a connection has all other fields');
}

# ---- Filter, sort, paging ----
{
    my $uris = sub { join ' ', map { $_->{uri} =~ m{([^/]+)$} } @{ status($_[0])->{connections} } };
    is($uris->('sort=start'), join(' ', 1 .. 12), 'a list can be sorted by age');
    is($uris->('sort=start&descending=1'), join(' ', reverse 1 .. 12), 'a list can be sorted by age in descending order');
    is($uris->('sort=bytes_in&descending=1&limit=3'), '12 11 10', 'a list can be sorted by bytes');
    is($uris->('sort=messages_out&limit=3&offset=4'), '5 6 7', 'offset= and limit= return another page of a list sorted by messages');
    is($uris->('sort=messages_in&limit=5&offset=10'), '11 12', 'the last page of a list has the remaining connections');
    is($uris->('sort=uri'), '1 10 11 12 2 3 4 5 6 7 8 9', 'a list can be sorted by URI');
    is($uris->('sort=uri&offset=100'), '', 'a page beyond the end is empty');
    is($uris->('filter=CHO%2F1&sort=start'), '1 10 11 12', 'a list can be filtered by a part of the URI');
    is(status('filter=CHO%2F1&limit=1')->{matching}, 4, 'a filter is answered with the number of matches');
    is($uris->('filter=nobody'), '', 'a filter that matches nothing gives an empty list');
    my ($c) = @{ status('filter=/echo/7')->{connections} };
    is($uris->("filter=$c->{id}"), '7', 'a list can be filtered by id');
    is(($httpd->get("/websocket-status?$_", 'Accept: application/json'))[0], 400, "$_: 400")
        for qw(sort=nothing limit=x limit=1x offset=-5 descending=y limit=%31%zz offset=), 'limit=+5';
    for (['limit=5000', 'limit= takes a whole number from 0 to 1000'], ['offset=9951', 'offset= takes a whole number from 0 to 9950'],
        ['descending=2', 'descending= takes a whole number from 0 to 1'], ['sort=nothing', 'sort= takes the name of a column, such as start or bytes_in'],
        ['filter=' . 'x' x 128, 'filter= takes at most 127 bytes'], ['filter=%zz', 'the argument filter cannot be decoded: write % as %25, and no %00'])
    {
        my ($status, undef, $body) = $httpd->get("/websocket-status?$_->[0]", 'Accept: application/json');
        is($status, 400, "$_->[0] is refused");
        is(eval { decode_json($body)->{error} }, $_->[1], "$_->[0]: the answer has the reason");
    }
    my $jane = Client->new($httpd, '/echo/jane', headers => ['Authorization: Basic amFuZTo=']);
    is(listed(1, 'filter=jane')->{connections}[0]{user}, 'jane', 'a connection has the authenticated user');
}
listed(12);

# ---- Prometheus ----
{
    my (undef, $head, $body) = $httpd->get('/websocket-status?prometheus');
    like($head, qr{^Content-Type: text/plain; version=0\.0\.4}m, "the metrics have the type that Prometheus expects");
    my (%type, %help, @bad, %value, $metric);
    for (split /\n/, $body) {
        if (/^# HELP (\w+) \S.*$/) { $help{ $metric = $1 }++ }
        elsif (/^# TYPE (\w+) (counter|gauge)$/) { $type{$1} = $2; push @bad, $_ if $1 ne $metric }
        elsif (/^((\w+?)(_total)?(?:\{\w+="[\w.]+"\})?) (\d+)$/) {
            $value{$1} = $4;
            push @bad, $_ if $2 . ($3 // '') ne $metric || ($type{$metric} eq 'counter') != defined $3;
        }
        else { push @bad, $_ }
    }
    is_deeply(\@bad, [], 'each line of the metrics is a sample of the metric above, and counters end in _total');
    is_deeply([grep { $help{$_} != 1 } keys %help], [], 'each metric has one line with HELP');
    is($value{'websocket_connections{way="direct"}'}, 11, 'a gauge has its value');
    (my $version = Httpd::read_file('VERSION')) =~ s/\s+//;
    is($value{qq(websocket_build_info{version="$version"})}, 1, 'the metrics have the version');
    like($head, qr{^Server: .*\bmod_websocket/\Q$version\E\b}m, 'the header Server has the same version');
    $httpd->wait_log(qr/websocket: mod_websocket \Q$version\E$/m);
    is($value{'websocket_messages_total{direction="out"}'}, 78, 'a counter has its value');
}

is(($httpd->get('/metrics?prometheus='))[0], 200, 'a Require can admit only Prometheus');
is(($httpd->get("/metrics$_"))[0], 403, "the same Require refuses: $_") for '', '?prometheus&x', '?x=prometheus';

# ---- Responses ----
{
    my ($status, $head, $body) = $httpd->get('/websocket-status', 'Accept: text/html,application/json;q=0.9');
    like($head, qr{^Content-Type: text/html}m, 'a browser gets the page');
    like($head, qr{^Content-Security-Policy: default-src 'none'.*frame-ancestors 'none'}m, 'the page has a restrictive Content-Security-Policy');
    like($head, qr{^Cache-Control: no-store}m, 'the page may not be cached');
    unlike($body, qr{(?:src|href)=|url\(|//\w+\.\w}, 'the page refers to no other resource');
    is(($httpd->request('HEAD', '/websocket-status'))[0], 200, 'HEAD is answered');
    is(($httpd->request('PUT', '/websocket-status', 'Content-Length: 0'))[0], 405, 'PUT is refused with 405');
}

# ---- Closing ----
my @word = ('WebSocket-Status: close');
sub id_of { my ($uri) = @_; return status("filter=$uri")->{connections}[0]{id} }
{
    my $id = id_of('/echo/12');
    for (['no WebSocket-Status header'], ['another site', @word, 'Sec-Fetch-Site: cross-site'],
        ['the same site, another origin', @word, 'Sec-Fetch-Site: same-site'],
        ['another origin', @word, 'Origin: http://elsewhere.example'], ['another value of WebSocket-Status', 'WebSocket-Status: open'])
    {
        my ($name, @headers) = @$_;
        is((post("close=$id", @headers))[0], 403, "a POST is refused: $name");
    }
    ok($httpd->wait_log(qr/refused to close a connection: it was sent by a page of another site/), 'the log says why a connection is not closed');
    is((post('close=12', @word))[0], 400, 'an invalid id is refused');
    is((post('', @word))[0], 400, 'closing without an id is refused');
    is((post('close=00ff000000000001', @word))[0], 404, 'an unknown id is not found');
    $clients[11]->echoes('still there', 'after refused requests, the connection is still open');
    for my $n (1 .. 4, 12) {    # these connections may be in any children
        my ($c) = grep { $_->{uri} eq "/echo/$n" } @{ status("filter=/echo/$n")->{connections} };
        my ($status, undef, $body) = post("close=$c->{id}", @word, 'Origin: http://localhost:' . $httpd->port,
            'Sec-Fetch-Site: same-origin');
        is($status, 200, "connection $n is closed");
        $clients[$n - 1]->expect_close(1008, "connection $n is closed with 1008");
        is($clients[$n - 1]{reason}, 'closed by the administrator', "connection $n is closed with a reason");
    }
    is((post("close=$id", @word))[0], 404, 'closing the same connection again is answered with 404');
    ok($httpd->wait_log(qr/closing connection $id as requested by 127\.0\.0\.1/), 'the log has the client that closed the connection');
}

# ---- Children that are old, stopped, killed ----
{
    my $before = listed(7);
    my %old = map { $_->{pid} => 1 } @{ $before->{connections} };
    $httpd->graceful;
    my $new = Client->new($httpd, '/echo/new');
    my $s = listed(8);
    ok(!$old{ (grep { $_->{uri} eq '/echo/new' } @{ $s->{connections} })[0]{pid} },
        'connections of old and new children are listed together');
    my ($stopped) = sort keys %old;
    my $theirs = grep { $_->{pid} == $stopped } @{ $s->{connections} };
    cmp_ok($theirs, '>', 0, 'the child to be stopped has connections');
    Httpd::freeze($stopped);
    Httpd::wait_for(sub { $s = status('', 'partly'); @{ $s->{missing} } == 1 }, 'a list without the stopped child',
        sub {"missing are @{$s->{missing}}"});
    is_deeply($s->{missing}, [$stopped], 'a child that does not answer is reported as missing');
    is($s->{matching}, 8 - $theirs, 'all connections of other children are listed');
    my ($id) = map { $_->{id} } grep { $_->{pid} == $stopped } @{ $before->{connections} };
    is((post("close=$id", @word))[0], 504, 'closing a connection of a stopped child is answered with 504');
    kill 'CONT', $stopped;
    $s = listed(8);
    is_deeply($s->{missing}, [], 'when the child continues, no child is missing');

    my ($in, $total) = ($s->{counters}{messages_total}{in}, $s->{counters}{connections_total}{direct});
    kill 'KILL', $stopped;
    $s = listed(8 - $theirs);
    Httpd::wait_for(sub { $s = status(); !grep { $_->{pid} == $stopped } @{ $s->{children} } }, 'the parent to notice that the child has ended');
    is($s->{counters}{messages_total}{in}, $in, "messages of a killed child remain counted");
    is($s->{counters}{connections_total}{direct}, $total, 'connections of a killed child remain in the total');
    my $open = 0;
    $open += $_ for values %{ $s->{counters}{connections} };
    is($open, 8 - $theirs, 'connections of a killed child are no longer counted as open');
}

# ---- The page ----
SKIP: {
    skip 'the test in a browser runs only with one MPM', 1 if $Httpd::MPM ne 'event' || $ENV{WS_TEST_PRELOAD};
    my $shots = Httpd::folder();
    @clients = map { Client->new($httpd, "/echo/page/$_", protocol => 'echo') } 1 .. 60;
    $_->echoes('hello', 'a client shown on the page echoes') for @clients[0 .. 2];
    Program::tap('Chromium', 'node', 't/clients/status-page.js', 'http://localhost:' . $httpd->port . '/websocket-status', $shots);
    ok(-s "$shots/status-light.png" && -s "$shots/status-dark.png", 'there are screenshots of the page');
    Httpd::publish_screenshots($shots);
    $clients[41]->expect_close(1008, 'a click on the page closes the connection');
}

done_testing;
