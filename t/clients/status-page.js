// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Tests the status page in Chromium: node status-page.js URL SCREENSHOT-FOLDER. The server must have connections to
// /echo/page/1 ... /echo/page/60. Prints "ok NAME" or "not ok NAME" for each test, and "done".

'use strict';

const launch = require('./browser');
const deadline = require('./deadline');
const [url, folder] = process.argv.slice(2);
const check = (right, name) => console.log((right ? 'ok ' : 'not ok ') + name);

(async () => {
    const browser = await launch();
    const page = await browser.newPage({viewport: {width: 1360, height: 900}, colorScheme: 'light'});
    page.setDefaultTimeout(deadline);
    const errors = [];
    page.on('pageerror', error => errors.push(`${error}`));
    page.on('console', m => m.type() === 'error' && !/404|ERR_FAILED/.test(m.text()) && errors.push(m.text()));
    const rows = number => page.waitForFunction(n => document.querySelectorAll('#rows tr').length === n, number);
    const first = uri => page.waitForFunction(uri =>
        document.querySelector('#rows tr .uri')?.textContent === uri, uri);

    await page.goto(url);
    await rows(50);
    check(true, 'the page shows 50 connections');
    check((await page.locator('#range').innerText()).startsWith('1\u201350 of '), 'the page shows the number of all connections');
    check(/open connections/.test(await page.locator('#cards').innerText()), 'the page shows the counters');
    await page.screenshot({path: `${folder}/status-light.png`});
    await page.click('#next');
    await page.waitForFunction(() => document.getElementById('next').disabled);
    check(await page.locator('#rows tr').count() < 50, 'the next button shows the other connections');
    await page.click('#previous');
    await rows(50);
    await page.fill('#filter', '/echo/page/');
    await page.selectOption('#limit', '200');
    await rows(60);
    check(true, 'the page shows 60 filtered connections');
    await page.click('th[data-sort=uri]');
    await first('/echo/page/1');
    check(true, 'a click on a column heading sorts');
    await page.click('th[data-sort=uri]');
    await first('/echo/page/9');
    check(true, 'a second click sorts in reverse order');
    await page.fill('#filter', '/echo/page/42');
    await rows(1);
    await page.click('#rows button');
    await page.waitForSelector('#rows button.sure');
    check((await page.locator('#rows button').innerText()) === 'Really close', 'a click on Close asks first');
    await page.click('#rows button');
    await rows(0);
    check(true, 'a connection that was closed disappears');
    await page.fill('#filter', 'page');
    await rows(59);
    await page.emulateMedia({colorScheme: 'dark'});
    await page.screenshot({path: `${folder}/status-dark.png`});
    await page.setViewportSize({width: 360, height: 740});
    check(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth),
        'the page fits a width of 360 pixels');
    check(await page.evaluate(() => {
        const [a, b, c] = [...document.querySelectorAll('.card')].map(card => card.getBoundingClientRect());
        return a.top === b.top && c.top > a.top;
    }), 'the narrow page has two cards in a row');
    check(await page.evaluate(() => {
        const shown = document.querySelector('#children td.number').getBoundingClientRect();
        return shown.right <= window.innerWidth;
    }), "the narrow page shows the children's connections");
    check(await page.locator('main h2').count() === 2, 'the content is in a main landmark');
    check(/^mod_websocket \d+\.\d+\.\d+, up for \d+ /.test(await page.locator('#server').innerText()), 'the page says which version it is and since when the server runs');
    for (const scheme of ['light', 'dark']) {
        await page.emulateMedia({colorScheme: scheme});
        for (const width of [375, 1280]) {
            await page.setViewportSize({width, height: 800});
            await page.screenshot({path: `${folder}/status-${scheme}-${width}.png`});
        }
    }
    await page.route('**/*', route => route.abort());
    await page.waitForSelector('body.stale');
    check(/the numbers are old/.test(await page.locator('#state').innerText()), 'numbers are dimmed when the server does not answer');
    check(errors.length === 0, `the page has no errors ${errors.join('; ')}`);
    await browser.close();
    console.log('done');
})().catch(error => {
    console.log(`${error}`);
    process.exit(1);
});
