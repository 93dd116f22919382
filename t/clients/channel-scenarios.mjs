// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// The tests of js/channel.js, for Node and for pages: run({Channels, ...}, base, act, check, options). act(NAME) does
// something to httpd or, in a page, to the browser. check(RIGHT, NAME) reports the result of a test.

const FAST = {minDelay: 100, maxDelay: 500};
const MANY = 20;

/** Collects messages and counts gaps. has(TEXT) is fulfilled when a message with this text has arrived, until(FN) when FN
 *  returns true. */
const collect = sub => {
    const got = [], waiting = [], seen = {got, gaps: 0};
    const look = () => waiting.forEach(w => w.when() && w.resolve(got));
    sub.on('message', message => { got.push(message.data); look(); });
    sub.on('gap', () => { seen.gaps++; look(); });
    seen.until = when => new Promise(resolve => { waiting.push({when, resolve}); look(); });
    seen.has = text => seen.until(() => got.includes(text));
    return seen;
};
const state = (live, wanted) => new Promise(resolve => {
    const off = live.on('state', ({state, why}) => state === wanted && (off(), resolve(why)));
});
const event = (emitter, name, when = () => true) => new Promise(resolve => {
    const off = emitter.on(name, value => when(value) && (off(), resolve(value)));
});
const said = promise => promise.then(() => 'fulfilled', error => error.message);

