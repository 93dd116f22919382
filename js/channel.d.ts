// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

export interface Options {
    /** Returns a token. Called before each connection, and when the server announces that the token expires soon (docs/tokens.md). */
    token?: () => string | undefined | Promise<string | undefined>;
    /** URLs that the client uses if WebSockets fail: `events` of a Location with `WebSocketChannelHTTP subscribe`, `publish` of one with `publish`. */
    events?: string;
    publish?: string;
    /** After `heartbeat` milliseconds without a message (25000), the client sends a ping. The answer must arrive within `timeout` (10000). */
    heartbeat?: number;
    timeout?: number;
    /** Milliseconds before the client reconnects: the delay doubles from `minDelay` (500) to `maxDelay` (30000), with jitter. */
    minDelay?: number;
    maxDelay?: number;
    /** Maximum number of messages that wait for an iterator, and of requests that wait for answers (1000). */
    queue?: number;
    /** Classes to use instead of the global ones. */
    WebSocket?: any;
    EventSource?: any;
    fetch?: typeof fetch;
}

export interface SubscribeOptions {
    /** First receive earlier messages: a position (all messages after it), `all` (the whole history), or `last` (the newest message). */
    after?: string;
    /** Returns a token for this channel only. Not used over EventSource. */
    token?: () => string | Promise<string>;
    /** Become a member of the channel, with this text. */
    member?: string;
    /** Keep the property `members` of the subscription up to date. */
    watch?: boolean;
}

export interface PublishOptions {
    /** Subject of the message. In the queue of a slow client, the message may replace older ones with the same key. */
    key?: string;
    /** Type of the event for clients that use EventSource. */
    event?: string;
    /** Seconds after which the server no longer delivers the message. */
    ttl?: number;
    /** For ten minutes, the server does not publish another message with the same idempotency_key to the channel. */
    idempotency_key?: string;
}

export interface Member { member: string; data: string; user?: string; }
export interface Published {
    channel: string;
    /** Number of subscribed connections at the httpd that published the message. Connections on other machines are not counted. */
    receivers: number;
    position?: string;
}
export interface Presence { channel: string; members: Member[]; subscribers: number; complete: boolean; }
export interface History { channel: string; messages: Message[]; more: boolean; gap: boolean; position?: string; }
export type State = 'waiting' | 'connecting' | 'open' | 'closed';

/** The property `message` is the server's error text, or `connection lost`, `timeout`, `closed` or `unsubscribed`. */
export class ChannelError extends Error { channel?: string; }

export class Message {
    channel: string;
    /** A Uint8Array if the message was published as bytes. */
    data: string | Uint8Array;
    position?: string;
    event?: string;
    key?: string;
    /** Whether messages before this one are missing. */
    gap: boolean;
    json(): any;
}

/** A subscription to a channel. Each on() returns a function that removes the listener. */
export class Subscription implements AsyncIterable<Message> {
    readonly channel: string;
    readonly state: 'pending' | 'live' | 'ended';
    /** Position of the last message. Pass it to subscribe() as `after` to continue with the next message. */
    readonly position?: string;
    /** With `watch`: the present members, by connection id. */
    readonly members: Map<string, Member>;
    /** Fulfilled when the subscription is live, rejected when it ends before that. */
    readonly ready: Promise<Subscription>;
    on(event: 'message', listener: (message: Message) => void): () => void;
    on(event: 'join' | 'leave', listener: (member: Member) => void): () => void;
    on(event: 'members', listener: (members: Map<string, Member>) => void): () => void;
    on(event: 'gap' | 'live', listener: () => void): () => void;
    on(event: 'end', listener: (error: ChannelError) => void): () => void;
    publish(data: unknown, options?: PublishOptions): Promise<Published>;
    presence(): Promise<Presence>;
    history(options?: {before?: string; limit?: number}): Promise<History>;
    unsubscribe(): void;
    [Symbol.asyncIterator](): AsyncIterator<Message>;
}

export class Channels {
    constructor(url: string, options?: Options);
    readonly state: State;
    readonly transport: 'websocket' | 'events' | null;
    on(event: 'state', listener: (change: {state: State; why?: string}) => void): () => void;
    /** Returns the existing subscription if there is one for this channel. */
    subscribe(channel: string, options?: SubscribeOptions): Subscription;
    publish(channel: string, data: unknown, options?: PublishOptions): Promise<Published>;
    presence(channel: string): Promise<Presence>;
    history(channel: string, options?: {before?: string; limit?: number}): Promise<History>;
    close(): void;
}
