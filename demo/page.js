/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */
"use strict";

const ROUND_TRIPS = 200; // number of latest round trips that the plot and the figures include
const MESSAGES = 200;    // number of latest messages in the log

const $ = id => document.getElementById(id);
const secure = location.protocol === "https:";
let ports = {[secure ? "wss" : "ws"]: location.port}; // until server.json is loaded, which has both ports

const authority = scheme => location.hostname + (ports[scheme] ? `:${ports[scheme]}` : "");
const bytes = n => n < 1024 ? `${n} B`
    : n < 1048576 ? `${+(n / 1024).toFixed(1)} KiB` : `${+(n / 1048576).toFixed(1)} MiB`;
const digits = ms => ms.toFixed(ms < 1 ? 3 : ms < 100 ? 2 : 0);

/* ---- The connection, which echo.js has: its state on the page ---- */

const echo = new Worker("echo.js");
let state = "closed";
let bursting = false;
let again = false; // connect again after the connection has closed

function show(newState) {
    state = newState;
    $("state").textContent = $("state").dataset.state = state;
    $("connect").textContent = state === "closed" ? "Connect" : "Close";
    $("connect").classList.toggle("main", state === "closed");
    $("connect").disabled = state === "closing";
    for (const id of ["send-text", "send-binary", "burst"]) {
        $(id).disabled = state !== "open" || bursting;
    }
}

function hint(...parts) {
    $("hint").replaceChildren(...parts);
    $("hint").hidden = parts.length === 0;
}

const scheme = () => document.querySelector("[name=scheme]:checked").value;
const offered = () => $("offer").value.split(/[\s,]+/).filter(name => name);

/** Show possible reasons why the connection did not open. Browsers do not tell pages the actual reason. */
function explain() {
    if (offered().length && !offered().includes("echo")) {
        hint("The connection did not open. This server supports only the subprotocol echo. If the server "
             + "chooses none of the offered subprotocols, the browser closes the connection.");
        return;
    }
    const a = document.createElement("a");
    a.href = a.textContent = `${scheme() === "wss" ? "https" : "http"}://${authority(scheme())}/`;
    if (scheme() === "wss" && !secure) {
        hint("The connection did not open. The server's certificate is self-signed. Visit ",
             a, " once and accept the certificate there.");
    } else if (scheme() === "ws" && secure) {
        hint("The connection did not open. Browsers may forbid ws on a page that was loaded over https. Use the page at ",
             a, " instead.");
    } else {
        hint("The connection did not open. Is the server still running?");
    }
}

function connect() {
    const url = `${scheme()}://${authority(scheme())}/echo`;
    hint();
    $("url").textContent = url;
    for (const id of ["wire", "protocol", "extensions"]) {
        $(id).textContent = "–";
    }
    show("connecting");
    echo.postMessage({ask: "open", url, offer: offered()});
}

function disconnect() {
    show("closing");
    echo.postMessage({ask: "close"});
}

const told = {
    open({protocol, extensions}) {
        $("wire").textContent = scheme() === "wss" ? "wss: frames inside TLS"
            : "ws: frames directly over TCP";
        $("protocol").textContent = protocol || "none";
        $("extensions").textContent = extensions || "none";
        show("open");
    },
    closed({code, reason, wasClean, opened}) {
        if (opened) {
            $("closed").textContent = [code, reason && `“${reason}”`, wasClean || "not clean"]
                .filter(part => part && part !== true).join(", ");
        } else if (state !== "closing") {
            explain();
        }
        show("closed");
        if (again) {
            again = false;
            connect();
        }
    },
    refused({why}) {
        if (why === "SyntaxError") {
            hint("These subprotocols cannot be offered. Each may occur only once, and a name consists of "
                 + "letters, digits and !#$%&'*+-.^_`|~");
        } else {
            explain();
        }
        show("closed");
    },
    sent(message) {
        messages.push({direction: "out", ...message});
        draw();
    },
    arrived(message) {
        messages.push({direction: "in", ...message});
        count++;
        roundTrips.push(message.ms);
        roundTrips.splice(0, roundTrips.length - ROUND_TRIPS);
        draw();
    },
    burst({total, left, ms}) {
        bursting = false;
        $("burst-state").textContent = left ? `stopped with ${left} pings left`
            : `${total} pings in ${digits(ms)} ms`;
        show(state);
        draw();
    }
};
echo.onmessage = ({data: message}) => told[message.tell](message);

/* ---- Drawing, at most once for each frame of the screen ---- */

let roundTrips = [], count = 0, messages = [], drawing = false;

function draw() {
    if (!drawing) {
        drawing = true;
        requestAnimationFrame(() => {
            drawing = false;
            drawFigures();
            drawPlot();
            drawLog();
        });
    }
}

function median() {
    const sorted = [...roundTrips].sort((a, b) => a - b), half = sorted.length >> 1;
    return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

function drawFigures() {
    $("rtt-count").textContent = count;
    const figures = {"rtt-min": Math.min(...roundTrips), "rtt-median": median(),
                     "rtt-max": Math.max(...roundTrips)};
    for (const [id, ms] of Object.entries(figures)) {
        if (roundTrips.length) {
            $(id).replaceChildren(digits(ms), span("unit", " ms"));
            $(id).dataset.ms = ms;
        } else {
            $(id).textContent = "–";
            delete $(id).dataset.ms;
        }
    }
}

function shape(name, attributes, text = "") {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) {
        element.setAttribute(key, value);
    }
    element.textContent = text;
    return element;
}

