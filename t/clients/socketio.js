// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Tests npm's socket.io. "node socketio.js server NAME PORT" runs a server. "node socketio.js client URL ROUTES" runs a
// client that connects through a balancer; ROUTES are the names of its servers, separated by commas. The client prints
// "ok NAME" or "not ok NAME" for each test, and "done".

'use strict';

const deadline = require('./deadline');
const [role, ...args] = process.argv.slice(2);
const check = (right, name) => console.log((right ? 'ok ' : 'not ok ') + name);

function serve(name, port) {
    const server = require('http').createServer();
    const io = new (require('socket.io').Server)(server, { perMessageDeflate: { threshold: 64 } });
    io.on('connection', socket => {
        socket.on('who', reply => reply(name, socket.handshake.headers['x-forwarded-for']));
        socket.on('echo', (data, reply) => reply(data));
        socket.on('room', text => io.emit('said', text));
        socket.on('end', () => socket.disconnect(true));
    });
    server.listen(Number(port), '127.0.0.1', () => console.log('ready'));
}

const once = (emitter, event) => new Promise(resolve => emitter.once(event, resolve));
const ask = (socket, ...what) => new Promise(resolve => socket.emit(...what, (...got) => resolve(got)));

async function connect(url, options) {
    const socket = require('socket.io-client').io(url, { forceNew: true, reconnection: false, withCredentials: true,
        timeout: deadline, ...options });
    socket.on('connect_error', error => check(false, `connect: ${error.message}`));
    await once(socket, 'connect');
    return socket;
}

async function messages(socket, how) {
    const [text] = await ask(socket, 'echo', 'h\u00e9llo \u{1f600}');
    check(text === 'h\u00e9llo \u{1f600}', `${how}: a text is echoed`);
    const bytes = Buffer.alloc(100000, 'bytes of a size');
    const [got] = await ask(socket, 'echo', bytes);
    check(Buffer.compare(bytes, Buffer.from(got)) === 0, `${how}: bytes are echoed`);
    const all = await Promise.all([...Array(200).keys()].map(i => ask(socket, 'echo', { i, text: 'x'.repeat(i) })));
    check(all.every(([o], i) => o.i === i && o.text.length === i), `${how}: 200 messages together are echoed`);
}

async function run(url, routes) {
    const names = routes.split(',');
    const seen = new Set();
    for (let i = 0; i < 2 * names.length; i++) {
        const socket = await connect(url, { transports: ['websocket'] });
        seen.add((await ask(socket, 'who'))[0]);
        if (i === 0) {
            await messages(socket, 'websocket');
        }
        socket.close();
    }
    check([...seen].sort().join() === names.sort().join(), `websocket: the balancer uses all servers: ${[...seen]}`);

    // A client starts with long polling, then upgrades. All its requests must reach the same server.
    for (let i = 0; i < 2 * names.length; i++) {
        const socket = await connect(url, { transports: ['polling', 'websocket'] });
        if (socket.io.engine.transport.name !== 'websocket') {
            await once(socket.io.engine, 'upgrade');
        }
        const [first] = await ask(socket, 'who'), [second] = await ask(socket, 'who');
        check(first === second, `polling, then websocket: all requests reach the same server: ${first}`);
        if (i === 0) {
            await messages(socket, 'upgraded');
            const said = once(socket, 'said');
            socket.emit('room', 'all');
            check(await said === 'all', 'upgraded: a broadcast arrives');
        }
        const end = once(socket, 'disconnect');
        socket.emit('end');
        check(await end === 'io server disconnect', 'the server disconnects');
    }
    console.log('done');
    process.exit(0);
}

if (role === 'server') {
    serve(...args);
} else {
    run(...args).catch(error => {
        console.log(`not ok ${error.stack}`);
        process.exit(1);
    });
}
