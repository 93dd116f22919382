// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// The time limit for an event, milliseconds. It is 70 % of the limit in t/lib/Patience.pm, so that this program reports the
// missing event before the test stops waiting for the program.

'use strict';

module.exports = 700 * (process.env.WS_TEST_DEADLINE || 60);
