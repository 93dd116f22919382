/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The connection to the handler ws_echo. It is in a separate worker, so that the measured times do
 * not include the time that the page takes to draw.
 *
 * The page sends these requests to the worker:
 *   {ask: "open", url, offer}    {ask: "send", data}    {ask: "burst", total}    {ask: "close"}
 * The worker sends these events to the page:
 *   {tell: "open", protocol, extensions}
 *   {tell: "closed", code, reason, wasClean, opened}
 *   {tell: "refused", why}                the browser has refused to connect; why: name of the
 *                                         exception
 *   {tell: "sent", kind, size, text}      a message was sent; kind: text or binary; size: bytes; text:
 *                                         the beginning of the message
 *   {tell: "arrived", kind, size, text, ms, same}
 *                                         an echo has arrived; ms: milliseconds since the message was
 *                                         sent; same: whether the echo equals the message
 *   {tell: "burst", total, left, ms}      a burst has ended; left: number of unanswered pings
 */
"use strict";

const SHOWN_BYTES = 24, SHOWN_LETTERS = 500;

let socket = null;
let waiting = []; // messages without an echo so far, in the order they were sent: {data, at}
let burst = null; // {total, left, at}

function summary(data) {
    if (typeof data === "string") {
        return {kind: "text", size: new TextEncoder().encode(data).length,
                text: data.slice(0, SHOWN_LETTERS)};
    }
    const size = data.byteLength;
    const hex = [...new Uint8Array(data, 0, Math.min(SHOWN_BYTES, size))]
        .map(byte => byte.toString(16).padStart(2, "0")).join(" ");
    return {kind: "binary", size, text: hex + (size > SHOWN_BYTES ? " …" : "")};
}

function same(a, b) {
    if (typeof a === "string" || typeof b === "string") {
        return a === b;
    }
    const x = new Uint8Array(a), y = new Uint8Array(b);
    return x.length === y.length && x.every((byte, i) => byte === y[i]);
}

function send(data) {
    waiting.push({data, at: performance.now()});
    socket.send(data);
    postMessage({tell: "sent", ...summary(data)});
}

function ping() {
    send(`ping ${burst.total - burst.left + 1}`);
}

function endBurst(now) {
    if (burst) {
        postMessage({tell: "burst", total: burst.total, left: burst.left, ms: now - burst.at});
        burst = null;
    }
}

function arrived(data) {
    const now = performance.now();
    const sent = waiting.shift();
    postMessage({tell: "arrived", ...summary(data), ms: now - sent.at,
                 same: same(data, sent.data)});
    if (burst && --burst.left > 0) {
        ping();
    } else {
        endBurst(now);
    }
}

function open(url, offer) {
    let opened = false;
    try {
        socket = new WebSocket(url, offer);
    } catch (e) {
        postMessage({tell: "refused", why: e.name});
        return;
    }
    waiting = [];
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
        opened = true;
        postMessage({tell: "open", protocol: socket.protocol, extensions: socket.extensions});
    };
    socket.onmessage = e => arrived(e.data);
    socket.onclose = e => {
        endBurst(performance.now());
        postMessage({tell: "closed", code: e.code, reason: e.reason, wasClean: e.wasClean, opened});
    };
}

onmessage = ({data: message}) => {
    switch (message.ask) {
    case "open":
        open(message.url, message.offer);
        break;
    case "send":
        send(message.data);
        break;
    case "burst":
        burst = {total: message.total, left: message.total, at: performance.now()};
        ping();
        break;
    case "close":
        socket.close(1000, "thanks");
        break;
    }
};
