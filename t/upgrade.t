# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# An upgrade under load: the test replaces the module's file with that of another build, whose shared memory has a different
# layout, and reloads httpd. Connections of old children must continue and end as usual, new children must count from zero,
# and neither build may read data of the other. The same holds for builds whose tables have other sizes.

use strict;
use warnings;
use lib 't/lib';
use File::Copy qw(copy);
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempdir);
use JSON::PP;
use Test::More;
use Client;
use Httpd;
use Program;

my $certs = Httpd::certificates();
my $said  = qr/this build of the module has another layout of shared memory than the previous one/;

# Build a release in which shared memory has no layout number, once and only if the Git history is available. Returns its
# folder.
sub release_of_old {
    my $commit = 'e815b5c';
    my $dir    = "$Httpd::BUILD/t/release-$commit";
    return $dir if -e "$dir/done";
    return if system("git -C '$Httpd::TOP' cat-file -e $commit^{commit} 2>/dev/null") != 0;
    make_path("$Httpd::BUILD/t");
    my $new = tempdir("$Httpd::BUILD/t/new-XXXXXX");
    local @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
    my $log = "$new/log";
    if (system("git -C '$Httpd::TOP' archive $commit | tar x -C '$new' && cd '$new' && make -f Makefile.apxs CFLAGS=-O0"
        . ' build/mod_websocket.so build/websocket/ws_echo.so build/websocket/ws_channel.so' . " >'$log' 2>&1") != 0) {
        diag("$commit does not build here: " . Httpd::read_file($log));
        remove_tree($new);
        return;
    }
    Httpd::write_file("$new/done", '');
    chmod 0755, $new;
    rename $new, $dir or remove_tree($new);    # another test has built it meanwhile
    return $dir;
}

# Replace the files as make install does.
sub install {
    my ($to, $module, $handlers) = @_;
    make_path("$to/websocket");
    my %file = ('mod_websocket.so' => $module, map { ("websocket/ws_$_.so" => "$handlers/ws_$_.so") } qw(echo channel));
    for my $name (keys %file) {
        copy($file{$name}, "$to/$name.new") or die "$file{$name}: $!";
        rename "$to/$name.new", "$to/$name" or die $!;
    }
}

my %build = (
    this    => ["$Httpd::BUILD/mod_websocket.so",         "$Httpd::BUILD/websocket"],
    other   => ["$Httpd::BUILD/shifted/mod_websocket.so", "$Httpd::BUILD/websocket"],
    resized => ["$Httpd::BUILD/resized/mod_websocket.so", "$Httpd::BUILD/websocket"],
);
if (my $old = release_of_old()) {
    $build{'an old release'} = ["$old/build/mod_websocket.so", "$old/build/websocket"];
}

# Returns the folder of a build's files.
sub folder_of {
    my ($build) = @_;
    my $dir = tempdir('mod_websocket-XXXXXX', TMPDIR => 1, CLEANUP => 1);
    chmod 0755, $dir;
    install($dir, @{ $build{$build} });
    return $dir;
}

sub start {
    my ($dir, $limit) = @_;
    return Httpd->start(
        no_module => 1,
        load      => "LoadModule websocket_module $dir/mod_websocket.so",
        conf      => <<"END");
<Location /status>
    SetHandler websocket-status
    Require all granted
</Location>
WebSocketPing off
WebSocketDrainTimeout 1h
WebSocketThreads 2 2
WebSocketLimit $limit
WebSocketHandler ws_echo.so
<Location /news>
    WebSocketHandler ws_channel.so channel=news publish=on
</Location>
END
}

# Returns all counters that are not 0 by name.
sub counters {
    my ($httpd) = @_;
    my ($code, undef, $body) = $httpd->get('/status', 'Accept: application/json');
    my $all = decode_json($body)->{counters};
    my %flat;
    for my $name (keys %$all) {
        my $value = $all->{$name};
        $flat{$name} = $value if !ref $value && $value;
        $flat{"$name $_"} = $value->{$_} for ref $value ? grep { $value->{$_} } keys %$value : ();
    }
    return \%flat;
}

sub descriptors { my @all = glob "/proc/$_[0]{pid}/fd/*"; return scalar @all }

# Connect two subscribers, and wait until each has received the messages of both.
sub listeners {
    my ($httpd) = @_;
    my @c;
    for my $n (1, 2) {
        push @c, Client->new($httpd, '/news');
        $c[-1]->text("listener $n");
        for my $c (@c) {
            1 while ($c->message)[1] ne "listener $n";
        }
    }
    return @c;
}

sub news {
    my ($from, $to, $name) = @_;
    $from->text($name);
    is(($to->message)[1], $name, $name);
    $from->message;
}

