// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// An application behind a reverse proxy, with npm's ws. It echoes messages, but answers "request" with the handshake request
// as JSON. It answers ordinary requests with a page that contains their path.
//
//   upstream.js NAME PORT|PATH [CERTIFICATE KEY]

'use strict';

const fs = require('fs');
const { WebSocketServer } = require('ws');

const [name, where, cert, key] = process.argv.slice(2);

function page(request, response) {
    response.end(`page of ${name} at ${request.url}\n`);
}

const server = cert
    ? require('https').createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, page)
    : require('http').createServer(page);
server.keepAliveTimeout = 0;    // keep connections open, because a proxy may reuse them at any time
const sockets = new WebSocketServer({
    noServer: true, perMessageDeflate: false,
    handleProtocols: offered => [...offered].pop(),
});
sockets.on('headers', headers => headers.push('Set-Cookie: one=1', 'Set-Cookie: two=2', `X-Name: ${name}`));

server.on('upgrade', (request, socket, head) => {
    const status = /\/refuse\/(\d+)/.exec(request.url);
    if (status) {
        socket.end(`HTTP/1.1 ${status[1]} No\r\nContent-Length: 2\r\nX-Why: told\r\nLocation: /login\r\n\r\nno`);
        return;
    }
    sockets.handleUpgrade(request, socket, head, ws => {
        ws.on('message', (data, binary) => {
            ws.send(!binary && String(data) === 'request'
                ? JSON.stringify({ name, url: request.url, headers: request.headers }) : data, { binary });
        });
    });
});

server.listen(isNaN(where) ? { path: where, writableAll: true } : { port: Number(where), host: '127.0.0.1' },
    () => process.stdout.write('ready\n'));
