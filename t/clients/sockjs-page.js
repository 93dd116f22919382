// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Tests sockjs-client in Chromium: node sockjs-page.js PAGE URL TRANSPORT... PAGE must load the library. Prints "ok NAME" or
// "not ok NAME" for each transport, and "done".

'use strict';

const launch = require('./browser');
const deadline = require('./deadline');
const scenario = require('./sockjs-scenario');
const [address, url, ...transports] = process.argv.slice(2);

(async () => {
    const browser = await launch();
    const page = await browser.newPage({ignoreHTTPSErrors: true});
    page.setDefaultTimeout(deadline);
    await page.goto(address);
    for (const transport of transports) {
        const wrong = await page.evaluate(([text, url, transport]) => {
            const module = {exports: {}};
            new Function('module', text)(module);
            return module.exports(window.SockJS, url, transport);
        }, [`module.exports = ${scenario}`, url, transport]);
        console.log((wrong.length ? 'not ok ' : 'ok ') + [transport, ...wrong].join(', '));
    }
    await browser.close();
    console.log('done');
})().catch(error => {
    console.log(`not ok ${error}`);
    process.exit(1);
});
