# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Without access rules, the server refuses to subscribe and publish over HTTP, and to show the status page. httpd warns
# about handlers that only a <Directory> section protects.

use strict;
use warnings;
use lib 't/lib';
use Client;
use Httpd;
use JSON::PP;
use MIME::Base64 ();
use Test::More;

my $httpd = Httpd->start(
    log_level => 'warn',
    files     => {
        'htdocs/below/index.html' => '',
        'htdocs/below/.htaccess'  => "Require all granted\n",
        'passwords'               => 'alice:' . crypt('secret', 'ab') . "\n",
    },
    conf      => <<'END',
<Directory />
    AllowOverride All
    Require all granted
</Directory>
<Location "/publish">
    WebSocketChannelHTTP publish
    WebSocketPublish all
</Location>
<Location "/silent">
    WebSocketChannelHTTP subscribe
</Location>
<Location "/below">
    WebSocketChannelHTTP subscribe
</Location>
<Location "/handler">
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe handler
</Location>
<Location "/none">
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe none
    Require all granted
</Location>
<Location "/all">
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe all
</Location>
<Location "/required">
    WebSocketChannelHTTP subscribe
    Require all granted
</Location>
<Location "/nested">
    WebSocketChannelHTTP subscribe
    <RequireAny>
        Require env none
        <RequireAll>
            Require all granted
        </RequireAll>
    </RequireAny>
</Location>
<Location "/if">
    WebSocketChannelHTTP subscribe
    <If "%{QUERY_STRING} =~ /wait/">
        Require all granted
    </If>
</Location>
<Location "/outer">
    Require all granted
</Location>
<Location "/outer/inner">
    WebSocketChannelHTTP subscribe
</Location>
<LocationMatch "^/match">
    Require all granted
</LocationMatch>
<Location "/match">
    WebSocketChannelHTTP subscribe
</Location>
<Location "/limited">
    WebSocketChannelHTTP publish subscribe
    <LimitExcept GET>
        Require all granted
    </LimitExcept>
</Location>
<Location "/chat">
    WebSocketHandler ws_chat.so
    WebSocketPublish none
</Location>
<Location "/chat-users">
    WebSocketHandler ws_chat.so
    WebSocketSubscribe "%{WEBSOCKET_CHANNEL} != 'chat/closed'"
    AuthType Basic
    AuthName users
    AuthUserFile passwords
    Require valid-user
</Location>
<Location "/status-silent">
    SetHandler websocket-status
</Location>
<Location "/status">
    SetHandler websocket-status
    Require local
</Location>
<Location "/status-close">
    SetHandler websocket-status
    WebSocketStatusClose on
    Require local
</Location>
<Location "/status-read">
    SetHandler websocket-status
    <Limit GET>
        Require local
    </Limit>
</Location>
END
);
my $url = 'http://127.0.0.1:' . $httpd->port;

sub poll { my ($path) = @_; return `curl -s -g -m 60 -o /dev/null -w '%{http_code}' '$url$path/user:alice?wait=0'` }

