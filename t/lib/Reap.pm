# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# A script that uses this module, for example through Httpd.pm, runs under t/lib/reap.c. reap gives
# the script a separate TMPDIR. When the script ends in any way, reap ends all processes that the
# script has started and that still run.
#
#   perl -It/lib -MReap -e Reap::run PROGRAM ARGUMENT...    does the same for any program

package Reap;

use strict;
use warnings;
use Cwd qw(abs_path);
use Digest::SHA;
use File::Basename qw(dirname);
use File::Path qw(make_path);
use Patience;

our $TOP   = abs_path(dirname(__FILE__) . '/../..');
our $BUILD = abs_path($ENV{WS_TEST_BUILD} || "$TOP/build") // die "there is no build\n";

# Returns the path of reap, after building it if its source has changed.
sub program {
    my $source  = "$TOP/t/lib/reap.c";
    my $program = "$BUILD/t/reap-" . substr Digest::SHA->new(1)->addfile($source)->hexdigest, 0, 8;
    return $program if -x $program;
    make_path("$BUILD/t");
    my $output = `cc -O1 -std=gnu11 -Wall -Wextra -Werror -o $program.$$ $source 2>&1`;
    die "t/lib/reap.c does not compile: $output" if $?;
    rename "$program.$$", $program or die "$program: $!\n";
    return $program;
}

sub run {
    my @command = @_ ? @_ : @ARGV;
    $ENV{WS_TEST_DEADLINE} = Patience::seconds();
    $ENV{WS_TEST_REAPED}   = 1;
    my $program = program();
    exec { $program } $program, @command or die "$program: $!\n";
}

run($^X, $0, @ARGV) if !$ENV{WS_TEST_REAPED} && !$^C && -f $0;

1;
