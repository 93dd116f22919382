// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Tests WebSockets over HTTP/2 (RFC 8441) with node's HTTP/2 client: node h2.js PORT CA PART [PATH]. PART is one of the
// functions below. Prints "ok NAME" or "not ok NAME" for each test, and "done". The parts "hold" and "both" print the data
// that they receive.

'use strict';

const fs = require('fs');
const http2 = require('http2');
const readline = require('readline');

const [port, caFile, part, path] = process.argv.slice(2);
const ca = fs.readFileSync(caFile);
const check = (right, name) => console.log((right ? 'ok ' : 'not ok ') + name);
const TEXT = 1, BINARY = 2, CLOSE = 8;
const MASK = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);

// A line on standard input makes a waiting part continue.
const lines = readline.createInterface({input: process.stdin})[Symbol.asyncIterator]();
const told = async () => (await lines.next()).value;

function connect() {
    return new Promise((resolve, reject) => {
        const session = http2.connect(`https://127.0.0.1:${port}`, {ca, servername: 'localhost'});
        // Node 18 answers a GOAWAY frame with another GOAWAY, after which mod_http2 ends all streams of the session.
        session.goaway = () => {};
        session.on('error', reject);
        session.on('remoteSettings', settings => {
            session.extended = settings.enableConnectProtocol;
            resolve(session);
        });
    });
}

// Destroys a session later, because node 18 may crash if a session is destroyed while it delivers a response.
function leave(session) {
    return new Promise(done => setImmediate(() => {
        session.destroy();
        done();
    }));
}

function frame(opcode, data) {
    const payload = Buffer.from(data);
    for (let i = 0; i < payload.length; i++) {
        payload[i] ^= MASK[i & 3];
    }
    let head;
    if (payload.length < 126) {
        head = Buffer.from([0x80 | opcode, 0x80 | payload.length]);
    } else if (payload.length < 65536) {
        head = Buffer.from([0x80 | opcode, 0xfe, 0, 0]);
        head.writeUInt16BE(payload.length, 2);
    } else {
        head = Buffer.alloc(10);
        head.set([0x80 | opcode, 0xff]);
        head.writeBigUInt64BE(BigInt(payload.length), 2);
    }
    return Buffer.concat([head, MASK, payload]);
}

const code = number => { const b = Buffer.alloc(2); b.writeUInt16BE(number); return b; };

// A WebSocket, which is a stream of the session.
class Socket {
    constructor(session, path, headers = {}) {
        this.pieces = [];
        this.length = 0;
        this.stream = session.request({':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'https', ':path': path,
            ':authority': `localhost:${port}`, 'sec-websocket-version': '13', ...headers});
        this.stream.on('data', piece => { this.pieces.push(piece); this.length += piece.length; this.wake(); });
        this.stream.on('end', () => { this.ended = true; this.wake(); });
        this.stream.on('error', error => { this.error = error; });
        this.closed = new Promise(resolve => this.stream.on('close', () => { this.wake(); resolve(this.stream.rstCode); }));
        this.answer = new Promise(resolve => this.stream.on('response', headers => { this.headers = headers; resolve(headers); }));
    }

    wake() {
        const waiting = this.waiting;
        this.waiting = null;
        if (waiting) {
            waiting();
        }
    }

    async bytes(count) {
        while (this.length < count) {
            if (this.ended || this.stream.destroyed) {
                throw new Error(`the stream ended: ${this.error}`);
            }
            await new Promise(resolve => { this.waiting = resolve; });
        }
        const all = Buffer.concat(this.pieces);
        this.pieces = count < all.length ? [all.subarray(count)] : [];
        this.length -= count;
        return all.subarray(0, count);
    }

    async frame() {
        const head = await this.bytes(2);
        let length = head[1];
        if (length === 126) {
            length = (await this.bytes(2)).readUInt16BE();
        } else if (length === 127) {
            length = Number((await this.bytes(8)).readBigUInt64BE());
        }
        return {opcode: head[0] & 15, last: head[0] >> 7, data: await this.bytes(length)};
    }

