// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Tests an echo with Chromium: node chromium.js PAGE URL [PAGE URL ...]. Each PAGE connects to the URL that follows it.
// Prints "ok NAME" or "not ok NAME" for each test, and "done".

'use strict';

const launch = require('./browser');
const deadline = require('./deadline');
const urls = process.argv.slice(2);
const check = (right, name) => console.log((right ? 'ok ' : 'not ok ') + name);

// Runs in the page. Resolves to a list of failures.
const echo = url => new Promise(resolve => {
    const wrong = [], many = 500, sizes = [0, 1, 125, 126, 65535, 65536, 1000000];
    const texts = ['', 'hello', 'h\u00e9 \u20ac \u{1f600}', 'long '.repeat(40000)];
    const c = new WebSocket(url, 'echo');
    const next = data => new Promise(got => { c.onmessage = event => got(event.data); c.send(data); });
    c.binaryType = 'arraybuffer';
    c.onclose = event => resolve([...wrong, ...event.code === 4321 && event.wasClean ? [] : [`the end: ${event.code}`]]);
    c.onopen = async () => {
        if (/^permessage-deflate/.test(c.extensions) !== /compressed/.test(url)) {
            wrong.push(`compression: ${c.extensions}`);
        }
        if (c.protocol !== 'echo') {
            wrong.push('the subprotocol');
        }
        for (const text of texts) {
            if (await next(text) !== text) {
                wrong.push(`text of ${text.length} characters`);
            }
        }
        for (const size of sizes) {
            const data = new Uint8Array(size).map((_, i) => i * 7 % 251), got = new Uint8Array(await next(data));
            if (got.length !== size || !got.every((x, i) => x === data[i])) {
                wrong.push(`binary of ${size} bytes`);
            }
        }
        const got = [];
        await new Promise(all => {
            c.onmessage = event => got.push(event.data) === many && all();
            for (let i = 0; i < many; i++) {
                c.send(`message ${i}`);
            }
        });
        if (!got.every((text, i) => text === `message ${i}`)) {
            wrong.push('many messages together');
        }
        c.close(4321, 'enough');
    };
});

(async () => {
    const browser = await launch();
    const page = await browser.newPage({ignoreHTTPSErrors: true});
    page.setDefaultTimeout(deadline);
    for (let i = 0; i < urls.length; i += 2) {
        await page.goto(urls[i]);
        const wrong = await page.evaluate(echo, urls[i + 1]);
        check(wrong.length === 0, [urls[i + 1].replace(/\d+\.\d.*?\//, ''), ...wrong].join(', '));
    }
    await browser.close();
    console.log('done');
})().catch(error => {
    console.log(`${error}`);
    process.exit(1);
});
