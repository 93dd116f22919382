// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Tests the tutorial's pages in Chromium: node tutorial.js dashboard|desktop URL FOLDER. Writes screenshots to FOLDER. Prints
// "ok NAME" or "not ok NAME" for each test, and "done".

'use strict';

const launch = require('./browser');
const deadline = require('./deadline');
const [which, url, folder] = process.argv.slice(2);
const check = (right, name) => console.log((right ? 'ok ' : 'not ok ') + name);

const tests = {
    async dashboard(page, text) {
        await page.waitForSelector('#state.live');
        check(true, 'the dashboard is connected');
        await page.waitForFunction(() => document.querySelector('path.us').getAttribute('d')?.split('L').length >= 4);
        check(/^\d+$/.test(await text('cpu')) && await text('cpu') <= 100, `the dashboard shows the processor load: ${await text('cpu')} %`);
        check(await text('free') > 0, `the dashboard shows the free memory: ${await text('free')} GiB`);
        check(/^[\d,]+$/.test(await text('switches')), `the dashboard shows the context switches: ${await text('switches')}`);
        await page.screenshot({path: `${folder}/dashboard.png`, fullPage: true});
        await page.setViewportSize({width: 360, height: 740});
        check(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth),
            'the page fits a width of 360 pixels');
        await page.screenshot({path: `${folder}/dashboard-phone.png`, fullPage: true});
    },
    async desktop(page, text) {
        await page.waitForFunction(() => document.getElementById('state').textContent === 'connected');
        check(true, 'noVNC is connected');
        await page.waitForFunction(() => {
            const canvas = document.querySelector('canvas');
            const colours = new Set(new Uint32Array(canvas.getContext('2d').getImageData(0, 0, 64, 64).data.buffer));
            return canvas.width === 1024 && canvas.height === 768 && colours.size > 1;
        });
        check(true, 'noVNC shows a screen of 1024 x 768 with a pattern');
        await page.screenshot({path: `${folder}/desktop.png`});
    },
};

(async () => {
    const browser = await launch();
    const page = await browser.newPage({viewport: {width: 1100, height: 700}});
    const errors = [];
    page.setDefaultTimeout(deadline);
    page.on('pageerror', error => errors.push(error.message));
    await page.goto(url);
    await tests[which](page, async id => (await page.locator(`#${id}`).innerText()).trim());
    check(errors.length === 0, `the page has no errors ${errors.join('; ')}`);
    await browser.close();
    console.log('done');
})().catch(error => {
    console.log(`${error}`);
    process.exit(1);
});
