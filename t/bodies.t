# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Publishers whose request body is too large, broken or late get exactly one response. The response has httpd's status,
# and names the directive that caused the refusal.

use strict;
use warnings;
use lib 't/lib';
use Client;
use Httpd;
use Test::More;

my $httpd = Httpd->start(conf => <<'END');
RequestReadTimeout body=2
<Location "/small">
    WebSocketChannelHTTP publish
    WebSocketPublish all
    WebSocketMaxMessageSize 100
</Location>
<Location "/limited">
    WebSocketChannelHTTP publish
    WebSocketPublish all
    LimitRequestBody 1000
</Location>
<Location "/both">
    WebSocketChannelHTTP publish
    WebSocketPublish all
    LimitRequestBody 1000
    WebSocketMaxMessageSize 100
</Location>
<Location "/closed">
    WebSocketChannelHTTP publish
    WebSocketPublish none
    LimitRequestBody 1000
</Location>
<Location "/events">
    WebSocketChannelHTTP subscribe
    WebSocketSubscribe all
    LimitRequestBody 1000
</Location>
END

my $chunk = sub { my ($len, $count) = @_; return (sprintf("%x\r\n%s\r\n", $len, 'x' x $len) x $count) . "0\r\n\r\n" };

# Send a request, and return all bytes that the client receives.
sub talk {
    my ($request) = @_;
    my $c = Client->new($httpd, '', expect => 0, request => $request);
    $c->at_end;
    return $c->{in};
}

sub post {
    my ($path, $body, @headers) = @_;
    @headers = 'Transfer-Encoding: chunked' if !@headers;
    my $method = $path =~ /^.events/ ? 'GET' : 'POST';
    return talk(join "\r\n", "$method $path HTTP/1.1", 'Host: localhost', 'Connection: close', @headers, '', $body);
}

sub answered {
    my ($got, $status, $match, $name) = @_;
    is(() = $got =~ m{HTTP/1\.1 \d\d\d }g, 1, "$name: there is one response");
    is(() = $got =~ m{<html|"(?:error|published)":}gi, 1, "$name: the response has one body") or diag $got;
    like($got, qr{\AHTTP/1\.1 $status }, "$name: the status is $status");
    like($got, $match, "$name: the body says why");
}

my $long = 'Content-Length: 2000';
answered(post('/limited/news', $chunk->(500, 1)), 200, qr/"published"/, 'a body in chunks');
answered(post('/limited/news', $chunk->(500, 10)), 413, qr/413|Too Large/i, 'chunks beyond LimitRequestBody');
answered(post('/limited/news', 'x' x 2000, $long), 413, qr/LimitRequestBody/, 'a length beyond LimitRequestBody');
answered(post('/small/news', $chunk->(500, 10)), 413, qr/WebSocketMaxMessageSize/, 'chunks beyond WebSocketMaxMessageSize');
answered(post('/small/news', 'x' x 2000, $long), 413, qr/WebSocketMaxMessageSize/, 'a length beyond WebSocketMaxMessageSize');
answered(post('/both/news', 'x' x 200, 'Content-Length: 200'), 413, qr/WebSocketMaxMessageSize/, 'a body above WebSocketMaxMessageSize, which is below LimitRequestBody');
for my $where (qw(/limited /closed)) {
    answered(post("$where/news", "zzz\r\n"), 400, qr/400|Bad Request/, "$where: an invalid chunk");
    answered(post("$where/news", $chunk->(10, 1), 'Content-Length: x'), 400, qr/400|Bad Request/, "$where: an invalid Content-Length");
}
answered(post('/closed/news', $chunk->(500, 10)), 413, qr/413|Too Large/i, 'a body beyond LimitRequestBody, in chunks, in a request that is refused anyway');
answered(post('/closed/news', $chunk->(500, 1)), 403, qr/WebSocketPublish/, 'a body in chunks, in a request that is refused');
answered(post('/events/news?wait=0', "zzz\r\n"), 400, qr/400|Bad Request/, 'a poll with an invalid body');
answered(post('/events/news?wait=0', $chunk->(500, 10)), 413, qr/413|Too Large/i, 'a poll whose body is too large');
answered(post('/limited/news', "5\r\nabc", 'Transfer-Encoding: chunked'), 408, qr/408|Timeout/i, 'a body in chunks that never arrives completely');
answered(post('/limited/news', 'abc', 'Content-Length: 5'), 408, qr/408|Timeout/i, 'a body with Content-Length that never arrives completely');
$httpd->stop;
done_testing;
