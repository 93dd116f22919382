// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Launches Chromium: const browser = await require('./browser')();

'use strict';

const {chromium} = require('playwright-core');
const deadline = require('./deadline');

module.exports = () => chromium.launch({
    timeout: deadline,
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
        '--disable-component-update', '--disable-sync'],
});
