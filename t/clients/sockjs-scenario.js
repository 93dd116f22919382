// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Tests a SockJS client with the services echo, close, amplify and broadcast below a URL, with one transport. Node runs this
// function directly; pages run its source text. Resolves to a list of failures.

'use strict';

module.exports = (SockJS, url, transport) => {
    const options = {transports: [transport], timeout: 20000};
    const wrong = [];
    const client = service => new SockJS(`${url}/${service}`, null, options);
    const texts = ['hello', '', 'h\u00e9 \u20ac \u{1f600}', '"\\\b\f\n\r\t/\u0000\u001f\u007f', '\u2028\u200c\u2060\ufff0\uffff', '</script><!--', 'x'.repeat(60000)];

    // Sends each text when the previous one was echoed, then many messages together.
    const echo = () => new Promise(resolve => {
        const c = client('echo'), got = [];
        c.onopen = () => {
            if (c.transport !== transport) {
                wrong.push(`the transport is ${c.transport}`);
            }
            c.send(texts[0]);
        };
        c.onmessage = event => {
            got.push(event.data);
            if (got.length < texts.length) {
                c.send(texts[got.length]);
            } else if (got.length === texts.length) {
                if (JSON.stringify(got) !== JSON.stringify(texts)) {
                    wrong.push(`echo: ${JSON.stringify(got).slice(0, 200)}`);
                }
                for (let i = 0; i < 200; i++) {
                    c.send(`message ${i}`);
                }
            } else if (got.length === texts.length + 200) {
                if (!got.slice(texts.length).every((text, i) => text === `message ${i}`)) {
                    wrong.push('many messages together');
                }
                c.close(4000, 'enough');
            }
        };
        c.onclose = event => {
            if (event.code !== 4000 || got.length !== texts.length + 200) {
                wrong.push(`echo ends with ${event.code} ${event.reason} after ${got.length} messages`);
            }
            resolve();
        };
    });

    const close = () => new Promise(resolve => {
        const c = client('close');
        c.onclose = event => {
            if (event.code !== 3000 || event.reason !== 'Go away!') {
                wrong.push(`close: ${event.code} ${event.reason}`);
            }
            resolve();
        };
    });

    const amplify = () => new Promise(resolve => {
        const c = client('amplify');
        c.onopen = () => c.send('18');
        c.onmessage = event => {
            if (event.data.length !== 1 << 18) {
                wrong.push(`amplify: ${event.data.length}`);
            }
            c.close();
        };
        c.onclose = event => {
            if (event.code !== 1000) {
                wrong.push(`amplify ends with ${event.code} ${event.reason}`);
            }
            resolve();
        };
    });

    const broadcast = () => new Promise(resolve => {
        const all = [0, 1].map(() => client('broadcast'));
        let open = 0, got = 0, gone = 0;
        for (const c of all) {
            c.onopen = () => ++open === all.length && all[0].send('to all');
            c.onmessage = event => {
                if (event.data !== 'to all') {
                    wrong.push(`broadcast: ${event.data}`);
                }
                if (++got === all.length) {
                    all.forEach(c => c.close());
                }
            };
            c.onclose = () => ++gone === all.length && resolve();
        }
    });
    return echo().then(close).then(amplify).then(broadcast).then(() => wrong);
};
