// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// How many milliseconds an event is waited for: as t/lib/Patience.pm says, but less than the test waits for this
// program, so that it says what did not come.

'use strict';

module.exports = 700 * (process.env.WS_TEST_DEADLINE || 60);