for my $pair (['this', 'other'], ['other', 'this'], ['an old release', 'this']) {
    my ($from, $to) = @$pair;
    my $name = "upgrade from $from build to $to";
    if (!$build{$from}) {
        diag('the Git history is not available, so the upgrade from an old release is not tested');
        next;
    }
    my $dir = folder_of($from);
    my $httpd = start($dir, 'connections=1000');
    my $crowd = Program->start('node', "$Httpd::TOP/t/clients/steady.js", 100, "$certs/ca.crt",
        'ws://127.0.0.1:' . $httpd->port . '/', 'wss://127.0.0.1:' . $httpd->ssl_port . '/');
    my $ask = sub {
        $crowd->write("$_[0]\n");
        return ($crowd->wait_output(qr/^$_[1] (\d+)$/m))[1];
    };
    is($ask->('open 100', 'opened'), 100, "$name: 100 connections are open");
    my @old = listeners($httpd);
    news(@old, "$name: a channel works before the upgrade");
    my $descriptors = descriptors($httpd);
    my @children    = $httpd->children;

    install($dir, @{ $build{$to} });
    $httpd->graceful;
    my $echoed = $ask->('count', 'echoed');
    Httpd::wait_for(sub { $ask->('count', 'echoed') >= $echoed + 200 }, 'traffic');
    is($httpd->count_log($said), 1, "$name: the log says once that counters start at zero");
    news(@old, 'after the upgrade, a channel of old children still works');

    my $first = counters($httpd);
    delete $first->{children};
    is_deeply($first, {}, 'the new children start with all counters at 0');
    my @new = map { Client->new($httpd, '/') } 1 .. 3;
    for my $c (@new) {
        $c->echoes("message $_", 'after the upgrade, a new connection echoes') for 1 .. 2;
    }
    my $seen = counters($httpd);
    my %expected = (
        'connections direct' => 3, 'connections_total direct' => 3, 'messages_total in' => 6, 'messages_total out' => 6,
        'message_bytes_total in' => 54, 'message_bytes_total out' => 54);
    is_deeply({ map { $_ => $seen->{$_} } keys %expected }, \%expected, 'the new children count correctly');
    my @others = grep { !exists $expected{$_} && !/^(?:children|wire_bytes_total|queued|memory)/ } keys %$seen;
    is("@others", '', 'the new children leave all other counters at 0');
    my @both = listeners($httpd);
    news(@both, 'after the upgrade, a channel of new children works');

    $httpd->graceful;
    is($httpd->count_log($said), 1, 'after another reload, the same build uses its tables again');
    is(counters($httpd)->{'connections direct'}, 5, "after another reload, the connections of the build's old children are counted");

    is($ask->('end', 'ended'), 100, 'all connections of the previous build stayed open until the client closed them');
    is($crowd->finish, 0, 'no message of these connections was lost, doubled or out of order');
    $_->drop for @old;
    Httpd::wait_for(sub { !grep { kill 0, $_ } @children }, 'children of the previous build to end');
    pass('the children of the previous build end');
    is(counters($httpd)->{'connections direct'}, 5, 'the connections of the previous build are not counted at their end either');

    if ($from ne 'an old release') {
        for (1 .. 3) {
            install($dir, @{ $build{$from} });
            $httpd->graceful;
            install($dir, @{ $build{$to} });
            $httpd->graceful;
        }
        is($httpd->count_log($said), 7, 'each of several upgrades in both directions is logged');
        cmp_ok(descriptors($httpd), '<=', $descriptors + 8, 'the parent keeps no sockets of previous builds');
        my ($c) = Client->new($httpd, '/');
        $c->echoes('in the end', 'after several upgrades, a connection echoes');
        is(counters($httpd)->{'connections direct'}, 1, 'after several upgrades, the connection is counted');
    }
    $_->echoes('still', 'after several upgrades, connections of all builds are open') for @new;
}

for my $pair (['this', 'resized'], ['resized', 'this']) {
    my ($from, $to) = @$pair;
    my $name = "upgrade from $from build to $to, with tables of other sizes";
    my $dir   = folder_of($from);
    my $httpd = start($dir, "connections=2 key=address\nWebSocketLimit handshakes=1000 key=address");
    my @old = map { Client->new($httpd, '/') } 1, 2;
    is((Client->refused($httpd, '/'))[0], 503, "$name: the limit is reached");
    install($dir, @{ $build{$to} });
    $httpd->graceful;
    ok(kill(0, $httpd->pid), "$name: httpd keeps running");
    is($httpd->count_log($said), 1, "$name: the log says once that counters start at zero");
    my @new = map { Client->new($httpd, '/') } 1, 2;
    is((Client->refused($httpd, '/'))[0], 503, 'after the upgrade, the limit counts the connections of new children');
    $_->echoes('still', 'after the upgrade, a connection echoes') for @old, @new;
    $httpd->graceful;
    is((Client->refused($httpd, '/'))[0], 503, 'after another reload, the limit still counts them');
}

done_testing;
