// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// An application that implements WebSocket-over-HTTP with npm's @fanoutio/grip: node grip-app.mjs SOCKET LOG GRIP_URL. It
// writes each event to LOG, and executes each message as a command. Prints "ready" when it listens.

import fs from 'node:fs';
import http from 'node:http';
import { Publisher, encodeWebSocketEvents } from '@fanoutio/grip';
import { isNodeReqWsOverHttp, getWebSocketContextFromNodeReq } from '@fanoutio/grip/node';

const [socket, log, gripUrl] = process.argv.slice(2);
const publisher = new Publisher(gripUrl);

function note(...words) { fs.appendFileSync(log, words.join(' ') + '\n'); }

function obey(ws, message) {
    const [word, ...rest] = message.split(' ');
    const argument = rest.join(' ');
    if (word === 'subscribe') ws.subscribe(argument);
    else if (word === 'unsubscribe') ws.unsubscribe(argument);
    else if (word === 'detach') ws.detach();
    else if (word === 'disconnect') ws.disconnect();
    else if (word === 'close') ws.close(+argument);
    else if (word === 'binary') ws.sendBinary(new Uint8Array([0, 13, 10, 255]));
    else if (word === 'control') ws.sendControl(argument);
    else if (word === 'set') { const [name, value] = argument.split('='); ws.meta[name] = value; return; }
    else if (word === 'forget') { delete ws.meta[argument]; return; }
    else if (word === 'meta') ws.send(JSON.stringify(ws.meta));
    ws.send(`did ${message}`);
}

http.createServer(async (req, res) => {
    if (!isNodeReqWsOverHttp(req)) {
        res.writeHead(400).end('not WebSocket-over-HTTP');
        return;
    }
    const { isSigned } = await publisher.validateGripSig(req.headers['grip-sig']);
    const ws = await getWebSocketContextFromNodeReq(req);
    const types = ws._inEvents.map(e => e.type).join(',') || 'nothing';
    note(ws.id, isSigned ? 'signed' : 'unsigned', types, req.headers.cookie || '-');
    if (ws.isOpening()) {
        if (req.url.includes('refuse')) {
            res.writeHead(402, { 'Content-Type': 'text/plain' }).end('pay first');
            return;
        }
        ws.accept();
        ws.subscribe('everyone');
        ws.send('welcome');
        if (req.url.includes('alive')) res.setHeader('Keep-Alive-Interval', '1');
        res.setHeader('Set-Cookie', ['a=b', 'c=d']);
        res.setHeader('X-Of-The-Application', 'yes');
        const offered = (req.headers['sec-websocket-protocol'] || '').split(', ');
        if (offered.includes('two')) res.setHeader('Sec-WebSocket-Protocol', 'two');
    }
    while (ws.canRecv()) {
        try {
            const message = ws.recv();
            if (message === null) {
                note(ws.id, 'closed', ws.closeCode);
                ws.close(ws.closeCode || 0);
                break;
            }
            obey(ws, message);
        } catch (e) {
            note(ws.id, 'disconnected');
            break;
        }
    }
    res.writeHead(200, ws.toHeaders());
    res.end(Buffer.from(encodeWebSocketEvents(ws.getOutgoingEvents())));
}).listen(socket, () => { fs.chmodSync(socket, 0o777); console.log('ready'); });
