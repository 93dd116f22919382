# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# History: a client that joins while others publish in several processes misses no message, and receives none twice.
# Also tests which events the history file survives.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Client;
use Httpd;
use JSON::PP;

my $httpd = Httpd->start(
    $Httpd::MPM eq 'prefork' ? () : (mpm_conf => "StartServers 3\nServerLimit 8\nThreadsPerChild 20\n"
        . "MaxRequestWorkers 160\nMinSpareThreads 60\nMaxSpareThreads 160"),
    conf => <<'END');
WebSocketHistory kept/short 5
WebSocketHistory kept/* 10000
WebSocketThreads 2
WebSocketPing off
<Location "/ws">
    WebSocketHandler ws_channel.so channel=%{arg:channel} publish=on echo=off
</Location>
END

sub json_client {
    my ($channel, $after) = @_;
    my $c = Client->new($httpd, "/ws?channel=$channel" . ($after ? "&after=$after" : ''),
        protocol => 'channel.v1.json');
    return $c;
}

sub event { return decode_json(($_[0]->message)[1]) }

sub publish {
    my ($c, $channel, $text) = @_;
    $c->text(encode_json({ type => 'publish', channel => $channel, data => "$text", id => 1 }));
}

# Read events up to a number of messages. Returns the texts of messages, and the types of other events.
sub collect {
    my ($c, $count) = @_;
    my @got;
    while ($count) {
        my $e = event($c);
        push @got, $e->{type} eq 'message' ? $e->{data} : "<$e->{type}>";
        $count-- if $e->{type} eq 'message';
    }
    return @got;
}

# ---- Joining while others publish ----

my $first = json_client('kept/a');
is(event($first)->{type}, 'subscribed', 'the first client is subscribed');
my @joiners;
my @speakers = map { json_client('kept/a') } 1 .. 3;
event($_) for @speakers;
# No client receives its own messages, so the first one only listens.
for my $i (1 .. 100) {
    publish($speakers[$_], 'kept/a', "$_.$i") for 0 .. 2;
    push @joiners, json_client('kept/a', 'all') if $i % 10 == 5;
}
my @order = grep { !/</ } collect($first, 300);
my @wrong;
for my $p (0 .. 2) {
    my @of = grep {/^$p\./} @order;
    push @wrong, "publisher $p: @of" if "@of" ne join ' ', map {"$p.$_"} 1 .. 100;
}
is("@wrong", '', "each publisher's messages arrive in order, each once");
for my $j (@joiners) {
    my @got = collect($j, 300);
    push @wrong, 'a gap' if grep { $_ eq '<gap>' } @got;
    push @wrong, "@got" if join(' ', grep { !/</ } @got) ne "@order";
}
is("@wrong", '', scalar(@joiners) . ' clients that joined later have the same messages in the same order');
cmp_ok(scalar(() = $httpd->children), '>', 1, 'these clients are in several processes');

# ---- Resuming ----

my $late = json_client('kept/a', 'all');
my ($tenth);
for (1 .. 300) {
    my $e = event($late);
    redo if $e->{type} ne 'message';
    $tenth //= $e->{position} if $e->{data} eq $order[9];
}
$late->drop;
is(join(' ', grep { !/</ } collect(json_client('kept/a', $tenth), 290)), "@order[10 .. 299]",
    'a client that reconnects gets the missed messages');
my $short = json_client('kept/short');
event($short);
publish($short, 'kept/short', "s$_") for 1 .. 10;
my @positions = map { event($short)->{position} } 1 .. 10;
my $behind = json_client('kept/short', $positions[1]);
is(join(' ', (collect($behind, 5))), '<gap> s6 s7 s8 s9 s10', 'a client that reconnects too late gets a gap, then the messages that are kept');
is(event(json_client('kept/short', $positions[9]))->{type}, 'subscribed', 'a client that reconnects and has missed nothing gets no gap');

# ---- The file ----

my $file = $httpd->root . '/logs/websocket-history/data.mdb';
my @stat = stat $file;
is($stat[2] & 0777, 0600, "only the owner of the history file can read it");
is($stat[4], $> ? $> : (getpwnam 'www-data')[2], "the owner of the history file is httpd's user");

my %victim = map { $_ => 1 } $httpd->children;
kill 'KILL', keys %victim;
Httpd::wait_for(
    sub {
        my @now = $httpd->children;
        return @now && !grep { $victim{$_} } @now;
    },
    'new children');
is(join(' ', grep { !/</ } collect(json_client('kept/a', $tenth), 290)), "@order[10 .. 299]",
    'the history survives when all children are killed');
$httpd->graceful;
is(join(' ', grep { !/</ } collect(json_client('kept/a', $tenth), 290)), "@order[10 .. 299]", 'the history survives a reload');
$httpd->stop;

# The file is damaged while httpd is stopped.
open my $f, '+<', $file or die $!;
seek $f, 8192, 0;
print $f "\xa5" x (-s $file > 8192 ? (-s $file) - 8192 : 0);
close $f;
$httpd->run('-k start');
$httpd->{pid} = Httpd::wait_for(sub { Httpd::read_file($httpd->root . '/httpd.pid') =~ /(\d+)/ && kill(0, $1) && $1 },
    'httpd to start');
Httpd::wait_for(sub { $httpd->connect }, 'httpd to listen');
$httpd->wait_log(qr/history: \S+ was damaged \(.*renamed to \S+\.damaged, and created again/);
ok(-s "$file.damaged", 'a damaged history file is renamed');
my $again = json_client('kept/a', $tenth);
is(event($again)->{type}, 'gap', 'a position from a damaged history file gives a gap');
is(event($again)->{type}, 'subscribed', 'after a history file was damaged, subscriptions work');

done_testing();
