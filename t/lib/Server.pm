# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# A WebSocket server for tests of clients. The test decides about each byte that the server sends.
#
#   my ($s, $head) = accepted($listener);         answer($s, $head, 'Set-Cookie: a=b');
#   my ($opcode, $payload, $first) = frame($s);   say_to($s, TEXT, 'hello');

package Server;

use strict;
use warnings;
use Digest::SHA qw(sha1_base64);
use Exporter qw(import);
use Client qw(frame_bytes);
use Httpd;

our @EXPORT_OK = qw(accepted answer frame say_to);

# Accept a connection and read the handshake. Returns (socket, head of the request).
sub accepted {
    my ($listener) = @_;
    Httpd::ready($listener) or Httpd::give_up('nobody connects');
    my $s = $listener->accept;
    my $head = '';
    1 while $head !~ /\r\n\r\n\z/ && sysread $s, $head, 1, length $head;
    return ($s, $head);
}

sub answer {
    my ($s, $head, @headers) = @_;
    my ($key) = $head =~ /^Sec-WebSocket-Key: (\S+)\r$/m;
    syswrite $s, join "\r\n", 'HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade',
        'Sec-WebSocket-Accept: ' . sha1_base64($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11') . '=', @headers, '', '';
}

sub take {
    my ($s, $n) = @_;
    my $data = '';
    while (length $data < $n) {
        Httpd::ready($s)
            or Httpd::give_up("the client sends nothing more: there are " . length($data) . " of $n bytes");
        sysread $s, $data, $n - length $data, length $data or return $data;
    }
    return $data;
}

# Read the client's next frame. Returns (opcode, payload, first byte), or an empty list at the end of
# the stream.
sub frame {
    my ($s) = @_;
    my $head = take($s, 2);
    return if length $head < 2;
    my ($first, $len) = unpack 'CC', $head;
    die 'the client does not mask its frames' if !($len & 0x80);
    $len &= 0x7F;
    $len = $len == 126 ? unpack 'n', take($s, 2) : $len == 127 ? unpack 'Q>', take($s, 8) : $len;
    my $mask = take($s, 4);
    my $payload = take($s, $len);
    return ($first & 0x0F, $payload ^ substr($mask x ($len / 4 + 1), 0, $len), $first);
}

sub say_to {
    my ($s, $opcode, $payload, %o) = @_;
    syswrite $s, frame_bytes($opcode, $payload, mask => '', %o);
}

1;
