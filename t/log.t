# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests log lines, and the records of connections that WebSocketLog writes.

use strict;
use warnings;
use lib 't/lib';
use File::Temp;
use JSON::PP;
use Test::More;
use Time::HiRes;
use Httpd;
use Client qw(TEXT BINARY);

# ---- Frames at trace levels ----

{
    my $httpd = Httpd->start(log_level => 'trace4', ssl_conf => 'LogLevel websocket:trace6', conf => <<'END');
<Location /echo>
    WebSocketHandler ws_echo.so
</Location>
END
    my $seen = 0;
    for my $level (qw(trace4 trace6)) {
        my $c = Client->new($httpd, '/echo', tls => $level eq 'trace6');
        $c->send(TEXT, 'he"llo', fin => 0);
        $c->send(0, "\x01\xc3\xa4" . 'x' x 80);
        $c->message;
        $c->close(1000, 'bye');
        $c->frame;
        $c->drop;
        Httpd::wait_for(sub { $httpd->count_log(qr/end, code 1000/) > $seen }, 'the end');
        my @seen = map { /: ((?:in|out): .*)/ ? $1 : () } split /\n/, $httpd->error_log;
        splice @seen, 0, 5 * $seen++;
        my @want = (
            'in: text, 6 bytes', ': "he%22llo"',
            'in: text fin, 83 bytes', ': "%01%c3%a4' . 'x' x 61 . '"...',
            'out: text fin, 89 bytes', ': "he%22llo%01%c3%a4' . 'x' x 55 . '"...',
            'in: close fin, 5 bytes', ': "%03%e8bye"',
            'out: close fin, 5 bytes', ': "%03%e8bye"'
        );
        @want = map { $want[2 * $_] . ($level eq 'trace6' ? $want[2 * $_ + 1] : '') } 0 .. 4;
        is_deeply(\@seen, \@want, "$level logs the right frames");
    }
}

# ---- WebSocketLog: errors of the configuration ----

