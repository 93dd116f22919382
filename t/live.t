# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Follows docs/tutorial.md: runs all its commands and writes all its files. Only the ports, the display and the build
# directory differ.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;
use Program;

Httpd::once();
plan skip_all => 'the tutorial loads no sanitizer' if $ENV{WS_TEST_PRELOAD};

my $home = Httpd::folder();
my $port = Httpd::free_port();
my ($display) = grep { !-e "/tmp/.X$_-lock" } map { 100 + int rand 800 } 1 .. 100;
my $shots = Httpd::folder();
my $url = "http://127.0.0.1:$port";

sub here {
    my ($text) = @_;
    $text =~ s/\b8080\b/$port/g;
    $text =~ s/:7\b/:$display/g;
    $text =~ s{\$(?:TOP|\{TOP\})/build/}{$Httpd::BUILD/}g;
    $text =~ s{localhost}{127.0.0.1}g;
    $text =~ s{^make -f Makefile.apxs$}{make -f Makefile.apxs -o $Httpd::BUILD/flags BUILD=$Httpd::BUILD}m;
    return $text;
}

# Run a block of commands in the shell, environment and folder of the previous blocks.
my $state = "$home/.state";
Httpd::write_file($state, "cd '$Httpd::TOP'\n");
sub shell {
    my ($commands) = @_;
    local $ENV{HOME} = $home;
    local $ENV{npm_config_prefer_offline} = 'true';    # npm's cache has the packages, because t/package.json requires them, too
    local $ENV{npm_config_cache} = $ENV{npm_config_cache} // (getpwuid $>)[7] . '/.npm';
    delete local @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS)};
    my ($status, $output) = Program::run('bash', '-ec',
        ". '$state'\n" . here($commands) . "\n{ export -p; printf 'cd %q\\n' \"\$PWD\"; } > '$state'\n");
    is($status, 0, 'the commands succeed: ' . ($commands =~ s/\n.*//sr)) or diag($output);
    return $output;
}

my $text = Httpd::read_file("$Httpd::TOP/docs/tutorial.md");
my @blocks;
push @blocks, [$1, $2, $3] while $text =~ /^```(\w+)(?: (\S+))?\n(.*?)^```$/msg;
cmp_ok(scalar @blocks, '>=', 14, 'the tutorial has its blocks of commands');

# Checks after a command that ends with this text.
my %seen = (
    'localhost:8080/vmstat' => sub {
        like($_[0], qr/procs .*\n\s*r\s+b\s+swpd.*\n(?:\s*\d+){17}\s*$/, 'vmstat prints three lines');
    },
    '-f $PWD/httpd.conf' => sub {
        Httpd::wait_for(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) }, 'the server');
        pass('the server starts');
    },
    '-k graceful' => sub {
        my @wsclient = ("$Httpd::BUILD/bin/wsclient", "ws://127.0.0.1:$port/desktops?token=desk-2");
        ok(Httpd::wait_for(sub { (Program::run(@wsclient))[1] =~ /\b403\b/ }, 'the new configuration'), 'the server refuses a wrong token');
        Program::tap('the desktop', 'node', 't/clients/tutorial.js', 'desktop', "$url/desk.html?token=desk-1", $shots);
    },
    '-k stop' => sub {
        Httpd::wait_for(sub { !-e "$home/live/httpd.pid" }, 'the server to end');
        pass('the server ends');
    },
);

for (@blocks) {
    my ($kind, $what, $content) = @$_;
    if ($kind eq 'sh') {
        my $output = shell($content);
        for my $end (keys %seen) {
            $seen{$end}->($output) if (split /\n/, $content)[0] =~ /\Q$end\E$/;
        }
    }
    elsif (($what // '') =~ /^(file|append)=(.*)/) {
        my ($how, $file) = ($1, "$home/live/$2");
        Httpd::write_file($file, ($how eq 'append' ? Httpd::read_file($file) : '') . here($content));
        Program::tap('the dashboard', 'node', 't/clients/tutorial.js', 'dashboard', "$url/", $shots)
            if $file =~ /index\.html$/;
    }
}
my $log = Httpd::read_file("$home/live/error.log");
unlike($log, qr/\[(?:\w+:)?(?:error|crit|emerg)\]/, 'the log has no errors');
ok(-s "$shots/$_.png", "there is a screenshot: $_") for qw(dashboard dashboard-phone desktop);
Httpd::publish_screenshots($shots);
ok(!-e "/tmp/.X$display-lock" || Httpd::wait_for(sub { !-e "/tmp/.X$display-lock" }, 'the VNC server to end'),
    'the VNC server ends');
done_testing;
