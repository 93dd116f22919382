// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Tests js/channel.js with tokens under Node: node channel-token.mjs BASE SECRET SECONDS. A token is valid for SECONDS.

import {createHmac} from 'node:crypto';
import WebSocket from 'ws';
import {Channels} from '../../js/channel.js';

const [base, secret, seconds] = process.argv.slice(2);
const check = (right, name) => console.log((right ? 'ok ' : 'not ok ') + name);
const part = o => Buffer.from(JSON.stringify(o)).toString('base64url');
const token = (valid = Number(seconds)) => {
    const text = `${part({alg: 'HS256'})}.${part({sub: 'alice', channels: ['js'], publish: true, exp: Date.now() / 1000 + valid})}`;
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
};
/** Makes a function that returns tokens. Its method calls(N) is fulfilled after N calls of the function. */
const counted = make => {
    let count = 0, wake = () => {};
    const give = () => { count++; wake(); return make(count); };
    give.calls = async n => { while (count < n) { await new Promise(resolve => { wake = resolve; }); } };
    return give;
};
const ends = sub => new Promise(resolve => sub.on('end', error => resolve(error.message)));
const received = (sub, text) => new Promise(resolve => sub.on('message', m => m.data === text && resolve()));
const post = text => fetch(`${base}/http/js`, {method: 'POST', body: text, headers: {'Content-Type': 'text/plain', Authorization: `Bearer ${token(60)}`}});

// Run these tests at the same time, because each of them waits until tokens expire.
await Promise.all([async () => {
    const give = counted(() => token()), live = new Channels(`${base}/quick`, {WebSocket, token: give}), sub = live.subscribe('js');
    const states = [];
    await sub.ready;
    live.on('state', ({state}) => states.push(state));
    await give.calls(4);
    const got = received(sub, 'one');
    await sub.publish('one');
    await got;
    check(!states.length && sub.state === 'live', 'channel.js refreshes the token of its connection, which stays open');
    live.close();
}, async () => {
    const give = counted(() => token()), live = new Channels(`${base}/quick`, {WebSocket}), sub = live.subscribe('js', {token: give});
    await give.calls(4);
    check(sub.state === 'live', 'channel.js refreshes the token of a subscription');
    live.close();
}, async () => {
    const live = new Channels(`${base}/quick`, {WebSocket}), sub = live.subscribe('js', {token: counted(n => n === 1 ? token() : null)});
    check(await ends(sub) === 'expired', 'a subscription ends when its token expires and the application has no newer one');
    const refused = live.subscribe('js', {token: () => 'x.y.z'});
    check(/header is not a JSON/.test(await ends(refused)), 'a subscription whose token is refused ends');
    live.close();
}, async () => {
    const live = new Channels(`${base}/quick`, {WebSocket, minDelay: 50}), give = counted(n => { if (n === 1) { throw new Error('no token'); } return token(60); });
    await live.subscribe('js', {token: give}).ready;
    check(true, 'channel.js asks the application again if it had no token');
    live.close();
}, async () => {
    /* Node 20 has no EventSource by default. This class only records the URLs, which have the tokens. */
    const give = counted(() => token());
    class Source { constructor(url) { Source.urls.push(url); } addEventListener() {} close() {} }
    Source.urls = [];
    const live = new Channels(`${base}/quick`, {WebSocket: null, EventSource: Source, events: `${base}/http`, publish: `${base}/http`, token: give, minDelay: 50});
    const sub = live.subscribe('js');
    while (!Source.urls.length) { await new Promise(resolve => setTimeout(resolve, 50)); }
    check(new URL(Source.urls[0]).searchParams.get('token').split('.').length === 3, 'EventSource has the token in its URL');
    await new Promise(resolve => setTimeout(resolve, 1000 * seconds + 500)); // until the token has expired
    const failed = live.publish('js', 'x').catch(error => error.message);
    await give.calls(2);
    check(true, 'a token that is refused is replaced for the next connection: ' + await Promise.race([failed, 'open']));
    void sub;
    live.close();
}].map(scenario => scenario()));
await post('end');
console.log('done');
process.exit(0);
