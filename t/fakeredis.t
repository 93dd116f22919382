# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# A Redis sends wrong replies to any command. No child may crash, the server must reject malformed replies, and it must
# work again when correct replies follow.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Client;
use FakeRedis;
use Httpd;
use JSON::PP;
use Redis qw(bus_httpd channel_http);

Httpd::once();

my $fake = FakeRedis->start;
# A single child, except with prefork, so that all commands come from the same process.
my %mpm = $Httpd::MPM eq 'prefork'
    ? (mpm_conf => "StartServers 6\nServerLimit 6\nMaxRequestWorkers 6\nMinSpareServers 1\nMaxSpareServers 6")
    : (mpm_conf => "StartServers 1\nServerLimit 1\nThreadsPerChild 8\nMaxRequestWorkers 8\nMinSpareThreads 1\nMaxSpareThreads 8");

sub httpd { return bus_httpd($_[0], %mpm) }

sub bulk { return FakeRedis::bulk(@_) }
sub http { return (channel_http(@_))[0] // 0 }

my $deep = ("*1\r\n" x 6) . ":1\r\n";
my %wrong = (
    'an integer'        => ":7\r\n",
    'a negative integer' => ":-7\r\n",
    'nil'               => "\$-1\r\n",
    'a nil array'       => "*-1\r\n",
    'an empty array'    => "*0\r\n",
    'an empty text'     => bulk(''),
    'a text'            => bulk('x'),
    'a status'          => "+WHAT\r\n",
    'an error'          => "-ERR \x1b[31m\xff\r\n",
    'nested arrays'     => $deep,
    'two nils'          => "*2\r\n\$-1\r\n\$-1\r\n",
    'three integers'    => "*3\r\n:1\r\n:2\r\n:3\r\n",
    'three arrays'      => "*3\r\n*0\r\n*0\r\n*0\r\n",
    'nils in an array'  => "*3\r\n:7\r\n:9\r\n*1\r\n\$-1\r\n",
    'empty entries'     => "*3\r\n:7\r\n:9\r\n*2\r\n*0\r\n*0\r\n",
    'entries of nils'   => "*3\r\n:7\r\n:9\r\n*1\r\n*2\r\n\$-1\r\n*-1\r\n",
    'fields of nils'    => "*3\r\n:7\r\n:9\r\n*1\r\n*2\r\n" . bulk('9-1') . "*10\r\n" . ("\$-1\r\n" x 10),
    'texts that are invalid' => "*3\r\n:7\r\n:9\r\n*1\r\n*2\r\n" . bulk('9-1') . "*10\r\n"
        . join('', map { bulk($_) } 't', 1, 's', 1, 'e', 0, 'w', 9999999999, 'd', "\xff"),
    'offsets that do not grow' => "*3\r\n:7\r\n:9\r\n*2\r\n" . (("*2\r\n" . bulk('9-1') . "*10\r\n"
        . join('', map { bulk($_) } 't', 1, 's', 1, 'e', 0, 'w', 9999999999, 'd', 'x')) x 2),
    'a message, of nils' => "*3\r\n" . bulk('message') . "\$-1\r\n\$-1\r\n",
    'a message, of arrays' => "*3\r\n*0\r\n" . bulk('message') . "*0\r\n",
    'two answers'       => ":1\r\n:1\r\n",
    'text that is not RESP' => "HTTP/1.1 400 Bad Request\r\n\r\n",
    'a huge array'      => "*2147483647\r\n",
    'a huge text that is cut off' => "\$2147483647\r\nxxx",
);
# After these replies, the server has to close the connection to Redis, and opens a new one after a growing delay.
my %breaks = map { $_ => 1 } 'two answers', 'text that is not RESP', 'a huge array', 'a huge text that is cut off';

my $httpd = httpd('redis://:secret@127.0.0.1:' . $fake->port);

# Returns a packet in the format of channels/packet.h, as another server would send it.
sub packet {
    my ($kind, $type, $channel, $data, %o) = @_;
    my $p = pack('CCCCNQ>NNQ>Q>Q>C', 1, $kind, $type, 0, 49 + length($channel) + length $data,
        $o{server} // 5, $o{process} // 1, $o{request} // 0, $o{id} // 0, $o{epoch} // 0, $o{offset} // 0,
        length $channel) . $channel . $data;
    return "*3\r\n" . bulk('message') . bulk('websocket:c:news') . bulk($p);
}

sub works {
    my ($what) = @_;
    Httpd::wait_for(sub { http($httpd, 'POST', 'kept/a', 'x') == 200 }, "publishing again after $what");
}

works('the start');
my @children = sort $httpd->children;
my $reader   = Client->new($httpd, '/ws?channel=news');
my $json     = Client->new($httpd, '/members?channel=news', protocol => 'channel.v1.json');
is(decode_json(($json->message)[1])->{type}, 'subscribed', 'a client of ws_channel.so is subscribed');
Httpd::wait_for(sub { $fake->seen('SUBSCRIBE') >= 2 }, 'the subscription to reach the server');

# ---- Replies to commands ----

for my $what (sort keys %wrong) {
    my @commands = $breaks{$what} ? qw(APPEND) : qw(APPEND READ DEL PUBLISH);
    for my $command (@commands) {
        my $before = $fake->seen($command);
        $fake->answer($command, $wrong{$what});
        my $client;
        my $status =
              $command eq 'APPEND'  ? ($breaks{$what} ? 503 : http($httpd, 'POST', 'kept/a', 'x'))
            : $command eq 'DEL'     ? http($httpd, 'DELETE', 'kept/a', '')
            : $command eq 'PUBLISH' ? http($httpd, 'POST', 'news', "news: $what")
            :                         503;
        $client = Client->new($httpd, '/ws?channel=kept/a&after=all') if $command eq 'READ';
        my $socket;
        if ($breaks{$what}) {
            $socket = $httpd->connect or die $!;
            print $socket "POST /channels/kept/a HTTP/1.0\r\nContent-Length: 1\r\n\r\nx";
        }
        Httpd::wait_for(sub { $fake->seen($command) > $before }, "$command, answered with $what");
        cmp_ok($status, '>=', 500, "$command is answered with $what: the request fails")
            if $command eq 'APPEND';
        $fake->answer($command);
        $client->close if $client;
    }
}
works('wrong answers');
is_deeply([sort $httpd->children], \@children, 'no child has ended after wrong answers');
like($httpd->error_log, qr/redis: unexpected reply/, 'the log reports invalid replies');
like($httpd->error_log, qr/redis: 127.0.0.1: .*more replies than commands/, 'the log reports more replies than commands');
unlike($httpd->error_log, qr/[\x1b\xff]/, 'the log does not have the bytes of wrong replies');

# ---- Unknown outcomes ----

# After a meaningless reply, or without a reply, the message may have been stored or not.
for my $what ('a status', 'nothing') {
    $fake->answer('APPEND', $what eq 'nothing' ? '' : $wrong{$what});
    my $socket = $httpd->connect or die $!;
    print $socket "POST /channels/kept/a HTTP/1.0\r\nContent-Length: 1\r\n\r\nx";
    my $answer = do { local $/; <$socket> };
    like($answer, qr{^HTTP/1.1 504 }, "publish is answered with $what: the result is 504");
    unlike($answer, qr/^Retry-After/mi, "publish is answered with $what: no Retry-After, since a second request could publish twice");
    like($answer, qr/"error":"unknown whether it was published"/, "publish is answered with $what: the error says that the outcome is unknown");
    my $client = Client->new($httpd, '/ws?channel=kept/a', protocol => 'channel.v1.json');
    $client->text('{"type":"publish","channel":"kept/a","data":"x","id":1}');
    my $told = Httpd::wait_for(sub { my $m = decode_json(($client->message)[1]); $m->{type} eq 'error' && $m }, 'the error');
    is($told->{error}, 'unknown whether it was published', "publish is answered with $what: a client of ws_channel.so gets the same error");
    $client->drop;
    $fake->answer('APPEND');
}
works('silence');

# A node of a cluster names another node (ASK), which does not reply, although it may have stored the message.
{
    my ($node, $other) = map { FakeRedis->start } 1, 2;
    $node->answer(CLUSTER => "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n" . bulk('127.0.0.1') . ':' . $node->port . "\r\n");
    $node->answer(APPEND => '-ASK 1 127.0.0.1:' . $other->port . "\r\n");
    $other->answer(APPEND => '');
    my $httpd = httpd('redis-cluster://127.0.0.1:' . $node->port);
    my $client = Client->new($httpd, '/ws?channel=kept/a', protocol => 'channel.v1.json');
    $client->text('{"type":"publish","channel":"kept/a","data":"x","id":1}');
    Httpd::wait_for(sub { $other->seen('APPEND') }, 'the append at the other node');
    $other->answer('APPEND');
    my $told = Httpd::wait_for(sub { my $m = decode_json(($client->message)[1]); ($m->{id} // 0) == 1 && $m }, 'the answer');
    is($told->{type}, 'published', 'if the node that ASK names does not reply, the message is sent again');
    $client->drop;
    $httpd->stop;
    is_deeply([$httpd->complaints], [], 'no child crashed because of ASK');
}

# ---- Unsolicited data ----

# Wait until a message arrives again. Repeats the message, because the connection to Redis may have been lost.
sub heard_of {
    my ($after) = @_;
    $reader->{in} = '';
    Httpd::wait_for(
        sub {
            $fake->push_all(packet(1, 1, 'news', "behind $after"));
            http($httpd, 'POST', 'news', 'own');
            my @got = ('');
            push @got, ($reader->message)[1] while $got[-1] ne 'own';
            return grep { $_ eq "behind $after" } @got;
        },
        "a message to arrive after $after"
    );
    return;
}

heard_of('the start');
for my $what (sort keys %wrong) {
    $fake->push_all($wrong{$what});
    heard_of($what) if $breaks{$what};
}
heard_of('all of these');
is_deeply([sort $httpd->children], \@children, 'no child has ended because of unsolicited data');

my $long = 'n' x 255;
my %packets = (
    'text that is not UTF-8'    => packet(1, 1, 'news', "bad \xff"),
    'an unknown type'      => packet(1, 3, 'news', 'bad type'),
    'no type'                  => packet(1, 0, 'news', 'bad no type'),
    'an invalid process'   => packet(1, 1, 'news', 'bad process', process => 70000),
    'an epoch without offset'  => packet(1, 1, 'news', 'bad position', epoch => 5),
    'an invalid channel'   => packet(1, 1, "new\xff", 'bad name'),
    'no channel'               => packet(1, 1, '', 'bad no name'),
    'a long name'              => packet(1, 1, $long, 'bad long'),
    'a key of a location that is too long' => packet(7, 1, $long, 'bad key'),
    'a broadcast that is not UTF-8'   => packet(7, 1, 'x', "bad \xff"),
    'a message for one connection whose text is not UTF-8' => packet(6, 1, '', "bad \xff", id => 1 << 48),
    'a message without the id of a connection' => packet(6, 1, '', 'bad none'),
    'a member that is not UTF-8' => packet(9, 0, 'news', "bad \xff\0", id => 5),
    'a member without id'      => packet(9, 0, 'news', "bad\0"),
    'a member that is too long' => packet(9, 0, 'news', 'bad' . 'b' x 1022 . "\0", id => 5),
    'a member without a user'  => packet(9, 0, 'news', 'bad', id => 5),
    'a user that is not UTF-8'  => packet(9, 0, 'news', "bad\0\xff", id => 5),
    'a user that is too long'  => packet(9, 0, 'news', "bad\0" . 'u' x 256, id => 5),
    'members that are not UTF-8' => packet(10, 0, 'news', pack('Q>n', 5, 3) . "b\xff\0"),
    'members that are cut off' => packet(10, 0, 'news', pack('Q>n', 5, 200) . 'bad'),
    'an unknown kind'      => packet(99, 1, 'news', 'bad kind'),
    'half a packet'            => "*3\r\n" . bulk('message') . bulk('x') . bulk("\1\1\1\0\0\0\0\x40"),
    'an empty packet'             => "*3\r\n" . bulk('message') . bulk('x') . bulk(''),
);
$fake->push_all($packets{$_}) for sort keys %packets;
$fake->push_all(packet(1, 1, 'news', 'good'));
my @bad;
while ((my $text = ($reader->message)[1]) ne 'good') {
    push @bad, $text if $text !~ /^(?:own|behind|news)/;
}
is_deeply(\@bad, [], 'no packet with invalid fields is delivered');
my @members;
while (1) {
    my $o = decode_json(($json->message)[1]);
    push @members, $o->{data} // '' if $o->{type} =~ /^(?:join|leave)$/;
    last if ($o->{data} // '') eq 'good';
}
is_deeply([grep {/bad/} @members], [], 'no packet with invalid fields adds a member');
is_deeply([sort $httpd->children], \@children, 'no child has ended after invalid packets');

# ---- Replies while connecting ----

# Test these commands at the same time, because the delay before each attempt to connect grows.
my @beginnings = map { { command => $_, fake => FakeRedis->start } } qw(AUTH SELECT SENTINEL ROLE);
for my $b (@beginnings) {
    my $at = '127.0.0.1:' . $b->{fake}->port;
    $b->{fake}->answer($b->{command}, $wrong{nil});
    $b->{httpd} = httpd($b->{command} =~ /SENTINEL|ROLE/ ? "sentinel://$at/mymaster" : "redis://:secret\@$at");
}
for my $what ('a negative integer', 'a status', 'an error', 'an empty array', 'nested arrays', 'three integers', 'two nils',
    'a huge array')
{
    for my $b (@beginnings) {
        $b->{fake}->answer($b->{command}, $wrong{$what});
        $b->{before} = $b->{fake}->seen($b->{command});
    }
    Httpd::wait_for(sub { $_->{fake}->seen($_->{command}) > $_->{before} }, "$_->{command}, answered with $what")
        for @beginnings;
}
for my $b (@beginnings) {
    my $new = $b->{httpd};
    $b->{fake}->answer($b->{command});
    Httpd::wait_for(sub { http($new, 'POST', 'kept/b', 'x') == 200 }, "a connection after wrong answers");
    pass("$b->{command}: after wrong answers, httpd connects again");
}
$_->{httpd}->terminate for @beginnings;
for my $b (@beginnings) {
    $b->{httpd}->stop;
    is_deeply([$b->{httpd}->complaints], [], "no child crashed because of answers to $b->{command}");
}

$httpd->stop;
is_deeply([$httpd->complaints], [], 'no child crashed');
done_testing;
