// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// What js/channel.js has to do, in Node and in a page: run({Channels, ...}, base, act, check, options). act(NAME)
// does something to httpd, or in a page to the browser; check(RIGHT, NAME) reports.

const FAST = {minDelay: 100, maxDelay: 500};
const MANY = 20;

/** Collects what comes; has(N) is fulfilled when so many messages have. */
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
        is([early, late].map(h => h.messages.map(m => m.data)), [['1', '2'], ['3', '4']], `${name}, page by page`);
        is([early.more, late.more], [false, true], `${name} says whether there is more`);
    };
    const scenarios = {
        async publishing() {
            const live = connect('/live'), sub = live.subscribe('talk'), other = live.subscribe('kept/talk'), got = [];
            const seen = collect(other);
            await Promise.all([sub.ready, other.ready]);
            const messages = sub[Symbol.asyncIterator]();
            is((await sub.publish({text: 'hi'})).receivers, 1, 'publish() is answered');
            check(/-\d+$/.test((await other.publish('kept')).position), 'with a position where there is a history');
            await sub.publish('last');
            for await (const m of messages) {
                got.push(m.data);
                if (m.data === 'last') { break; }
            }
            is(JSON.parse(got[0]), {text: 'hi'}, 'for await has the messages');
            is(await seen.has('kept'), ['kept'], 'one connection has several channels');
            is(await said(live.publish('kept/\u00e9', 'x')), 'no such channel', 'a publication that is refused rejects');
            is(await said(live.subscribe('secret').ready), 'not allowed', 'as does a subscription');
            is(await said((async () => { for await (const m of live.subscribe('secret')) { void m; } })()), 'not allowed', 'and its iteration');
            sub.unsubscribe();
            is((await sub.publish('nobody')).receivers, 0, 'unsubscribe() unsubscribes');
            live.close();
            is(await said(sub.publish('x')), 'closed', 'nothing is published after close()');
        },
        async history() {
            for (const n of [1, 2, 3]) { await post('kept/old', n); }
            const live = connect('/live'), all = live.subscribe('kept/old', {after: 'all'}), got = collect(all);
            is(await got.has('3'), ['1', '2', '3'], 'after: "all" has what is kept');
            await all.ready;
            const position = all.position;
            live.close();
            await post('kept/old', 4);
            const again = connect('/line'), rest = again.subscribe('kept/old', {after: position}), more = collect(rest);
            is(await more.has('4'), ['4'], 'a position resumes behind it');
            again.close();
            const newest = connect('/live'), one = newest.subscribe('kept/old', {after: 'last'}), first = collect(one);
            is(await first.has('4'), ['4'], 'after: "last" has the newest message');
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
            is(await got.has(`${2 * MANY}`), Array.from({length: 2 * MANY}, (_, i) => `${i + 1}`), 'a channel of the line, each once');
            await publishing;
            live.close();
        },
        async presence() {
            const a = connect('/live'), b = connect('/live'), room = a.subscribe('room', {member: 'Ann', watch: true});
            const names = () => [...room.members.values()].map(m => m.data).sort();
            await event(room, 'members', () => names().length === 1);
            b.subscribe('room', {member: 'Bob'});
            is((await event(room, 'join')).data, 'Bob', 'who joins is told');
            is(names(), ['Ann', 'Bob'], 'and in the Map');
            is((await room.presence()).subscribers, 2, 'presence() is answered');
            b.close();
            is((await event(room, 'leave')).data, 'Bob', 'who leaves is told');
            is(names(), ['Ann'], 'and not in the Map any more');
            const many = Array.from({length: 8}, () => connect('/live'));
            const late = connect('/live').subscribe('room', {watch: true});
            many.forEach((live, i) => live.subscribe('room', {member: `m${i}`}));
            while (late.members.size < 9) { await event(late, 'join'); }
            many.slice(1).forEach(live => live.close());
            while (late.members.size > 2) { await event(late, 'leave'); }
            is([...late.members.values()].map(m => m.data).sort(), ['Ann', 'm0'], 'members that come while the list does');
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
            is(got.got, ['before', ...Array.from({length: MANY}, (_, i) => `${i + 1}`)], `${name}: each message once`);
            await other.until(() => other.gaps);
            is([got.gaps, other.gaps], [0, 1], `${name}: a gap only without a history`);
            live.close();
        },
        async publishingMeanwhile() {
            const live = connect('/live');
            await state(live, 'open');
            const away = state(live, 'waiting');
            await act('kill');
            await away;
            is((await live.publish('kept/wait', 'later')).receivers, 0, 'what is published without a connection is sent with the next');
            live.close();
        },
        async deadPath() {
            const live = connect('/live', {heartbeat: 500, timeout: 1000}), got = collect(live.subscribe('kept/dead', {after: 'all'}));
            await post('kept/dead', 'first');
            await got.has('first');
            const away = state(live, 'waiting');
            await act('freeze');
            is(await away, 'no answer', 'a path on which nothing comes is given up');
            Object.assign(live.options, {timeout: 30000, heartbeat: 30000});
            await act('thaw');
            await post('kept/dead', 'alive');
            is(await got.has('alive'), ['first', 'alive'], 'and tried again');
            live.close();
        },
    };
    await scenarios.publishing();
    await scenarios.history();
    await scenarios.line();
    await scenarios.presence();
    await scenarios.lost('reload', 'reload');
    await scenarios.lost('kill', 'kill of the children');
    await scenarios.lost('restart', 'full restart');
    await scenarios.publishingMeanwhile();
    await scenarios.deadPath();
}

