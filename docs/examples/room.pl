#!/usr/bin/perl
# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# This program is a chat room for all clients. Each line that it reads begins with the id of the connection that the line is about.
# Each line that it writes begins with the id of the connection that receives it, or with * for all connections.
#
#     WebSocketHandler ws_exec.so command=/path/to/room.pl shared=on

use strict;
use warnings;

$| = 1;    # otherwise Perl delays its output
my %name;

while (my $line = <STDIN>) {
    chomp $line;
    my ($id, $kind, $text) = split /\t/, $line, 3;
    if ($kind eq 'open') {
        my ($peer, $user, $path, $arguments) = split /\t/, $text;
        $name{$id} = $user || ($arguments =~ /^name=(\w+)/ ? $1 : $peer);
        print "*\tmessage\t$name{$id} comes in\n";
    }
    elsif ($kind eq 'message') {
        if ($text eq '/quit') {
            print "$id\tclose\t1000 see you\n";
        }
        else {
            print "*\tmessage\t$name{$id}: $text\n";
        }
    }
    elsif ($kind eq 'close') {
        print "*\tmessage\t", delete $name{$id}, " has left\n";
    }
}
