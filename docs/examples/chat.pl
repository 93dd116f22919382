#!/usr/bin/perl
# The chat as a CGI script in Perl.
use strict;
use warnings;

if (!$ENV{WEBSOCKET}) {
    print "Status: 403\nContent-Type: text/plain\n\nThis page is for WebSockets.";
    exit;
}
read STDIN, my $body, $ENV{CONTENT_LENGTH};
my %field;
for (split /&/, $body) {
    my ($key, $value) = map { s/%(..)/chr hex $1/ger } split /=/, $_, 2;
    push @{ $field{$key} }, $value;
}
my $name = $ENV{REMOTE_USER} || 'guest-' . substr($field{id}[0], 0, 4);
my $event = $field{event}[0];

print "Content-Type: text/plain; charset=utf-8\nWebSocket-Publish: room\n";
if ($event eq 'open') {
    print "WebSocket-Subscribe: room\n\n$name has come";
} elsif ($event eq 'close') {
    print "\n$name has gone";
} else {
    print "WebSocket-Framing: line\n\n";
    for my $i (grep { $field{'type[]'}[$_] eq 'text' } 0 .. $#{ $field{'data[]'} }) {
        print "$name: ", $field{'data[]'}[$i] =~ tr/\r\n/  /r, "\n";
    }
}
