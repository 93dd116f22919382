// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0
//
// node ws.js PORT TLS_PORT CERTIFICATE KEY
//
// Server for bench/compare that uses the npm package ws.
'use strict';

const fs = require('fs');
const http = require('http');
const https = require('https');
const {WebSocket, WebSocketServer} = require('ws');

const [port, tlsPort, cert, key] = process.argv.slice(2);
const options = {noServer: true, maxPayload: 64 << 20};
const plain = new WebSocketServer({...options, perMessageDeflate: false});
const compressing = new WebSocketServer({
    ...options,
    perMessageDeflate: {serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 0},
});
const subscribers = new Set();

const behaviour = {
    '/echo': (ws) => ws.on('message', (data, binary) => ws.send(data, {binary})),
    '/sub': (ws) => {
        subscribers.add(ws);
        ws.on('close', () => subscribers.delete(ws));
    },
    '/pub': (ws) => ws.on('message', (data, binary) => {
        for (const s of subscribers) {
            if (s.readyState === WebSocket.OPEN) {
                s.send(data, {binary});
            }
        }
    }),
};
behaviour['/deflate'] = behaviour['/echo'];

function upgrade(request, socket, head) {
    const server = request.url === '/deflate' ? compressing : plain;
    server.handleUpgrade(request, socket, head, behaviour[request.url]);
}
http.createServer().on('upgrade', upgrade).listen({port, host: '127.0.0.1', backlog: 4096});
https.createServer({cert: fs.readFileSync(cert), key: fs.readFileSync(key)}).on('upgrade', upgrade)
    .listen({port: tlsPort, host: '127.0.0.1', backlog: 4096});