export async function run({Channels}, base, act, check, options = {}) {
    const connect = (path, more) => new Channels(base + path, {...FAST, ...options, ...more});
    const is = (got, expected, name) => check(JSON.stringify(got) === JSON.stringify(expected), `${name}: ${JSON.stringify(got)}`);
    const post = (channel, body) => fetch(`${base}/channels/${channel}`, {method: 'POST', body});
    const pages = async (sub, name) => {
        const late = await sub.history({limit: 2}), early = await sub.history({before: late.messages[0].position});
        is([early, late].map(h => h.messages.map(m => m.data)), [['1', '2'], ['3', '4']], `${name} returns pages`);
        is([early.more, late.more], [false, true], `${name} says whether there is more`);
    };
    const scenarios = {
        async publishing() {
            const live = connect('/live'), sub = live.subscribe('talk'), other = live.subscribe('kept/talk'), got = [];
            const seen = collect(other);
            await Promise.all([sub.ready, other.ready]);
            const messages = sub[Symbol.asyncIterator]();
            is((await sub.publish({text: 'hi'})).receivers, 1, 'publish() is answered');
            check(/-\d+$/.test((await other.publish('kept')).position), 'publish() is answered with a position if the channel has a history');
            await sub.publish('last');
            for await (const m of messages) {
                got.push(m.data);
                if (m.data === 'last') { break; }
            }
            is(JSON.parse(got[0]), {text: 'hi'}, 'for await yields the messages');
            is(await seen.has('kept'), ['kept'], 'one connection has several channels');
            is(await said(live.publish('kept/\u00e9', 'x')), 'no such channel', 'publish() rejects if the publication is refused');
            is(await said(live.subscribe('secret').ready), 'not allowed', 'ready rejects if the subscription is refused');
            is(await said((async () => { for await (const m of live.subscribe('secret')) { void m; } })()), 'not allowed', 'for await throws if the subscription is refused');
            sub.unsubscribe();
            is((await sub.publish('nobody')).receivers, 0, 'unsubscribe() unsubscribes');
            live.close();
            is(await said(sub.publish('x')), 'closed', 'nothing is published after close()');
        },
        async history() {
            for (const n of [1, 2, 3]) { await post('kept/old', n); }
            const live = connect('/live'), all = live.subscribe('kept/old', {after: 'all'}), got = collect(all);
            is(await got.has('3'), ['1', '2', '3'], 'after: "all" returns all messages of the history');
            await all.ready;
            const position = all.position;
            live.close();
            await post('kept/old', 4);
            const again = connect('/line'), rest = again.subscribe('kept/old', {after: position}), more = collect(rest);
            is(await more.has('4'), ['4'], 'after a position, only later messages arrive');
            again.close();
            const newest = connect('/live'), one = newest.subscribe('kept/old', {after: 'last'}), first = collect(one);
            is(await first.has('4'), ['4'], 'after: "last" returns the newest message');
            await pages(one, 'history()');
            const next = event(one, 'message');
            await one.publish('5', {key: 'k', event: 'e', ttl: 60});
            const {data, key, event: name} = await next;
            is([data, key, name], ['5', 'k', 'e'], 'a message has its key and event');
            newest.close();
        },
        async line() {
            for (let i = 1; i <= MANY; i++) { await post('kept/line', i); }
            const live = connect('/line'), got = collect(live.subscribe('kept/line', {after: 'all'}));
            const publishing = (async () => { for (let i = MANY + 1; i <= 2 * MANY; i++) { await post('kept/line', i); } })();
            is(await got.has(`${2 * MANY}`), Array.from({length: 2 * MANY}, (_, i) => `${i + 1}`), 'messages that are published while the client subscribes arrive once');
            await publishing;
            live.close();
        },
        async presence() {
            const a = connect('/live'), b = connect('/live'), room = a.subscribe('room', {member: 'Ann', watch: true});
            const names = () => [...room.members.values()].map(m => m.data).sort();
            await event(room, 'members', () => names().length === 1);
            b.subscribe('room', {member: 'Bob'});
            is((await event(room, 'join')).data, 'Bob', 'a join event reports a member that joins');
            is(names(), ['Ann', 'Bob'], 'members has the new member');
            is((await room.presence()).subscribers, 2, 'presence() is answered');
            b.close();
            is((await event(room, 'leave')).data, 'Bob', 'a leave event reports a member that leaves');
            is(names(), ['Ann'], 'members no longer has that member');
            const many = Array.from({length: 8}, () => connect('/live'));
            const late = connect('/live').subscribe('room', {watch: true});
            many.forEach((live, i) => live.subscribe('room', {member: `m${i}`}));
            while (late.members.size < 9) { await event(late, 'join'); }
            many.slice(1).forEach(live => live.close());
            while (late.members.size > 2) { await event(late, 'leave'); }
            is([...late.members.values()].map(m => m.data).sort(), ['Ann', 'm0'], 'members is right if members join while the list arrives');
            [a, many[0], late].forEach(each => (each.close ?? (() => {})).call(each));
        },
        async lost(how, name) {
            const live = connect('/live'), sub = live.subscribe(`kept/${how}`), plain = live.subscribe('plain');
            const got = collect(sub), other = collect(plain);
            await Promise.all([sub.ready, plain.ready]);
            await post(`kept/${how}`, 'before');
            const away = state(live, 'waiting');
            await act(how);
            await away;
            for (let i = 1; i <= MANY; i++) { await post(`kept/${how}`, i); }
            await got.has(`${MANY}`);
            is(got.got, ['before', ...Array.from({length: MANY}, (_, i) => `${i + 1}`)], `${name}, each message arrives once`);
            await other.until(() => other.gaps);
            is([got.gaps, other.gaps], [0, 1], `${name}, only the channel without a history reports a gap`);
            live.close();
        },
        async publishingMeanwhile() {
            const live = connect('/live');
            await state(live, 'open');
            const away = state(live, 'waiting');
            await act('kill');
            await away;
            is((await live.publish('kept/wait', 'later')).receivers, 0, 'a message that is published without a connection is sent on the next one');
            live.close();
        },
        async deadPath() {
            const live = connect('/live', {heartbeat: 500, timeout: 1000}), got = collect(live.subscribe('kept/dead', {after: 'all'}));
            await post('kept/dead', 'first');
            await got.has('first');
            const away = state(live, 'waiting');
            await act('freeze');
            is(await away, 'no answer', 'a connection without input is abandoned');
            Object.assign(live.options, {timeout: 30000, heartbeat: 30000});
            await act('thaw');
            await post('kept/dead', 'alive');
            is(await got.has('alive'), ['first', 'alive'], 'a new connection is made after that');
            live.close();
        },
    };
    await scenarios.publishing();
    await scenarios.history();
    await scenarios.line();
    await scenarios.presence();
    await scenarios.lost('reload', 'after a reload');
    await scenarios.lost('kill', 'after the children were killed');
    await scenarios.lost('restart', 'after a full restart');
    await scenarios.publishingMeanwhile();
    await scenarios.deadPath();
}