/* The scale is logarithmic, because an echo of 1 MiB takes many times as long as one of 10 bytes. */
function drawPlot() {
    const plot = $("plot"), width = plot.clientWidth, height = plot.clientHeight;
    const left = 62, right = 8, top = 10, bottom = 8;
    plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
    if (!roundTrips.length) {
        plot.replaceChildren(shape("text", {x: width / 2, y: height / 2, class: "empty"},
                                   "Each echo will be a point in this plot."));
        return;
    }
    const decade = ms => Math.log10(Math.max(ms, .001));
    const low = Math.floor(decade(Math.min(...roundTrips)));
    const high = Math.max(Math.ceil(decade(Math.max(...roundTrips))), low + 1);
    const slots = Math.max(roundTrips.length, 30);
    const x = i => (left + (i + .5) / slots * (width - left - right)).toFixed(1);
    const y = ms => (height - bottom - (decade(ms) - low) / (high - low)
                                       * (height - top - bottom)).toFixed(1);
    const across = (ms, name) => shape("line", {x1: left, x2: width - right, y1: y(ms), y2: y(ms),
                                                class: name});
    plot.replaceChildren();
    for (let i = low; i <= high; i++) {
        for (const factor of i < high && high - low <= 2 ? [1, 2, 5] : [1]) {
            const ms = factor * 10 ** i;
            plot.append(across(ms, "grid"),
                        shape("text", {x: left - 8, y: Number(y(ms)) + 4, class: "scale"},
                              `${+ms.toPrecision(1)} ms`));
        }
    }
    plot.append(across(median(), "median"),
                shape("path", {d: "M" + roundTrips.map((ms, i) => `${x(i)} ${y(ms)}`).join("L")}));
    roundTrips.forEach((ms, i) => {
        const dot = shape("circle", {cx: x(i), cy: y(ms), r: slots > 80 ? 2 : 3});
        dot.append(shape("title", {}, `${digits(ms)} ms`));
        plot.append(dot);
    });
}

function span(name, text) {
    const element = document.createElement("span");
    element.className = name;
    element.textContent = text;
    return element;
}

function row({direction, kind, size, text, ms, same}) {
    const item = document.createElement("li"), arrow = span("arrow", direction === "out" ? "↑" : "↓");
    Object.assign(item.dataset, {direction, kind, size, text});
    arrow.setAttribute("aria-hidden", "true");
    item.append(arrow, span("spoken", direction === "out" ? "sent" : "received"),
                span("kind", kind), span("bytes", bytes(size)), span("preview", text));
    if (direction === "in") {
        item.dataset.same = same;
        item.append(same ? span("time", `${digits(ms)} ms`) : span("bad", "differs from the sent message"));
    }
    return item;
}

function drawLog() {
    $("log").prepend(...messages.splice(0).slice(-MESSAGES).map(row).reverse());
    while ($("log").children.length > MESSAGES) {
        $("log").lastChild.remove();
    }
}

/* ---- The clock, from the handler ws_time, over ws or wss like the page itself ---- */

function clock(delay) {
    const wire = secure ? "wss" : "ws";
    const time = new WebSocket(`${wire}://${authority(wire)}/time`);
    time.onmessage = ({data}) => {
        const [, date, hours] = /^(\S+)T(\d+:\d+:\d+)/.exec(data) || [, "", data];
        $("clock").textContent = hours;
        $("clock-state").textContent = `live ${date}`;
        delay = 1000;
    };
    time.onclose = ({code}) => {
        $("clock-state").textContent = `closed with ${code}, trying again`;
        setTimeout(clock, delay, Math.min(delay * 2, 15000));
    };
}

/* ---- Controls ---- */

function random(size) {
    const data = new Uint8Array(size), MOST = 65536; // maximum number of bytes for one call
    for (let i = 0; i < size; i += MOST) {
        crypto.getRandomValues(data.subarray(i, i + MOST));
    }
    return data.buffer;
}

function submit(id, action) {
    $(id).addEventListener("submit", e => {
        e.preventDefault();
        action();
    });
}

submit("f-connect", () => state === "closed" ? connect() : disconnect());
/* Let screen readers read new messages in the log, except the pings of a burst. */
function send(data) {
    $("log").setAttribute("aria-live", "polite");
    echo.postMessage({ask: "send", data});
}

submit("f-text", () => send($("text").value));
submit("f-binary", () => send(random(Number($("size").value))));
submit("f-burst", () => {
    bursting = true;
    show(state);
    $("log").setAttribute("aria-live", "off");
    $("burst-state").textContent = `${$("count").value} pings …`;
    echo.postMessage({ask: "burst", total: Number($("count").value)});
});
for (const radio of document.querySelectorAll("[name=scheme]")) {
    radio.addEventListener("change", () => {
        if (state === "closed") {
            connect();
        } else {
            again = true;
            disconnect();
        }
    });
}
$("clear").addEventListener("click", () => {
    $("log").replaceChildren();
    $("burst-state").textContent = "";
    roundTrips = [];
    messages = [];
    count = 0;
    draw();
});
new ResizeObserver(draw).observe($("plot"));

$(secure ? "scheme-wss" : "scheme-ws").checked = true;
fetch("server.json").then(answer => answer.json()).then(both => { ports = both; }, () => {})
    .then(() => {
        connect();
        clock(1000);
    });
