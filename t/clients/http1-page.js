// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Tests event streams in pages of Chromium that arrive over HTTP/2: node http1-page.js PAGE EVENTS. Prints "ok NAME" or
// "not ok NAME" for each test, and "done".

'use strict';

const launch = require('./browser');
const [address, events] = process.argv.slice(2);
const check = (right, name) => console.log((right ? 'ok ' : 'not ok ') + name);

(async () => {
    const browser = await launch();
    // Each context has separate connections. Of its six HTTP/1.1 connections, four streams leave two for other requests.
    const protocol = () => performance.getEntriesByType('navigation')[0].nextHopProtocol;
    const protocols = [], pages = [];
    let live = 0;
    for (let i = 0; i < 9; i++) {
        const page = await (await browser.newContext({ignoreHTTPSErrors: true})).newPage();
        page.setDefaultTimeout(120000);
        await page.goto(address);
        protocols.push(await page.evaluate(protocol));
        live += await page.evaluate(async events => {
            window.sources = [1, 2, 3, 4].map(() => new EventSource(events));
            await Promise.all(window.sources.map(s => new Promise(resolve => s.addEventListener('live', resolve))));
            return window.sources.length;
        }, events);
        pages.push(page);
    }
    check(protocols.every(p => p === 'h2'), `the pages arrive over HTTP/2: ${protocols}`);
    check(live === 36, '36 streams are live');
    check(await pages[0].evaluate(async address => (await fetch(address, {cache: 'no-store'})).status, address) === 200,
        'a page with four streams can load other resources');
    const other = await (await browser.newContext({ignoreHTTPSErrors: true})).newPage();
    await other.goto(address);
    check(await other.evaluate(protocol) === 'h2', 'another browser loads the page over HTTP/2');
    await browser.close();
    console.log('done');
})().catch(error => {
    console.log(`not ok ${error}`);
    process.exit(1);
});
