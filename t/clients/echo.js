// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Tests an echo with a client from npm: node echo.js ws|websocket|faye-websocket VERSION URL CA. If the URL contains
// "compressed", the client offers permessage-deflate. Prints "ok NAME" or "not ok NAME" for each test, and "done".

'use strict';

const fs = require('fs');
const [library, version, url, caFile] = process.argv.slice(2);
const ca = fs.readFileSync(caFile);
const protocol = 'echo', compressed = /compressed/.test(url);

// Each function opens a connection, and calls done() with {protocol, send(data), close(code, reason), onmessage, onclose}.
const open = {
    ws: (done, failed) => {
        const WebSocket = require('ws');
        const socket = new WebSocket(url, protocol, {ca, protocolVersion: +version, perMessageDeflate: compressed && {threshold: 0}});
        const c = {send: data => socket.send(data), close: (code, why) => socket.close(code, why)};
        socket.on('open', () => { c.protocol = socket.protocol; c.extensions = socket.extensions; done(c); });
        socket.on('message', (data, binary) => c.onmessage(binary ? data : data.toString()));
        socket.on('close', (code, why) => c.onclose(code, why.toString()));
        socket.on('error', failed);
        c.ping = answered => { socket.once('pong', data => answered(data.toString())); socket.ping('are you there'); };
        c.fragments = () => { socket.send('frag', {fin: false}); socket.send('men', {fin: false}); socket.send('ted'); };
    },
    websocket: (done, failed) => {
        const Client = require('websocket').client;
        const client = new Client({webSocketVersion: +version, maxReceivedMessageSize: 1 << 24, maxReceivedFrameSize: 1 << 24,
            fragmentOutgoingMessages: true, fragmentationThreshold: 20000, tlsOptions: {ca}});
        client.on('connectFailed', failed);
        client.on('connect', socket => {
            const c = {protocol: socket.protocol, close: (code, why) => socket.close(code, why)};
            c.send = data => typeof data === 'string' ? socket.sendUTF(data) : socket.sendBytes(data);
            socket.on('message', m => c.onmessage(m.type === 'utf8' ? m.utf8Data : m.binaryData));
            socket.on('close', (code, why) => c.onclose(code, why));
            socket.on('error', failed);
            c.ping = answered => { socket.once('pong', data => answered(data.toString())); socket.ping('are you there'); };
            done(c);
        });
        client.connect(url, protocol);
    },
    'faye-websocket': (done, failed) => {
        const WebSocket = require('faye-websocket');
        const socket = new WebSocket.Client(url, [protocol], {tls: {ca}, extensions: compressed ? [require('permessage-deflate')] : []});
        const c = {send: data => socket.send(data), close: (code, why) => socket.close(code, why)};
        socket.on('open', () => { c.protocol = socket.protocol; done(c); });
        socket.on('message', e => c.onmessage(typeof e.data === 'string' ? e.data : Buffer.from(e.data)));
        socket.on('close', e => c.onclose(e.code, e.reason));
        socket.on('error', failed);
        c.ping = answered => socket.ping('are you there', () => answered('are you there'));
    },
}[library];

const check = (right, name) => console.log((right ? 'ok ' : 'not ok ') + name);

open(async c => {
    const echoed = data => new Promise(resolve => { c.onmessage = resolve; c.send(data); });
    const same = (a, b) => typeof a === typeof b && (typeof a === 'string' ? a === b : Buffer.compare(a, b) === 0);

    check(c.protocol === protocol, 'the subprotocol is agreed on');
    if (c.extensions !== undefined) {
        check(/^permessage-deflate/.test(c.extensions) === compressed, 'compression is agreed on if it was offered');
    }
    for (const text of ['', 'hello', 'h\u00e9 \u20ac \u{1f600}', 'long '.repeat(40000)]) {
        check(same(await echoed(text), text), `text of ${text.length} characters is echoed`);
    }
    for (const size of [0, 1, 125, 126, 65535, 65536, 1000000]) {
        const data = Buffer.alloc(size, size & 0xff);
        check(same(await echoed(data), data), `a binary message of ${size} bytes is echoed`);
    }
    const many = 500, got = [];
    await new Promise(resolve => {
        c.onmessage = text => got.push(text) === many && resolve();
        for (let i = 0; i < many; i++) {
            c.send(`message ${i}`);
        }
    });
    check(got.every((text, i) => text === `message ${i}`), `${many} messages together are echoed in order`);
    check(await new Promise(resolve => c.ping(resolve)) === 'are you there', 'a ping is answered');
    if (c.fragments) {
        check(await new Promise(resolve => { c.onmessage = resolve; c.fragments(); }) === 'fragmented', 'a message in fragments is echoed');
    }
    const end = await new Promise(resolve => { c.onclose = (code, why) => resolve([code, why]); c.close(4321, 'enough'); });
    check(end[0] === 4321, 'the server answers with the same close code');
    console.log('done');
    process.exit(0);
}, error => {
    console.log(`${error}`);
    process.exit(1);
});
