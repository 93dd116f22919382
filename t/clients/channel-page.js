// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Tests js/channel.js in Chromium: node channel-page.js BASE. Prints the same kinds of lines as channel-node.mjs.

'use strict';

const launch = require('./browser');
const deadline = require('./deadline');
const base = process.argv[2];
const answers = require('readline').createInterface({input: process.stdin})[Symbol.asyncIterator]();
const ask = async name => { console.log(`do ${name}`); await answers.next(); };

(async () => {
    const browser = await launch();
    const page = await browser.newPage(), devtools = await page.context().newCDPSession(page);
    const here = {
        offline: () => page.context().setOffline(true),
        online: () => page.context().setOffline(false),
        post: () => fetch(`${base}/channels/kept/page`, {method: 'POST', body: 'posted'}),
        async sleep() {
            await devtools.send('Page.setWebLifecycleState', {state: 'frozen'});
            await ask('kill');
            await fetch(`${base}/channels/kept/page`, {method: 'POST', body: 'slept'});
            await devtools.send('Page.setWebLifecycleState', {state: 'active'});
        },
    };
    page.setDefaultTimeout(deadline);
    page.on('pageerror', error => console.log(`not ok ${error.message}`));
    await page.exposeFunction('act', name => (here[name] ?? ask)(name));
    await page.exposeFunction('check', (right, name) => console.log((right ? 'ok ' : 'not ok ') + name));
    await page.goto(`${base}/page.html`);
    for (const run of ['run', 'runFallback', 'runPage']) {
        await page.evaluate(async ([base, run]) => {
            const library = await import('/channel.js'), scenarios = await import('/channel-scenarios.js');
            await scenarios[run](library, base, window.act, window.check);
        }, [base, run]);
    }
    await browser.close();
    console.log('done');
    process.exit(0);
})().catch(error => {
    console.log(`not ok ${error.stack}`.replace(/\n/g, ' '));
    process.exit(1);
});
