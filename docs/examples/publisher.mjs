// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

/** Publishes to channels: await new Publisher('https://www.example.org/channels').publish('news', {text: 'hi'}). */
export class Publisher {
    constructor(url, {headers = {}, timeout = 15000} = {}) { Object.assign(this, {url, headers, timeout}); }

    /** Sends a string as text, a Uint8Array as bytes, and any other value as JSON. Returns `receivers`, and `position` if the channel
     *  has a history. */
    async publish(channel, data) {
        const binary = data instanceof Uint8Array, text = typeof data === 'string', url = new URL(this.url);
        const type = binary ? 'application/octet-stream' : text ? 'text/plain; charset=utf-8' : 'application/json';
        url.searchParams.set('channel', channel);
        const answer = await fetch(url, {method: 'POST', body: binary || text ? data : JSON.stringify(data),
            headers: {...this.headers, 'Content-Type': type}, signal: AbortSignal.timeout(this.timeout)});
        const {error, published} = await answer.json().catch(() => ({error: `HTTP ${answer.status}`}));
        if (error ?? published[0].error) { throw new Error(error ?? published[0].error); }
        return published[0];
    }
}
