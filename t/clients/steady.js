// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Opens many connections to an echo, and sends numbered messages at a constant rate. Checks that each message
// comes back once and in order.
//
//   steady.js INTERVAL_MS CA URL...
//
// The commands on standard input are: "open N" opens N more connections, to each URL in turn, and then prints
// "opened TOTAL"; "count" prints "echoed TOTAL"; "end" stops sending, waits for outstanding echoes, closes all
// connections, and prints "ended TOTAL". At the end, each error is printed: "wrong WHAT".

'use strict';

const fs = require('fs');
const readline = require('readline');
const WebSocket = require('ws');

const [interval, ca, ...urls] = process.argv.slice(2);
const options = { ca: fs.readFileSync(ca), perMessageDeflate: false };
const open = new Set();
let opened = 0, echoed = 0, ending = false;
const wrong = [];

function say(text) {
    process.stdout.write(text + '\n');
}

function complain(text) {
    wrong.push(text);
}

// Connects. Resolves when the connection is open.
function connect(number) {
    const url = urls[number % urls.length];
    const c = { name: `${number} (${url})`, sent: 0, seen: 0 };
    c.ws = new WebSocket(url, options);
    c.ws.on('message', data => {
        const n = Number(data.toString());
        if (n !== c.seen + 1) {
            complain(`${c.name}: message ${n} comes behind ${c.seen}`);
        }
        c.seen = n;
        echoed++;
    });
    c.ws.on('error', error => complain(`${c.name}: ${error.message}`));
    c.ws.on('close', code => {
        clearInterval(c.timer);
        open.delete(c);
        if (!ending) {
            complain(`${c.name}: closed with ${code}`);
        }
    });
    return new Promise(resolve => c.ws.on('open', () => {
        open.add(c);
        opened++;
        // Start at a random time, which distributes the messages over the interval.
        setTimeout(() => {
            if (!ending) {
                c.timer = setInterval(() => c.ws.send(String(++c.sent)), Number(interval));
            }
        }, Math.random() * interval);
        resolve();
    }));
}

async function add(n) {
    for (let done = 0; done < n; done += 20) {
        const batch = [];
        for (let i = done; i < n && i < done + 20; i++) {
            batch.push(connect(opened + batch.length));
        }
        await Promise.all(batch);
    }
    say('opened ' + opened);
}

function end() {
    ending = true;
    for (const c of open) {
        clearInterval(c.timer);
    }
    const wait = setInterval(() => {
        if ([...open].some(c => c.seen < c.sent)) {
            return;
        }
        clearInterval(wait);
        const all = [...open];
        for (const c of all) {
            c.ws.on('close', code => code === 1000 || complain(`${c.name}: at the end, closed with ${code}`));
            c.ws.close(1000);
        }
        const closed = setInterval(() => {
            if (open.size === 0) {
                clearInterval(closed);
                say('ended ' + all.length);
                wrong.slice(0, 20).forEach(text => say('wrong ' + text));
                process.exit(wrong.length ? 1 : 0);
            }
        }, 20);
    }, 20);
}

readline.createInterface({ input: process.stdin }).on('line', line => {
    const [what, n] = line.split(' ');
    if (what === 'open') {
        add(Number(n));
    } else if (what === 'count') {
        say('echoed ' + echoed);
    } else if (what === 'end') {
        end();
    }
});
