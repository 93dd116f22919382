// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Tests the demo's page about channels in two windows of Chromium: node live-page.js URL. Prints "ok NAME" or
// "not ok NAME" for each test, and "done".

'use strict';

const launch = require('./browser');
const deadline = require('./deadline');
const check = (right, name) => console.log((right ? 'ok ' : 'not ok ') + name);

(async () => {
    const browser = await launch();
    const errors = [];
    const open = async () => {
        const page = await browser.newPage();
        page.setDefaultTimeout(deadline);
        page.on('pageerror', error => errors.push(`${error}`));
        await page.goto(process.argv[2]);
        await page.waitForSelector('#state[data-state=open]');
        return page;
    };
    const one = await open();
    await one.waitForSelector('#here li');
    await one.fill('#note', '<b>milk</b>');
    await one.click('#send');
    await one.waitForSelector('#notes li:has-text("<b>milk</b>")');
    check(true, 'a note is published and shown');
    const two = await open();
    await two.waitForSelector('#notes li:has-text("<b>milk</b>")');
    check(true, 'a window that is opened later shows the note, too');
    await one.waitForSelector('#here li:nth-child(2)');
    await two.waitForSelector('#here li:nth-child(2)');
    check(true, 'both windows show each other');
    await two.close();
    await one.waitForFunction(() => document.querySelectorAll('#here li').length === 1);
    check(true, 'a window that is closed is no longer shown');
    check(errors.length === 0, `the pages have no errors: ${errors}`);
    await browser.close();
    console.log('done');
})().catch(error => {
    console.log(`not ok ${error}`);
    process.exit(1);
});
