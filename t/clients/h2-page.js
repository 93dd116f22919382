// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Tests WebSockets over HTTP/2 with Chromium: node h2-page.js URL. The page at URL must arrive over HTTP/2, because Chromium
// then opens the WebSockets on the same connection. Prints "ok NAME" or "not ok NAME" for each test, and "done".

'use strict';

const launch = require('./browser');
const deadline = require('./deadline');
const [url] = process.argv.slice(2);
const check = (right, name) => console.log((right ? 'ok ' : 'not ok ') + name);

(async () => {
    const browser = await launch();
    const page = await browser.newPage({ignoreHTTPSErrors: true});
    page.setDefaultTimeout(deadline);
    await page.goto(url);
    check(await page.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol) === 'h2',
        'the page arrives over HTTP/2');
    const [text, bytes, both, compressed, end] = await page.evaluate(async url => {
        const open = () => new Promise((resolve, reject) => {
            const c = new WebSocket(`${url.replace('https', 'wss')}chromium`);
            c.binaryType = 'arraybuffer';
            c.onopen = () => resolve(c);
            c.onerror = reject;
        });
        const echo = (c, data) => new Promise(resolve => {
            c.onmessage = event => resolve(event.data);
            c.send(data);
        });
        const one = await open(), two = await open();
        const data = new Uint8Array(1000000).map((_, i) => i * 7 % 251);
        const got = new Uint8Array(await echo(one, data));
        const end = new Promise(resolve => {
            one.onclose = event => resolve(`${event.code} ${event.reason} ${event.wasClean}`);
        });
        return [await echo(one, 'h\u00e9llo'), got.length === data.length && got.every((x, i) => x === data[i]),
            await Promise.all([echo(one, 'one'), echo(two, 'two')]), one.extensions, (one.close(4321, 'enough'), await end)];
    }, url);
    check(text === 'h\u00e9llo', 'text is echoed');
    check(bytes, 'a million bytes are echoed');
    check(`${both}` === 'one,two', 'two WebSockets echo at the same time');
    check(/^permessage-deflate/.test(compressed), 'compression is agreed on');
    check(end === '4321 enough true', `the connection closes cleanly: ${end}`);
    const many = await page.evaluate(async url => {
        const open = i => new Promise((resolve, reject) => {
            const c = new WebSocket(`${url.replace('https', 'wss')}few?${i}`);
            c.onopen = () => { c.onmessage = event => resolve(event.data); c.send(`${i}`); };
            c.onerror = reject;
            (window.sockets = window.sockets || []).push(c);
        });
        const events = new EventSource(`${url}events/a`);
        const live = new Promise(resolve => events.addEventListener('live', () => resolve('live')));
        const got = await Promise.all([0, 1, 2, 3, 4, 5, 6, 7, 8].map(open));
        return [got.join(), await live, (await fetch(`${url}ordinary/`)).status];
    }, url);
    check(`${many}` === '0,1,2,3,4,5,6,7,8,live,200', `nine WebSockets, an event stream and an ordinary request work at the same time: ${many}`);
    await browser.close();
    console.log('done');
})().catch(error => {
    console.log(`${error}`);
    process.exit(1);
});
