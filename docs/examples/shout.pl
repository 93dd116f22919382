#!/usr/bin/perl
# Each message comes back in capital letters; "bye" ends the connection. It counts them in the state.
use strict;
use warnings;

die "for WebSockets only\n" if !$ENV{WEBSOCKET};
read STDIN, my $body, $ENV{CONTENT_LENGTH};
my %field;
for (split /&/, $body) {
    my ($name, $value) = map { s/%(..)/chr hex $1/ger } split /=/, $_, 2;
    push @{ $field{$name} }, $value;
}
my ($event, $count) = ($field{event}[0], $field{state}[0] || 0);
my @said = map { tr/\r\n/  /r } @{ $field{'data[]'} || [] };

print "Content-Type: text/plain; charset=utf-8\n";
print "WebSocket-State: ", $count + @said, "\n";
print "WebSocket-Close: 1000 $count messages before\n" if grep { $_ eq 'bye' } @said;
print "WebSocket-Framing: line\n\n";
print uc, "\n" for @said;
