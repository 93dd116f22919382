// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

export interface Options {
    /** Asked before each connection, and when the server says that the token expires soon (docs/tokens.md). */
    token?: () => string | undefined | Promise<string | undefined>;
    /** A Location with `WebSocketChannelHTTP subscribe`, and one with `publish`: what is used where WebSockets fail. */
    events?: string;
    publish?: string;
    /** Milliseconds without a message until the server is asked (25000), and until an answer has to be there (10000). */
    heartbeat?: number;
    timeout?: number;
    /** Milliseconds before another try: twice as many each time, with jitter (500, 30000). */
    minDelay?: number;
    maxDelay?: number;
    /** How many messages wait for an iterator, and how many requests for their answers (1000). */
    queue?: number;
    /** Classes to use instead of the global ones. */
    WebSocket?: any;
    EventSource?: any;
    fetch?: typeof fetch;
}

export interface SubscribeOptions {
    /** A position, `all` or `last`: what to begin with. */
    after?: string;
    /** Asked for a token of this channel alone. By WebSocket only. */
    token?: () => string | Promise<string>;
    /** Be a member, by this text. */
    member?: string;
    /** Keep `members`. */
    watch?: boolean;
}

export interface PublishOptions {
    /** What the message is about: for slow readers it replaces older ones with this key. */
    key?: string;
    /** The event's name for EventSource. */
    event?: string;
    /** Seconds after which it is not delivered any more. */
    ttl?: number;
    /** For ten minutes, a message with the same id is not published again. */
    idempotency_key?: string;
}

export interface Member { member: string; data: string; user?: string; }
export interface Published {
    channel: string;
    /** Subscribed connections of the httpd that has published the message, without those of other machines. */
    receivers: number;
    position?: string;
}
export interface Presence { channel: string; members: Member[]; subscribers: number; complete: boolean; }
export interface History { channel: string; messages: Message[]; more: boolean; gap: boolean; position?: string; }
export type State = 'waiting' | 'connecting' | 'open' | 'closed';

/** What the server refuses, in its words, or `connection lost`, `timeout`, `closed`, `unsubscribed`. */
export class ChannelError extends Error { channel?: string; }

export class Message {
    channel: string;
    /** Bytes where they were published as such. */
    data: string | Uint8Array;
    position?: string;
    event?: string;
    key?: string;
    /** Something before this message is missing. */
    gap: boolean;
    json(): any;
}

/** Each on() returns a function that takes the listener away again. */
export class Subscription implements AsyncIterable<Message> {
    readonly channel: string;
    readonly state: 'pending' | 'live' | 'ended';
    /** Of the last message: give it to subscribe() as `after` to go on behind it. */
    readonly position?: string;
    /** With `watch`: who is there, by the connection's id. */
    readonly members: Map<string, Member>;
    /** Fulfilled when it is live, rejected when it is refused. */
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
    /** The same channel gives the same subscription. */
    subscribe(channel: string, options?: SubscribeOptions): Subscription;
    publish(channel: string, data: unknown, options?: PublishOptions): Promise<Published>;
    presence(channel: string): Promise<Presence>;
    history(channel: string, options?: {before?: string; limit?: number}): Promise<History>;
    close(): void;
}