/** Where no handshake succeeds: EventSource and fetch. */
export async function runFallback({Channels}, base, act, check) {
    const is = (got, expected, name) => check(JSON.stringify(got) === JSON.stringify(expected), `events, ${name}: ${JSON.stringify(got)}`);
    const live = new Channels(`${base}/nowhere`, {...FAST, events: `${base}/events`, publish: `${base}/channels`, heartbeat: 1000});
    const a = live.subscribe('kept/a', {after: 'all'}), b = live.subscribe('b', {watch: true}), got = collect(a), other = collect(b);
    await Promise.all([a.ready, b.ready]);
    is(live.transport, 'events', 'the transport');
    check(/-1$/.test((await a.publish('one')).position), 'events, publish() is answered');
    await b.publish({text: 'hi'});
    is(await got.has('one'), ['one'], 'a message');
    await other.until(() => other.got.length);
    is(other.got.map(JSON.parse), [{text: 'hi'}], 'and of another channel');
    is((await b.presence()).members, [], 'presence() is answered');
    is((await a.history({limit: 1})).messages.map(m => m.data), ['one'], 'history() is answered');
    await b.publish('named', {event: 'price', idempotency_key: 'named'});
    is((await b.publish('named', {idempotency_key: 'named'})).duplicate, true, 'and published once');
    is((await other.has('named')).at(-1), 'named', 'a named event comes, too');
    is(await said(live.subscribe('secret').ready), 'not allowed', 'a subscription that is refused');
    const ws = new Channels(`${base}/live`, FAST);
    ws.subscribe('b', {member: 'Ann'});
    is((await event(b, 'join')).data, 'Ann', 'who joins is told');
    ws.close();
    is((await event(b, 'leave')).data, 'Ann', 'who leaves is told');
    const away = state(live, 'waiting'), gaps = other.gaps;
    await act('kill');
    await away;
    for (let i = 1; i <= MANY; i++) { await fetch(`${base}/channels/kept/a`, {method: 'POST', body: `${i}`}); }
    await got.has(`${MANY}`);
    is(got.got, ['one', ...Array.from({length: MANY}, (_, i) => `${i + 1}`)], 'kill: each message once');
    await other.until(() => other.gaps > gaps);
    b.unsubscribe();
    await a.publish('last');
    is((await got.has('last')).at(-1), 'last', 'unsubscribe() leaves the others');
    live.close();
}

/** With what only a page has: act('offline'), act('online'), act('sleep'). It tries again by itself in half an hour. */
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
    is(await got.has('posted'), ['posted'], 'online again: what was published meanwhile comes');
    live.close();
    const sleeper = new Channels(`${base}/live`, FAST), seen = collect(sleeper.subscribe('kept/page'));
    await state(sleeper, 'open');
    await act('sleep');
    is(await seen.has('slept'), ['slept'], 'a page that slept has what was published meanwhile');
    sleeper.close();
}
