# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# js/channel.js, the library for browsers and Node, is tested in Node with npm ws, and in Chromium. Meanwhile httpd is
# reloaded and restarted, its children are killed or stopped, and the browser goes offline or sleeps.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Program;

Httpd::once();
my $library = Httpd::read_file("$Httpd::TOP/js/channel.js");
cmp_ok(scalar(() = $library =~ /\n/g), '<=', 300, 'js/channel.js has at most 300 lines');
unlike($library, qr/^import\b|\bimport\(/m, 'js/channel.js imports nothing');

# Node before version 22 has no WebSocket. The library must report that instead of waiting silently.
my $without = Program->start('node', '--input-type=module', '-e', <<'END');
import {Channels} from './js/channel.js';
try { new Channels('ws://127.0.0.1:1/live', {WebSocket: undefined}).close(); } catch (error) { console.log(error.message); }
END
$without->wait_output(qr/^(no WebSocket: pass \{WebSocket\})$/m);
is($without->finish, 0, 'where no WebSocket is available, the constructor of js/channel.js throws');

my $httpd;
my @server = (
    children => 2,
    files    => {
        'htdocs/page.html'            => "<!DOCTYPE html>\n",
        'htdocs/channel.js'           => $library,
        'htdocs/channel-scenarios.js' => Httpd::read_file("$Httpd::TOP/t/clients/channel-scenarios.mjs"),
    },
    conf => <<'END');
AddType text/javascript .js
WebSocketHistory kept/* 1000
WebSocketDrainTimeout 1s
WebSocketSubscribe "%{WEBSOCKET_CHANNEL} != 'secret'"
<Location "/live">
    WebSocketHandler ws_channel.so
    WebSocketPublish all
</Location>
<Location "/line">
    WebSocketHandler ws_channel.so channel=kept/line
</Location>
<Location "/channels">
    WebSocketChannelHTTP publish
    WebSocketPublish all
</Location>
<Location "/events">
    WebSocketChannelHTTP subscribe
</Location>
END

my %do = (
    reload => sub { $httpd->graceful },
    kill   => sub {
        my @children = $httpd->children;
        kill 'KILL', @children;
        Httpd::wait_for(
            sub { my %now = map { $_ => 1 } $httpd->children; !grep { $now{$_} } @children }, 'the children to end');
    },
    freeze => sub { Httpd::freeze($_) for $httpd->children },
    thaw   => sub { kill 'CONT', $httpd->children },
    restart => sub {
        $httpd->stop;
        is($httpd->run('-k start'), '', 'httpd starts again');
        $httpd->{pid} = Httpd::wait_for(
            sub { Httpd::read_file($httpd->root . '/httpd.pid') =~ /(\d+)/ ? $1 : 0 }, 'the pid file');
    },
);

for my $client (qw(channel-node.mjs channel-page.js)) {
    $httpd = Httpd->start(@server);
    my $program = Program->start('node', "t/clients/$client", 'http://127.0.0.1:' . $httpd->port);
    while (1) {
        my ($line, $word, $rest) = $program->wait_output(qr{^(ok|not ok|do|done)\b ?(.*)\n}m);
        last if $word eq 'done';
        if ($word eq 'do') {
            $do{$rest}->();
            $program->write("\n");
        }
        else {
            ok($word eq 'ok', "$client: $rest");
        }
    }
    is($program->finish, 0, "$client exits with 0");
}

# ---- The publishers of docs/examples ----

my $base = 'http://127.0.0.1:' . $httpd->port . '/channels';
my $examples = "$Httpd::TOP/docs/examples";
my %program = (
    node => ['node', '--input-type=module', '-e', <<"END"],
import {Publisher} from '$examples/publisher.mjs';
const p = new Publisher('$base');
console.log((await p.publish('kept/published', {from: 'a+b'})).receivers);
await p.publish('no channel', 'x').catch(error => console.log(error.message));
END
    python => ['/usr/bin/python3', '-B', '-c', <<"END"],
import sys
sys.path.insert(0, '$examples')
from publisher import Publisher
p = Publisher('$base')
print(p.publish('kept/published', {'from': 'a+b'})['receivers'])
try:
    p.publish('no channel', 'x')
except RuntimeError as error:
    print(error)
END
    php => ['php', '-r', <<"END"],
require '$examples/Publisher.php';
\$p = new Publisher('$base');
echo \$p->publish('kept/published', ['from' => 'a+b'])['receivers'], "\\n";
try { \$p->publish('no channel', 'x'); } catch (RuntimeException \$e) { echo \$e->getMessage(), "\\n"; }
END
);
my (undef, undef, $unnamed) = $httpd->request('POST', '/channels?channel=no%20channel', 'Content-Length: 0');
my ($why) = $unnamed =~ /"error":"(.*?)"/;
for my $language (sort keys %program) {
    my ($status, $output) = Program::run(@{ $program{$language} });
    is($output, "0\n$why\n", "the publisher in $language publishes, and reports refusals");
}

done_testing;
