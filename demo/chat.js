/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The script of the chat page. It exchanges messages with the handler ws_chat, and reads the counters from websocket-status once a
 *  second. */
"use strict";

const $ = id => document.getElementById(id);
const SAID = 200, SECONDS = 60, GUESTS = 20, COLOURS = 6;
const address = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/chat`;

function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
}

/* A connection's id begins with the number of its process. */
const processOf = id => parseInt(id.slice(0, 4), 16);
const colour = process => `var(--p${process % COLOURS})`;

/* ---- The connection ---- */

let socket = null, own = "", delay = 500;
const present = new Map(); // the members: id -> name

function show(state) {
    $("state").textContent = $("state").dataset.state = state;
    $("send").disabled = state !== "open";
}

function hint(text = "") {
    $("hint").textContent = text;
    $("hint").hidden = !text;
}

function enter() {
    hint();
    if (socket && socket.readyState === WebSocket.OPEN) {
        socket.send(JSON.stringify({enter: $("room").value.trim(), name: $("name").value.trim()}));
    }
}

const told = {
    room({room, id}) {
        own = id;
        present.clear();
        $("where").textContent = room;
        $("said").querySelectorAll("li").forEach(item => item.dataset.room !== room && item.remove());
        show("open");
        drawPresent();
    },
    here({id, name}) {
        present.set(id, name);
        drawPresent();
    },
    left({id}) {
        present.delete(id);
        drawPresent();
    },
    said(message) {
        const list = $("said"), low = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
        list.append(bubble(message));
        while (list.children.length > SAID) {
            list.firstChild.remove();
        }
        if (low) {
            list.scrollTop = list.scrollHeight;
        }
    },
    missed() {
        $("said").append(make("li", {className: "note"}, "Some messages are missing here."));
    },
    error({text}) {
        hint(text);
    }
};

function connect() {
    show("connecting");
    socket = new WebSocket(address);
    socket.onopen = () => {
        delay = 500;
        enter();
    };
    socket.onmessage = ({data}) => {
        const message = JSON.parse(data);
        told[message.kind](message);
    };
    socket.onclose = () => {
        show("closed");
        present.clear();
        drawPresent();
        setTimeout(connect, delay);
        delay = Math.min(delay * 2, 10000);
    };
}

/* ---- Drawing ---- */

function bubble({id, name, text, at}) {
    const mine = id === own;
    const time = new Date(at).toLocaleTimeString([], {hour: "2-digit", minute: "2-digit", second: "2-digit"});
    const item = make("li", {}, make("small", {}, make("b", {textContent: mine ? "You" : name}), ` ${time}`),
                      make("span", {className: "bubble", textContent: text}));
    Object.assign(item.dataset, {name, text, mine, room: $("where").textContent});
    item.style.setProperty("--of", colour(processOf(id)));
    return item;
}

let drawing = false;
function drawPresent() {
    if (drawing) {
        return;
    }
    drawing = true;
    requestAnimationFrame(() => {
        drawing = false;
        $("count").textContent = present.size ? `${present.size}, coloured by process` : "";
        $("here").replaceChildren(...[...present].sort(([, a], [, b]) => a.localeCompare(b)).map(([id, name]) => {
            const item = make("li", {title: `process ${processOf(id)}`},
                              make("span", {className: "face", ariaHidden: "true",
                                            textContent: [...name][0].toUpperCase()}), name);
            Object.assign(item.dataset, {name, process: processOf(id), mine: id === own});
            item.style.setProperty("--of", colour(processOf(id)));
            return item;
        }));
    });
}

const rates = [];
let last = null;

function shape(name, attributes, text = "") {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) {
        element.setAttribute(key, value);
    }
    element.textContent = text;
    return element;
}

/* 1, 2 or 5 times a power of ten that is no less. */
function ceiling(n) {
    const power = 10 ** Math.floor(Math.log10(Math.max(n, 1)));
    return [1, 2, 5, 10].map(factor => factor * power).find(top => top >= n);
}

function drawRates() {
    const plot = $("plot"), width = plot.clientWidth, height = plot.clientHeight;
    const left = 46, right = 4, top = 10, bottom = 6, most = Math.max(...rates, 0);
    const scale = Math.max(ceiling(most), 10);
    const x = i => left + (i + SECONDS - rates.length) / (SECONDS - 1) * (width - left - right);
    const y = rate => height - bottom - rate / scale * (height - top - bottom);
    const line = rates.map((rate, i) => `${x(i).toFixed(1)} ${y(rate).toFixed(1)}`).join("L");
    plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
    plot.replaceChildren();
    for (const part of [0, .5, 1]) {
        plot.append(shape("line", {x1: left, x2: width - right, y1: y(scale * part), y2: y(scale * part), class: "grid"}),
                    shape("text", {x: left - 8, y: y(scale * part) + 4, class: "scale"}, (scale * part).toLocaleString()));
    }
    if (rates.length > 1) {
        plot.append(shape("path", {class: "area", d: `M${x(0)} ${y(0)}L${line}L${x(rates.length - 1)} ${y(0)}Z`}),
                    shape("path", {class: "edge", d: `M${line}`}));
    }
    $("rate").textContent = rates.length ? Math.round(rates.at(-1)).toLocaleString() : "–";
    $("peak").textContent = rates.length ? Math.round(most).toLocaleString() : "–";
}

function drawProcesses(children) {
    const most = Math.max(...children.map(({connections}) => connections), 1);
    $("processes").replaceChildren(...children.map(({pid, process, connections}) => {
        const bar = make("div", {className: "bar"}), item = make("li", {},
            make("span", {textContent: `process ${pid}`}), make("div", {className: "track"}, bar),
            make("span", {className: "number", textContent: connections.toLocaleString()}));
        bar.style.width = `${connections / most * 100}%`;
        item.style.setProperty("--of", colour(process));
        Object.assign(item.dataset, {pid, connections});
        return item;
    }));
}

async function look() {
    try {
        const answer = await fetch("/websocket-status?limit=0", {headers: {Accept: "application/json"}});
        const {counters, children} = await answer.json(), now = performance.now();
        if (last) {
            rates.push(Math.max(0, (counters.delivered_total - last.delivered) / (now - last.now) * 1000));
            rates.splice(0, rates.length - SECONDS);
        }
        last = {delivered: counters.delivered_total, now};
        $("total").textContent = counters.delivered_total.toLocaleString();
        drawRates();
        drawProcesses(children);
    } catch {
        last = null; // the server does not answer; the chat already shows that
    }
    setTimeout(look, 1000);
}

/* ---- Guests: further connections of this page, each of which sends messages for a while ---- */

const NAMES = ["Ada", "Alan", "Barbara", "Claude", "Donald", "Edsger", "Emmy", "Frances", "Grace", "Hedy", "Ida",
               "John", "Katherine", "Leslie", "Margaret", "Niklaus", "Radia", "Sophie", "Tim", "Vint"];
const WORDS = ["Hello!", "Who is here?", "I am in another process.", "So am I.", "That was quick.", "Tea?",
               "Look at the plot.", "Nobody waits for anybody.", "One frame for all of us.", "See you."];

function guest(i) {
    const talk = new WebSocket(address), name = NAMES[i % NAMES.length], room = $("where").textContent;
    let left = 30;
    talk.onopen = () => {
        talk.send(JSON.stringify({enter: room, name}));
        const timer = setInterval(() => {
            if (left-- === 0 || talk.readyState !== WebSocket.OPEN) {
                clearInterval(timer);
                talk.close(1000);
                return;
            }
            talk.send(JSON.stringify({say: WORDS[Math.floor(Math.random() * WORDS.length)]}));
        }, 700 + Math.random() * 600);
    };
}

/* ---- Controls ---- */

function submit(id, action) {
    $(id).addEventListener("submit", e => {
        e.preventDefault();
        action();
    });
}

submit("f-enter", enter);
submit("f-say", () => {
    const words = $("say").value.trim();
    hint();
    if (words && socket.readyState === WebSocket.OPEN) {
        socket.send(JSON.stringify({say: words}));
        $("say").value = "";
    }
});
$("crowd").addEventListener("click", () => {
    $("crowd").disabled = true;
    for (let i = 0; i < GUESTS; i++) {
        setTimeout(guest, i * 100, i);
    }
    setTimeout(() => { $("crowd").disabled = false; }, 30000);
});
new ResizeObserver(drawRates).observe($("plot"));

$("name").value = `Guest ${Math.floor(Math.random() * 900 + 100)}`;
connect();
look();
