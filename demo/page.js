/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */
"use strict";

const ROUND_TRIPS = 200; // the latest, that the plot shows and the figures count
const MESSAGES = 200;    // the latest, in the log

const $ = id => document.getElementById(id);
const secure = location.protocol === "https:";
let ports = {[secure ? "wss" : "ws"]: location.port}; // until server.json has told both

const authority = scheme => location.hostname + (ports[scheme] ? `:${ports[scheme]}` : "");
const bytes = n => n < 1024 ? `${n} B`
    : n < 1048576 ? `${+(n / 1024).toFixed(1)} KiB` : `${+(n / 1048576).toFixed(1)} MiB`;
const digits = ms => ms.toFixed(ms < 1 ? 3 : ms < 100 ? 2 : 0);

/* ---- The connection: echo.js holds it, here is what is shown of it ---- */

const echo = new Worker("echo.js");
let state = "closed";
let bursting = false;
let again = false; // connect once more when the connection has closed

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

/** Why it did not open is more than a browser tells a page. */
function explain() {
    if (offered().length && !offered().includes("echo")) {
        hint("The connection did not open. This server speaks the subprotocol echo, and a browser "
             + "gives up when none of those that it offered is chosen.");
        return;
    }
    const a = document.createElement("a");
    a.href = a.textContent = `${scheme() === "wss" ? "https" : "http"}://${authority(scheme())}/`;
    if (scheme() === "wss" && !secure) {
        hint("The connection did not open. The server's certificate is one that it made itself: visit ",
             a, " once and accept it there.");
    } else if (scheme() === "ws" && secure) {
        hint("The connection did not open. Browsers may forbid ws on a page that came by https; the page at ",
             a, " has no such limit.");
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
            : "ws: frames straight on TCP";
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
            hint("These subprotocols cannot be offered: none may come twice, and a name is made of "
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
        $("burst-state").textContent = left ? `stopped with ${left} pings to go`
            : `${total} pings in ${digits(ms)} ms`;
        show(state);
        draw();
    }
};
echo.onmessage = ({data: message}) => told[message.tell](message);

/* ---- Drawing: once for each frame of the screen, however many messages there are ---- */

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

/* The scale is logarithmic: an echo of 1 MiB and one of 10 bytes are decades apart. */
function drawPlot() {
    const plot = $("plot"), width = plot.clientWidth, height = plot.clientHeight;
    const left = 62, right = 8, top = 10, bottom = 8;
    plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
    if (!roundTrips.length) {
        plot.replaceChildren(shape("text", {x: width / 2, y: height / 2, class: "empty"},
                                   "Each echo becomes a point here."));
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
        item.append(same ? span("time", `${digits(ms)} ms`) : span("bad", "not what was sent"));
    }
    return item;
}

function drawLog() {
    $("log").prepend(...messages.splice(0).slice(-MESSAGES).map(row).reverse());
    while ($("log").children.length > MESSAGES) {
        $("log").lastChild.remove();
    }
}

/* ---- The clock: the time handler, over the wire that the page itself came by ---- */

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
    const data = new Uint8Array(size), MOST = 65536; // that one call gives
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
/* Screen readers read out what comes to the log, but nobody wants to hear a thousand pings. */
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
