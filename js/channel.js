// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0
/** A client library for the channels of mod_websocket, for browsers and Node. README.md has an example; channel.d.ts describes the API. */
const PROTOCOL = 'channel.v1.json';
const DEFAULTS = {heartbeat: 25000, timeout: 10000, minDelay: 500, maxDelay: 30000, queue: 1000};
const STEADY = 10000, REFUSED = 2; // time after which a connection resets the back-off, ms; number of failed handshakes after which the client uses EventSource
const WORDS = {403: 'not allowed', 413: 'too big', 500: 'try again later'}; // error texts for HTTP statuses, as over a WebSocket
const WAKE = ['online', 'offline', 'pageshow', 'visibilitychange', 'resume'];
export class ChannelError extends Error { constructor(message, channel) { super(message); Object.assign(this, {name: 'ChannelError', channel}); } }
export class Message {
    constructor({type, encoding, data, ...rest}, gap = false) {
        Object.assign(this, rest, {gap, data: encoding === 'base64' ? Uint8Array.from(atob(data), c => c.charCodeAt(0)) : data});
    }
    json() { return JSON.parse(this.data); }
}
class Emitter {
    #listeners = {};
    on(name, listener) {
        (this.#listeners[name] ??= new Set()).add(listener);
        return () => this.#listeners[name].delete(listener);
    }
    emit(name, value) { // an exception in a listener becomes an unhandled rejection, and the other listeners still run
        this.#listeners[name]?.forEach(listener => { try { listener(value); } catch (error) { Promise.reject(error); } });
    }
}
const address = (base, parameters) => {
    const url = new URL(base, globalThis.location?.href);
    Object.entries(parameters).forEach(([name, value]) => value === undefined || url.searchParams.set(name, value));
    return url;
};
const split = position => /^(.*)-(\d+)$/.exec(position ?? '')?.slice(1);
export class Subscription extends Emitter {
    #live; #request; #missed; #gapped; #was; #held; #changes; #retry;
    constructor(live, channel, options) {
        const position = split(options.after) && options.after;
        Object.assign(super(), {channel, options, position, state: 'pending', members: new Map()}).#live = live;
        (this.ready = new Promise((resolve, reject) => { this.on('live', () => resolve(this)); this.on('end', reject); })).catch(() => {});
    }
    publish(data, options) { return this.#live.publish(this.channel, data, options); }
    presence() { return this.#live.presence(this.channel); }
    history(options) { return this.#live.history(this.channel, options); }
    unsubscribe() { this._end(); }
    [Symbol.asyncIterator]() {
        const queue = [], most = this.#live.options.queue;
        let end = this.state === 'ended' && new ChannelError('unsubscribed'), wake = () => {};
        const stop = [this.on('end', error => { end = error; wake(); }), this.on('message', message => {
            if (queue.push(message) > most) { queue.splice(0, 2, new Message({...queue[1]}, true)); }
            wake();
        })];
        return (async function* () {
            try {
                while (!end || queue.length) {
                    if (queue.length) { yield queue.shift(); } else { await new Promise(resolve => { wake = resolve; }); }
                }
                if (end.message !== 'unsubscribed') { throw end; }
            } finally { stop.forEach(off => off()); }
        })();
    }
    async _begin() {
        const {channel, position, options: {member, watch, token: ask}} = this, after = position ?? this.#from();
        this._lost();
        [this.#gapped, this.#held, this.#changes, this.#request] = [false, [], new Map(), null];
        const token = ask && await this.#live._token(ask);
        if (ask && (!token || this.state !== 'pending')) { return token === null && this.#refused('try again later'); }
        this.#request = this.#live._send({type: 'subscribe', channel, after, member, watch, token});
    }
    #from() { return this.#was ? 'all' : this.options.after; } // if the subscription was live before without a position, the history was empty, so all messages in it are new
    _lost(state = 'pending') { clearTimeout(this.#retry); this.state = state; }
    _end(error = new ChannelError('unsubscribed', this.channel)) {
        if (this.state === 'ended') { return; }
        this._lost('ended', this.#live._forget(this)), this.emit('end', error);
    }
    _receive(o) {
        const mine = o.id === this.#request, {type} = o;
        if (type === 'message') { this.#message(o); }
        else if (type === 'gap') { this.#gap(); }
        else if (type === 'join' || type === 'leave') { this.#changed(o.member, type === 'join' && o); }
        else if (type === 'expired') { this._end(new ChannelError(type, this.channel)); }
        else if (mine) { type === 'error' ? this.#refused(o.error) : this.#subscribed(o); }
    }
    #gap() { this.#missed = this.#gapped = true; this.emit('gap'); this._snapshot(); }
    /* The server may send messages before the client has subscribed (channel= of the handler). Hold those that follow missed messages, and drop those that arrive again. */
    #message(o) {
        const [epoch, offset] = split(o.position) ?? [], last = split(this.position), pending = this.state !== 'live';
        const other = last ? epoch !== last[0] && !this.#gapped : this.#from(), behind = last && epoch === last[0] ? offset - last[1] : 1;
        if (epoch && pending && other) { return void this.#held.push(o); }
        if (behind <= 0 || pending && behind > 1 && !this.#gapped) { return; }
        const message = new Message(o, this.#missed);
        [this.#missed, this.position] = [false, o.position ?? this.position];
        this.emit('message', message);
    }
    #subscribed(o) {
        this.state = 'live';
        this.#held.sort((a, b) => split(a.position)[1] - split(b.position)[1]).forEach(each => this.#message(each));
        if (this.#was && !o.position) { this.#gap(); } // without a history, messages that were published meanwhile are lost
        [this.#was, this.position] = [true, o.position ?? this.position];
        this.emit('live');
        this._snapshot();
    }
    #refused(error) {
        if (error !== 'try again later') { return this._end(new ChannelError(error, this.channel)); }
        this.#retry = setTimeout(() => this._begin(), this.#live.options.minDelay * (1 + Math.random()));
    }
    /* Members that join or leave after the request override the list in its answer. */
    async _snapshot() {
        if (!this.options.watch || this.state !== 'live') { return; }
        const changes = this.#changes ??= new Map(), answer = await this.presence().catch(() => null);
        if (changes !== this.#changes || this.state !== 'live') { return; }
        const now = new Map(answer?.members.map(m => [m.member, m]) ?? this.members);
        (this.#changes = null, changes).forEach((member, id) => member ? now.set(id, member) : now.delete(id));
        [...this.members.keys()].forEach(id => now.has(id) || this.#changed(id));
        now.forEach((member, id) => this.#changed(id, member));
        this.emit('members', this.members);
        if (!answer?.complete) { this.#retry = setTimeout(() => this._snapshot(), this.#live.options.minDelay * 4); }
    }
    #changed(id, o) {
        const old = this.members.get(id), member = o && {member: id, data: o.data, user: o.user};
        this.#changes?.set(id, member);
        member ? this.members.set(id, member) : this.members.delete(id);
        if (member ? old?.data !== member.data : old) { this.emit(member ? 'join' : 'leave', member || old); }
    }
}
class Socket {
    constructor(live, token) {
        const ws = this.ws = new live.options.WebSocket(address(live.url, {token}).href.replace(/^http/, 'ws'), PROTOCOL);
        ws.onopen = () => ws.protocol === PROTOCOL ? live._opened(this) : live._lost(this, `the server does not support ${PROTOCOL}`);
        ws.onmessage = ({data}) => live._received(this, JSON.parse(data));
        ws.onclose = ({code, reason}) => live._lost(this, reason || `closed with ${code}`);
        ws.onerror = () => {};
    }
    send(request) { this.ws.send(JSON.stringify(request)); }
    end() { this.ws.onopen = this.ws.onmessage = this.ws.onclose = null; this.ws.close(); }
}
/** Replaces Socket if WebSockets fail: exchanges the same requests and answers over EventSource and fetch. */
class Events {
    #live; #token; #source; #channels = new Map(); #ended;
    constructor(live, token) { [this.#live, this.#token] = [live, token]; queueMicrotask(() => live._opened(this)); }
    #say(type, channel, fields) { this.#ended || this.#live._received(this, {channel, ...fields, type}); }
    async #fetch(base, parameters, init) {
        const {fetch, timeout} = this.#live.options, url = address(base, {...parameters, token: this.#token});
        const answer = await fetch(url, {...init, signal: AbortSignal.timeout(timeout)}), {status} = answer;
        const body = await answer.json().catch(() => ({error: `HTTP ${status}`}));
        if (status === 401) { throw new Error(body.error); } // not a ChannelError, so the client reconnects, with a new token
        if (status >= 400) { throw new ChannelError(WORDS[Math.min(status, 500)] ?? body.error ?? `HTTP ${status}`); }
        return body;
    }
    send(request) {
        const {id, channel, type} = request, failed = error => this.#say('error', channel, {id, error: error.message});
        this[type](request).then(([answer, fields]) => answer && this.#say(answer, channel, {...fields, id}),
            error => error instanceof ChannelError ? failed(error) : this.#live._lost(this, error.message));
    }
    /* A poll with wait=0 checks that the subscription is allowed, and returns the missed messages. The stream continues after them. */
    async subscribe({id, channel, after = '-'}) {
        const now = await this.#fetch(this.#live.options.events, {channel, after, wait: 0}, {headers: {Accept: 'application/json'}});
        if (now.gap) { this.#say('gap', channel); }
        now.messages.forEach(message => this.#say('message', channel, message));
        return this.#channels.set(channel, {id, position: now.position}) && this.#open();
    }
    async unsubscribe({channel}) { this.#channels.delete(channel); return this.#open(); }
    async publish({data, type, id: _, idempotency_key: id, ...fields}) {
        const body = typeof data === 'string' ? data : JSON.stringify(data), headers = {'Content-Type': 'text/plain; charset=utf-8'};
        return ['published', (await this.#fetch(this.#live.options.publish, {...fields, id}, {method: 'POST', body, headers})).published[0]];
    }
    async presence({channel}) { return ['presence', (await this.#fetch(this.#live.options.publish, {channel})).channels[0]]; }
    async history({type, id, ...fields}) { return ['history', await this.#fetch(this.#live.options.publish, {history: '', ...fields})]; }
    async ping() { // any response proves that the server can be reached
        const {publish, events} = this.#live.options;
        await this.#fetch(publish ?? events, {}).catch(error => { if (!(error instanceof ChannelError)) { throw error; } });
        return this.#live._watchers(), ['pong'];
    }
    #open() {
        const {events, EventSource} = this.#live.options, names = [...this.#channels.keys()];
        this.#source?.close();
        if (!names.length || this.#ended) { return []; }
        const after = names.map(name => this.#channels.get(name).position ?? '-').join(), url = address(events, {after, format: 'json', token: this.#token});
        names.forEach(name => url.searchParams.append('channel', name));
        const source = this.#source = new EventSource(url.href);
        const on = (event, hear) => source.addEventListener(event, e => {
            const o = JSON.parse(e.data);
            if (source === this.#source && this.#channels.has(o.channel)) { hear(o, this.#channels.get(o.channel)); }
        });
        on('message', (o, of) => { of.position = o.position ?? of.position; this.#say('message', o.channel, o); });
        on('gap', o => this.#say('gap', o.channel));
        on('live', (o, {id, position}) => { // reopening the stream for another channel loses messages of channels without a history
            this.#channels.set(o.channel, {position: position = o.position ?? position});
            if (id || !position) { this.#say(id ? 'subscribed' : 'gap', o.channel, {id, position}); }
        });
        source.onerror = () => source === this.#source && this.#live._lost(this, 'the stream has ended');
        return [];
    }
    end() { this.#ended = true; this.#source?.close(); }
}
export class Channels extends Emitter {
    #link = null; #turn = 0; #timer; #watch; #heard; #asked; #attempts = 0; #refused = 0; #since = 0; #number = 0;
    #subscriptions = new Map(); #requests = new Map(); #wake = () => this.#awake();
    constructor(url, options = {}) {
        const {WebSocket, EventSource} = globalThis, fetch = (...all) => globalThis.fetch(...all);
        Object.assign(super(), {url, state: 'waiting', options: {...DEFAULTS, WebSocket, EventSource, fetch, ...options}});
        if (!this.options.WebSocket && !(this.options.events && this.options.EventSource)) { throw new TypeError('no WebSocket: pass {WebSocket}'); }
        this.#listen('addEventListener'), this.#connect();
    }
    get transport() { return this.#link && (this.#link instanceof Events ? 'events' : 'websocket'); }
    subscribe(channel, options = {}) {
        const there = this.#subscriptions.get(channel), sub = there ?? new Subscription(this, channel, options);
        this.#subscriptions.set(channel, sub);
        if (!there && this.state === 'open') { sub._begin(); }
        return sub;
    }
    publish(channel, data, options) { return this.#request({...options, type: 'publish', channel, data}); }
    presence(channel) { return this.#request({type: 'presence', channel}); }
    async history(channel, {before, limit} = {}) {
        const answer = await this.#request({type: 'history', channel, before, limit});
        return {...answer, messages: answer.messages.map(m => new Message({channel, ...m}))};
    }
    close() {
        this.#end('closed'), this.#listen('removeEventListener');
        this.#requests.forEach((_, id) => this.#settle(id, new ChannelError('closed')));
        this.#subscriptions.forEach(sub => sub._end());
    }
    #listen(how) { WAKE.forEach(name => globalThis[how]?.(name, this.#wake)); }
    /* The page is visible or the network is available again: connect immediately, or check the open connection with a ping. */
    #awake() {
        if (this.state === 'waiting' && globalThis.document?.visibilityState !== 'hidden') { this.#connect(); }
        else if (this.state === 'open' && !this.#asked) { this.#beat(true); }
    }
    #show(state, why) { if (this.state !== state) { this.emit('state', {state: this.state = state, why}); } }
    async #connect() {
        const turn = ++this.#turn, {token, events, EventSource, WebSocket, timeout} = this.options;
        clearTimeout(this.#timer), this.#show('connecting');
        this.#watch = setTimeout(() => this._lost(this.#link, 'no answer'), timeout);
        try {
            const said = await token?.(), falls = events && EventSource && (this.#refused >= REFUSED || !WebSocket);
            if (turn === this.#turn) { this.#link = new (falls ? Events : Socket)(this, said); }
        } catch (error) { if (turn === this.#turn) { this._lost(this.#link, error.message); } }
    }
    #end(state, why) {
        [this.#timer, this.#watch].forEach(timer => clearTimeout(timer));
        this.#link?.end();
        [this.#link, this.#turn] = [null, this.#turn + 1];
        this.#show(state, why);
    }
    /* After `heartbeat` ms without a message, sends a ping. Without an answer within `timeout` ms, the connection is lost. */
    #beat(ask = false) {
        const {timeout, heartbeat} = this.options, next = () => ask ? this._lost(this.#link, 'no answer') : this.#beat(!this.#heard);
        clearTimeout(this.#watch);
        [this.#asked, this.#heard, this.#watch] = [ask, false, setTimeout(next, ask ? timeout : heartbeat)];
        if (ask) { this._send({type: 'ping'}); }
    }
    _opened(link) {
        if (link !== this.#link) { return; }
        [this.#refused, this.#since] = [link instanceof Socket ? 0 : 1, Date.now()];
        this.#beat(), this.#show('open');
        this.#subscriptions.forEach(sub => sub._begin());
        this.#requests.forEach(entry => this.#submit(entry));
    }
    _lost(link, why) {
        if (link !== this.#link || this.state === 'closed') { return; }
        const opened = this.state === 'open', {minDelay, maxDelay} = this.options;
        this.#refused += opened ? 0 : 1;
        this.#attempts = opened && Date.now() - this.#since > STEADY ? 0 : this.#attempts + 1;
        this.#end('waiting', why);
        const most = this.#asked ? 0 : Math.min(maxDelay, minDelay * 2 ** this.#attempts); // after a ping without an answer, reconnect immediately
        [this.#asked, this.#timer] = [false, setTimeout(() => this.#connect(), most * (0.5 + Math.random() / 2))];
        this.#subscriptions.forEach(sub => sub._lost());
        this.#requests.forEach((q, id) => q.sent && q.request.type === 'publish' && this.#settle(id, new ChannelError('connection lost'))); // not sent again, because the server may have published the message
    }
    _received(link, data) {
        const {type, id, channel, error} = data;
        if (link !== this.#link) { return; }
        this.#heard = (this.#asked && this.#beat(), true);
        if (this.#requests.has(id)) { this.#settle(id, type === 'error' ? new ChannelError(error, channel) : data); }
        else if (type === 'expiring') { this.#refresh(channel); }
        else { this.#subscriptions.get(channel)?._receive(data); }
    }
    async _token(ask) { // gets a token from the application; null: the application has none; undefined: the connection has changed meanwhile
        const turn = this.#turn, token = await Promise.resolve().then(ask).catch(() => null);
        return turn === this.#turn && this.state === 'open' ? token ?? null : undefined;
    }
    async #refresh(channel) {
        const ask = this.#subscriptions.get(channel)?.options.token ?? this.options.token, token = ask && await this._token(ask);
        if (token) { this._send({type: 'refresh', channel, token}); }
    }
    #request(request) {
        const error = this.state === 'closed' ? 'closed' : this.#requests.size >= this.options.queue && 'try again later';
        return error ? Promise.reject(new ChannelError(error)) : new Promise((resolve, reject) => {
            const id = ++this.#number, late = () => this.#settle(id, new ChannelError('timeout', request.channel));
            const entry = {request: {...request, id}, resolve, reject, timer: setTimeout(late, 3 * this.options.timeout)};
            this.#requests.set(id, entry);
            if (this.state === 'open') { this.#submit(entry); }
        });
    }
    #submit(entry) { entry.sent = true; this.#link.send(entry.request); }
    #settle(id, answer) {
        const {resolve, reject, timer} = this.#requests.get(id);
        clearTimeout(timer), this.#requests.delete(id);
        (answer instanceof Error ? reject : resolve)(answer);
    }
    _send(request) { this.#link.send({...request, id: ++this.#number}); return this.#number; }
    _forget({channel}) { this.#subscriptions.delete(channel) && this.state === 'open' && this._send({type: 'unsubscribe', channel}); }
    _watchers() { this.#subscriptions.forEach(sub => sub._snapshot()); }
}
