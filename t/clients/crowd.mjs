// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Connects COUNT clients of npm's ws to an application behind HTTP: node crowd.mjs CA COUNT SPEAKERS MESSAGES URL... The
// commands on standard input are "come", "say ROUND" and "leave". Prints "ok NAME" or "not ok NAME" for each test, and
// "done COMMAND" after each command.

import fs from 'node:fs';
import readline from 'node:readline';
import WebSocket from 'ws';

const [caFile, ...numbers] = process.argv.slice(2, 6);
const [count, speakers, messages] = numbers.map(Number);
const urls = process.argv.slice(6);
const ca = fs.readFileSync(caFile);
const crowd = [];

function test(good, name) { console.log(`${good ? 'ok' : 'not ok'} ${name}`); }

// Every third client logs in as a user. The application must greet each client with its user and its cookie.
function user(i) { return i % 3 ? null : 'alice'; }

function come(i) {
    return new Promise((resolve, reject) => {
        const headers = { Cookie: `number=${i}` };
        if (user(i)) headers.Authorization = 'Basic ' + Buffer.from('alice:secret').toString('base64');
        const url = urls[i % urls.length] + (user(i) ? '/user' : '');
        const ws = new WebSocket(url, { ca, headers });
        const one = { ws, i, closed: null, said: [], greeting: null, cookie: null, want: () => {} };
        ws.on('upgrade', res => { one.cookie = (res.headers['set-cookie'] || []).join(); });
        ws.on('message', data => {
            const text = data.toString();
            if (one.greeting === null) { one.greeting = text; resolve(one); }
            else { one.said.push(text); one.want(); }
        });
        ws.on('close', code => { one.closed = code; one.want(); reject(new Error(`closed with ${code}`)); });
        ws.on('error', reject);
    });
}

function until(one, what) {
    return new Promise(resolve => {
        one.want = () => { if (what()) { one.want = () => {}; resolve(); } };
        one.want();
    });
}

const commands = {
    async come() {
        let next = 0;
        await Promise.all(Array.from({ length: 8 }, async () => {
            while (next < count) { const i = next++; crowd[i] = await come(i); }
        }));
        test(crowd.every(o => o.greeting === `hello ${user(o.i) || 'guest'} number=${o.i}`), 'the application greets each client with its user and its cookie');
        test(crowd.every(o => o.cookie.startsWith(`seen=${o.i}`)), 'each client gets its cookie');
    },
    async say(round) {
        for (let m = 0; m < messages; m++) for (let s = 0; s < speakers; s++) crowd[s].ws.send(`say ${round}-${s}-${m}`);
        await Promise.all(crowd.map(o => until(o, () => o.said.length >= speakers * messages || o.closed)));
        const inOrder = o => Array.from({ length: speakers }, (_, s) => s).every(s =>
            o.said.filter(t => t.startsWith(`${round}-${s}-`)).join() === Array.from({ length: messages }, (_, m) => `${round}-${s}-${m}`).join());
        const bad = crowd.find(o => !inOrder(o));
        test(!bad, `round ${round}: each client gets all messages of each speaker in order`);
        if (bad) console.log(`number ${bad.i}, closed ${bad.closed}: ${bad.said.join(' ')}`);
        crowd.forEach(o => { o.said = []; });
    },
    async leave() {
        crowd.forEach(o => o.ws.send(`close ${4000 + o.i}`));
        await Promise.all(crowd.map(o => until(o, () => o.closed)));
        test(crowd.every(o => o.closed === 4000 + o.i), 'each client is closed with its code');
        const status = await new Promise(resolve => {
            const ws = new WebSocket(urls[0] + '?refuse', { ca });
            ws.on('unexpected-response', (req, res) => { resolve(res.statusCode); ws.terminate(); });
            ws.on('error', () => {});
        });
        test(status === 451, 'the application refuses a handshake with its status');
    },
};

console.log('ready');
for await (const line of readline.createInterface({ input: process.stdin })) {
    const [name, argument] = line.split(' ');
    await commands[name](argument).catch(e => test(false, `${name}: ${e.message}`));
    console.log(`done ${name}`);
    if (name === 'leave') process.exit(0);
}
