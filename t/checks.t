# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Addresses and files of the bundled handlers: httpd -t refuses what no connection could use, and names the key and the
# reason. It accepts what may work.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use File::Temp qw(tempdir);
use Httpd;

my $certs = Httpd::certificates();
my $dir   = tempdir('mod_websocket-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $junk  = "$dir/junk.pem";
my $long  = '/' . 'x' x 107;
my ($crt, $key, $other) = ("$certs/client.crt", "$certs/client.key", "$certs/server.key");
Httpd::write_file($junk,        "no certificate\n");
Httpd::write_file("$dir/empty", '');

sub line { return "<Location /x>\nWebSocketHandler $_[0]\n</Location>" }

sub refuses {
    my ($handler, @cases) = @_;
    for (@cases) {
        my ($keys, $why) = @$_;
        my ($ok, $text) = Httpd->check(line("$handler $keys"), modules => ['proxy']);
        ok(!$ok && $text =~ $why, "httpd -t refuses $handler " . $keys =~ s/x{100,}/.../r =~ s/\Q$certs\E|\Q$dir\E//gr) or diag($text);
    }
}

sub takes {
    my ($handler, @cases) = @_;
    for my $keys (@cases) {
        my ($ok, $text) = Httpd->check(line("$handler $keys"), modules => ['proxy']);
        ok($ok, "httpd -t accepts $handler " . $keys =~ s/\Q$certs\E|\Q$dir\E//gr) or diag($text);
    }
}

# ---- ws_proxy ----

refuses('ws_proxy.so',
    ["to=wss://x ca=$junk",                  qr{ca= cannot be used: certificate: no trusted certificates in \Q$junk\E: no cert}],
    ["to=wss://x ca=$dir",                   qr{ca= cannot be used: certificate: no trusted certificates in \Q$dir\E: }],
    ["to=wss://x certificate=$junk",         qr{certificate= without key= cannot be used: certificate: no certificate in \Q$junk\E: }],
    ["to=wss://x certificate=$crt",          qr{certificate= without key= cannot be used: certificate: no key of the certificate in \Q$crt\E: }],
    ["to=wss://x certificate=$crt key=$other", qr{certificate= and key= cannot be used: .* in \Q$other\E: .*mismatch}],
    ["to=wss://x key=$key",                  qr{key= needs a certificate: add certificate=FILE}],
    ['to=proxypass key=' . $key,             qr{key= needs a certificate}],
    ["to=ws://x ca=$certs/ca.crt",           qr{need a server with TLS: write wss:// in to=}],
    ['to=ws://x insecure=on',                qr{need a server with TLS}],
    ['to=ws://x,ws://y server-name=z',       qr{need a server with TLS}],
    ['to=wss://x "server-name=a b"',         qr{takes the name in the server's certificate}],
    (map { ["to=ws://x via=http://p:$_", qr{via=\S+: takes http://host:port: proxy: its URL is not}] } 0, 99999),
    ['to=ws://x via=http://u:p%zz@p',        qr{takes http://host:port: proxy: its URL is not}],
    ['to=ws://x via=http://p:1/path',        qr{takes http://host:port, .* without a path}],
    ['to=unix:/s|ws://x via=http://p:1',     qr{via= cannot reach a unix socket: remove via=}],
    ["to=unix:$long|ws://x",                 qr{takes the absolute path of a unix socket, at most 107 bytes}],
    ['to=ws://[zz]/',                        qr{ws://\[zz\]/ cannot: the URL's address in brackets is not an IPv6 address}],
    ['to=ws://u%zz:p@x/',                    qr{ws://x/ cannot: the user or password in the URL has a malformed %HH}],
    ["to=ws://\xff/",                        qr{takes servers that can be reached, but \S+ cannot: the host}],
    ['to=ws://x,',                           qr{several of these separated by commas}],
    (map { ["to=ws://x headers=$_",            qr{takes names of headers, separated by commas}] } '', 'Cookie,', 'A,,B'));
takes('ws_proxy.so', "to=wss://x ca=$certs/ca.crt certificate=$crt key=$key", 'to=ws://x,wss://y insecure=on', 'to=ws://x_y/',
    'to=proxypass insecure=on', 'to=ws://x via=http://u:p@p', 'to=ws://x via=http://p:1/', 'to=ws://x insecure=off',
    'to=wss://x server-name=1.2.3.4', 'to=wss://x server-name=::1', 'to=unix:/s|ws://x');

# ---- ws_tcp ----

refuses('ws_tcp.so',
    ['"to=a b:5"',        qr{takes a host name}], ['to=[zz]:5', qr{takes a host name}], ['to=a/b:5', qr{takes a host name}],
    ["to=unix:$long",     qr{takes the absolute path of a unix socket, at most 107 bytes}]);
refuses('ws_tcp.so', ["tokens=$dir", qr{tokens=\Q$dir\E: \Q$dir\E is a directory: name a file}]);
takes('ws_tcp.so', 'to=[::1]:5', 'to=[fe80::1%lo]:5', 'to=a_b:5', 'to=localhost:5');

# ---- ws_exec and ws_channel ----

my $open = qr{an argument begins with a quotation mark, but does not end with one};
refuses('ws_exec.so', [q{"command=/bin/cat 'a"}, $open], [q{"command=/bin/cat 'a' \\"b c"}, $open], [q{"command=/bin/cat 'a\\'"}, $open]);
takes('ws_exec.so', q{"command=/bin/cat 'a b' it's"}, q{"command=/bin/cat 'a' \\"b c\\""});
refuses('ws_channel.so', ['channel=a beat=x', qr{beat= is sent at each heartbeat: add heartbeat=, or remove beat=}]);
takes('ws_channel.so', 'channel=a beat=x heartbeat=10s', 'channel=a heartbeat=10s');

# ---- ws_http and WebSocketChannelHook ----

SKIP: {
    skip 'ws_http.so needs libcurl', 1 if !-e "$Httpd::BUILD/websocket/ws_http.so";
    refuses('ws_http.so',
        (map { ["to=https://x/ ca=$_", qr{ca=\S*: takes a file of certificates \(PEM\) that can be read}] } $junk, $dir, "$dir/empty", "$dir/none", ''),
        ['to=http://[zz]/',          qr{the host "\[zz\]" is invalid: it takes a host name}],
        ["to=http://u:p\@\xfc/",     qr{is invalid: it takes a host name}],
        ["to=unix:$long|http://x/",  qr{takes the absolute path of a unix socket, at most 107 bytes}],
        ['to=/a style=grip iss=x',   qr{iss= is part of the signature, which needs key=: add key=, or remove iss=}],
        ['to=/%zz',                  qr{takes a path in which % is written as %25}]);
    takes('ws_http.so', "to=https://x/ ca=$certs/ca.crt", 'to=http://u:p@[::1]:80/', 'to=/%20?%zz', 'to=http://x?y');
    my ($ok, $text) = Httpd->check("LoadModule websocket_hook_module $Httpd::BUILD/mod_websocket_hook.so\nWebSocketChannelHook publish https://x/ ca=$junk");
    ok(!$ok && $text =~ /^WebSocketChannelHook: ca=\Q$junk\E: takes a file of certificates/m, 'httpd -t refuses a WebSocketChannelHook with ca= of a file without certificates') or diag($text);
}

done_testing;
