# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# An HTTP client for tests of SockJS, which gives access to the bytes and the chunks of a response. Also configures
# the services that the tests of SockJS clients expect.

package SockJS;

use strict;
use warnings;
use Httpd;
use IO::Select;
use IO::Socket::INET;

# Returns the configuration of the services: a Location each for echo, close, amplify and others.
sub services {
    my (%arg) = @_;
    my $more    = $arg{more} // '';
    my $service = Httpd::compile('service');
    my $keys    = "WebSocketSockJS client=/sockjs.js $more";
    my $conf    = '';
    my %handler = (
        echo                    => 'ws_echo.so',
        disabled_websocket_echo => 'ws_echo.so',
        cookie_needed_echo      => 'ws_echo.so',
        map { $_ => "$service service=$_" } qw(close amplify broadcast binary pause stop transport)
    );
    for my $name (sort keys %handler) {
        my $transports = $name eq 'disabled_websocket_echo' ? 'sockjs' : 'websocket sockjs';
        my $cookie = $name eq 'cookie_needed_echo' ? 'cookie=on' : '';
        $conf .= <<"END";
<Location "/$name">
    WebSocketHandler $handler{$name}
    WebSocketTransports $transports
    $keys
    @{[$cookie ? "WebSocketSockJS $cookie" : '']}
    WebSocketOrigin any
    Require all granted
</Location>
END
    }
    return $conf;
}

sub new {
    my ($class, %arg) = @_;
    my $self = bless { port => $arg{port}, buffer => '' }, $class;
    $self->{socket} = $arg{socket} // IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $arg{port})
        // die "no connection: $@";
    binmode $self->{socket};
    return $self;
}

# Read once. Returns 0 at the end of the stream.
sub fill {
    my ($self) = @_;
    if (!$self->{socket}->can('pending') || !$self->{socket}->pending) {
        IO::Select->new($self->{socket})->can_read($Httpd::DEADLINE) or die "no more data; unused so far: $self->{buffer}\n";
    }
    return $self->{socket}->sysread($self->{buffer}, 65536, length $self->{buffer});
}

sub read_until {
    my ($self, $pattern) = @_;
    while ($self->{buffer} !~ $pattern) {
        $self->fill or return undef;
    }
    $self->{buffer} =~ s/\A(.*?$pattern)//s;
    return $1;
}

sub read_bytes {
    my ($self, $n) = @_;
    while (length $self->{buffer} < $n) {
        $self->fill or return undef;
    }
    return substr $self->{buffer}, 0, $n, '';
}

# Read the next chunk of the body. The last chunk is ''. Returns undef if the connection has ended.
sub chunk {
    my ($self) = @_;
    my $size = $self->read_until(qr/\r\n/) // return undef;
    my $data = $self->read_bytes(hex($size =~ s/\r\n//r)) // return undef;
    $self->read_bytes(2);
    return $data;
}

sub rest {
    my ($self) = @_;
    1 while $self->fill;
    return substr $self->{buffer}, 0, length $self->{buffer}, '';
}

# Send a request and read the head of the response.
sub ask {
    my ($self, $method, $path, %arg) = @_;
    my $body = $arg{body};
    my %headers = (Host => "127.0.0.1:$self->{port}", %{ $arg{headers} // {} });
    my $text = "$method $path HTTP/" . ($arg{http} // '1.1') . "\r\n";
    $text .= "$_: $headers{$_}\r\n" for sort keys %headers;
    $text .= 'Content-Length: ' . length($body) . "\r\n" if defined $body;
    $self->{socket}->syswrite("$text\r\n" . ($body // '')) // die "write: $!";
    my $head = $self->read_until(qr/\r\n\r\n/) // die "no answer to $method $path\n";
    ($self->{status}) = $head =~ m{\AHTTP/1\.\d (\d+)} or die "no status: $head";
    $self->{headers} = {};
    while ($head =~ /^([\w-]+):[ ]*(.*?)\r$/gm) {
        push @{ $self->{headers}{ lc $1 } }, $2;
    }
    return $self;
}

sub status { $_[0]{status} }

sub header {
    my ($self, $name) = @_;
    my $values = $self->{headers}{ lc $name } or return undef;
    return join ', ', @$values;
}

sub body {
    my ($self) = @_;
    return $self->{body} if defined $self->{body};
    my ($body, $chunk) = ('');
    if (($self->header('Transfer-Encoding') // '') eq 'chunked') {
        $body .= $chunk while length($chunk = $self->chunk // '');
    }
    elsif (defined $self->header('Content-Length')) {
        $body = $self->read_bytes($self->header('Content-Length'));
    }
    elsif ($self->{status} != 204 && $self->{status} != 304) {
        $body = $self->rest;
    }
    return $self->{body} = $body;
}

sub close {
    my ($self) = @_;
    close $self->{socket};
    return;
}

my $session = 0;

# Returns the server and session part of a URL for a new session.
sub session { return '/000/' . sprintf '%x-%x-%x', $$, ++$session, int rand 1 << 30 }

1;
