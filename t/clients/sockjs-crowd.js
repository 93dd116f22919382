// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Runs many SockJS clients that send and receive all the time: node sockjs-crowd.js URL TLS-URL. One client in eight uses
// TLS. Reads commands from standard input, and answers each one with a line:
//   open N      open N more clients, with each transport in turn: "opened N"
//   rounds N    wait until each open client has sent and received N more messages: "done OPEN"
//   pids        print the number of sessions of each process: "pids PID:N ..."
//   ended       print the number of closed clients for each process and code: "ended PID:CODE:N ..."
//   why         print failed requests, and closed clients with transport, code and reason: "why TEXT:N ..."
//   wrong       print the number of messages that were lost, duplicated or out of order, and the first one: "wrong N ..."
//   quit        exit

'use strict';

const SockJS = require('sockjs-client');
const http = require('http');
const readline = require('readline');
// Extend the library's limit for /info, which is 8 s, because a busy machine answers late.
const patience = 1000 * (process.env.WS_TEST_DEADLINE || 60);
require('sockjs-client/lib/info-receiver').timeout = patience;
const urls = process.argv.slice(2);
const url = i => urls[i % 8 === 7 ? 1 : 0];
// Record why requests fail, because sockjs-client reports each failed request as "http status 0".
const failed = [], {request} = http;
http.request = (...args) => {
    const begun = Date.now();
    return request(...args).on('error', e => failed.push(`${e.code || e.message} after ${Math.round((Date.now() - begun) / 1000)} s`));
};
const transports = ['xhr-streaming', 'xhr-polling', 'eventsource'];
const clients = [], wrong = [];
const pause = 300; // ms between the messages of a client, so that many fit on one machine
let waiting = [];

const check = () => waiting = waiting.filter(w => !w());

class Client {
    constructor(i) {
        const c = this.socket = new SockJS(url(i), null, {transports: [transports[i % 3]], timeout: patience});
        this.sent = this.got = 0; this.kind = transports[i % 3] + url(i).slice(0, 5);
        c.onmessage = event => this.message(event.data);
        c.onclose = event => {
            this.code = event.code;
            this.reason = event.reason;
            check();
        };
    }

    next() {
        if (!this.code) {
            this.socket.send(`${++this.sent}`);
        }
    }

    message(text) {
        if (!this.pid) {
            this.pid = text;
            this.next();
        } else if (text !== `${++this.got}`) {
            wrong.push(`${this.socket.transport} of ${this.pid}: ${text} instead of ${this.got}`);
        } else {
            setTimeout(() => this.next(), pause);
        }
        check();
    }
}

const sum = keys => {
    const n = {};
    keys.forEach(key => n[key] = (n[key] || 0) + 1);
    return Object.keys(n).sort().map(key => `${key}:${n[key]}`).join(' ');
};

const commands = {
    // Open at most 50 clients at the same time, because httpd has to accept them.
    open: n => new Promise(resolve => {
        const all = [];
        const more = () => {
            while (all.length < n && all.filter(c => !c.pid && !c.code).length < 50) {
                all.push(new Client(clients.length));
                clients.push(all[all.length - 1]);
            }
            const ready = all.length === +n && all.every(c => c.pid || c.code);
            if (ready) {
                resolve(`opened ${all.filter(c => c.pid && !c.code).length}`);
            }
            return ready;
        };
        waiting.push(more);
        check();
    }),
    rounds: n => new Promise(resolve => {
        const until = clients.map(c => c.got + +n);
        waiting.push(() => {
            const ready = clients.every((c, i) => c.code || c.got >= until[i]);
            if (ready) {
                resolve(`done ${clients.filter(c => !c.code).length}`);
            }
            return ready;
        });
        check();
    }),
    pids: async () => `pids ${sum(clients.map(c => c.pid))}`,
    ended: async () => `ended ${sum(clients.filter(c => c.code).map(c => `${c.pid}:${c.code}`))}`,
    why: async () => `why ${sum(failed)} ${sum(clients.filter(c => c.code).map(c => `${c.kind}/${c.code}/${c.reason}/${c.got}`))}`,
    wrong: async () => `wrong ${wrong.length} ${wrong[0] || ''}`,
    quit: async () => process.exit(0),
};

// Print progress, so that the test does not run into its time limit.
let seen = 0;
setInterval(() => {
    const now = clients.reduce((n, c) => n + c.sent + c.got + (c.code ? 1 : 0), clients.length);
    if (now !== seen) {
        seen = now;
        console.log(`progress ${now}`);
    }
}, 1000);

readline.createInterface({input: process.stdin}).on('line', async line => {
    const [name, argument] = line.split(' ');
    console.log(await commands[name](argument));
});
