# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Many clients connect at the same time, more than httpd has workers. Their application is a page of the same server, which
# also needs a worker. The server must refuse some handshakes with 503, so that no handshake waits for a worker that another
# handshake occupies, and must serve other requests meanwhile.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client;

plan skip_all => 'the module was built without libcurl' if !-e "$Httpd::BUILD/websocket/ws_http.so";
plan skip_all => 'a child of prefork has one thread' if $Httpd::MPM eq 'prefork';

my $dir = Httpd::folder();
chmod 0777, $dir;
Httpd::write_file("$dir/app.pl", "#!/usr/bin/perl\nread STDIN, my \$body, \$ENV{CONTENT_LENGTH};\nprint qq(Content-Type: text/plain\\n\\n);\n");
chmod 0755, "$dir/app.pl";
my $httpd = Httpd->start(
    modules  => ['cgid'],
    mpm_conf => "StartServers 1\nServerLimit 1\nThreadsPerChild 8\nMaxRequestWorkers 8\nMinSpareThreads 1\nMaxSpareThreads 8",
    conf     => <<"END");
ScriptSock $dir/cgid.sock
WebSocketOrigin any
ScriptAlias /cgi/ $dir/
<Directory $dir>
    Require all granted
</Directory>
<Location /app>
    WebSocketHandler ws_http.so to=/cgi/app.pl timeout=@{[Patience::stretch('20s')]}
</Location>
END

for my $round (1 .. 3) {
    my @clients = map { Client->new($httpd, '/app', expect => 0) } 1 .. 24;
    is(($httpd->get('/index.html'))[0], 200, "round $round: a page is served during the burst");
    my %count;
    for my $c (@clients) {
        $c->read_answer;
        $count{ $c->status }++;
    }
    ok($count{101}, "round $round: some handshakes are accepted");
    is_deeply([grep { $_ != 101 && $_ != 503 } keys %count], [], "round $round: the other handshakes are refused with 503");
    $_->drop for @clients;
}
ok($httpd->error_log !~ /Timeout was reached|waited in the queue for too long/, 'no handshake has waited until its time limit expired');
my $c;
Httpd::wait_for(sub { $c = Client->new($httpd, '/app', expect => 0); $c->read_answer; $c->status == 101 }, 'a further handshake');
pass('after the burst, handshakes are accepted');

done_testing();
