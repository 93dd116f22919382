// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Runs echo servers with npm ws and npm websocket on free ports, each with and without TLS: servers.js CERT KEY. Prints
// "NAME PORT" for each server, then "ready". Exits at the end of its input.

'use strict';

const fs = require('fs');
const http = require('http');
const https = require('https');
const modules = `${__dirname}/../node_modules`;
const ws = require(`${modules}/ws`);
const websocket = require(`${modules}/websocket`);

const [cert, key] = process.argv.slice(2).map((file) => fs.readFileSync(file));

function withWs(server) {
    const options = {
        server,
        perMessageDeflate: { threshold: 0 },
        handleProtocols: (offered) => (offered.has('echo') ? 'echo' : false),
    };
    new ws.WebSocketServer(options).on('connection', (c) => {
        c.on('message', (data, binary) => c.send(data, { binary }));
        c.on('error', (e) => console.log(`error ${e.message}`));
    });
}

function withWebsocket(server) {
    const options = { httpServer: server, maxReceivedMessageSize: 1e8, maxReceivedFrameSize: 1e8 };
    new websocket.server(options).on('request', (request) => {
        const c = request.accept(request.requestedProtocols.includes('echo') ? 'echo' : null, request.origin);
        c.on('message', (m) => (m.type === 'utf8' ? c.sendUTF(m.utf8Data) : c.sendBytes(m.binaryData)));
    });
}

const servers = [
    ['ws', withWs, http.createServer()],
    ['ws-tls', withWs, https.createServer({ cert, key })],
    ['websocket', withWebsocket, http.createServer()],
    ['websocket-tls', withWebsocket, https.createServer({ cert, key })],
];
let waiting = servers.length;
for (const [name, attach, server] of servers) {
    attach(server);
    server.listen(0, '127.0.0.1', () => {
        console.log(`${name} ${server.address().port}`);
        if (--waiting === 0) {
            console.log('ready');
        }
    });
}
process.stdin.on('end', () => process.exit(0)).resume();
