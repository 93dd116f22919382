# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# new-handler generates a handler that builds and passes its test without changes. It never overwrites a file.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use File::Temp qw(tempdir);
use Httpd;
use Program;

Httpd::once();
my $dir = tempdir('mod_websocket-XXXXXX', TMPDIR => 1, CLEANUP => 1);
(my $build = $Httpd::BUILD) =~ s{/address-undefined$}{};
delete local @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS)};
local $ENV{PATH} = "$build/bin:$ENV{PATH}";

sub new_handler {
    return Program::make("BUILD=$build", 'new-handler', @_);
}

sub files { return join ' ', sort map { s{^\Q$_[0]\E/}{}r } glob "$_[0]/*" }

my ($status, $output) = new_handler('NAME=foo', "DIR=$dir/new/foo");
is($status, 0, 'new-handler succeeds') or diag($output);
is(files("$dir/new/foo"), 'Makefile foo.transcript ws_foo.c', 'new-handler writes source, Makefile and transcript');
like($output, qr/^Next: `make -C \Q$dir\E\/new\/foo test`/m, 'new-handler says what to do next');

($status, $output) = Program::run('make', '-C', "$dir/new/foo", 'test');
is($status, 0, 'the new handler is built with the header of the source tree, and its test passes') or diag($output);
like($output, qr/^ok 1 - foo\.transcript:.*^1\.\.\d+$/ms, 'the new handler passes its transcript');
unlike($output, qr/warning/i, 'the new handler is built without a warning');

# Build the handler with installed files only.
Httpd::write_file("$dir/apxs", <<"END");
#!/bin/sh
case \$* in '-q INCLUDEDIR') echo $dir/include ;; *) exec apxs "\$@" ;; esac
END
chmod 0755, "$dir/apxs";
Httpd::write_file("$dir/include/mod_websocket.h", Httpd::read_file("$Httpd::TOP/include/mod_websocket.h"));
my @installed = ('make', '-C', "$dir/new/foo", "APXS=$dir/apxs", 'MOD_WEBSOCKET=/nowhere', "DESTDIR=$dir/dest");
($status, $output) = Program::run(@installed, 'test', 'install');
is($status, 0, 'the new handler is built with the installed header, too') or diag($output);
ok(-f "$dir/dest" . Httpd::apxs_query('LIBEXECDIR') . '/websocket/ws_foo.so', 'make install installs the new handler');
Program::run(@installed, 'clean');
is(files("$dir/new/foo"), 'Makefile foo.transcript ws_foo.c', 'make clean keeps the sources');

Httpd::write_file("$dir/new/foo/ws_foo.c", "mine\n");
($status, $output) = new_handler('NAME=foo', "DIR=$dir/new/foo");
isnt($status, 0, 'new-handler refuses to overwrite a file');
like($output, qr{^new-handler: \Q$dir\E/new/foo/ws_foo\.c is there already}m, 'new-handler says which file exists');
is(Httpd::read_file("$dir/new/foo/ws_foo.c"), "mine\n", 'new-handler leaves the existing file unchanged');
($status, $output) = new_handler('NAME=bar', "DIR=$dir/new/foo");
like($output, qr{^new-handler: \Q$dir\E/new/foo/Makefile is there already}m, 'new-handler writes no files if one of them exists');
for ('NAME=', 'NAME=Foo', 'NAME=1a', 'NAME=a-b') {
    isnt((new_handler($_, "DIR=$dir/wrong"))[0], 0, "new-handler refuses $_");
}
ok(!-e "$dir/wrong", 'new-handler writes no files if its arguments are invalid');

done_testing;
