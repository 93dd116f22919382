# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# What logs tell of connections.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Client qw(TEXT BINARY);

# ---- Frames at trace levels ----

for my $level (qw(trace3 trace4 trace6)) {
    my $httpd = Httpd->start(log_level => $level, conf => <<'END');
<Location /echo>
    WebSocketHandler ws_echo.so
</Location>
END
    my $c = Client->new($httpd, '/echo');
    $c->send(TEXT, 'he"llo', fin => 0);
    $c->send(0, "\x01\xc3\xa4" . 'x' x 80);
    $c->message;
    $c->close(1000, 'bye');
    $c->frame;
    $httpd->wait_log(qr/end, code 1000/);
    my @seen = map { /: ((?:in|out): .*)/ ? $1 : () } split /\n/, $httpd->error_log;
    my @want = (
        'in: text, 6 bytes', ': "he%22llo"',
        'in: text fin, 83 bytes', ': "%01%c3%a4' . 'x' x 61 . '"...',
        'out: text fin, 89 bytes', ': "he%22llo%01%c3%a4' . 'x' x 55 . '"...',
        'in: close fin, 5 bytes', ': "%03%e8bye"',
        'out: close fin, 2 bytes', ': "%03%e8"'
    );
    @want = map { $want[2 * $_] . ($level eq 'trace6' ? $want[2 * $_ + 1] : '') } 0 .. 4;
    @want = () if $level eq 'trace3';
    is_deeply(\@seen, \@want, "frames at $level");
}

done_testing;