    // Reads a message, in any number of frames, or a control frame.
    async message() {
        const first = await this.frame(), pieces = [first.data];
        for (let got = first; !got.last; pieces.push(got.data)) {
            got = await this.frame();
        }
        return {opcode: first.opcode, data: Buffer.concat(pieces)};
    }

    send(opcode, data) {
        this.stream.write(frame(opcode, data));
    }

    async echo(data, opcode = typeof data === 'string' ? TEXT : BINARY) {
        this.send(opcode, data);
        const got = await this.message();
        return got.opcode === opcode && Buffer.compare(got.data, Buffer.from(data)) === 0;
    }

    // Tests that a Close frame with this code arrives, and that the stream then ends without a reset.
    async closes(number, name) {
        const got = await this.frame();
        this.send(CLOSE, got.data.subarray(0, 2));
        const right = got.opcode === CLOSE && got.data.readUInt16BE() === number;
        check(right && await this.closed === 0 && this.ended, name);
        return got.data.subarray(2).toString();
    }
}

// Sends an ordinary request on the same connection. Resolves to its status and its body.
function ask(session, path, headers = {}) {
    return new Promise(resolve => {
        const stream = session.request({':path': path, ':authority': `localhost:${port}`, ...headers});
        const pieces = [];
        let status;
        stream.on('response', headers => { status = headers[':status']; });
        stream.on('data', piece => pieces.push(piece));
        stream.on('close', () => resolve({status, body: Buffer.concat(pieces).toString()}));
        stream.end();
    });
}

async function get(session, path) {
    return (await ask(session, path)).status;
}