for (
    ['logs/x "%{nothing}w"', qr/unknown field %\{nothing\}w; the fields are id, handler,/],
    ['logs/x "%y"',          qr/"%y": unknown item; the items are %a %h/],
    ['logs/x "%{x"',         qr/"%\{x" has no closing brace/],
    ['logs/x "%{x}u"',       qr/%\{x\}u: remove the braces/],
    ['logs/x "%{min}T"',     qr/expected s, ms or us/],
    (map { ["logs/x \"%{$_}t\"", qr/%\{\Q$_\E\}t: expected sec, msec, usec or a format of strftime, such as %\{%F %T\}t/] }
        '', 'msec_frac', 'usec_frac', 'begin:sec', 'begin:%F', 'end:%F %T'),
    ['logs/x "%i"',          qr/%i takes the name of a header/],
    ['logs/x plain',         qr/"plain" is neither "json" nor a format/],
    ['logs/x "%{User Agent}i"', qr/%\{User Agent\}i: no header can have this name/],
    (map { [qq("$_"), qr{takes a program after \|, such as "\|/}] } '|', '| ', '||', '|$', '|| '),
    ['"|/tmp x"',            qr{/tmp cannot be run: it is a directory}],
    ['"||/no/such/program"', qr{/no/such/program cannot be run: No such file}],
    ['"|no-such-program x"', qr{no-such-program cannot be run: httpd does not search PATH: write the path .* or "\|\$no-such-program"}],
    ['no/such/folder/x',     qr{"[^"]*no/such/folder/x" cannot be written: create the directory [^"]*no/such/folder/}],
    ['/dev/null/x',          qr{"/dev/null/x" cannot be written: create the directory /dev/null/}],
    ['logs',                 qr/logs" is a directory: name a file in it/],
    ['"|/no/such/program x"',  qr{/no/such/program cannot be run: No such file}],
    ['"|/etc/passwd x"',     qr{/etc/passwd cannot be run: Permission denied}],
    ['off json',             qr/remove the argument after off/])
{
    my ($line, $error) = @$_;
    my ($ok, $output) = Httpd->check("WebSocketLog $line");
    ok(!$ok && $output =~ /WebSocketLog: .*$error/ && $output =~ /httpd\.conf/, "httpd -t refuses: WebSocketLog $line")
        or diag($output);
}
for ('"|/bin/cat"', '"| /bin/cat"', '"||/bin/cat x"', '"|$cat > /dev/null"', '"|$ no-such-program"', '"|bin/cat"') {
    my ($ok, $output) = Httpd->check("WebSocketLog $_");
    ok($ok, "httpd -t accepts: WebSocketLog $_") or diag($output);
}

# ---- WebSocketLog: records ----

# Wait until a log has this number of lines, and return the lines.
sub records {
    my ($httpd, $file, $number) = @_;
    my @lines;
    Httpd::wait_for(sub {
        @lines = split /\n/, Httpd::read_file($httpd->root . "/logs/$file");
        return @lines >= $number;
    }, "$number lines in $file");
    is(scalar @lines, $number, "$file has a line for each connection");
    return @lines;
}

sub close_with {
    my ($c, @close) = @_;
    $c->close(@close);
    $c->frame;
    $c->at_end;
    $c->drop;
}

my $httpd = Httpd->start(
    log_level => 'trace3',
    files => { users => "jane:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=\n" },    # an empty password
    conf  => <<'END');
WebSocketLog logs/plain
<Location /echo>
    WebSocketHandler ws_echo.so protocol=echo
    WebSocketHandler ws_echo.so
</Location>
<Location /echo/json>
    WebSocketLog logs/json json
</Location>
<Location /echo/own>
    WebSocketLog logs/own "%a %h [%v] %u %U%q %{usec}t %{ms}T %D %I %O %P%% %{X-Kept}i %{id}w %{handler}w \"%{reason}w\" %{why}w"
</Location>
<Location /echo/same>
    WebSocketLog logs/own "%U"
</Location>
<Location /echo/off>
    WebSocketLog off
</Location>
<Location /echo/relayed>
    WebSocketLog logs/ways "%{way}w %{closer}w %{code}w"
    WebSocketRelay on
</Location>
<Location /echo/ways>
    WebSocketLog logs/ways "%{way}w %{closer}w %{code}w"
    WebSocketMaxMessageSize 1K
</Location>
<Location /echo/pinged>
    WebSocketLog logs/pinged "%{pings-missed}w %{closer}w %{code}w %{why}w"
    WebSocketPing 100ms 100ms
</Location>
<Location /echo/queue>
    WebSocketLog logs/queue "%{most-queued}w"
    WebSocketMaxMessageSize 64M
</Location>
<Location /echo/deflated>
    WebSocketCompression on
    WebSocketLog logs/deflated "%{bytes-in}w %{wire-in}w %{bytes-out}w %{wire-out}w"
</Location>
<Location /echo/user>
    WebSocketLog logs/user "%u"
    AuthType Basic
    AuthName x
    AuthUserFile users
    Require valid-user
</Location>
END

{
    my $c = Client->new($httpd, '/echo?token=1', protocol => 'echo');
    $c->echoes('hello');
    $c->send(BINARY, 'xx', fin => 0);
    $c->send(0, 'x' x 998);
    $c->message;
    close_with($c, 1000, 'bye "now"');
    my ($line) = records($httpd, 'plain', 1);
    like($line, qr{^\[\d+/\w+/\d+:[\d:]+ [+-]\d+\] 127\.0\.0\.1 - localhost "/echo\?token=1" direct v13 echo \d+s in=2/1005 out=2/1005 client 1000 "bye \\"now\\""$},
        'a record in the default format is right');
}
{
    my $c = Client->new($httpd, '/echo/json?a=%22', protocol => 'echo', tls => 1);
    $c->echoes('hello');
    close_with($c, 4000, "\xc3\xa4\"\\\x01</script>");
    my ($line) = records($httpd, 'json', 1);
    my $record = JSON::PP->new->utf8->decode($line);
    like(delete $record->{start}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, 'json: start is a time');
    like(delete $record->{milliseconds}, qr/^\d+$/, 'json: milliseconds is a number');
    like(delete $record->{id}, qr/^[0-9a-f]{16}$/, 'json: id is that of a connection');
    is(delete $record->{why}, 'closed', 'json: why is the reason of the end');
    is_deeply($record, {
        address => '127.0.0.1', user => undef, vhost => 'localhost', uri => '/echo/json', args => 'a=%22',
        handler => 'echo', subprotocol => 'echo', version => 13, way => 'tls', messages_in => 1,
        messages_out => 1, bytes_in => 5, bytes_out => 5, wire_in => 6 + 5 + 6 + 2 + 14,
        wire_out => 2 + 5 + 2 + 2 + 14, code => 4000, reason => "\xe4\"\\\x01</script>", closer => 'client',
        most_queued => 0, pings_missed => 0,
    }, 'json: all other fields are right');
}
{
    my $before = int(Time::HiRes::time() * 1e6);
    my $c = Client->new($httpd, '/echo/own');
    $c->echoes('hello');
    close_with($c, 1000, "line\nbreak \xc3\xa4");
    my ($line) = records($httpd, 'own', 1);
    like($line, qr{^127\.0\.0\.1 127\.0\.0\.1 \[localhost\] - /echo/own (\d+) (\d+) (\d+) 32 24 \d+% - [0-9a-f]{16} echo "line\\nbreak \\xc3\\xa4" closed$},
        'a record in a custom format is right');
    my ($start, $ms, $us) = $line =~ m{/echo/own (\d+) (\d+) (\d+)};
    cmp_ok($start, '>=', $before, 'the start in a record is after the client connected');
    is($ms, int($us / 1000), 'the duration in a record is the same in two units');
    close_with(Client->new($httpd, '/echo/same'), 1000);
    is((records($httpd, 'own', 2))[1], '/echo/same', 'two formats can write to one file');
}
{
    close_with(Client->new($httpd, '/echo/off'), 1000);
    close_with(Client->new($httpd, '/echo/relayed'), 1001);
    is((records($httpd, 'ways', 1))[0], 'relay client 1001', 'the record of a relayed connection says that the client closed it');
    my $c = Client->new($httpd, '/echo/ways');
    $c->text('x' x 2000);
    $c->expect_close(1009);
    is((records($httpd, 'ways', 2))[1], 'direct server 1009', 'the record of a connection with an oversized message says that the server closed it');
    Client->new($httpd, '/echo/ways')->drop;
    is((records($httpd, 'ways', 3))[2], 'direct nobody 1006', 'the record of a connection that broke says that nobody closed it');
    close_with(Client->new($httpd, '/echo/ways'));
    is((records($httpd, 'ways', 4))[3], 'direct client 1005', 'the record of a connection closed without a code has 1005');
    records($httpd, 'plain', 1);    # the connection with WebSocketLog off has no record
}
{
    my $c = Client->new($httpd, '/echo/pinged');
    is((records($httpd, 'pinged', 1))[0], '1 nobody 1006 no answer to a ping (WebSocketPing)', 'the record of a connection that missed a ping has the reason');
}
{
    my $c = Client->new($httpd, '/echo/queue');
    my $data = 'x' x 16_000_000;    # more than fits into the buffers of the sockets
    $c->text($data);
    Httpd::wait_for(sub { $httpd->status_value('websocket_send_queue_bytes') > 1000 }, 'a queue');
    is(($c->message)[1], $data, 'a long message is echoed');
    close_with($c, 1000);
    cmp_ok((records($httpd, 'queue', 1))[0], '>', 1000, 'the record has the maximum of queued bytes');
    Httpd::wait_is(sub { $httpd->status_value('websocket_send_queue_bytes') }, 0, 'when the record is written, no bytes are queued');
}
{
    my $c = Client->new($httpd, '/echo/deflated', headers => ['Sec-WebSocket-Extensions: permessage-deflate']);
    $c->text('x' x 10_000);
    $c->frame;
    close_with($c);
    my @bytes = split ' ', (records($httpd, 'deflated', 1))[0];
    is_deeply([@bytes[0 .. 2]], [10_000, 10_000 + 8 + 6, 10_000], 'the record has the bytes before compression');
    cmp_ok($bytes[3], '<', 200, 'the record has the bytes after compression');
}
{
    my $c = Client->new($httpd, '/echo/user', headers => ['Authorization: Basic amFuZTo=']);
    close_with($c, 1000);
    is((records($httpd, 'user', 1))[0], 'jane', 'the record has the user');
}
is($httpd->count_log(qr/: (?:in|out): /), 0, 'trace3 logs no frames');
undef $httpd;

# ---- WebSocketLog: a program ----

# A program that copies its input to a file, and writes its process id before each line.
my $dir = File::Temp->newdir;
chmod 0755, "$dir";
Httpd::write_file("$dir/program", <<'END');
#!/bin/sh
echo start $$ >> "$1"
while read -r line; do echo "$$ $line" >> "$1"; done
END
$httpd = Httpd->start(conf => <<"END");
<Location /echo>
    WebSocketHandler ws_echo.so
    WebSocketLog "|/bin/sh $dir/program $dir/piped" "%{reason}w"
</Location>
<Location /echo/full>
    WebSocketLog /dev/full
</Location>
<Location /echo/stuck>
    WebSocketLog "|/bin/sleep 1000" "%U%U%U%U%U%U%U%U%U%U%U%U%U%U%U%U%U%U%U%U"
</Location>
END

sub piped {
    my ($number) = @_;
    my @lines;
    Httpd::wait_for(sub {
        @lines = grep { !/start/ } split /\n/, Httpd::read_file("$dir/piped");
        return @lines >= $number;
    }, "$number records from the program");
    return map { (split ' ')[1] } @lines;
}

{
    my @old = map { Client->new($httpd, '/echo') } 1 .. 3;
    close_with($old[0], 1000, 'first');
    is_deeply([piped(1)], ['first'], 'a program gets a record');
    $httpd->graceful;
    close_with(Client->new($httpd, '/echo'), 1000, 'new');
    is_deeply([sort(piped(2))], [qw(first new)], 'after a reload, the program gets records of new children');
    close_with($old[1], 1000, 'old');
    is_deeply([sort(piped(3))], [qw(first new old)], 'after a reload, the program gets records of old children');
    my $starts = () = Httpd::read_file("$dir/piped") =~ /start/g;
    is($starts, 1, 'a reload does not restart the program');
    my ($pid) = Httpd::read_file("$dir/piped") =~ /start (\d+)/;
    kill 'KILL', $pid;
    Httpd::wait_for(sub { (() = Httpd::read_file("$dir/piped") =~ /start/g) == 2 }, 'the program to be started again');
    close_with($old[2], 1000, 'again');
    is_deeply([sort(piped(4))], [qw(again first new old)], 'a program that has ended is restarted, and no record is lost');
}

# ---- WebSocketLog: a log that accepts nothing ----

sub lost_records {
    my $lost = 0;
    Httpd::wait_for(sub { $lost = $httpd->status_value('websocket_log_lost_total') }, 'lost records');
    return $lost;
}

close_with(Client->new($httpd, '/echo/full'), 1000);
ok($httpd->wait_log(qr/No space left on device: .*records of WebSocketLog are lost: \/dev\/full: cannot be written/),
    'a log on a full disk is reported');
is(lost_records(), 1, 'a record that does not fit on the disk is counted as lost');
{
    # Each record has 75 KB. Continue until a child has more records than fit into its queue of 4 MiB and the pipe.
    my $long = '/echo/stuck' . ('/' . 'x' x 200) x 19;
    my $until = time + $Httpd::DEADLINE;
    until ($httpd->status_value('websocket_log_lost_total') > 1 || time > $until) {
        close_with(Client->new($httpd, $long), 1000) for 1 .. 10;
    }
    ok($httpd->wait_log(qr/records of WebSocketLog are lost: \|\/bin\/sleep 1000: does not keep up with the writes/), 'a log program that does not read is reported');
    cmp_ok(lost_records(), '>', 1, 'records that the program does not read are counted as lost');
    Client->new($httpd, '/echo')->echoes('hello', 'a log program that does not read delays no connection');
    $httpd->stop;
    pass('a log program that does not read does not delay the stop');
}

done_testing;
