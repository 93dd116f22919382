// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Tests the demo's chat in two windows of Chromium: node chat-page.js URL SCREENSHOT-FOLDER. Prints "ok NAME" or
// "not ok NAME" for each test, and "done".

'use strict';

const launch = require('./browser');
const deadline = require('./deadline');
const [url, folder] = process.argv.slice(2);
const check = (right, name) => console.log((right ? 'ok ' : 'not ok ') + name);

(async () => {
    const browser = await launch();
    const errors = [];
    const open = async name => {
        const page = await browser.newPage({viewport: {width: 1280, height: 900}});
        page.setDefaultTimeout(deadline);
        page.on('pageerror', error => errors.push(`${error}`));
        await page.goto(url);
        await page.waitForSelector('#state[data-state=open]');
        await page.fill('#name', name);
        await page.click('#enter');
        await page.waitForSelector(`#here li[data-name="${name}"][data-mine=true]`);
        return page;
    };
    const say = async (page, text) => {
        await page.fill('#say', text);
        await page.click('#send');
    };
    const hears = (page, name, text) => page.waitForSelector(`#said li[data-name="${name}"][data-text="${text}"]`);

    const ann = await open('Ann'), bob = await open('B\u00f6b');
    await ann.waitForSelector('#here li[data-name="B\u00f6b"]');
    await bob.waitForSelector('#here li[data-name="Ann"]');
    check(true, 'two windows see each other');
    await say(ann, 'Hello, \u{1f600}');
    await hears(bob, 'Ann', 'Hello, \u{1f600}');
    await hears(ann, 'Ann', 'Hello, \u{1f600}');
    check(await ann.locator('#said li[data-mine=true]').count() > 0, 'a message arrives in both windows, and is marked in the window that has sent it');
    await say(bob, '<b>Hi</b>');
    await hears(ann, 'B\u00f6b', '<b>Hi</b>');
    check(true, 'markup in a message is shown as text');

    await bob.fill('#room', 'kitchen');
    await bob.click('#enter');
    await bob.waitForSelector('#where:text("kitchen")');
    await ann.waitForFunction(() => !document.querySelector('#here li[data-name="B\u00f6b"]'));
    check(true, 'a member that enters another room disappears from the first room');
    await say(bob, 'Nobody here');
    await hears(bob, 'B\u00f6b', 'Nobody here');
    await bob.fill('#room', 'no blanks');
    await bob.click('#enter');
    await bob.waitForSelector('#hint:not([hidden])');
    check(true, 'an invalid room name causes a hint');
    await bob.fill('#room', 'lobby');
    await bob.click('#enter');
    await ann.waitForSelector('#here li[data-name="B\u00f6b"]');
    check(await ann.locator('#said li[data-text="Nobody here"]').count() === 0, 'messages of one room do not arrive in another');
    await hears(bob, 'Ann', 'Hello, \u{1f600}');
    check(await bob.locator('#said li[data-text="Nobody here"]').count() === 0, 'a member that comes back gets the history of the room');

    await ann.click('#crowd');
    await ann.waitForFunction(() => document.querySelectorAll('#here li').length >= 22);
    check(true, 'the button for a crowd adds guests');
    const processes = await ann.evaluate(() => new Set([...document.querySelectorAll('#here li')]
        .map(item => item.dataset.process)).size);
    check(processes > 1, `the guests are in ${processes} processes`);
    await ann.waitForFunction(() => Number(document.getElementById('rate').textContent.replace(/\D/g, '')) > 20);
    check(true, 'the plot shows the rate of delivered messages');
    await ann.waitForFunction(() => [...document.querySelectorAll('#processes li')]
        .reduce((sum, item) => sum + Number(item.dataset.connections), 0) >= 22);
    check(true, 'the page shows the number of connections of each process');
    await ann.waitForFunction(() => document.querySelector('#plot .edge').getAttribute('d').split('L').length > 5);
    await ann.screenshot({path: `${folder}/chat.png`, fullPage: true});
    await bob.setViewportSize({width: 360, height: 740});
    check(await bob.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth),
        'the page fits a width of 360 pixels');
    await bob.screenshot({path: `${folder}/chat-phone.png`, fullPage: true});
    await bob.close();
    await ann.waitForFunction(() => !document.querySelector('#here li[data-name="B\u00f6b"]'));
    check(true, 'a member whose window is closed disappears');
    check(errors.length === 0, `the page has no errors ${errors}`);
    await browser.close();
    console.log('done');
})().catch(error => {
    console.log(`not ok ${error}`);
    process.exit(1);
});
