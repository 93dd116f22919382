# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Tests an echo with Debian's ruby-websocket: ruby echo.rb VERSION URL CA. VERSION is 13, 8, 7, 76 or 75. Prints "ok NAME"
# or "not ok NAME" for each test, and "done".

require 'openssl'
require 'socket'
require 'uri'
require 'websocket'

$stdout.sync = true
WebSocket.max_frame_size = 1 << 24

def check(right, name)
  puts "#{right ? 'ok' : 'not ok'} #{name}"
end

# A connection. The library handles the handshake and the frames, and this class handles the socket.
class Client
  def initialize(version, url, ca)
    @version = version
    @socket = connect(URI(url), ca)
    @in = WebSocket::Frame::Incoming::Client.new(version: version)
    @handshake = WebSocket::Handshake::Client.new(url: url, version: version, protocols: ['echo'])
    @socket.write(@handshake.to_s)
    @handshake << answer
  end

  def valid?
    @handshake.finished? && @handshake.valid?
  end

  def send(type, data = '', **more)
    @socket.write(WebSocket::Frame::Outgoing::Client.new(version: @version, type: type, data: data, **more).to_s)
  end

  # Returns the next frame, or nil at the end.
  def frame
    until (frame = @in.next)
      raise @in.error.to_s if @in.error?

      begin
        @in << @socket.readpartial(65_536).b
      rescue EOFError
        return nil
      end
    end
    frame
  end

  def echo(type, data)
    send(type, data)
    got = frame
    got&.type == type && got.to_s.b == data.b
  end

  private

  def connect(uri, ca)
    socket = TCPSocket.new(uri.host, uri.port)
    return socket if uri.scheme == 'ws'

    context = OpenSSL::SSL::SSLContext.new
    context.set_params(ca_file: ca, verify_mode: OpenSSL::SSL::VERIFY_PEER)
    OpenSSL::SSL::SSLSocket.new(socket, context).tap do |tls|
      tls.sync_close = true
      tls.connect
      tls.post_connection_check(uri.host)
    end
  end

  # Reads the headers of the response and, in version 76, the 16 bytes after them.
  def answer
    answer = String.new
    answer << @socket.readpartial(1) until answer.end_with?("\r\n\r\n")
    answer << @socket.readpartial(1) until @version != 76 || answer.index("\r\n\r\n") + 20 == answer.size
    answer
  end
end

version, url, ca = ARGV
version = version.to_i
old = version > 13
client = Client.new(version, url, ca)
check(client.valid?, 'the handshake succeeds with the subprotocol')
['', 'hello', "h\u00e9 \u20ac \u{1f600}", 'long ' * 40_000].each do |text|
  check(client.echo(:text, text), "text of #{text.size} characters is echoed")
end
unless old
  [0, 1, 125, 126, 65_535, 65_536, 1_000_000].each do |size|
    check(client.echo(:binary, "\x81".b * size), "a binary message of #{size} bytes is echoed")
  end
end
500.times { |i| client.send(:text, "message #{i}") }
check((0...500).all? { |i| client.frame.to_s == "message #{i}" }, '500 messages together are echoed in order')
unless old
  client.send(:ping, 'are you there')
  pong = client.frame
  check(pong.type == :pong && pong.to_s == 'are you there', 'a ping is answered')
end
client.send(:close, 'enough', **(old ? {} : { code: 4321 }))
last = client.frame
if version == 75
  check(last.nil?, 'the server ends the connection')
else
  check(last.type == :close && (old || last.code == 4321), 'the server answers the Close frame')
  check(client.frame.nil?, 'then the connection ends')
end
puts 'done'
