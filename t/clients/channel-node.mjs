// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Tests js/channel.js under Node with npm ws: node channel-node.mjs BASE. Prints "ok NAME" or "not ok NAME" for each test,
// and "done" at the end. "do NAME" asks the caller to do something to httpd; the program then waits for a line of input.

import {createInterface} from 'node:readline';
import WebSocket from 'ws';
import * as library from '../../js/channel.js';
import {run} from './channel-scenarios.mjs';

const answers = createInterface({input: process.stdin})[Symbol.asyncIterator]();
const act = async name => { console.log(`do ${name}`); await answers.next(); };
const check = (right, name) => console.log((right ? 'ok ' : 'not ok ') + name);

run(library, process.argv[2], act, check, {WebSocket}).then(() => {
    console.log('done');
    process.exit(0);
}, error => {
    console.log(`not ok ${error.stack}`.replace(/\n/g, ' '));
    process.exit(1);
});
