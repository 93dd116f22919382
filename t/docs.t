# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Checks the documentation against the code: directives with their contexts and defaults, log lines, and the handlers'
# API. Also checks that links have targets.

use strict;
use warnings;
use lib 't/lib';
use Test::More;
use Httpd;

Httpd::once();
plan skip_all => 'no sanitizer changes the documents' if $ENV{WS_TEST_PRELOAD};

sub slurp {
    my ($file) = @_;
    open my $f, '<', $file or die "$file: $!";
    local $/;
    return scalar <$f>;
}

sub without_comments {
    my ($code) = @_;
    $code =~ s{/\*.*?\*/}{ }gs;
    return $code;
}

# Returns the text of a section, including its subsections. A "#" inside a listing does not begin a section.
sub section {
    my ($text, $heading) = @_;
    my ($level) = $heading =~ /^(#+)/;
    my ($inside, $listing, $found);
    for my $line (split /^/, $text) {
        $listing = !$listing if $line =~ /^```/;
        $inside = 0 if !$listing && $line =~ /^(#+) / && length $1 <= length $level;
        $found .= $line if $inside;
        $inside = 1 if !$listing && $line eq "$heading\n";
    }
    return $found // '';
}

my $directives = slurp('docs/directives.md');
my $handlers   = slurp('docs/handlers.md');
my $header     = without_comments(slurp('include/mod_websocket.h'));
my %source     = map { $_ => without_comments(slurp($_)) }
    'mod_websocket.c', 'mod_websocket_redis.c', 'mod_websocket_hook.c', glob('redis/*.[ch]'), glob('base/*.[ch] httpd/*.[ch] event/*.[ch] engine/*.[ch] protocol/*.[ch] client/*.[ch] channels/*.[ch] handlers/*.c handlers/*/*.[ch]');
my $config = join '', @source{qw(httpd/directives.c httpd/token_config.h mod_websocket_redis.c mod_websocket_hook.c)};

# ---- Directives ----

my %context = (WHERE => 'server config, virtual host, directory', PER_HOST => 'server config, virtual host', RSRC_CONF => 'server config');
my %directive;    # name => context
while ($config =~ /\w+_INIT_\w+\(\s*"(\w+)",\s*\w+,\s*(?:(?:NULL|FIELD\(\w+\)|\(void \*\)\w+),\s*)?([A-Z_]+)(?: \| OR_FILEINFO)?,/g) {
    $directive{$1} = $context{$2} || "unknown: $2";
}
cmp_ok(scalar(keys %directive), '==', scalar(() = $config =~ /_INIT_/g),
    'the directive table in the code can be read');

for my $name (sort keys %directive) {
    my $text = section($directives, "## $name");
    like($text, qr/^- \*\*Syntax:\*\* `$name /m, "the documentation of $name has its syntax");
    like($text, qr/^- \*\*Default:\*\* ./m, "the documentation of $name has its default");
    my ($where) = $text =~ /^- \*\*Context:\*\* (.*)$/m;
    is($where, $directive{$name}, "the documentation of $name has its context");
    my $override = $name eq 'WebSocketHandler' ? 'FileInfo, and .*' : 'none';
    like($text, qr/^- \*\*Override:\*\* $override$/m, "the documentation of $name says what .htaccess may do");
    like($text, qr/^\*Merging:\*/m, "the documentation of $name describes merging");
    like($text, qr/^```apache\n[^`]*\b$name\b/m, "the documentation of $name has an example");
    is(scalar(() = $directives =~ /^- \[$name\]\(#\L$name\E\): /mg), 1, "$name is in the list of directives once");
    is(scalar(() = $directives =~ /^## $name$/mg), 1, "$name has one section");
}
my @unknown = grep { !$directive{$_} } $directives =~ /^## (WebSocket\w+)$/mg;
is("@unknown", '', 'every section is about an existing directive');
for my $document ('README.md', glob('docs/*.md docs/internals/*.md')) {
    my %said = map { $_ => 1 } slurp($document) =~ /\b(WebSocket[A-Z]\w+)/g;
    @unknown = grep { !$directive{$_} } sort keys %said;
    is("@unknown", '', "$document names only existing directives");
}

# ---- Defaults ----

# Returns the value of a #define that is a product of numbers.
sub defined_as {
    my ($file, $name) = @_;
    my ($value) = $source{$file} =~ /^#define $name (.+)$/m;
    $value = '' if !defined $value;
    return undef if $value !~ /^[\d *()]+$/;
    return eval $value;    ## no critic: digits, stars and parentheses
}

my %unit = (K => 1024, M => 1024**2, G => 1024**3, ms => 1, s => 1000, min => 60_000, h => 3_600_000);

sub number {
    my ($text) = @_;
    return $text =~ /^(\d+)([a-zA-Z]*)$/ ? $1 * ($2 ? $unit{$2} // 0 : 1) : undef;
}

for (
    ['WebSocketMaxMessageSize', 'httpd/settings.c', 'DEFAULT_MESSAGE'],
    ['WebSocketSendQueue',      'httpd/settings.c', 'DEFAULT_SEND_QUEUE'],
    ['WebSocketPing',           'httpd/settings.c', 'DEFAULT_PING_INTERVAL', 'DEFAULT_PING_GRACE'],
    ['WebSocketMessageTimeout', 'httpd/settings.c', 'DEFAULT_MESSAGE_TIMEOUT', 'DEFAULT_MESSAGE_RATE'],
    ['WebSocketCloseTimeout',   'httpd/settings.c', 'DEFAULT_CLOSE_TIMEOUT'],
    ['WebSocketSubscriptions',  'httpd/settings.c',   'DEFAULT_SUBSCRIPTIONS'],
    ['WebSocketChannels',       'httpd/channels.c', 'CHANNELS_DEFAULT'],
    ['WebSocketBusQueue',       'httpd/channels.c', 'QUEUE_DEFAULT'],
    ['WebSocketWatchdog',       'httpd/child_config.c',  'WATCHDOG_DEFAULT'],
    ['WebSocketDrainTimeout',   'httpd/child_config.c',  'DRAIN_TIMEOUT'])
{
    my ($name, $file, @defines) = @$_;
    my ($default) = (section($directives, "## $name")) =~ /^- \*\*Default:\*\* `$name (.*?)`$/m;
    is_deeply([map { number($_) } split ' ', $default // ''],
        [map { defined_as($file, $_) } @defines], "$name has the default of @defines");
}

my $fragment = section($directives, '## WebSocketFragmentSize');
my ($on) = $fragment =~ /`on` means (\w+)/;
is(number($on // ''), defined_as('httpd/settings.c', 'DEFAULT_FRAGMENT'), 'WebSocketFragmentSize on is documented with its default');

my $threads = section($directives, '## WebSocketThreads');
my ($at_most, $blocking) = $threads =~ /^- \*\*Default:\*\*.* at most (\d+);.*`BLOCKING`: (\d+)$/m;
is($at_most, defined_as('httpd/child_config.c', 'LOOPS_MAX_DEFAULT'), 'the default number of loops is documented');
is($blocking, defined_as('httpd/child_config.c', 'BLOCKING_DEFAULT'), 'the default number of blocking threads is documented');

# ---- Log lines and error texts ----
# Each line in a block marked log must match a format in the code; "..." matches anything.

my @formats;
for my $code (values %source) {
    $code =~ s/"\s*APR_\w+_FMT\b\s*"/d/g;
    $code =~ s/(?<!\\)"\s*\n\s*"//g;
    while ($code =~ /"((?:[^"\\\n]|\\.)*)"/g) {
        my $format = $1;
        $format =~ s/^websocket: //;
        $format =~ s/\\"/"/g;
        my @literal = split /%[-+ #0]*[\d.*]*(?:hh|h|ll|l|z)?[a-zA-Z]/, $format, -1;
        next if length(join '', @literal) < 12;
        my $regex = join '(.+?)', map { quotemeta } @literal;
        push @formats, qr/^$regex$/;
    }
}

# Words that a format inserts must also appear in the code.
sub known {
    my ($line) = @_;
    for my $format (@formats) {
        my @filled = $line =~ $format or next;
        return 1 if !grep { / / && !known($_) } @filled;
    }
    return 0;
}

ok(!known('failing the connection with 1002: this text is not in the code'), 'an invented log line is found');
for my $document (glob('docs/*.md docs/internals/*.md')) {
    for my $block (slurp($document) =~ /^```log\n(.*?)^```$/msg) {
        ok(known($_), "$document: the code can log: $_") for split /\n/, $block;
    }
}

# ---- The handlers' API ----

my $reference = section($handlers, '## Reference');
for (
    ['### Callbacks', 'callback', $header =~ /^typedef struct ws_handler \{(.*?)^\} ws_handler;/ms
            ? $1 =~ /\(\*(\w+)\)\(/g : ()],
    ['### Calls', 'call', $header =~ /^WS_API\b[^;(]*?\b(ws_\w+)\(/mg])
{
    my ($heading, $kind, @names) = @$_;
    my @column = map { /`(\w+)`/g } section($reference, $heading) =~ /^\| (`.*?) \|/mg;
    cmp_ok(scalar @names, '>', 5, "the ${kind}s in mod_websocket.h can be read");
    is_deeply([sort @column], [sort @names], "the reference of handlers lists each $kind");
}

# ---- Parsing, for handlers ----

{
    my $api    = without_comments(slurp('include/websocket_parse.h'));
    my @names  = $api =~ /^WS_API\b[^;(]*?\b(ws_\w+)\(/mg;
    my @column = map { /`(\w+)`/g } section($reference, '### Parsing') =~ /^\| (`.*?) \|/mg;
    cmp_ok(scalar @names, '>=', 5, 'the functions in websocket_parse.h can be read');
    is_deeply([sort @column], [sort @names], 'the reference of handlers lists each function of websocket_parse.h');
}

# ---- Folders ----
# Each folder's page lists the folders that it may include, and the list must match the includes. A public header
# belongs to include/, wherever it is included from.

for my $page (grep { !/README/ } glob 'docs/internals/*.md') {
    my ($folder) = $page =~ m{(\w+)\.md$};
    my @files = glob "$folder/*.[ch] $folder/*/*.[ch]";
    ok(@files, "$page describes an existing folder");
    my ($line) = slurp($page) =~ /^Files in this folder may include headers of: (.*?)\.$/m;
    next if $folder eq 'handlers';    # the loop after the next one checks its files
    my %may  = map { $_ => 1 } ($line // '') =~ /`(\w+)`/g;
    my (%foreign, %used);
    for my $file (@files) {
        for my $name (slurp($file) =~ /^\s*#\s*include\s+"([^"]+)"/mg) {
            my $of = -e "include/$name" ? 'include' : ($name =~ m{^(\w+)/})[0] // $folder;
            $used{$of}++;
            $foreign{"$file includes $name"}++ if !$may{$of};
        }
    }
    is(join("\n", sort keys %foreign), '', "$folder/ includes only folders that $page lists");
    is(join(' ', grep { !$used{$_} && !/^(?:base|include)$/ } sort keys %may), '', "$folder/ includes all folders that $page lists");
}
for my $folder (grep { !/^(?:include|t|docs|demo|bench|debian|js|build)$/ && glob "$_/*.c $_/*/*.c" } map { s{/$}{}r } glob '*/') {
    ok(-e "docs/internals/$folder.md", "$folder/ has a page in docs/internals");
}

for my $file (glob 'base/*.[ch] handlers/*.[ch] handlers/*/*.[ch]') {
    my ($room, $folder) = $file =~ m{^((\w+)(?:/\w+)*)/}s ? ($2, $1) : ();
    my @foreign = grep {
        my $name = $_;
        !-e "include/$name" && !($room eq 'base' ? $name =~ m{^base/} : -e "$folder/$name");
    } slurp($file) =~ /^\s*#\s*include\s+"([^"]+)"/mg;
    is("@foreign", '', "$file includes only its folder and public headers");
    my @httpd = grep { m{^(?:http|ap_|util_)} } slurp($file) =~ /^\s*#\s*include\s+<([^>]+)>/mg;
    is("@httpd", '', "$file includes no header of httpd") if $room eq 'base';
}

# A page may show the layers of its folder in a block marked calls, one layer on each line. The name of another folder follows
# the mark. A file may call files of its own layer and of lower layers.

sub check_layers {
    my ($page, $room, $picture) = @_;
    my ($depth, %depth, %defined, %called) = (0);
    for my $line (split /\n/, $picture) {
        $depth{$_} = $depth for $line =~ /\b(\w+)\b/g;
        $depth++;
    }
    my @files = map { m{([^/]+)\.c$} } glob "$room/*.c";
    is(join(' ', sort keys %depth), join(' ', sort @files), "the layers in $page show each file of $room/");
    for my $file (@files) {
        next if !-e "$ENV{WS_TEST_BUILD}/$room/$file.o";    # an alternative that this build leaves out
        for (qx{nm $ENV{WS_TEST_BUILD}/$room/$file.o}) {
            $defined{$2} = $file if /([TDBR]) (\w+)$/;
            push @{ $called{$file} }, $1 if /U (\w+)$/;
        }
    }
    my %up;
    for my $file (@files) {
        for my $to (grep { defined } map { $defined{$_} } @{ $called{$file} }) {
            $up{"$file calls $to"} = 1 if ($depth{$to} // 0) < ($depth{$file} // 0);
        }
    }
    is(join(', ', sort keys %up), '', "no file of $room/ calls a higher layer of $page");
}

for my $page (glob 'docs/internals/*.md') {
    my @pictures = slurp($page) =~ /^```calls ?(\S*)\n(.*?)^```$/msg;
    while (my ($room, $picture) = splice @pictures, 0, 2) {
        check_layers($page, $room || $page =~ s{.*/(\w+)\.md$}{$1}r, $picture);
    }
}

# ---- The extensions' API ----

{
    my $text = slurp('docs/extensions.md');
    my $api  = without_comments(slurp('include/websocket_extension.h'));
    my ($table) = $api =~ /^typedef struct ws_extension \{(.*?)^\} ws_extension;/ms;
    for my $name ($table =~ /\(\*(\w+)\)\(/g, $api =~ /^WS_API\b[^;(]*?\b(ws_\w+)\(/mg) {
        like($text, qr/`$name(?:\(\))?`/, "docs/extensions.md describes $name");
    }
}

# ---- Names of functions and files in docs/internals ----

my $inside = join '', map { slurp($_) } 'docs/architecture.md', glob 'docs/internals/*.md';
my $code   = join '', values %source, $header;
my %of_httpd = map { $_ => 1 } qw(connections_above_limit ssl_filter_io_shutdown);
my %named = map { $_ => 1 } $inside =~ /`(\w+)\(\)`/g;
for my $function (sort keys %named) {
    next if $of_httpd{$function} || $function =~ /^(?:ap|SSL)_/;
    like($code, qr/^[\w \t*]*\b$function\(/m, "the function $function() in docs/internals exists");
}
my %file = map { m{([^/]+)$} => 1 } keys %source, glob('t/*.t t/unit/* t/lib/* include/*.h');
%named = map { $_ => 1 } $inside =~ m{\b([\w/]*\w+\.(?:c|h|t|pm))\b}g;
for my $name (sort keys %named) {
    next if $name =~ /^NAME\b|\bNAME\./;
    my ($last) = $name =~ m{([^/]+)$};
    ok($name =~ m{/} ? -e $name || -e "include/$name" : $file{$last}, "the file $name in docs/internals exists");
}

# ---- Counters ----

# Returns the rows of the table in docs/operating.md, generated from the code.
sub counter_rows {
    my ($h, $c) = map { slurp("engine/counters.$_") =~ s/\\\n//gr } qw(h c);
    my @codes = ($h =~ /define WS_COUNTED_CODES\(X\)(.*)/)[0] =~ /X\((\d+)\)/g;
    my ($table) = $h =~ /define WS_COUNTERS\(.*?\)\s+(.*)/;
    my (@order, %metric);
    while ($table =~ /\bX\(\w+, (\w+), "(\w+)", "(\w*)", "(\w*)",\s*((?:"[^"]*"\s*)+)\)|CODE_(\w+)\(other\)/g) {
        my ($type, $metric, $label, $value, $help, $kind) = ($1, $2, $3, $4, $5, $6);
        ($metric, $type, $label) = (($c =~ /INFO_$kind\(code\) \{"(\w+)"/)[0], 'COUNTER', 'code') if $kind;
        ($help) = $c =~ /define ${kind}_HELP\s+(".*")/ if $kind;
        push @order, $metric if !$metric{$metric};
        my $m = $metric{$metric} ||= { type => lc $type, help => join('', $help =~ /"([^"]*)"/g) };
        $m->{label} = $label;
        push @{ $m->{values} }, $kind ? (@codes, 'other') : $value;
    }
    return map {
        my $m = $metric{$_};
        my $labels = $m->{label} ? "`$m->{label}`: " . join(', ', @{ $m->{values} }) : '';
        "| `websocket_$_` | $m->{type} | $labels | $m->{help} |";
    } @order;
}

# The first two rows are not counters: metrics.c writes these values.
my @rows = section(slurp('docs/operating.md'), '### Counters') =~ /^(\| `websocket_.*)$/mg;
is_deeply([@rows[2 .. $#rows]], [counter_rows()], 'the table of counters in docs/operating.md matches the code');

cmp_ok(scalar @rows, '>', 12, 'the table of counters can be read');

# ---- The conformance table of channels ----
# Each row of the tables names a test of a request, an answer or an error. This text must occur in the test file.

{
    my $text = slurp('docs/channel-protocol.md');
    my (@rows, @lost);
    for my $table ($text =~ /^(\|.*\| test \|\n(?:\|.*\n)+)/mg) {
        push @rows, grep { !/^\|[-| ]+\|$/ } (split /\n/, $table)[2 .. ($table =~ tr/\n//) - 1];
    }
    for my $row (@rows) {
        my ($file, $name) = $row =~ /\| (\w+\.t): ([^|]+?) \|$/;
        push @lost, $row if !$file || !-e "t/$file" || index(slurp("t/$file"), $name) < 0;
    }
    cmp_ok(scalar @rows, '>', 60, 'the conformance table of channels can be read');
    is("@lost", '', 'each test in the conformance table of channels exists');
}

# ---- Listings ----

my %listing;
while ($handlers =~ /^```c file=(\S+)\n(.*?)^```$/msg) {
    my ($file, $text) = ($1, $2);
    ok(!$listing{$file}++, "docs/handlers.md has one listing of $file");
    my ($name) = $file =~ /^(?:ws|mod)_(\w+)\.c$/;
    like($text, qr/^(?:WS_HANDLER|AP_DECLARE_MODULE)\($name\) = /m, "the listing of $file is a complete handler or module");
}
my @unmarked = grep { !/ file=/ } $handlers =~ /^```(c\b.*)$/mg;
is("@unmarked", '', 'each listing of docs/handlers.md has a file name');

# ---- Links ----

# Anchors as GitHub and similar sites generate them from headings.
sub anchors {
    my ($file) = @_;
    my %anchor;
    (my $text = slurp($file)) =~ s/^```.*?^```$//msg;
    while ($text =~ /^#+ (.+)$/mg) {
        my $slug = lc $1;
        $slug =~ s/[^\w\- ]//g;
        $slug =~ tr/ /-/;
        $anchor{$slug} = 1;
    }
    return \%anchor;
}

for my $document ('README.md', glob 'docs/*.md docs/internals/*.md') {
    (my $text = slurp($document)) =~ s/^```.*?^```$//msg;
    $text =~ s/`[^`\n]*`//g;
    (my $folder = $document) =~ s{[^/]+$}{};
    my @lost;
    for my $link ($text =~ /\]\(([^)\s]+)\)/g) {
        next if $link =~ /^\w+:/;
        my ($file, $anchor) = split /#/, $link, 2;
        my $target = $file eq '' ? $document : "$folder$file";
        push @lost, $link if !-e $target || defined $anchor && !anchors($target)->{$anchor};
    }
    is("@lost", '', "all links in $document have targets");
}

# ---- Lists of pages and packages ----

for my $folder ('docs', 'docs/internals') {
    my $list = slurp("$folder/README.md");
    my @absent = grep { !/README/ && index($list, '](' . s{.*/}{}r) < 0 } glob "$folder/*.md";
    is("@absent", '', "$folder/README.md lists every page");
}
my @package = slurp('.ci/packages') =~ /^\s*(?:command|file|perl|ruby|python)_of +(?:"[^\n]*"|\S+) +([\w.+-]+)$/mg;
my $readme = slurp('README.md');
cmp_ok(scalar(@package), '>', 40, '.ci/packages can be read');
is(join(' ', grep { index($readme, "`$_`") < 0 } @package), '', 'README.md names every package of .ci/packages');

# ---- The changelog, in which a merge can repeat an entry ----

my %entries;
$entries{$_}++ for map { s/\s+/ /gr } slurp('CHANGELOG.md') =~ /^- (.*?)(?=\n-|\n\n|\z)/msg;
is(join("\n", grep { $entries{$_} > 1 } sort keys %entries), '', 'no entry of CHANGELOG.md is repeated');

# ---- The version ----

(my $version = slurp('VERSION')) =~ s/\s+//g;
for (
    ['include/mod_websocket.h',       qr/^#define WS_VERSION "(.*)"$/m],
    ['debian/changelog',              qr/\A\S+ \(([\d.]+)/],
    ['packaging/mod_websocket.spec',  qr/^Version:\s+(\S+)$/m],
    ['js/package.json',               qr/"version": "(.*?)"/])
{
    my ($file, $match) = @$_;
    is((slurp($file) =~ $match)[0], $version, "$file has the version of VERSION");
}

done_testing();
