// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Connects COUNT clients of npm's ws to the chat of docs/applications.md: node chat-crowd.js CA COUNT MESSAGES URL URL.
// Each client sends MESSAGES messages together, and must receive all messages of all clients, those of one client in order.
// Prints "ok NAME" or "not ok NAME", and "done".

'use strict';

const fs = require('fs');
const WebSocket = require('ws');
const [caFile, count, messages, ...urls] = process.argv.slice(2);
const ca = fs.readFileSync(caFile), all = count * messages;
const sockets = [], wrong = [];
let full = 0;

function listen(socket) {
    const next = {};
    let got = 0;
    socket.on('message', data => {
        const said = /: (\d+)-(\d+)$/.exec(data.toString());
        if (!said) return;
        if ((next[said[1]] || 0) !== +said[2]) wrong.push(data.toString());
        next[said[1]] = +said[2] + 1;
        if (++got === all && ++full === +count) end();
    });
    socket.on('close', code => { if (full < count) fail(`closed with ${code}`); });
    socket.on('error', e => fail(e.message));
}

function fail(why) {
    console.log(`not ok the crowd: ${why}`);
    process.exit(1);
}

function end() {
    console.log(`${wrong.length ? 'not ok' : 'ok'} each client gets all messages in order`);
    sockets.forEach(s => s.close());
    console.log('done');
}

function come() {
    if (sockets.length === +count) {
        sockets.forEach((s, i) => { for (let n = 0; n < messages; n++) s.send(`${i}-${n}`); });
        return;
    }
    const socket = new WebSocket(urls[sockets.length % urls.length], {ca});
    sockets.push(socket);
    listen(socket);
    socket.on('open', come);
}

come();
