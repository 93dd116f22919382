# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# WebSocketChannelHook: the server asks an application whether to allow publications and subscriptions, and notifies it
# when channels get their first subscriber or lose their last one. Also tests an application that is down, slow, or faulty.

use strict;
use warnings;
use lib 't/lib';
use JSON::PP;
use Digest::SHA qw(sha1_base64);
use MIME::Base64 qw(encode_base64);
use Test::More;
use Client qw(TEXT BINARY CLOSE);
use Httpd;
use Program;

plan skip_all => 'the module was built without libcurl' if !-e "$Httpd::BUILD/mod_websocket_hook.so";

my $cgi = $Httpd::MPM eq 'prefork' ? 'cgi' : 'cgid';
my $dir = Httpd::folder();
chmod 0777, $dir;

# Write a program for the application. app.pl obeys the channel's name and the message, and records its requests.
sub script {
    my ($name, $text) = @_;
    Httpd::write_file("$dir/$name", $text);
    chmod 0755, "$dir/$name";
}
script('app.pl', <<"END");
#!/usr/bin/perl
use strict; use warnings; \$| = 1;
read STDIN, my \$body, \$ENV{CONTENT_LENGTH} || 0;
my %f = map { my (\$n, \$v) = map { s/\\+/ /gr =~ s/%(..)/chr hex \$1/ger } split /=/, \$_, 2; (\$n => \$v) } split /&/, \$body;
my (\$event, \$channel, \$data) = map { \$_ // '' } \@f{qw(event channel data)};
open my \$log, '>>', "$dir/log";
syswrite \$log, join(' ', \$event, \$channel, \$f{user} // '-', \$f{connection} // '-', \$f{uri} // '-', \$f{type} // '-', \$data, \$ENV{WEBSOCKET} // '-') . "\\n";
if (-e "$dir/down") { print "Status: 503\\n\\n"; exit }
if (\$event eq 'subscribe' && \$channel =~ /^secret/) { print "Status: 403\\n\\n"; exit }
if (\$event eq 'subscribe' && \$channel =~ /^broken/) { print "Status: 500\\n\\n"; exit }
if (\$event eq 'subscribe' && \$channel =~ /^held/) { open my \$there, '>', "$dir/held"; select undef, undef, undef, 0.05 until -e "$dir/go" }
if (\$event eq 'publish') {
    if (\$data =~ /^refuse/) { print "Status: 403\\n\\n"; exit }
    if (\$data =~ /^rewrite (.*)/s) { print "Content-Type: text/plain\\n\\n\$1, rewritten"; exit }
    if (\$data =~ /^bytes/) { print "Content-Type: application/octet-stream\\n\\n\\0\\xff"; exit }
    if (\$data =~ /^wrong/) { print "Content-Type: text/plain\\n\\n\\xff"; exit }
    if (\$data =~ /^image/) { print "Content-Type: image/png\\n\\nx"; exit }
    if (\$data =~ /^fail/) { print "Status: 500\\n\\n"; exit }
    if (\$data =~ /^slow/) { select undef, undef, undef, 0.3 }
    if (\$data =~ /^hang/) { sleep 1 until -e "$dir/over" }
}
print "Status: 204\\n\\n";
END

my $short = Patience::stretch('2s');
my $gone  = Httpd::free_port();
my $conf  = <<"END";
LoadModule websocket_hook_module $Httpd::BUILD/mod_websocket_hook.so
@{[$cgi eq 'cgid' ? "ScriptSock $dir/cgid.sock" : '']}
WebSocketPing off
WebSocketDrainTimeout 10min
ScriptAlias /cgi/ $dir/
<Directory $dir>
    Require all granted
</Directory>
WebSocketChannelHook publish http://127.0.0.1:$gone/ channel=gone/* timeout=1s
WebSocketChannelHook subscribe http://127.0.0.1:$gone/ channel=gone/*
WebSocketChannelHook publish,subscribe /cgi/app.pl channel=hang/* timeout=500ms
WebSocketChannelHook publish,subscribe,unsubscribe /cgi/app.pl channel=plain/* timeout=1min
WebSocketChannelHook publish,subscribe /cgi/app.pl channel=[kbhs]* timeout=1min
WebSocketChannelHook occupied,vacated /cgi/app.pl channel=room/* timeout=1min
WebSocketChannelHook publish /cgi/app.pl channel=narrow/* queue=1 timeout=1min
WebSocketHistory kept/* 100
<Location /ws>
    WebSocketHandler ws_channel.so channel=%{arg:to} publish=on
    WebSocketSubscribe all
</Location>
<Location /json>
    WebSocketHandler ws_channel.so publish=on
    WebSocketSubscribe all
</Location>
<Location /echo>
    WebSocketHandler ws_echo.so
</Location>
<Location /users>
    WebSocketHandler ws_channel.so channel=%{arg:to} publish=on
    AuthType Basic
    AuthName users
    AuthBasicProvider file
    AuthUserFile users
    Require valid-user
</Location>
<Location /http>
    WebSocketChannelHTTP publish subscribe
    WebSocketPublish all
    WebSocketSubscribe all
</Location>
<Location /control>
    SetHandler websocket-control
    Require local
</Location>
END
my $httpd = Httpd->start(
    mpm_conf => $Httpd::MPM eq 'prefork'
    ? "StartServers 6\nServerLimit 48\nMaxRequestWorkers 48\nMinSpareServers 4\nMaxSpareServers 48"
    : "StartServers 3\nServerLimit 16\nThreadsPerChild 8\nMaxRequestWorkers 24\n"
        . "MinSpareThreads 16\nMaxSpareThreads 24",
    log_level => 'info',
    modules   => [$cgi],
    files     => { users => "alice:{SHA}" . sha1_base64('secret') . "=\n" },
    conf      => $conf);

sub told { return -e "$dir/log" ? Httpd::read_file("$dir/log") : '' }
sub lines { my ($match) = @_; return grep { /$match/ } split /\n/, told() }
sub wait_told {
    my ($match, $count) = @_;
    $count //= 1;
    return Httpd::wait_for(sub { lines($match) >= $count }, "the application to be told $match", \&told);
}

sub http {
    my ($method, $path, $body, @headers) = @_;
    push @headers, 'Content-Type: text/plain' if !grep {/^Content-Type/} @headers;
    my ($status, $head, $text) = $httpd->request($method, $path, @headers, 'Content-Length: ' . length($body // ''), '', $body // '');
    return ($status, eval { decode_json($text) }, $head);
}
sub publish { my ($channel, $text) = @_; return http('POST', "/http/$channel", $text) }
sub listener { my ($channel, $path) = @_; return Client->new($httpd, ($path // '/ws') . "?to=$channel") }
sub json_client { return Client->new($httpd, '/json', protocol => 'channel.v1.json', @_) }

# Send a request of the JSON protocol. Returns the next message, decoded.
sub answer {
    my ($c, $request) = @_;
    $c->text(encode_json($request));
    return decode_json(($c->message)[1]);
}

# Connect a subscriber, and wait until it is subscribed.
sub subscribed {
    my ($channel, $path) = @_;
    my $c = listener($channel, $path);
    Httpd::wait_for(sub { (http('GET', "/control/channels?prefix=$channel"))[1]{channels}[0] }, "$channel to be subscribed");
    return $c;
}

# ---- Publications ----

{
    my $c = subscribed('plain/a');
    wait_told(qr{^subscribe plain/a - [0-9a-f]{16} /ws - });
    my ($status, $json) = publish('plain/a', 'hello');
    is($status, 200, 'a publication that the application allows succeeds');
    is($json->{published}[0]{receivers}, 1, 'a publication that the application allows has a receiver');
    is_deeply([$c->message], [TEXT, 'hello'], 'a publication that the application allows arrives unchanged');
    wait_told(qr{^publish plain/a - - - text hello 1$});
    pass('the application gets channel, type and message, in a request of the server itself');
    ($status, $json) = publish('plain/a', 'refuse me');
    is($status, 403, 'a publication that the application refuses is answered with 403');
    is($json->{published}[0]{error}, 'the application refuses it', 'a publication that the application refuses is answered with the reason');
    is((publish('plain/a', 'rewrite me'))[0], 200, 'a publication that the application rewrites succeeds');
    is_deeply([$c->message], [TEXT, 'me, rewritten'], 'the rewritten message arrives, and the refused one does not');
    publish('plain/a', 'bytes');
    is_deeply([$c->message], [BINARY, "\0\xff"], 'the application can rewrite a text to bytes');
    for my $bad ('wrong', 'image', 'fail') {
        my ($s, undef, $head) = publish('plain/a', $bad);
        is($s, 503, "an invalid answer of the application ($bad) refuses the publication with 503");
        like($head, qr/^Retry-After/m, "an invalid answer of the application ($bad): the publisher may try again");
    }
    ok($httpd->wait_log(qr{WebSocketChannelHook: publish of channel plain/a: invalid answer of the application at /cgi/app\.pl}),
        'an invalid answer of the application is logged');
    # Test the same for publications by clients.
    my $publisher = json_client();
    is(answer($publisher, { type => 'subscribe', channel => 'plain/a' })->{type}, 'subscribed');
    $publisher->text(encode_json({ type => 'publish', channel => 'plain/a', data => 'rewrite json', id => 1 }));
    my %got = map { my $m = decode_json(($publisher->message)[1]); ($m->{type} => $m) } 1, 2;
    ok($got{published}, "a client's publication that the application rewrites succeeds") or diag(explain(\%got));
    is($got{message}{data}, 'json, rewritten');
    is(($c->message)[1], 'json, rewritten');
    my $before = told();
    is(answer($publisher, { type => 'ping', id => $_ })->{type}, 'pong', "the client's ping is answered") for 1 .. 3;
    is(told(), $before, 'the application gets no pings');
    my $json_answer = answer($publisher, { type => 'publish', channel => 'plain/a', data => 'refuse json', id => 2 });
    is_deeply([@$json_answer{qw(type id)}], ['error', 2], "a client's publication that the application refuses is answered with an error");
    my $raw = subscribed('plain/raw');
    $raw->text('refuse raw');
    $raw->expect_close(1008, 'a client without a subprotocol whose publication is refused is closed with 1008');
    wait_told(qr{^unsubscribe plain/raw - [0-9a-f]{16} /ws});
    pass("the application is notified when that client's connection ends");
    # The server does not ask the application about publications by the control API.
    my $published = lines(qr/^publish/);
    http('POST', '/control/publish/', encode_json({ items => [{ channel => 'plain/a', formats => { 'ws-message' => { content => 'refuse own' } } }] }));
    is(($c->message)[1], 'refuse own', 'a publication by the control API arrives without asking the application');
    is(lines(qr/^publish/) + 0, $published + 0, 'a publication by the control API causes no request to the application');
    # The server does not ask the application about other channels, either.
    my $other = listener('other');
    is((publish('other', 'refuse other'))[0], 200, 'a publication to a channel without a hook is not sent to the application');
}
{
    my $alice = Client->new($httpd, '/users?to=plain/users', headers => ['Authorization: Basic ' . encode_base64('alice:secret', '')]);
    wait_told(qr{^subscribe plain/users alice [0-9a-f]{16} /users});
    Httpd::wait_for(sub { (http('GET', '/control/channels?prefix=plain/users'))[1]{channels}[0] }, 'the subscription');
    $alice->text('mine');
    is(($alice->message)[1], 'mine', 'a publication of an authenticated user arrives');
    wait_told(qr{^publish plain/users alice [0-9a-f]{16} - text mine});
    pass('the application gets the user and the connection of a publication');
}

# The server sends one request at a time for each channel, which keeps the order.
{
    my $c = subscribed('plain/order');
    my $p = json_client();
    answer($p, { type => 'subscribe', channel => 'plain/order' });
    my @sent = map { ($_ % 4 ? '' : 'slow ') . $_ } 1 .. 20;
    $p->text(encode_json({ type => 'publish', channel => 'plain/order', data => $_ })) for @sent;
    is_deeply([map { ($c->message)[1] } @sent], \@sent, 'messages of a channel keep their order, although the application answers some slowly');
}

# Test the same for a channel with a history.
{
    my $c = subscribed('kept/a');
    is((publish('kept/a', 'rewrite kept'))[1]{published}[0]{receivers}, 1, 'a rewritten publication to a channel with a history has a receiver');
    is(($c->message)[1], 'kept, rewritten');
    my $late = listener('kept/a&after=all');
    is(($late->message)[1], 'kept, rewritten', 'the history has the rewritten message');
    is((publish('kept/a', 'refuse kept'))[0], 403, 'a refused publication to a channel with a history is answered with 403');
    my ($s1) = http('POST', '/http/kept/a?id=x', 'rewrite once');
    my ($s2, $again) = http('POST', '/http/kept/a?id=x', 'rewrite once');
    ok($again->{published}[0]{duplicate}, 'a rewritten publication with an id that was used before is reported as a duplicate');
}

# ---- Subscriptions ----

{
    my $c = json_client();
    my $refused = answer($c, { type => 'subscribe', channel => 'secret/a', id => 7 });
    is_deeply([@$refused{qw(type channel id)}], ['error', 'secret/a', 7], 'a subscription that the application refuses is answered with an error');
    $refused = answer($c, { type => 'subscribe', channel => 'broken/a', id => 8 });
    is_deeply([@$refused{qw(type channel id)}], ['error', 'broken/a', 8], 'a subscription with an invalid answer of the application is answered with an error');
    my $allowed = answer($c, { type => 'subscribe', channel => 'plain/b', id => 9 });
    is_deeply([@$allowed{qw(type channel)}], ['subscribed', 'plain/b'], 'after refused subscriptions, an allowed subscription succeeds');
    is((publish('plain/b', 'to b'))[1]{published}[0]{receivers}, 1);
    is(decode_json(($c->message)[1])->{data}, 'to b', 'an allowed subscription receives messages');
    answer($c, { type => 'unsubscribe', channel => 'plain/b', id => 10 });
    wait_told(qr{^unsubscribe plain/b - [0-9a-f]{16}});
    pass('the application is notified when a connection unsubscribes');
    listener('secret/b')->expect_close(1008, 'a connection to a channel that the application refuses is closed with 1008');
    listener('broken/b')->expect_close(1013, 'a connection to a channel with an invalid answer of the application is closed with 1013');
    is((http('GET', '/http/secret/c', '', 'Accept: text/event-stream'))[0], 403, 'an event stream that the application refuses is answered with 403');
    is((http('GET', '/http/broken/c', '', 'Accept: text/event-stream'))[0], 503, 'an event stream with an invalid answer of the application is answered with 503');
}
# Close a connection while the application decides.
{
    my $c = listener('held/a');
    Httpd::wait_for(sub { -e "$dir/held" }, 'the request to the application');
    $c->close(1000);
    $c->expect_close(1000, 'a connection ends while the application decides about its subscription');
    Httpd::write_file("$dir/go", '');
    my $again = subscribed('held/b');
    is((publish('held/a', 'x'))[1]{published}[0]{receivers}, 0, 'no subscription remains of a connection that has ended meanwhile');
}
# The control API subscribes without asking the application.
{
    my $c = Client->new($httpd, '/echo/control');
    $c->echoes('here');    # so that the connection is listed
    my ($id) = map { $_->{id} } @{ (http('GET', '/control/connections?uri=/echo/control'))[1]{connections} };
    is((http('PUT', "/control/connections/$id/channels/secret/x"))[0], 200, 'the control API subscribes to channels that clients may not');
}

# ---- First and last subscribers ----

sub occupancy { my ($channel) = @_; return join ' ', map {/^(\w+)/} lines(qr{^(?:occupied|vacated) \Q$channel\E }) }
sub occupancy_is {
    my ($channel, $is, $name) = @_;
    return ok(Httpd::wait_for(sub { occupancy($channel) eq $is }, "$channel to be $is", sub { occupancy($channel) }), $name);
}
{
    my @c = map { listener('room/1') } 1 .. 12;
    occupancy_is('room/1', 'occupied', 'occupied: the first subscriber of all processes causes one notification');
    pop(@c)->close(1000) for 1 .. 11;
    Httpd::wait_for(sub { ((http('GET', '/control/channels?prefix=room/1'))[1]{channels}[0] || {})->{subscribers} == 1 }, 'one subscriber to remain');
    push @c, listener('room/2');
    occupancy_is('room/2', 'occupied', 'occupied: another channel causes its own notification');
    is(occupancy('room/1'), 'occupied', 'vacated is not sent while a subscriber is left');
    $_->close(1000) for @c;
    occupancy_is('room/1', 'occupied vacated', 'vacated is sent when the last subscriber of the channel has left');
    occupancy_is('room/2', 'occupied vacated', 'vacated is sent when the last subscriber of the other channel has left');
    my $again = listener('room/1');
    occupancy_is('room/1', 'occupied vacated occupied', 'occupied is sent again when a subscriber has returned');
    # The channel stays occupied across a reload.
    $httpd->graceful;
    my $new = listener('room/1');
    Httpd::wait_for(sub { ((http('GET', '/control/channels?prefix=room/1'))[1]{channels}[0] || {})->{subscribers} == 2 }, 'the subscribers of both generations');
    $again->close(1000);
    Httpd::wait_for(sub { ((http('GET', '/control/channels?prefix=room/1'))[1]{channels}[0] || {})->{subscribers} == 1 }, 'the old subscriber to leave');
    is(occupancy('room/1'), 'occupied vacated occupied', 'after a reload, vacated is not sent while a subscriber of a new process is left');
    # If the application is down, the server notifies it later.
    Httpd::write_file("$dir/down", '');
    $new->close(1000);
    wait_told(qr{^vacated room/1 }, 2);
    unlink "$dir/down";
    ok(Httpd::wait_for(sub { occupancy('room/1') =~ /^occupied vacated occupied(?: vacated){2,}$/ }, 'another notification', sub { occupancy('room/1') }),
        'an application that was down is notified later');
}
# Kill a child.
{
    my $c = listener('room/killed');
    occupancy_is('room/killed', 'occupied', 'occupied is sent for a subscriber of a child that will be killed');
    kill 'KILL', child_with($c);
    occupancy_is('room/killed', 'occupied vacated', 'vacated is sent when the child of the only subscriber was killed');
}

# Returns the child process that has a client's connection.
sub child_with {
    my ($c) = @_;
    my $port = $c->socket->sockport;
    my @found = grep {
        my $pid = $_;
        my %inode = map { (readlink($_) // '') =~ /socket:\[(\d+)\]/ ? ($1 => 1) : () } glob "/proc/$pid/fd/*";
        open my $tcp, '<', '/proc/net/tcp' or die $!;
        grep { my @f = split ' '; @f > 9 && $f[2] =~ /:([0-9A-F]+)$/ && hex $1 == $port && $inode{ $f[9] } } <$tcp>;
    } $httpd->children;
    return $found[0];
}

# ---- An application that is down, or slow ----

{
    my ($status, undef, $head) = publish('gone/a', 'x');
    is($status, 503, 'when the application is down, a publication is refused with 503');
    like($head, qr/^Retry-After/m, 'when the application is down, the publisher may try again');
    listener('gone/a')->expect_close(1013, 'when the application is down, a subscription is refused with 1013');
    my @status = map { (publish('gone/a', 'x'))[0] } 1 .. 8;
    is_deeply(\@status, [(503) x 8], 'when the application is down, more publications are refused with 503, too');
    is((publish('hang/a', 'hang'))[0], 503, 'when the application takes too long, a publication is refused with 503');
    Httpd::write_file("$dir/over", '');
    is((publish('other', 'x'))[0], 200, 'a slow application does not delay channels without a hook');
}

# ---- Configuration ----

if ($Httpd::MPM eq 'event') {
    my $load = "LoadModule websocket_hook_module $Httpd::BUILD/mod_websocket_hook.so\n";
    my %wrong = (
        'publish'                              => qr/takes events, the path or URL/,
        'published /x'                         => qr/unknown event "published"/,
        'publish x'                            => qr/"x": takes a path of this server, http/,
        'publish ftp://x/'                     => qr/takes a path of this server/,
        'publish /x channel'                   => qr/"channel" is not key=value/,
        'publish /x channel='                  => qr/"channel=" is not key=value/,
        'publish /x channel=a,b'               => qr/invalid value "channel=a,b": channel= takes a pattern of channels' names/,
        'publish http://x:99999/'              => qr/takes a path of this server/,
        '"" /x'                                => qr/takes one or more events/,
        'publish, /x'                          => qr/takes one or more events, separated by commas/,
        'publish /x style=grip'                => qr/unknown key "style"; the keys are channel=, ca=/,
        'publish /x colour=red'                => qr/unknown key "colour"; the keys are channel=, ca=/,
        'publish /x queue=1 queue=2'           => qr/WebSocketChannelHook: queue= is given twice: remove one/,
        'publish,subscribe,publish /x'         => qr/WebSocketChannelHook: publish is given twice: remove one/,
        'publish /x queue=0'                   => qr/queue=0: takes/,
        'publish /x timeout=never'             => qr/timeout=never: takes/,
        'publish http://x/ ca=/does/not/exist' => qr{ca=/does/not/exist: takes},
        'publish .htaccess'                    => qr/takes a path or URL/,
        'publish /x channel=[z-a]'             => qr/invalid value "channel=\[z-a\]": channel= takes a pattern of channels' names/,
        "publish,subscribe /x\nWebSocketChannelHook occupied,subscribe /y channel=a" =>
            qr/WebSocketChannelHook: subscribe with channel=a never applies, since an earlier line has subscribe with channel=\*: remove/,
    );
    for my $line (sort keys %wrong) {
        my ($ok, $text) = Httpd->check("${load}WebSocketChannelHook $line");
        ok(!$ok, "httpd -t refuses: WebSocketChannelHook $line");
        like($text, $wrong{$line}, "the error says what is wrong in: WebSocketChannelHook $line");
    }
    my ($ok, $text) = Httpd->check("${load}<VirtualHost *:1>\nWebSocketChannelHook publish /x\n</VirtualHost>");
    ok(!$ok, 'httpd -t refuses WebSocketChannelHook in a virtual host');
    ($ok, $text) = Httpd->check("${load}WebSocketChannelHook publish,subscribe unix:/x|http://localhost/y channel=a* timeout=1s queue=5 concurrency=2");
    ok($ok, 'httpd -t accepts WebSocketChannelHook with all keys') or diag($text);
    ($ok, $text) = Httpd->check("${load}WebSocketChannelHook publish /x channel=a\nWebSocketChannelHook subscribe /y channel=a\n"
        . "WebSocketChannelHook publish /z");
    ok($ok, 'httpd -t accepts hooks for other events or channels') or diag($text);
}

done_testing();
