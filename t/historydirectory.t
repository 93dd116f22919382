# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests WebSocketHistoryDirectory, and its default on systems where a reboot empties the runtime directory.

use strict;
use warnings;
use lib 't/lib';
use File::Path qw(remove_tree);
use POSIX ();
use Test::More;
use Httpd;
use Program;

Httpd::once();
my $conf = <<'END';
WebSocketHistory kept/* 100
<Location "/channels">
    WebSocketChannelHTTP publish subscribe
    WebSocketSubscribe all
    WebSocketPublish all
</Location>
END

sub publish {
    my ($httpd) = @_;
    my ($status, $output) = Program::run('curl', '-sS', '-d', 'x', 'http://127.0.0.1:' . $httpd->port . '/channels/kept/a');
    return $output;
}

{
    my $httpd = Httpd->start(conf => "WebSocketHistoryDirectory elsewhere\n$conf");
    like(publish($httpd), qr/-1"/, 'with WebSocketHistoryDirectory, a message is kept');
    ok(-s $httpd->root . '/elsewhere/data.mdb', 'the history is in WebSocketHistoryDirectory, relative to ServerRoot');
    ok(!-e $httpd->root . '/logs/websocket-history', 'with WebSocketHistoryDirectory, no history is in the runtime directory');
    $httpd->graceful;
    like(publish($httpd), qr/-2"/, 'after a reload, the history continues');
}
{
    my $httpd = Httpd->start(conf => $conf);
    publish($httpd);
    ok(-s $httpd->root . '/logs/websocket-history/data.mdb', 'by default, the history is in the runtime directory');
}
SKIP: {
    skip 'only root can write to /run and /var/lib', 2 if $>;
    my $name = "mod_websocket-test-$$";
    mkdir "/run/$name" or skip '/run cannot be written to', 2;
    my $httpd = Httpd->start(conf => "DefaultRuntimeDir /run/$name\n$conf");
    like(publish($httpd), qr/-1"/, 'with a runtime directory below /run, a message is kept');
    ok(-s "/var/lib/$name/websocket-history/data.mdb", 'with a runtime directory below /run, the history is in the folder of the same name below /var/lib');
    $httpd->stop;
    remove_tree("/run/$name", "/var/lib/$name");
}
SKIP: {
    skip 'only root gives the folder to another user', 6 if $>;
    my $dir = Httpd::folder();
    my $own = "$dir/own";
    mkdir $own;
    for ([$own, 1, 'an empty folder'], ["$own/data.mdb", 1, 'the folder of a history that root has restored'], ["$own/notes", 0, 'a folder with other files']) {
        my ($file, $accepted, $what) = @$_;
        Httpd::write_file($file, '') if $file ne $own;
        my ($ok, $output) = Httpd->check("WebSocketHistoryDirectory $own\n$conf");
        is($ok, !!$accepted, 'httpd -t ' . ($accepted ? 'accepts' : 'refuses') . " $what as WebSocketHistoryDirectory") or diag($output);
        like($output, qr/^WebSocketHistoryDirectory: "\Q$own\E" contains other files, such as notes: name a folder for the history alone/m,
            'httpd -t says why it refuses a folder with other files') if !$accepted;
    }
    my ($ok, $output) = Httpd->check("WebSocketHistoryDirectory /\n$conf");
    ok(!$ok && $output =~ m{^WebSocketHistoryDirectory: "/" contains other files}m, 'httpd -t refuses / as WebSocketHistoryDirectory') or diag($output);
    my $httpd = Httpd->new(conf => "WebSocketHistoryDirectory $own\n$conf");
    $httpd->run('-k', 'start');
    is((stat $own)[4], 0, 'httpd does not take a folder with other files from its owner');
}

# The directory belongs to the user of the child processes, so children can write anything to it and lock it. Neither may end
# or block the parent.

# Run $what->() in a process of the user that the directory belongs to. It keeps running until the test ends it. Returns its
# process id.
sub as_child {
    my ($dir, $what) = @_;
    my ($uid, $gid) = (stat $dir)[4, 5];
    pipe my $done, my $tell or die $!;
    my $test = $$;
    my $pid = fork // die $!;
    if (!$pid) {
        POSIX::setgid($gid);
        POSIX::setuid($uid);
        syswrite $tell, 'x' if $what->();
        close $tell;
        sleep 1 while getppid() == $test;
        POSIX::_exit(0);
    }
    close $tell;
    is(sysread($done, my $got, 1), 1, 'a process of that user can do this');
    return $pid;
}

sub end {
    my ($pid) = @_;
    kill 'KILL', $pid;
    waitpid $pid, 0;
    return;
}

sub lock_directory {
    my ($dir) = @_;
    return as_child($dir, sub { open our $lock, '<', $dir; flock $lock, 2 });
}

sub replace_file {
    my ($dir) = @_;
    unlink "$dir/data.mdb";
    return mkdir "$dir/data.mdb";
}

my $dir;

sub start_with_history {
    my $httpd = Httpd->start(conf => "WebSocketHistoryDirectory elsewhere\n$conf");
    $dir = $httpd->root . '/elsewhere';
    like(publish($httpd), qr/-1"/, 'a message is kept');
    return $httpd;
}

{
    my $httpd = start_with_history();
    my $other = as_child($dir, sub { replace_file($dir) });
    $httpd->graceful;
    ok(kill(0, $httpd->pid), 'a file that is replaced by a folder does not end httpd at a reload');
    $httpd->wait_log(qr{history: cannot use \S+/data.mdb: check its type, owner and mode});
    $httpd->wait_log(qr/WebSocketHistory is unavailable in this child/);
    is(($httpd->get('/'))[0], 200, 'children without a history serve requests');
    end($other);
    rmdir "$dir/data.mdb";
    $httpd->graceful;
    like(publish($httpd), qr/-1"/, 'after that folder is gone, a reload brings the history back');
    $httpd->stop;

    unlink "$dir/data.mdb";
    mkdir "$dir/data.mdb";
    $httpd->run('-DFOREGROUND');
    is($? >> 8, 1, 'httpd does not start with a history that cannot be used');
    rmdir "$dir/data.mdb";
}
{
    my $httpd  = start_with_history();
    my $locker = lock_directory($dir);
    $httpd->graceful;
    $httpd->wait_log(qr{history: cannot lock \S+/elsewhere within 10 s});
    is(($httpd->get('/'))[0], 200, 'a process that locks the directory does not keep the parent from reloading');
    end($locker);
    $httpd->graceful;
    like(publish($httpd), qr/-2"/, 'after the directory is unlocked, a reload brings the history back');
}
{
    my $httpd  = start_with_history();
    my $locker = lock_directory($dir);
    kill 'USR1', $httpd->pid;
    my $checker = Httpd::wait_for(sub { (grep { Httpd::read_file("/proc/$_/task/$_/children") =~ /\d/ } $httpd->children)[0] },
        'the process that starts another one to check the file');
    Httpd::freeze($checker);
    end($locker);
    $httpd->wait_log(qr{history: checking \S+/data.mdb has been stopped after 15 s: the file is used unchecked});
    Httpd::wait_is(sub { $httpd->count_log(qr/resuming normal operations/) }, 2, 'the parent ends a check that is blocked, and reloads');
    like(publish($httpd), qr/-2"/, 'the history continues without the check');
}
{
    my ($right, $output) = Httpd->check("<Location /x>\nWebSocketHistoryDirectory /x\n</Location>\n");
    ok(!$right, 'WebSocketHistoryDirectory is refused inside of a section');
    ($right, $output) = Httpd->check("WebSocketHistoryDirectory /nowhere/at/all\n$conf");
    ok(!$right, 'WebSocketHistoryDirectory is refused if the folder cannot be created');
    like($output, qr{"/nowhere/at/all" cannot be created: there is no folder /nowhere/at/}, 'the error says which folder cannot be created');
}
done_testing();
