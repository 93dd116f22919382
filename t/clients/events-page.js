// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Tests EventSource of Chromium: node events-page.js PAGE EVENTS PUBLISH FIRST. The stream begins after the position FIRST
// of a channel with a history. Prints "ok NAME" or "not ok NAME" for each test, and "done".

'use strict';

const launch = require('./browser');
const deadline = require('./deadline');
const [address, events, publish, first] = process.argv.slice(2);
const check = (right, name) => console.log((right ? 'ok ' : 'not ok ') + name);

(async () => {
    const browser = await launch();
    const page = await browser.newPage({ignoreHTTPSErrors: true});
    page.setDefaultTimeout(deadline);
    await page.goto(address);
    const [kept, live, ids] = await page.evaluate(async ([events, publish, first]) => {
        const source = new EventSource(`${events}?after=${first}`), got = [];
        const say = text => fetch(publish, {method: 'POST', body: text});
        source.onmessage = event => got.push(event);
        await new Promise(resolve => source.addEventListener('live', resolve));
        const kept = got.map(event => event.data);
        await say('one\ntwo');
        await say('h\u00e9');
        await new Promise(resolve => {
            source.onmessage = event => got.push(event) && event.data === 'end' && resolve();
            say('end');
        });
        source.close();
        return [kept, got.map(event => event.data).slice(kept.length), got.map(event => event.lastEventId.split('-')[1])];
    }, [events, publish, first]);
    check(kept.join() === 'm2,m3', `the stored messages arrive: ${kept}`);
    check(JSON.stringify(live) === JSON.stringify(['one\ntwo', 'h\u00e9', 'end']), `the new messages arrive: ${JSON.stringify(live)}`);
    check(ids.join() === '2,3,4,5,6', `each message has its position: ${ids}`);
    await browser.close();
    console.log('done');
})().catch(error => {
    console.log(`not ok ${error}`);
    process.exit(1);
});