/** Tests the fallback to EventSource and fetch, which the library uses if no handshake succeeds. */
export async function runFallback({Channels}, base, act, check) {
    const is = (got, expected, name) => check(JSON.stringify(got) === JSON.stringify(expected), `events, ${name}: ${JSON.stringify(got)}`);
    const live = new Channels(`${base}/nowhere`, {...FAST, events: `${base}/events`, publish: `${base}/channels`, heartbeat: 1000});
    const a = live.subscribe('kept/a', {after: 'all'}), b = live.subscribe('b', {watch: true}), got = collect(a), other = collect(b);
    await Promise.all([a.ready, b.ready]);
    is(live.transport, 'events', 'the transport is events');
    check(/-1$/.test((await a.publish('one')).position), 'events, publish() is answered');
    await b.publish({text: 'hi'});
    is(await got.has('one'), ['one'], 'a message of a channel arrives');
    await other.until(() => other.got.length);
    is(other.got.map(JSON.parse), [{text: 'hi'}], 'a message of another channel arrives');
    is((await b.presence()).members, [], 'presence() is answered');
    is((await a.history({limit: 1})).messages.map(m => m.data), ['one'], 'history() is answered');
    await b.publish('named', {event: 'price', idempotency_key: 'named'});
    is((await b.publish('named', {idempotency_key: 'named'})).duplicate, true, 'a second publication with the same idempotency_key is a duplicate');
    is((await other.has('named')).at(-1), 'named', 'a message with an event name arrives, too');
    is(await said(live.subscribe('secret').ready), 'not allowed', 'ready rejects if the subscription is refused');
    const ws = new Channels(`${base}/live`, FAST);
    ws.subscribe('b', {member: 'Ann'});
    is((await event(b, 'join')).data, 'Ann', 'a join event reports a member that joins');
    ws.close();
    is((await event(b, 'leave')).data, 'Ann', 'a leave event reports a member that leaves');
    const away = state(live, 'waiting'), gaps = other.gaps;
    await act('kill');
    await away;
    for (let i = 1; i <= MANY; i++) { await fetch(`${base}/channels/kept/a`, {method: 'POST', body: `${i}`}); }
    await got.has(`${MANY}`);
    is(got.got, ['one', ...Array.from({length: MANY}, (_, i) => `${i + 1}`)], 'after the children were killed, each message arrives once');
    await other.until(() => other.gaps > gaps);
    b.unsubscribe();
    await a.publish('last');
    is((await got.has('last')).at(-1), 'last', 'unsubscribe() does not affect other subscriptions');
    live.close();
}

/** Tests events that only a page has: act('offline'), act('online'), act('sleep'). Without them, the first connection would
 *  be retried only after half an hour or more. */
export async function runPage({Channels}, base, act, check) {
    const live = new Channels(`${base}/live`, {minDelay: 3600000, maxDelay: 3600000}), sub = live.subscribe('kept/page');
    const is = (got, expected, name) => check(JSON.stringify(got) === JSON.stringify(expected), `page, ${name}: ${JSON.stringify(got)}`);
    const got = collect(sub);
    await sub.ready;
    const away = state(live, 'waiting');
    await act('offline');
    await act('kill');
    await away;
    await act('post');
    await act('online');
    is(await got.has('posted'), ['posted'], 'when the page is online again, it gets the messages published meanwhile');
    live.close();
    const sleeper = new Channels(`${base}/live`, FAST), seen = collect(sleeper.subscribe('kept/page'));
    await state(sleeper, 'open');
    await act('sleep');
    is(await seen.has('slept'), ['slept'], 'a page that was frozen gets the messages published meanwhile');
    sleeper.close();
}
