# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests the man pages: the generated pages contain every directive and every function of the API, and all pages are well-formed.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;

Httpd::once();
plan skip_all => 'the man pages do not depend on the sanitizer' if $ENV{WS_TEST_PRELOAD};

my $folder = Httpd::folder();
is(system('docs/man/generate', $folder, '1.2.3'), 0, 'the pages are generated');

my $directives = Httpd::read_file("$folder/websocket.5");
for my $name (Httpd::read_file('docs/directives.md') =~ /^## (WebSocket\w+)$/mg) {
    like($directives, qr/^\.SH "$name"\n(?:.*\n){2,}/m, "websocket(5) has $name");
}
like($directives, qr/^\.TH "WEBSOCKET" 5 "" "mod_websocket 1\.2\.3"/m, 'websocket(5) has the version');

for my $header (glob 'include/*.h') {
    (my $code = Httpd::read_file($header)) =~ s{/\*.*?\*/}{}gs;
    my @missing = grep { !-e "$folder/$_.3" } $code =~ /^WS_API [^;{]*?\b(ws_\w+)\s*\(/mg;
    is("@missing", '', "each function of $header has a page");
}
my $send = `MANWIDTH=500 man -l -Tascii $folder/ws_send.3 2>/dev/null | col -b`;
like($send, qr/ws_send_part.*SYNOPSIS\s+#include <mod_websocket\.h>.*ws_status ws_send\(ws_conn \*c,.*DESCRIPTION\s+ws_send\s+Send/s,
    'the page of a group has its functions, declarations and descriptions');
is(Httpd::read_file("$folder/ws_close.3"), ".so man3/ws_send.3\n", 'the page of each function in a group refers to the page of the group');

for my $page (glob("$folder/*.[0-9] docs/man/*.[0-9]")) {
    next if Httpd::read_file($page) =~ /^\.so /;
    is(`man --warnings -E UTF-8 -l -Tutf8 -Z $page 2>&1 >/dev/null`, '', ($page =~ m{([^/]+)$})[0] . ' is well formed');
}

done_testing();
