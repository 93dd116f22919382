#!/usr/bin/perl
# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# A room for everybody who is connected: one program for all, which is told who says what.
#
#     WebSocketHandler ws_exec.so command=/path/to/room.pl shared=on

use strict;
use warnings;

$| = 1;    # or lines wait until there are many
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
