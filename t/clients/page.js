// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Tests the demo page in Chromium: node page.js URL SCREENSHOT-FOLDER. Prints "ok NAME" or "not ok NAME" for each test, and
// "done".

'use strict';

const launch = require('./browser');
const deadline = require('./deadline');
const [url, folder] = process.argv.slice(2);
const check = (right, name) => console.log((right ? 'ok ' : 'not ok ') + name);

(async () => {
    const browser = await launch();
    const page = await browser.newPage({ignoreHTTPSErrors: true, viewport: {width: 1280, height: 900}});
    page.setDefaultTimeout(deadline);
    const errors = [];
    page.on('pageerror', error => errors.push(`${error}`));
    const text = id => page.locator(`#${id}`).innerText();
    const until = (id, value) => page.waitForFunction(([id, value]) =>
        document.getElementById(id).textContent.includes(value), [id, value]);

    await page.goto(url);
    const secure = url.startsWith('https');
    for (const scheme of secure ? ['wss'] : ['ws']) {
        await page.waitForSelector('#state');
        if (await text('state') !== 'open') {
            await page.locator(`label[for=scheme-${scheme}]`).click();
            if (await text('connect') === 'Connect') {
                await page.click('#connect');
            }
        }
        await until('state', 'open');
        check((await text('url')).startsWith(`${scheme}://`), `the page connects over ${scheme}`);
        check(await text('protocol') === 'echo', 'the subprotocol is shown');
        await page.fill('#text', 'h\u00e9llo from the page');
        await page.click('#send-text');
        await page.waitForSelector('#log li[data-direction=in][data-kind=text][data-same=true]');
        check(true, 'a text is echoed and shown');
        await page.click('#send-binary');
        await page.waitForSelector('#log li[data-direction=in][data-kind=binary][data-same=true]');
        check(true, 'bytes are echoed and shown');
        await page.click('#burst');
        await until('burst-state', ' in ');
        check(+await page.locator('#rtt-count').innerText() > 50, 'a burst of pings fills the plot');
        check(await page.locator('#rtt-median').getAttribute('data-ms') > 0, 'the median round trip is shown');
        await until('clock-state', 'live');
        check(/\d\d:\d\d/.test(await text('clock')), 'the page shows the time of ws_time');
        await page.screenshot({path: `${folder}/page-${scheme}.png`, fullPage: true});
        await page.click('#connect');
        await until('state', 'closed');
        check((await text('closed')).includes('1000'), 'after the connection was closed, the page shows the code');
    }
    await page.setViewportSize({width: 360, height: 740});
    check(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth),
        'the page fits a width of 360 pixels');
    await page.screenshot({path: `${folder}/page-phone${secure ? '-tls' : ''}.png`, fullPage: true});
    check(errors.length === 0, `the page has no errors ${errors.join('; ')}`);
    await browser.close();
    console.log('done');
})().catch(error => {
    console.log(`${error}`);
    process.exit(1);
});