const parts = {
    async messages() {
        const session = await connect();
        check(session.extended, 'the server offers extended CONNECT');
        const c = new Socket(session, '/protocols', {'sec-websocket-protocol': 'other, echo', origin: `https://localhost:${port}`});
        const headers = await c.answer;
        check(headers[':status'] === 200, 'the answer is 200');
        check(headers['sec-websocket-protocol'] === 'echo', 'the answer has the subprotocol');
        check(headers['sec-websocket-accept'] === undefined && headers.upgrade === undefined && headers.connection === undefined,
            'the answer has no headers of HTTP/1.1');
        check(headers['x-always'] === 'always set', '"Header always set" applies to the answer');
        const cookies = new Socket(session, '/?cookie&name=cookies');
        check(`${(await cookies.answer)['set-cookie']}` === 'a=1,b=2; HttpOnly,c=3', 'cookies are separate headers');

        for (const size of [0, 1, 125, 126, 65535, 65536, 1000000, 5 << 20]) {
            check(await c.echo(Buffer.alloc(size, 'bytes of a size')), `${size} bytes are echoed`);
            check(await c.echo('t'.repeat(size)), `text of ${size} bytes is echoed`);
        }
        const early = new Socket(session, '/protocols');
        early.send(TEXT, 'before the answer');
        check((await early.frame()).data.toString() === 'before the answer', 'a message that is sent before the answer arrives is echoed');
        for (let i = 0; i < 2000; i++) {
            c.send(TEXT, `message ${i}`);
        }
        let right = 0;
        for (let i = 0; i < 2000; i++) {
            right += (await c.frame()).data.toString() === `message ${i}`;
        }
        check(right === 2000, '2000 messages together are echoed in order');
        cookies.send(TEXT, 'who');
        const who = (await cookies.frame()).data.toString();
        check(/peer=127\.0\.0\.1 .* version=13 secure=1 /.test(who), `the handler gets the address, the version and TLS: ${who}`);
        await leave(session);
    },

    // t/h2.t checks the arguments of on_close in the log.
    async ends() {
        const session = await connect();
        const open = async name => { const c = new Socket(session, `/?name=${name}`); await c.answer; return c; };
        let c = await open('client-closes');
        c.send(CLOSE, Buffer.concat([code(4321), Buffer.from('done')]));
        await c.closes(4321, 'the client closes');

        c = await open('server-closes');
        c.send(TEXT, 'close 4002 enough');
        check(await c.closes(4002, 'the server closes') === 'enough', 'the Close frame has the reason');

        c = await open('breaks-the-rules');
        c.stream.write(Buffer.from([0xff]));
        await c.closes(1002, 'an invalid frame is answered with 1002');

        c = await open('says-and-ends');
        c.send(TEXT, 'said');
        c.stream.end(frame(CLOSE, code(4003)));
        check((await c.frame()).data.toString() === 'said', 'a client that ends its stream after a Close frame gets the queued message');
        check((await c.frame()).data.readUInt16BE() === 4003, 'after that message, the client gets the Close frame');
        check(await c.closed === 0 && c.ended, 'after the Close frame, the stream ends');

        c = await open('ends-its-stream');
        c.stream.end();
        check(await c.closed === 0 && c.ended, 'when a client ends its stream without a Close frame, the server ends its side, too');

        c = await open('resets-its-stream');
        check(await c.echo('there'), 'a stream that will be reset echoes');
        c.stream.close(http2.constants.NGHTTP2_CANCEL);
        await c.closed;
        check(true, 'a client can reset its stream');

        const left = [await open('is-gone-1'), await open('is-gone-2')];
        check(await left[0].echo('x') && await left[1].echo('y'), 'two streams echo before the client disconnects');
        await leave(session);
    },

    async streams() {
        const session = await connect();
        const all = [];
        for (let i = 0; i < 5; i++) {
            all.push(new Socket(session, `/?name=stream-${i}`));
        }
        await Promise.all(all.map(c => c.answer));
        const rounds = await Promise.all(all.map(async (c, i) => {
            let right = 0;
            for (let n = 0; n < 100; n++) {
                right += await c.echo(Buffer.alloc(1000 * n, `round ${n} of ${i}`));
            }
            return right;
        }));
        check(`${rounds}` === '100,100,100,100,100', 'five streams on one connection echo, each with its own messages');
        check(await get(session, '/index.html') === 200, 'an ordinary request on that connection is answered');
        all[0].send(CLOSE, code(1000));
        await all[0].closes(1000, 'one of the streams is closed');
        check(await all[1].echo('still here'), 'the other streams continue');
        await leave(session);
    },

    async refused() {
        const session = await connect();
        const status = async (path, headers) => (await new Socket(session, path, headers).answer)[':status'];
        check(await status('/', {origin: 'https://evil.example'}) === 403, 'a page of another origin is refused with 403');
        check(await status('/', {'sec-websocket-version': '14'}) === 426, 'an unknown version is refused with 426');
        const keys = {'sec-websocket-key1': '4 @1  46546xW%0l 1 5', 'sec-websocket-key2': '12998 5 Y3 1  .P00'};
        check(await status('/old', {'sec-websocket-version': undefined, ...keys}) === 426, 'version 76, which is impossible over HTTP/2, is refused with 426');
        check(await status('/old', {'sec-websocket-version': undefined}) === 426, 'version 75, which is impossible over HTTP/2, is refused with 426');
        check(await status('/protocols/only', {'sec-websocket-protocol': 'none'}) === 400, 'a subprotocol without a handler is refused with 400');
        check(await status('/?refuse=418') === 418, 'a handler refuses with its status');
        check(await status('/ordinary/') === 502, 'mod_http2 refuses a URL without a WebSocket with 502');
        check(await status('/', {':protocol': 'WebSocket'}) === 501, 'mod_http2 refuses ":protocol: WebSocket" with 501');
        await leave(session);
    },

    async slow() {
        const session = await connect();
        const c = new Socket(session, '/?name=slow');
        await c.answer;
        c.stream.pause();
        c.send(TEXT, 'flood 3000');
        console.log('not reading');
        await told();
        c.stream.resume();
        let bytes = 0, got;
        while ((got = await c.frame()).opcode === BINARY) {
            bytes += got.data.length;
        }
        check(bytes === 30000000, 'when it reads, on_drain lets the handler send all the rest');
        await leave(session);
    },

    // The server refuses all WebSockets but one on a connection with HTTP_1_1_REQUIRED. They must not delay other requests.
    async limit() {
        const session = await connect(), first = new Socket(session, '/few?name=first');
        await first.answer;
        const together = [];
        for (let i = 0; i < 20; i++) {
            together.push(new Socket(session, `/few?name=late-${i}`).closed);
        }
        check((await Promise.all(together)).every(code => code === 13), 'twenty more streams are refused with HTTP_1_1_REQUIRED');
        check(await get(session, '/index.html') === 200, 'an ordinary request is answered');
        check(await new Socket(session, '/few?name=later').closed === 13, 'another stream is refused with HTTP_1_1_REQUIRED');
        check(await first.echo('hello'), 'the first stream echoes');
        first.send(CLOSE, code(1000));
        await first.closes(1000, 'the first stream is closed');
        let again;
        do { // the thread of the first stream may need a moment to end
            again = new Socket(session, '/few?name=again');
        } while (await Promise.race([again.answer, again.closed]) === 13);
        check(await again.echo('hello'), 'when the first stream has ended, another one is accepted');
        await leave(session);
    },

    // Opens one WebSocket on each of many connections. The server lets them occupy half of the child's 25 threads.
    async connections() {
        const sessions = [], open = [];
        let sent = 0;
        for (let i = 0; i < 36; i++) {
            sessions.push(await connect());
            const c = new Socket(sessions[i], `/few?name=connection-${i}`);
            if (await Promise.race([c.answer, c.closed]) === 13) {
                sent++;
                sessions[i].destroy();
            } else {
                open.push(c);
            }
        }
        check(open.length === 12 && sent === 24, `of 36 WebSockets on separate connections, ${open.length} are accepted, and ${sent} are refused with HTTP_1_1_REQUIRED`);
        check((await Promise.all(open.map(c => c.echo('hello')))).every(x => x), 'the accepted WebSockets echo');
        const other = await connect();
        check(await get(other, '/index.html') === 200, 'an ordinary request is answered');
        [other, ...sessions].forEach(session => session.destroy());
    },

    // Tests the codes with which requests for event streams, polls and SockJS receivers end.
    async events() {
        const session = await connect();
        const ends = (path, headers, method = 'GET') => new Promise(resolve => {
            const stream = session.request({':path': path, ':method': method, ...headers});
            stream.on('error', () => {});
            stream.on('response', answer => resolve(`status ${answer[':status']}`));
            stream.on('close', () => resolve(stream.rstCode));
            stream.end();
            stream.resume();
        });
        const accept = {accept: 'text/event-stream'};
        check(await ends('/events/a', accept) === 13, 'an event stream is refused with HTTP_1_1_REQUIRED');
        check(await ends('/events/a') === 13, 'a poll is refused with HTTP_1_1_REQUIRED');
        check(await ends('/elsewhere/a', accept) === 13, 'ErrorDocument does not change that');
        check(await ends('/events/secret', accept) === 'status 403', 'a channel that is not allowed is refused with 403');
        check(await ends('/events/a', accept, 'HEAD') === 'status 200', 'HEAD is answered');
        check(await ends('/relayed/a', accept) === 'status 200', 'with WebSocketRelay on, a stream is served');
        const same_site = {':authority': `localhost:${port}`, referer: `https://localhost:${port}/`};
        for (const receiver of ['xhr_streaming', 'xhr', 'eventsource', 'htmlfile?c=f', 'jsonp?c=f']) {
            const code = await ends(`/sockjs/000/first/${receiver}`, same_site, receiver.startsWith('xhr') ? 'POST' : 'GET');
            check(code === 13, `SockJS: ${receiver} is refused with HTTP_1_1_REQUIRED: ${code}`);
        }
        check(await ends('/sockjs/000/first/xhr_send', {}, 'POST') === 'status 404', 'SockJS: a refused receiver starts no session');
        check(await ends('/sockjs/info') === 'status 200', 'SockJS: info is answered');
        check(await ends('/sockjs-relayed/000/first/xhr', {}, 'POST') === 'status 200', 'SockJS: with WebSocketRelay on, a poll is served');
        check(await ends('/index.html') === 'status 200', 'an ordinary request is answered');
        await leave(session);
    },

    // Tests connections through ws_proxy. Each test uses a separate session, because a session may have only one WebSocket.
    async proxied() {
        const with_session = async test => {
            const session = await connect();
            await test((path, headers) => new Socket(session, path, headers));
            await leave(session);
        };
        await with_session(async open => {
            const c = open('/echo', {'sec-websocket-protocol': 'other, echo'});
            const headers = await c.answer;
            check(headers[':status'] === 200 && headers['sec-websocket-protocol'] === 'echo', "the client gets the server's subprotocol");
            for (const size of [0, 1, 125, 126, 65535, 65536, 1000000]) {
                check(await c.echo(Buffer.alloc(size, 'bytes of a size')), `${size} bytes are echoed`);
            }
            for (let i = 0; i < 500; i++) {
                c.send(TEXT, `message ${i}`);
            }
            let right = 0;
            for (let i = 0; i < 500; i++) {
                right += (await c.frame()).data.toString() === `message ${i}`;
            }
            check(right === 500, '500 messages together are echoed in order');
            c.send(CLOSE, Buffer.concat([code(4321), Buffer.from('done')]));
            check(await c.closes(4321, 'the client closes') === 'done', 'the Close frame has the reason');
        });
        await with_session(async open => {
            const c = open('/who?cookie&name=a%20b');
            check(`${(await c.answer)['set-cookie']}` === 'a=1,b=2; HttpOnly', "the client gets the server's cookies");
            c.send(TEXT, 'who');
            const who = (await c.frame()).data.toString();
            check(/args=\S*name=a%20b/.test(who), `the server gets the query string: ${who}`);
            c.send(TEXT, 'close 4002 enough');
            check(await c.closes(4002, 'the server closes') === 'enough', 'the Close frame has the reason');
        });
        await with_session(async open => {
            const c = open('/compressed', {'sec-websocket-extensions': 'permessage-deflate'});
            check(/^permessage-deflate/.test((await c.answer)['sec-websocket-extensions']), 'compression is agreed on');
            check(await c.echo('hello'), 'a message that is too short for compression is echoed');
            c.stream.close(http2.constants.NGHTTP2_CANCEL);
            await c.closed;
        });
        await with_session(async open => {
            const status = (await open('/who?refuse=409').answer)[':status'];
            check(status === 409, `the server's refusal reaches the client: ${status}`);
        });
    },

    // Prints the response to a GET and the first message of a WebSocket. Both requests have the same headers and connection.
    async both() {
        const session = await connect();
        const headers = {'user-agent': 'test', 'x-thing': 'a, b', 'cookie': 'c=d', 'accept': '*/*', 'proxy': 'evil'};
        console.log(JSON.stringify({
            get: await ask(session, path, headers),
            message: (await new Socket(session, path, headers).message()).data.toString(),
        }));
        await leave(session);
    },

    // Keeps a connection open until the server closes it. Sends each line of input, and prints each frame.
    async hold() {
        const session = await connect();
        const c = new Socket(session, '/?name=held');
        await c.answer;
        console.log('open');
        (async () => {
            for (let line; (line = await told()) !== undefined;) {
                c.send(TEXT, line);
            }
        })();
        for (let got;;) {
            got = await c.frame();
            console.log(got.opcode === CLOSE ? `close ${got.data.readUInt16BE()}` : `text ${got.data}`);
            if (got.opcode === CLOSE) {
                c.send(CLOSE, got.data.subarray(0, 2));
                console.log(`end ${await c.closed}`);
                break;
            }
        }
        await leave(session);
    },
};

parts[part]().then(() => {
    console.log('done');
    process.exit(0);
}, error => {
    console.log(error.stack);
    process.exit(1);
});
