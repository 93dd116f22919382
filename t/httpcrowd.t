# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# 500 clients of npm's ws connect over ws and wss to a page in PHP, which php-fpm runs, or mod_php with prefork. Tests
# users, cookies, order, close codes and a refusal. The application and httpd restart in between. Only requests in progress
# occupy workers, not connections.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client;
use Program;

plan skip_all => 'the module was built without libcurl' if !-e "$Httpd::BUILD/websocket/ws_http.so";
my $prefork = $Httpd::MPM eq 'prefork';
my $fpm_program = (grep {-x} glob '/usr/sbin/php-fpm*')[0];
my $mod_php = (glob "$Httpd::MODULES/libphp*.so")[0];
plan skip_all => $prefork ? 'no mod_php' : 'no php-fpm' if !($prefork ? $mod_php : $fpm_program);
plan skip_all => 'no node' if system 'node -v >/dev/null 2>&1';

my ($connections, $speakers, $messages) = ($ENV{WS_TEST_PRELOAD} ? 100 : 500, 10, 4);
if (!$ENV{WS_TEST_FILES}) { # the client and httpd each need a descriptor for each connection
    $ENV{WS_TEST_FILES} = 1;
    exec 'sh', '-c', 'test $(ulimit -n) -ge 2000 2>/dev/null || ulimit -n 2000 2>/dev/null; exec "$@"', 'sh', $^X, $0;
}

my $dir = Httpd::folder();
chmod 0777, $dir;
Httpd::write_file("$dir/crowd.php", <<'END');
<?php
function answer($status, $text) { http_response_code($status); header('Content-Type: text/plain'); exit($text); }
if (!isset($_SERVER['WEBSOCKET'])) answer(403, 'for WebSockets');
if ($_POST['event'] == 'open') {
    if (isset($_GET['refuse'])) answer(451, 'not here');
    header('WebSocket-Subscribe: crowd');
    setcookie('seen', $_COOKIE['number'] ?? 'none');
    echo 'hello ', $_SERVER['REMOTE_USER'] ?? 'guest', ' number=', $_COOKIE['number'] ?? 'none';
} elseif ($_POST['event'] == 'message') {
    [$word, $rest] = explode(' ', $_POST['data'][0], 2);
    if ($word == 'say') {
        header('WebSocket-Publish: crowd');
        header('WebSocket-Framing: line');
        foreach ($_POST['data'] as $text) echo substr($text, 4), "\n";
    } elseif ($word == 'close') {
        header("WebSocket-Close: $rest off");
    } elseif ($word == 'hold') {
        touch("$rest." . $_POST['id']);
        while (!file_exists($rest)) { usleep(20000); clearstatcache(); }
        echo 'held';
    }
}
END

my $socket = "$dir/fpm.sock";
my $httpd = Httpd->start(
    files   => { passwords => 'alice:' . crypt('secret', 'ab') . "\n" },
    modules => ['proxy', 'proxy_fcgi'],
    load    => $prefork ? "LoadModule php_module $mod_php" : '',
    mpm_conf => $prefork
    ? "StartServers 8\nServerLimit 100\nMaxRequestWorkers 100\nMinSpareServers 4\nMaxSpareServers 100"
    : "StartServers 1\nServerLimit 8\nThreadsPerChild 50\nMaxRequestWorkers " . ($Httpd::MPM eq 'event' ? 50 : 400)
        . "\nMinSpareThreads 1\nMaxSpareThreads 400",
    conf    => <<"END");
Alias /php/ $dir/
<Directory $dir>
    Require all granted
    AllowOverride None
</Directory>
<Location /php>
    SetHandler "@{[$prefork ? 'application/x-httpd-php' : "proxy:unix:$socket|fcgi://localhost"]}"
</Location>
WebSocketOrigin any
WebSocketDrainTimeout 10min
WebSocketPing 5min 5min
<Location /crowd>
    WebSocketHandler ws_http.so to=/php/crowd.php timeout=5min
</Location>
<Location /crowd/user>
    AuthType Basic
    AuthName crowd
    AuthUserFile passwords
    Require valid-user
</Location>
END

my $fpm;
if (!$prefork) {
    Httpd::write_file("$dir/fpm.conf", <<"END");
[global]
error_log = $dir/fpm.log
daemonize = no
process_control_timeout = 300
[www]
@{[$> == 0 ? "user = www-data\ngroup = www-data\nlisten.owner = www-data" : '']}
listen = $socket
listen.backlog = 511
pm = static
pm.max_children = 6
END
    $fpm = Program->start($fpm_program, '-n', '-y', "$dir/fpm.conf");
    Httpd::wait_for(sub { -S $socket }, 'php-fpm');
}

my $crowd = Program->start('node', 't/clients/crowd.mjs', Httpd::certificates() . '/ca.crt', $connections, $speakers, $messages,
    'ws://localhost:' . $httpd->port . '/crowd', 'wss://localhost:' . $httpd->ssl_port . '/crowd');
$crowd->wait_output(qr/ready/);

# Read the program's output up to the end of a command. Its "ok" and "not ok" lines become tests.
sub finish {
    my ($command) = @_;
    my ($all) = $crowd->wait_output(qr/\A.*?done $command\n/s);
    for (split /\n/, $all) {
        /^ok (.*)/ ? pass($1) : /^not ok (.*)/ ? fail($1) : /^done|^$/ || diag($_);
    }
}
sub crowd { my ($command) = @_; $crowd->write("$command\n"); finish($command =~ s/ .*//r) }
sub busy { return $httpd->status_value('BusyWorkers') // -1 }

crowd('come');
Httpd::wait_is(\&busy, 1, "$connections connections occupy no worker except that of the status request");
crowd('say 1');

# ---- Busy workers ----

my @held = map { Client->new($httpd, '/crowd', headers => ['Cookie: number=0']) } 1 .. 3;
$_->frame for @held;
$_->text("hold $dir/held") for @held;
Httpd::wait_for(sub { (() = glob "$dir/held.*") == 3 }, 'three requests');
Httpd::wait_is(\&busy, 4, 'three requests in progress occupy three workers');
Httpd::write_file("$dir/held", '');
for my $c (@held) {
    my $text;
    do { $text = ($c->frame)[1] } until $text eq 'held';
}
pass('the three requests are answered');
$_->drop for @held;

# ---- Restarts in between ----

if ($fpm) {
    my $running = () = Httpd::read_file("$dir/fpm.log") =~ /ready to handle/g;
    $crowd->write("say 2\n");
    kill 'USR2', $fpm->{pid};
    finish('say');
    Httpd::wait_for(sub { (() = Httpd::read_file("$dir/fpm.log") =~ /ready to handle/g) > $running }, 'php-fpm to have restarted');
}
$crowd->write("say 3\n");
$httpd->graceful;
finish('say');
crowd('say 4');
crowd('leave');
$crowd->finish;
Httpd::wait_is(\&busy, 1, 'after the restarts, no worker remains occupied');
if ($fpm) {
    kill 'TERM', $fpm->{pid};
    $fpm->finish;
}

done_testing();
