# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Each configuration in the documentation must pass `httpd -t` unchanged, in a server that has httpd's modules loaded, as
# on Debian. The test skips configurations with files, handlers or modules that exist only on a reader's server.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;

Httpd::once();
plan skip_all => 'the documents do not depend on the sanitizer' if $ENV{WS_TEST_PRELOAD};

my $modules = Httpd::apxs_query('LIBEXECDIR');
# Modules that a snippet may use, besides those that Httpd.pm loads.
my @more = grep { -e "$modules/mod_$_.so" } qw(access_compat actions cgid deflate expires headers http2 include ldap lbmethod_byrequests
    negotiation proxy proxy_balancer proxy_fcgi proxy_hcheck proxy_http proxy_wstunnel ratelimit remoteip reqtimeout request rewrite
    session session_cookie setenvif slotmem_shm socache_shmcb substitute vhost_alias auth_basic auth_digest auth_form authn_core
    authn_file authn_socache authnz_fcgi authz_groupfile authz_host authz_owner authz_user cache cache_disk lua unique_id macro filter mime
    dir env log_config status watchdog);

# Returns the first name in a snippet that exists only on a reader's server, so that the test cannot check the snippet.
sub of_the_reader {
    my ($text) = @_;
    return 'a .htaccess file' if $text =~ /\bto=[\w.]+$/m && $text !~ /to=proxypass/;
    return 'an ellipsis' if $text =~ /\.\.\.\s*$|^\s*# \.\.\./m;
    for my $handler ($text =~ /WebSocket(?:Handler|Extension) +"?(\S+?\.so)/g) {
        return "handler $handler" if $handler =~ m{/} ? !-e $handler : !-e "$Httpd::BUILD/websocket/$handler";
    }
    return "handler $1" if $text =~ /WebSocketHandler +(?!off\b)(\w+)\s/;
    for my $file ($text =~ m{(?:^|[\s"=|>])(/(?:etc|srv|usr|var|home|run|opt)/[^\s">]*)}mg) {
        return "file $file" if $file !~ m{^/usr/lib/apache2/modules/} && !-e $file;
    }
    return "module $1" if $text =~ /^LoadModule +(?!websocket)(\w+)/m;
    return "file $1" if $text =~ /^\s*(?:AuthUserFile|AuthGroupFile|SSLCertificateFile|Include\w*) +(\S+)/m;
    return;
}

my ($checked, %own) = (0);
for my $document ('README.md', glob('docs/*.md docs/internals/*.md')) {
    my $text = Httpd::read_file($document);
    my $line = 1;
    while ($text =~ /\G(.*?)^( *)```apache\n(.*?)^ *```$/gms) {
        my ($before, $indent, $snippet) = ($1, $2, $3);
        $line += () = $before =~ /\n/g;
        my $at = "$document:" . ($line + 1);
        $line += 1 + (() = $snippet =~ /\n/g);
        $snippet =~ s/^$indent//mg;
        if (my $what = of_the_reader($snippet)) {
            $own{$at} = $what;
            next;
        }
        # Httpd.pm loads the module from the build directory, and has its own Listen and MPM.
        (my $conf = $snippet) =~ s/^LoadModule +websocket_(?:redis_|hook_)?module .*\n//mg;
        my %also = (redis => qr/WebSocketBus |redis:/, hook => qr/WebSocketChannelHook /);
        $conf =~ s/^Listen .*\n//mg;
        my $load = join "\n", map { "LoadModule websocket_${_}_module $Httpd::BUILD/mod_websocket_$_.so" }
            grep { $conf =~ $also{$_} } sort keys %also;
        my $mpm = $conf =~ /^(?:ServerLimit|ThreadsPerChild|MaxRequestWorkers|StartServers)\b/m ? ' ' : undef;
        my ($ok, $output) = Httpd->check($conf, modules => \@more, load => $load, $mpm ? (mpm_conf => $mpm) : (),
            files => { 'logs/.keep' => '', 'conf/.keep' => '' });
        $checked++;
        ok($ok, $at) or diag($output, $snippet);
    }
}
cmp_ok($checked, '>=', 50, "at least 50 snippets are checked: $checked");
diag(map {"not checked: $_ has a name of the reader's server: $own{$_}\n"} sort keys %own) if $ENV{WS_TEST_KEEP};

done_testing();
