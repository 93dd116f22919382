# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests name lookups by the system's resolver, which asks a name server of the test. Runs in a separate network namespace and
# a separate mount namespace.

use strict;
use warnings;
use lib 't/lib';
use IO::Socket::INET;
use POSIX ();
use Test::More;

# Run the test again, inside of the namespaces.
if (!$ENV{WS_TEST_INSIDE}) {
    plan skip_all => 'namespaces need root, unshare, iproute2, and a kernel that permits them'
        if $> != 0 || system('unshare -nm ip link set lo up >/dev/null 2>&1') != 0;
    local $ENV{WS_TEST_INSIDE} = 1;
    exec 'unshare', '-nm', $^X, $0;
}

require Httpd;
require Program;
Httpd::once();
system('ip link set lo up') == 0 or die 'no loopback';

# ---- A name server ----

# The records of each name. The name server answers with this address, or without an address if the record is missing. For
# 'silence', it does not answer.
my %records = (
    'both.test'   => { A => '127.0.0.1', AAAA => '::1' },
    'noaaaa.test' => { A => '127.0.0.1', AAAA => 'silence' },
    'noa.test'    => { A => 'silence',   AAAA => '::2' },
    'hosts.test'  => { A => 'silence',   AAAA => '::2' },
);

sub reply {
    my ($question) = @_;
    my ($id) = unpack 'n', $question;
    my ($name, $at, @labels) = ('', 12);
    while (my $len = ord substr $question, $at, 1) {
        push @labels, substr $question, $at + 1, $len;
        $at += 1 + $len;
    }
    my $type    = { 1 => 'A', 28 => 'AAAA' }->{ unpack 'n', substr $question, $at + 1, 2 } // '';
    my $address = ($records{ lc join '.', @labels } // {})->{$type};
    return if ($address // '') eq 'silence';
    my $data = $address ? Socket::inet_pton($type eq 'A' ? Socket::AF_INET() : Socket::AF_INET6(), $address) : '';
    return pack('n6', $id, 0x8180, 1, $address ? 1 : 0, 0, 0) . substr($question, 12, $at - 12 + 5)
        . ($address ? pack('n3 N n a*', 0xc00c, $type eq 'A' ? 1 : 28, 1, 60, length $data, $data) : '');
}

my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 53, Proto => 'udp') or die "no name server: $!";
my $pid    = fork // die $!;
if (!$pid) {
    while (my $from = recv $server, my $question, 512, 0) {
        my $answer = reply($question) // next;
        send $server, $answer, 0, $from;
    }
    POSIX::_exit(0);
}
END { kill 'KILL', $pid if $pid }

# ---- The system's files ----

my $httpd = Httpd->start(conf => <<'END');
<Location "/echo">
    WebSocketHandler ws_echo.so
</Location>
END
# The resolver would wait for 30 seconds for an answer, but the client waits for only 5 seconds.
my %files = (
    'resolv.conf'   => "nameserver 127.0.0.1\noptions timeout:30 attempts:1\n",
    'nsswitch.conf' => "hosts: files dns\n",
    'hosts'         => "127.0.0.1 localhost hosts.test\n",
);
for my $name (sort keys %files) {
    Httpd::write_file($httpd->root . "/$name", $files{$name});
    system('mount', '--bind', $httpd->root . "/$name", "/etc/$name") == 0 or die "/etc/$name";
}

# ---- Tests ----

sub echo {
    my ($host) = @_;
    my $url = "ws://$host:" . $httpd->port . '/echo';
    return Program::run('sh', '-c', 'echo hello | "$0" "$1" 2>&1', "$Httpd::BUILD/bin/wsclient", $url);
}

for my $case (
    ['both.test',   'the client connects to a name with A and AAAA records'],
    ['noaaaa.test', 'a missing answer for AAAA does not delay the connection'],
    ['hosts.test',  'a name in /etc/hosts is not looked up in DNS'])
{
    my ($host, $what) = @$case;
    is_deeply([echo($host)], [0, "hello\n"], $what);
}
my ($status, $output) = echo('noa.test');
is($status, 3, 'without an answer for A, the connection fails after the AAAA address has failed');
like($output, qr/connect: /, 'the error is that of the AAAA address');
($status, $output) = echo('nothing.test');
like($output, qr/lookup: (?:Name or service not known|No address)/, 'the error says that a name has no addresses');
{
    my ($code, $text) = Program::run("$Httpd::BUILD/bin/wsbench", qw(-c 1 -t 0.1 -w 0), 'ws://noaaaa.test:' . $httpd->port . '/echo');
    is($code, 0, 'a missing answer for AAAA does not delay wsbench') or diag $text;
}

done_testing;