for my $path (qw(/silent /below /handler /limited)) {
    is(poll($path), 403, "subscribing in $path is refused, because no rule allows it");
}
is(poll('/none'), 403, 'WebSocketSubscribe none refuses subscribing in spite of Require all granted');
is(poll($_), 200, "subscribing in $_ is allowed by a rule") for qw(/all /required /nested /if /outer/inner /match);
ok($httpd->wait_log(qr/\[client 127[^\n]*refused with 403: no rule allows this: add "WebSocketSubscribe all", an expression, or a Require for GET to the <Location>/),
    'a warning in the log suggests the rule that is missing');
ok($httpd->wait_log(qr{httpd\.conf:\d+: every subscription in <Location "/silent"> is refused, since no rule allows it}), 'at start-up, the log also says that every subscription will be refused');
like(`curl -s -m 60 -d x '$url/limited/news'`, qr/"published"/, 'a Require inside <LimitExcept GET> allows POST');
like(`curl -s -m 60 '$url/limited/news'`, qr/neither WebSocketPublish nor a Require allows it/, 'a Require inside <LimitExcept GET> does not open the Location for GET');

for my $path (qw(/status-silent /status-silent?prometheus)) {
    is(($httpd->get($path))[0], 403, "$path is refused without a Require");
}
my @close = ('Content-Length: 0', 'WebSocket-Status: close');
is(($httpd->request('POST', '/status-silent?close=0000000000000001', @close))[0], 403, 'on a status page without a Require, connections cannot be closed');
ok($httpd->wait_log(qr/status page refused with 403: no Require protects closing connections: add one/), 'the log suggests a Require for closing connections');
is(($httpd->get('/status'))[0], 200, 'a status page with a Require is open to permitted clients');
is(($httpd->get('/status-read'))[0], 200, 'a status page whose Require is only for GET can be read');
is(($httpd->request('POST', '/status-read?close=0000000000000001', @close))[0], 403, 'a status page whose Require is only for GET refuses to close connections');
is(($httpd->request('POST', '/status?close=0000000000000001', @close))[0], 403, 'without WebSocketStatusClose, no connection can be closed');
ok($httpd->wait_log(qr/refused to close a connection: this section is read-only \(WebSocketStatusClose off\)/), 'the log says that WebSocketStatusClose off refuses to close connections');
like(($httpd->get('/status', 'Accept: application/json'))[2], qr/"closing":false/, 'without WebSocketStatusClose, the page shows no button');
is(($httpd->request('POST', '/status-close?close=0000000000000001', @close))[0], 404, 'with WebSocketStatusClose, closing an unknown connection is answered with 404, not 403');
like(($httpd->get('/status-close', 'Accept: application/json'))[2], qr/"closing":true/, 'with WebSocketStatusClose, the page shows buttons');

# ---- The server's status page, and the sections of virtual hosts ----

{
    my $host = sub {
        my ($name, @lines) = @_;
        return join "\n", "<VirtualHost *>\nServerName $name", @lines, "</VirtualHost>\n";
    };
    my @basic = ('AuthType Basic', 'AuthName x', 'AuthUserFile users', 'Require valid-user');
    my $server = Httpd->start(
        files => { users => "customer:{SHA}CEo1Ae3vaEXy8eQZjsOiuBz1xrw=\n" },
        conf  => join "\n", '<Location "/websocket-status">', 'SetHandler websocket-status', 'WebSocketStatusClose on',
        'Require ip 192.0.2.1', '</Location>',
        '<Location "/open-status">', 'SetHandler websocket-status', 'Require local', '</Location>',
        $host->('plain.example'),
        $host->('customer.example', '<Location "/">', @basic, '</Location>'),
        $host->('match.example', '<LocationMatch "^/">', @basic, '</LocationMatch>'),
        $host->('granted.example', '<Location "/">', 'Require all granted', '</Location>'),
        $host->('and.example', '<Location "/">', 'AuthMerging And', @basic, '</Location>'),
        $host->('or.example', '<Location "/">', 'AuthMerging Or', @basic, '</Location>'),
        $host->('own.example', '<Location "/">', @basic, '</Location>', '<Location "/websocket-status">', @basic, '</Location>'),
        $host->('again.example', '<Location "/">', @basic, '</Location>', '<Location "/websocket-status">',
            'SetHandler websocket-status', @basic, '</Location>'),
    );
    my $customer = 'Authorization: Basic ' . MIME::Base64::encode_base64('customer:sesame', '');
    my $asks = sub {
        my ($method, $name, $path, @headers) = @_;
        my $socket = $server->connect;
        print $socket join "\r\n", "$method $path HTTP/1.0", "Host: $name", $customer, @headers, '', '';
        local $/;
        return (split ' ', scalar <$socket>)[1];
    };
    for my $name (qw(plain customer match granted and or)) {
        is($asks->('GET', "$name.example", '/websocket-status'), 403, "$name: a user of a virtual host does not see the server's status page");
        is($asks->('POST', "$name.example", '/websocket-status?close=0000000000000001', @close), 403, "$name: a user of a virtual host cannot close connections on the server's status page");
    }
    ok($server->wait_log(qr/\[websocket:warn\].*status page refused with 403: a later section.*"AuthMerging And"/), 'the log suggests AuthMerging And');
    is($asks->('GET', "$_.example", '/websocket-status'), 200, "$_: a section of the virtual host with exactly the page's path replaces the access control of the page") for qw(own again);
    is($asks->('GET', "$_.example", '/open-status'), 200, "$_: a client that meets the Require of both sections sees the status page") for qw(plain and);
}

my $c = Client->new($httpd, '/chat');
$c->text('{"enter":"lobby","name":"Bob\u0000by"}');
like(($c->message)[1], qr/Enter a room/, 'a name with U+0000 is refused, not truncated');
$c->text('{"enter":"lobby","name":"Ann"}');
$c->text('{"say":"Hello"}');
my $said = '';
$said = ($c->message)[1] until $said =~ /said|error/;
like($said, qr/You may not say anything here/, 'the chat handler applies WebSocketPublish');
{
    my $alice = Client->new($httpd, '/chat-users', headers => ['Authorization: Basic YWxpY2U6c2VjcmV0']);
    my $until = sub { my ($match) = @_; my $text = ''; $text = ($alice->message)[1] until $text =~ /$match|error/; return $text };
    $alice->text('{"enter":"open","name":"the administrator"}');
    like($until->('"here"'), qr/"name":"alice"/, 'a member of a chat with a user has the name of the user');
    $alice->text('{"enter":"closed","name":"x"}');
    like($until->('room'), qr/This room is closed to you/, 'the chat handler applies WebSocketSubscribe');
    $alice->text('{"say":"still here"}');
    like($until->('said'), qr/"name":"alice","text":"still here"/, 'a client that may not enter a room stays in its room');
}
$httpd->stop;

# ---- httpd -t ----

sub check { my ($conf, %arg) = @_; return Httpd->check($conf, modules => ['headers'], %arg) }

sub is_refused {
    my ($name, $conf, %arg) = @_;
    my ($right, $text) = check($conf, %arg);
    ok(!$right, "httpd -t refuses WebSocketChannelHTTP publish: $name");
    like($text, qr{WebSocketChannelHTTP publish in <Location "/p">: no rule restricts publishing. Add a Require to this <Location>},
        'the error suggests a Require for the Location');
}

my $publish = "<Location /p>\nWebSocketChannelHTTP publish\n";
is_refused('no rule at all', "$publish</Location>");
is_refused('only a Require in <Directory>', "<Directory />\nRequire ip 192.0.2.1\n</Directory>\n$publish</Location>");
is_refused('only a Require in another Location', "$publish</Location>\n<Location /q>\nRequire all granted\n</Location>");
is_refused('only a Require for other methods', "$publish<Limit GET>\nRequire all granted\n</Limit>\n</Location>");
is_refused('only a Require in <Files>', "$publish</Location>\n<Files *>\nRequire all granted\n</Files>");
is_refused('only WebSocketSubscribe', "${publish}WebSocketSubscribe all\n</Location>");
is_refused('only WebSocketPublish handler', "${publish}WebSocketPublish handler\n</Location>");
is_refused('no rule, in a virtual host', "<VirtualHost *:1>\n$publish</Location>\n</VirtualHost>");
for (
    "${publish}Require ip 192.0.2.1\n</Location>",
    "${publish}Require all granted\n</Location>",
    "${publish}WebSocketPublish all\n</Location>",
    "WebSocketPublish none\n$publish</Location>",
    "${publish}WebSocketPublish \"%{REMOTE_USER} == 'a'\"\n</Location>",
    "$publish<Limit POST>\nRequire all granted\n</Limit>\n</Location>",
    "$publish</Location>\n<Location />\nRequire all granted\n</Location>",
    "$publish</Location>\n<LocationMatch ^/p/>\nRequire all granted\n</LocationMatch>",
    "<Location />\nRequire all granted\n</Location>\n<VirtualHost *:1>\n$publish</Location>\n</VirtualHost>",
    "${publish}WebSocketChannelHTTP off\n</Location>",
    )
{
    my ($right, $text) = check($_);
    ok($right, 'httpd -t accepts: ' . s/\n/ /gr) or diag $text;
}

# ---- A handler protected only by a directory ----

my $open = qr{httpd\.conf:\d+: WebSocketHandler in <Location(?:Match)?(?: ~)? "\^?/live?[^"]*"> is open to everyone: the Require for the directory of \S+ does not apply};
my $live = "<Location /live>\nWebSocketHandler ws_echo.so\n";

sub warns {
    my ($name, $conf, $expected, %file) = @_;
    my $httpd = Httpd->new(conf => '', files => { 'htdocs/live/x' => '', 'srv/x' => '', %file });
    $httpd->write_conf($conf =~ s/ROOT/$httpd->{root}/gr);
    my $text = $httpd->run('-t');
    ok($? == 0, "httpd -t accepts a handler: $name") or diag $text;
    ($expected ? \&like : \&unlike)->($text, $open, $expected ? 'with a warning' : 'without a warning');
}

warns('only its directory has a Require', "<Directory ROOT/htdocs>\nRequire ip 192.0.2.1\n</Directory>\n$live</Location>", 1);
warns('only <Directory /> denies access', "<Directory />\nRequire all denied\n</Directory>\n$live</Location>", 1);
warns('only .htaccess has a Require', "<Directory />\nAllowOverride All\nRequire all granted\n</Directory>\n$live</Location>", 1,
    'htdocs/live/.htaccess' => "Require valid-user\n");
warns('only the directory of its Alias has a Require', "Alias /live ROOT/srv\n<Directory ROOT/srv>\nRequire ip 192.0.2.1\n</Directory>\n$live</Location>", 1);
warns('in a virtual host, and only <Directory /> denies access', "<Directory />\nRequire all denied\n</Directory>\n<VirtualHost *:1>\n$live</Location>\n</VirtualHost>", 1);
for my $section ('LocationMatch ^/live', 'LocationMatch "^/live/(one|two)?"', 'LocationMatch "/lives?"', 'Location ~ ^/live', 'Location /live*') {
    my ($name) = $section =~ /^(\w+)/;
    warns("in <$section>, and only <Directory /> denies access", "<Directory />\nRequire all denied\n</Directory>\n<$section>\nWebSocketHandler ws_echo.so\n</$name>", 1);
    warns("in <$section>, which grants access to all", "<Directory />\nRequire all denied\n</Directory>\n<$section>\nWebSocketHandler ws_echo.so\nRequire all granted\n</$name>", 0);
}
warns('no section has a Require', "$live</Location>", 0);
warns('its directory grants access to all', "<Directory />\nRequire all denied\n</Directory>\n<Directory ROOT/htdocs>\nRequire all granted\n</Directory>\n$live</Location>", 0);
warns('its Location also has a Require', "<Directory />\nRequire all denied\n</Directory>\n${live}Require ip 192.0.2.1\n</Location>", 0);
warns('its Location grants access to all', "<Directory />\nRequire all denied\n</Directory>\n${live}Require all granted\n</Location>", 0);
warns('the handler is set in the <Directory> with the Require', "<Directory ROOT/htdocs>\nWebSocketHandler ws_echo.so\nRequire ip 192.0.2.1\n</Directory>", 0);

my $started = Httpd->start(conf => "<Directory />\nRequire all denied\n</Directory>\n$live</Location>");
ok($started->wait_log($open), 'at start-up, the log also warns that a handler is open to everyone');
is($started->count_log($open), 1, 'at start-up, the log has this warning once');
$started->stop;
done_testing;
