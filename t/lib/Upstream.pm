# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# An HTTP application for tests of bridges and proxies. The test decides about each byte of a response.
#
#   my $app = Upstream->new;                     # Upstream->new(unix => $path), Upstream->new(tls => $certificates)
#   my ($s, $head, $body) = $app->next_request;  # waits for a request on a new connection
#   Upstream::answer($s, $body, $headers, $status);

package Upstream;

use strict;
use warnings;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Httpd;

sub new {
    my ($class, %o) = @_;
    my $listener = $o{unix}
        ? IO::Socket::UNIX->new(Listen => 64, Local => $o{unix})
        : IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1', LocalPort => $o{port} // 0, ReuseAddr => 1);
    die "listen: $!" if !$listener;
    chmod 0777, $o{unix} if $o{unix};
    return bless { listener => $listener, %o }, $class;
}

sub port { $_[0]{listener}->sockport }

# Accept a connection. Returns undef if the client does not accept the certificate.
sub connection {
    my ($self) = @_;
    Httpd::ready($self->{listener}, 0, $Httpd::DEADLINE) or Httpd::give_up('no request');
    my $s = $self->{listener}->accept;
    return $s if !$self->{tls};
    require IO::Socket::SSL;
    return IO::Socket::SSL->start_SSL($s, SSL_server => 1, SSL_cert_file => "$self->{tls}/server.crt",
        SSL_key_file => "$self->{tls}/server.key");
}

sub next_request {
    my ($self) = @_;
    my $s = $self->connection or return;
    my ($in, $head, $body) = ('');
    while (1) {
        ($head, $body) = split /\r\n\r\n/, $in, 2;
        last if defined $body && length $body >= ($head =~ /^Content-Length: (\d+)/mi ? $1 : 0);
        sysread $s, $in, 65536, length $in or last;
    }
    return ($s, $head, $body // '');
}

# Send a response and close the connection. $headers includes Content-Type; each header ends with CRLF.
sub answer {
    my ($s, $body, $headers, $status) = @_;
    print {$s} 'HTTP/1.1 ', $status // '200 OK', "\r\nConnection: close\r\n", $headers // "Content-Type: text/plain\r\n",
        'Content-Length: ', length $body, "\r\n\r\n", $body;
    close $s;
}

1;
