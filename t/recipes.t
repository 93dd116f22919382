# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Runs each recipe of docs/recipes.md exactly as on the page, except for ports and folders.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Digest::SHA qw(hmac_sha256 sha1_hex);
use IO::Socket::INET;
use MIME::Base64 qw(encode_base64url);
use Httpd;
use Client qw(TEXT CLOSE);
use Program;
use Redis;

Httpd::once();
my $dir = Httpd::folder();
chmod 0777, $dir;

# ---- The listings ----

my ($fpm_port, $mqtt_port, $stomp_port) = map { Httpd::free_port() } 1 .. 3;
my $redis = -x '/usr/bin/redis-server' ? Redis->start : undef;
my $page = Httpd::read_file("$Httpd::TOP/docs/recipes.md");
my %file;
$file{$1} = $2 while $page =~ /^```\w+ file=(\S+)\n(.*?)^```$/msg;
is(scalar(grep { !/ file=/ } $page =~ /^```(\w.*)$/mg), 0, 'every listing of docs/recipes.md is tested');

# Texts of the recipes that this test replaces.
my @others = (
    ['modules/mod_websocket_redis' => "$Httpd::BUILD/mod_websocket_redis"],
    ['/srv/recipes/' => "$dir/"], ['modules/mod_' => "$Httpd::MODULES/mod_"], ['127.0.0.1:9010' => "127.0.0.1:$fpm_port"],
    ['127.0.0.1:1883' => "127.0.0.1:$mqtt_port"], ['127.0.0.1:61613' => "127.0.0.1:$stomp_port"],
    [':6379' => ':' . ($redis ? $redis->{port} : 1)], ['WebSocketReauthorize 10s' => 'WebSocketReauthorize 200ms']);
for my $other (@others) {
    my ($from, $to) = @$other;
    cmp_ok(scalar(grep {/\Q$from\E/} values %file), '>', 0, "docs/recipes.md contains $from");
    s/\Q$from\E/$to/g for values %file;
}

my $fpm_program = (grep {-x} glob '/usr/sbin/php-fpm*')[0];
my %has = (
    'jwt.conf'     => -e "$Httpd::MODULES/mod_oauth2.so",
    'session.conf' => $fpm_program && -e "$Httpd::MODULES/mod_authnz_fcgi.so",
    'lua.conf'     => -e "$Httpd::MODULES/mod_lua.so",
    'brokers.conf' => 1,
    'publish.conf' => 1,
    'redis.conf'   => $redis && -e "$Httpd::BUILD/mod_websocket_redis.so");
is_deeply([sort grep {/conf$/} keys %file], [sort keys %has], 'docs/recipes.md has the configurations of this test');
$has{$_} or diag("left out: $_") for sort keys %has;
my $httpd = Httpd->new(conf => join "\n", 'WebSocketOrigin any', 'WebSocketPing 5min 5min', "<Directory $dir>\nRequire all granted\n</Directory>",
    map { $has{$_} ? $file{$_} : () } sort keys %has);
s/localhost\//'localhost:' . $httpd->port . '\/'/ge for grep {1} @file{ grep { !/conf$/ } keys %file };
for my $name (grep { !/conf$/ } keys %file) {
    Httpd::write_file("$dir/$name", $file{$name});
    chmod 0755, "$dir/$name";
}
my $output = $httpd->run('-k start');
is($output, '', 'httpd starts with all recipes') or Httpd::give_up($output);
Httpd::wait_for(sub { $httpd->connect }, 'httpd to listen');
$httpd->{pid} = Httpd::wait_for(sub { Httpd::read_file($httpd->root . '/httpd.pid') =~ /(\d+)/ ? $1 : 0 }, 'the pid file');

sub joins { my ($path, @o) = @_; return Client->new($httpd, $path, protocol => 'channel.v1.json', @o) }

# Test that a connection is open, and is closed with 1008 after $end->() has revoked the access.
sub ends {
    my ($c, $name, $end) = @_;
    $c->text('{"type":"subscribe","channel":"news"}');
    like(($c->frame)[1], qr/subscribed/, "$name: access is permitted");
    $end->();
    my ($opcode, $payload);
    do { ($opcode, $payload) = $c->frame } until !defined $opcode || $opcode == CLOSE;
    is(unpack('n', $payload // ''), 1008, "$name: the connection ends when access ends");
}

# ---- JSON Web Tokens ----

sub token {
    my ($secret, $until) = @_;
    my $text = join '.', map { encode_base64url($_) } '{"alg":"HS256","typ":"JWT"}', qq({"sub":"alice","exp":$until});
    return "$text." . encode_base64url(hmac_sha256($text, $secret));
}

SKIP: {
    skip 'no mod_oauth2', 1 if !$has{'jwt.conf'};
    my $secret = 'replace-this-secret-of-32-bytes!';
    is((Client->refused($httpd, '/jwt'))[0], 401, 'JWT: a client without a token is refused');
    is((Client->refused($httpd, '/jwt?token=' . token('another secret of 32 bytes......', time + 60)))[0], 401, 'JWT: a forged token is refused');
    is((Client->refused($httpd, '/jwt?token=' . token($secret, time - 60)))[0], 401, 'JWT: an expired token is refused');
    # mod_oauth2 warns about a forged token, and about headers of a client that it has set itself.
    my $warnings = $httpd->count_log(qr/\[oauth2:warn\]/);
    my $c = joins('/jwt?token=' . token($secret, time + 600));
    ok($c, 'JWT: a token in the query string is accepted');
    my $until = time + 3 + 2 * Patience::factor();
    $c = joins('/jwt', headers => ['Cookie: token=' . token($secret, int $until)]);
    ends($c, 'JWT', sub { });
    is($httpd->count_log(qr/\[oauth2:warn\]/), $warnings, 'JWT: mod_oauth2 logs no warning when WebSocketReauthorize repeats its check');
}

# ---- PHP sessions ----

SKIP: {
    skip 'php-fpm or mod_authnz_fcgi is not installed', 1 if !$has{'session.conf'};
    mkdir "$dir/sessions";
    chmod 0777, "$dir/sessions";
    Httpd::write_file("$dir/fpm.conf", <<"END");
[global]
error_log = $dir/fpm.log
daemonize = no
[www]
@{[$> == 0 ? "user = www-data\ngroup = www-data" : '']}
listen = 127.0.0.1:$fpm_port
pm = static
pm.max_children = 2
php_value[session.save_path] = $dir/sessions
END
    my $fpm = Program->start($fpm_program, '-n', '-y', "$dir/fpm.conf");
    Httpd::wait_for(sub { IO::Socket::INET->new(PeerAddr => "127.0.0.1:$fpm_port") }, 'php-fpm');
    is((Client->refused($httpd, '/session'))[0], 403, 'PHP session: a client without a session is refused');
    Httpd::write_file("$dir/sessions/sess_abc123", 'user|s:5:"alice";');
    chmod 0666, "$dir/sessions/sess_abc123";
    is((Client->refused($httpd, '/session', headers => ['Cookie: PHPSESSID=abc124']))[0], 403, 'PHP session: an unknown session is refused');
    my $c = joins('/session', headers => ['Cookie: PHPSESSID=abc123']);
    ends($c, 'PHP session', sub { unlink "$dir/sessions/sess_abc123" });
    like(Httpd::read_file($httpd->root . '/logs/access_log'), qr/ alice "GET \/session/, 'PHP session: the access log has the user');
    kill 'TERM', $fpm->{pid};
    $fpm->finish;
}

# ---- Lua ----

SKIP: {
    skip 'no mod_lua', 1 if !$has{'lua.conf'};
    my $link = sub {
        my ($user, $until, $secret) = @_;
        return "/lua?user=$user&until=$until&sig=" . sha1_hex(join ':', $secret, $user, $until, $secret);
    };
    is((Client->refused($httpd, $_))[0], 403, "the Lua script refuses $_") for '/lua', $link->('alice', time + 60, 'guessed'),
        $link->('alice', time - 1, 'replace-this-secret');
    my $until = int(time + 3 + 2 * Patience::factor());
    my $c = joins($link->('alice', $until, 'replace-this-secret'));
    ends($c, 'Lua', sub { });
}

# ---- Brokers ----

# Run a program of the page, after the lines @before, until it has printed a text that matches.
sub program_prints {
    my ($name, $match, @before) = @_;
    Httpd::write_file("$Httpd::BUILD/t/recipe-$$-$name", join "\n", @before, $file{$name});
    my $p = Program->start('node', "$Httpd::BUILD/t/recipe-$$-$name");
    ok($p->wait_output($match), "$name prints the messages that it receives");
    kill 'KILL', $p->{pid};
    $p->finish;
    unlink "$Httpd::BUILD/t/recipe-$$-$name";
}

# Node searches the parent folders of the program for packages.
symlink "$Httpd::TOP/t/node_modules", "$Httpd::BUILD/t/node_modules" if !-e "$Httpd::BUILD/t/node_modules";

SKIP: {
    skip 'mosquitto or the npm package mqtt is not installed', 1 if !-x '/usr/sbin/mosquitto' || !-d 't/node_modules/mqtt';
    Httpd::write_file("$dir/mosquitto.conf", "listener $mqtt_port 127.0.0.1\nallow_anonymous true\n");
    my $broker = Program->start('/usr/sbin/mosquitto', '-c', "$dir/mosquitto.conf");
    Httpd::wait_for(sub { IO::Socket::INET->new(PeerAddr => "127.0.0.1:$mqtt_port") }, 'mosquitto');
    program_prints('mqtt.mjs', qr/^news hello$/m);
    kill 'TERM', $broker->{pid};
    $broker->finish;
}

# Start a STOMP broker with one queue for one client. The broker delivers each message to the client that has sent it.
sub stomp_broker {
    my $listener = IO::Socket::INET->new(Listen => 4, LocalAddr => '127.0.0.1', LocalPort => $stomp_port, ReuseAddr => 1) or die $!;
    my $pid = fork // die $!;
    return $pid if $pid;
    my $s = $listener->accept;
    local $/ = "\0";
    my $subscription;
    while (my $frame = <$s>) {
        $frame =~ s/\A\n+//;
        my ($head, $body) = split /\n\n/, $frame =~ tr/\r//dr, 2;
        print {$s} "CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0" if $head =~ /^(?:CONNECT|STOMP)\n/;
        $subscription = $1 if $head =~ /^SUBSCRIBE\n(?s:.*)^id:(\S+)/m;
        print {$s} "MESSAGE\ndestination:/queue/news\nmessage-id:1\nsubscription:$subscription\n\n$body" if $head =~ /^SEND\n/;
        $s->flush;
    }
    POSIX::_exit(0);
}

SKIP: {
    skip 'the npm package @stomp/stompjs is not installed', 1 if !-d 't/node_modules/@stomp';
    my $pid = stomp_broker();
    program_prints('stomp.mjs', qr/^hello$/m, "Object.assign(globalThis, { WebSocket: (await import('ws')).WebSocket });");
    kill 'KILL', $pid;
    waitpid $pid, 0;
}

# ---- Publishing ----

{
    my $c = joins('/live');
    $c->text('{"type":"subscribe","channel":"news"}');
    like(($c->frame)[1], qr/subscribed/, 'a client is subscribed');
    for (['PHP', 'php', 'publish.php'], ['Python', '/usr/bin/python3', 'publish.py'], ['Ruby', 'ruby', 'publish.rb'],
        ['Perl', $^X, 'publish.pl'], ['the shell', 'sh', 'publish.sh'])
    {
        my ($language, $interpreter, $name) = @$_;
        SKIP: {
            skip "$interpreter is not installed", 2 if system "command -v $interpreter >/dev/null";
            my ($status, $printed) = Program::run($interpreter, "$dir/$name");
            like($printed, qr/"receivers":\s*1/, "$language: the program publishes a message");
            like(($c->frame)[1], qr/hello from $language/, "$language: the client receives the message");
        }
    }
    $c->close(1000, '');
    $c->frame;
}

# ---- Redis ----

SKIP: {
    skip 'Redis is not installed', 1 if !$has{'redis.conf'};
    Httpd::wait_for(sub { $redis->cli('XREVRANGE', 'connections', '+', '-', 'COUNT', 100) =~ m{"uri":"/live"} }, 'an entry in Redis');
    pass('Redis: the log has an entry for a connection');
}

$httpd->stop;
done_testing();
