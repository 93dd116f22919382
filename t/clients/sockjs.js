// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Tests sockjs-client under Node: node sockjs.js URL TRANSPORT... Prints "ok NAME" or "not ok NAME" for each transport, and
// "done".

'use strict';

const SockJS = require('sockjs-client');
const scenario = require('./sockjs-scenario');
const [url, ...transports] = process.argv.slice(2);

(async () => {
    for (const transport of transports) {
        const wrong = await scenario(SockJS, url, transport);
        console.log((wrong.length ? 'not ok ' : 'ok ') + [transport, ...wrong].join(', '));
    }
    console.log('done');
    process.exit(0);
})();
